"""Events reach their sinks at least once, whatever the sinks do."""

from __future__ import annotations

import json
import tracemalloc
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from secguard.events.record import Kind
from secguard.exports import services
from secguard.exports.adapters import webhook
from secguard.exports.models import ExportTarget
from secguard.exports.services import Start, delivering
from secguard.jobs.models import Job
from secguard.outbound import connections

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.enable_socket]


def again(target: ExportTarget) -> ExportTarget:
    return ExportTarget.objects.get(pk=target.pk)


def test_events_are_sent_once_and_in_order(tell, make_target, receiver, run) -> None:
    ids = tell(1_200)
    target = make_target(receiver.url)
    assert services.deliver(target.pk, run) == 1_200
    assert receiver.ids == ids
    assert services.deliver(target.pk, run) == 0
    later = tell(3)
    assert services.deliver(target.pk, run) == 3
    assert receiver.ids == ids + later
    target = again(target)
    assert (target.state, target.sent, target.reason) == ("running", 1_203, "")


def test_a_batch_is_signed_and_has_the_same_name_again(tell, make_target, receiver, run) -> None:
    from secguard.channels import signing

    tell(2)
    receiver.answers = [500, 200]
    target = make_target(receiver.url)
    services.deliver(target.pk, run)
    later = timezone.now() + timedelta(minutes=10)
    services.deliver(target.pk, run, later)
    headers, body = receiver.taken[0]
    name, stamp = headers["webhook-id"], int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signing.signature(target.secret, name, stamp, body)
    assert headers["content-type"] == webhook.CONTENT_TYPE
    ExportTarget.objects.update(position_txid=0, position_id=0)
    services.deliver(target.pk, run, later)
    assert receiver.taken[1][0]["webhook-id"] == name


@pytest.mark.parametrize("answer", [500, 503, 302, "drop"])
def test_a_sink_that_fails_gets_the_same_again(answer, tell, make_target, receiver, run) -> None:
    ids = tell(5)
    receiver.answers = [answer, 200]
    target = make_target(receiver.url)
    before = target.position
    assert services.deliver(target.pk, run) == 0
    stalled = again(target)
    assert (stalled.state, stalled.failures, stalled.position) == ("stalled", 1, before)
    assert "127.0.0.1 did not take it" in stalled.reason
    assert services.deliver(target.pk, run) == 0, "it is left alone for a while"
    assert receiver.asked == 1
    services.deliver(target.pk, run, stalled.next_at)
    assert receiver.ids == ids
    assert (again(target).state, again(target).reason, again(target).failures) == ("running", "", 0)


def test_a_stall_holds_up_nobody_else_and_loses_nothing(tell, make_target, receiver, run, monkeypatch) -> None:
    """An hour of it: the target's own position stays, its batch is let go, and the others go on."""
    hasty = connections.Patience(connect=1, read=0.2, window=0.2)
    monkeypatch.setattr(webhook.posting, "post", partial(webhook.posting.post, patience=hasty))
    stalls, works = make_target(receiver.url, name="stalls"), make_target(receiver.url + "2", name="works")
    ids, begun = [], timezone.now()
    for minutes in range(0, 60, 5):
        at = begun + timedelta(minutes=minutes)
        ids += tell(10)
        receiver.answers = ["stall"]
        services.deliver(stalls.pk, run, at)
        receiver.answers = [200]
        services.deliver(works.pk, run, at)
    assert receiver.ids == ids
    stalled = again(stalls)
    assert (stalled.state, stalled.sent, stalled.failures) == ("stalled", 0, 12)
    assert (stalled.since - begun) < timedelta(minutes=1)
    assert "did not answer in time" in stalled.reason
    services.look(at)
    assert again(stalls).waiting == len(ids)
    receiver.taken.clear()
    services.deliver(stalls.pk, run, at + timedelta(minutes=10))
    assert receiver.ids == ids
    services.look(at)
    assert (again(stalls).waiting, again(stalls).waiting_since) == (0, None)


def test_memory_is_flat_however_much_waits(tell, make_target, receiver, run, monkeypatch) -> None:
    for _ in range(4):
        tell(2_000, detail={"much": "x" * 1_000})
    receiver.before_answer = lambda _: receiver.taken.clear()
    target = make_target(receiver.url)

    def peak() -> int:
        tracemalloc.start()
        services.deliver(target.pk, run)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    monkeypatch.setattr(delivering, "RUN_SECONDS", 0.0)
    few = peak()
    monkeypatch.setattr(delivering, "RUN_SECONDS", 600.0)
    assert peak() < max(few * 2, 20_000_000)
    assert again(target).sent == 8_000


def test_one_target_is_told_what_it_is_for(tell, make_target, receiver, run, application, other_team) -> None:
    mine = tell(2, team_id=application.team_id, application_id=application.pk, severity=4)
    tell(2, team_id=other_team.pk, severity=4)
    tell(2, severity=5)
    tell(1, team_id=application.team_id, severity=1)
    tell(1, team_id=application.team_id, severity=5, kind=Kind.FLOW)
    target = make_target(receiver.url, teams=[application.team], kinds=["process"], least_severity=3)
    assert services.deliver(target.pk, run) == 2
    assert receiver.ids == mine
    assert {json.loads(line)["team"] for line in receiver.taken[0][1].splitlines()} == {application.team.slug}


def test_when_its_team_is_gone_a_target_is_told_nothing(tell, make_target, receiver, run, make_team) -> None:
    team = make_team("Shortlived")
    target = make_target(receiver.url, teams=[team])
    team.delete()
    tell(3)
    assert services.deliver(target.pk, run) == 0
    assert receiver.taken == []


def test_what_nobody_waits_for_is_passed_in_few_steps(tell, make_target, receiver, run, django_assert_max_num_queries):
    tell(6_000)
    wanted = tell(1, kind=Kind.MALWARE, severity=5)
    target = make_target(receiver.url, least_severity=5)
    with django_assert_max_num_queries(24):
        assert services.deliver(target.pk, run) == 1
    assert receiver.ids == wanted


def test_a_paused_target_is_sent_nothing_and_goes_on_where_it_was(tell, make_target, receiver, run, operator) -> None:
    target = make_target(receiver.url)
    ids = tell(2)
    services.pause_target(target.pk, actor=operator)
    assert services.deliver(target.pk, run) == 0
    services.look()
    assert not Job.objects.filter(kind=delivering.DELIVER).exists()
    assert again(target).waiting == 2
    services.resume_target(target.pk, actor=operator)
    assert services.deliver(target.pk, run) == 2
    assert receiver.ids == ids


def test_pausing_while_a_batch_is_under_way_sends_it_again_later(tell, make_target, receiver, run, operator) -> None:
    target = make_target(receiver.url)
    ids = tell(2)
    receiver.before_answer = lambda _: ExportTarget.objects.update(state="paused")
    assert services.deliver(target.pk, run) == 0
    receiver.before_answer = lambda _: None
    services.resume_target(target.pk, actor=operator)
    services.deliver(target.pk, run)
    assert receiver.ids == ids * 2


def test_a_batch_for_the_former_address_moves_no_position(tell, make_target, receiver, run, operator) -> None:
    target = make_target(receiver.url)
    ids = tell(2)

    def edit(_: int) -> None:
        ExportTarget.objects.filter(pk=target.pk).update(revision=7)

    receiver.before_answer = edit
    assert services.deliver(target.pk, run) == 0
    receiver.before_answer = lambda _: None
    services.deliver(target.pk, run)
    assert receiver.ids == ids * 2


def test_a_target_begins_now_or_with_the_oldest_event(tell, make_target, receiver, run, operator) -> None:
    old = tell(2)
    target = make_target(receiver.url, start=Start.NOW)
    assert services.deliver(target.pk, run) == 0
    new = tell(1)
    services.deliver(target.pk, run)
    assert receiver.ids == new
    services.move_target(target.pk, Start.OLDEST, actor=operator)
    receiver.taken.clear()
    services.deliver(target.pk, run)
    assert receiver.ids == old + new


def test_the_look_asks_for_targets_that_something_waits_for(tell, make_target, receiver) -> None:
    waits = make_target(receiver.url, name="waits")
    make_target(receiver.url, name="waits for nothing", kinds=["malware"])
    tell(1)
    assert services.look() == 1
    assert services.look() == 1, "the same job"
    assert [job.args for job in Job.objects.filter(kind=delivering.DELIVER)] == [{"target": waits.pk}]


def test_a_run_makes_room_for_others(tell, make_target, receiver, run, monkeypatch) -> None:
    tell(3)
    monkeypatch.setattr(delivering, "RUN_SECONDS", -1.0)
    target = make_target(receiver.url)
    assert services.deliver(target.pk, run) == 0
    assert Job.objects.get(kind=delivering.DELIVER).key == str(target.pk)


def test_what_fails_for_a_reason_of_ours_is_said(make_target, receiver) -> None:
    target = make_target(receiver.url)
    delivering.given_up({"target": target.pk}, "internal", "Internal error (KeyError); the log has it under job 3.")
    assert (again(target).state, again(target).reason[:14]) == ("stalled", "Internal error")
    delivering.given_up({"target": 0}, "internal", "x")


def test_a_secret_sealed_with_another_key_stalls_in_words(tell, make_target, receiver, run, settings: Any) -> None:
    target = make_target(receiver.url)
    tell(1)
    settings.SECRET_KEY = "another" * 10
    services.deliver(target.pk, run)
    assert "SECGUARD_SECRET_KEY" in again(target).reason
