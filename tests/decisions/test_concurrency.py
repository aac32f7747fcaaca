"""People at the same moment: whoever comes second finds the state that the first one left. Real transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.approvals.models import Vote
from secguard.approvals.quorum import Choice
from secguard.audit import services as audit
from secguard.decisions import queries, services
from secguard.decisions.models import Decision
from secguard.errors import Conflict, SecGuardError

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor == "sqlite",
        reason="threads share the cache of SQLite's database in memory, as no server does",
    ),
]


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each call gave back, or its refusal; anything else that is raised fails the test."""
    ready = Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        try:
            ready.wait(timeout=60)
            return call()
        except SecGuardError as refusal:
            return refusal
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(one, call) for call in calls]]


def same(person: User) -> User:
    """As another request of the same person has them."""
    return User.objects.get(pk=person.pk)


@pytest.fixture
def asking(repository, image, risk, developer):
    scope = queries.find_scope(developer, "repository", repository.name)

    def make(actor=developer, risk_id=risk.pk):
        ask = services.Ask(risk_id, "accept", scope, "known", timezone.now() + timedelta(days=9))
        return services.request_decision(ask, actor=actor)

    return make


def test_one_person_votes_once_however_often_they_send_it(asking, reviewer):
    decision = asking()
    people = [same(reviewer) for _ in range(8)]
    found = at_once([lambda p=p: services.approve(decision.pk, actor=p) for p in people])
    assert [type(f) for f in found].count(Decision) == 1
    assert [type(f) for f in found].count(Conflict) == 7
    assert Vote.objects.count() == 1


def test_the_requester_wins_no_race_for_their_own(asking, make_person):
    owner = make_person("owner", "security-reviewer", "business-approver", "administrator")
    decision = asking(owner)
    found = at_once([lambda: services.approve(decision.pk, actor=same(owner)) for _ in range(6)])
    assert {getattr(f, "code", f) for f in found} == {"own-request"}
    decision.refresh_from_db()
    assert (decision.status, Vote.objects.count()) == ("requested", 0)


def test_approved_rejected_and_withdrawn_at_once_it_is_one_of_them(asking, developer, reviewer, make_person):
    second = make_person("second", "security-reviewer")
    for _ in range(5):
        decision = asking()
        found = at_once(
            [
                lambda pk=decision.pk: services.approve(pk, actor=same(reviewer)),
                lambda pk=decision.pk: services.reject(pk, actor=same(second), comment="no"),
                lambda pk=decision.pk: services.withdraw(pk, actor=same(developer)),
            ]
        )
        assert sum(isinstance(f, Decision) for f in found) == 1
        decision = Decision.objects.select_related("approval").get(pk=decision.pk)
        closed = {"approved": "approved", "rejected": "rejected", "withdrawn": "closed"}
        assert decision.approval.status == closed[decision.status]
        in_force = Decision.objects.in_force(timezone.now()).filter(pk=decision.pk).exists()
        assert in_force == (decision.status == "approved")
    assert audit.verify().intact


def test_the_same_is_asked_for_once(asking, make_person, team):
    people = [make_person(f"dev{n}", "developer", team=team) for n in range(6)]
    found = at_once([lambda p=p: asking(p) for p in people])
    assert sorted(type(f).__name__ for f in found) == ["Conflict"] * 5 + ["Decision"]
    assert Decision.objects.count() == 1


def test_two_queues_decided_from_both_ends_do_not_wait_for_each_other(
    asking, estate, repository, reviewer, make_person
):
    second = make_person("second", "security-reviewer")
    risks = [estate.risk() for _ in range(20)]
    estate.image(repository, risks, at=timezone.now())
    ids = [asking(risk_id=r.pk).pk for r in risks]
    found = at_once(
        [
            lambda: services.vote_many(ids, choice=Choice.APPROVE, actor=same(reviewer)),
            lambda: services.vote_many(ids[::-1], choice=Choice.APPROVE, actor=same(second)),
        ]
    )
    taken = [sum(isinstance(f, Decision) for f in results.values()) for results in found]
    assert sorted(taken) == [0, 20]
    assert Vote.objects.count() == 20


# --- controls ---


@pytest.fixture
def leaning(estate, application, repository, image, risk, developer):
    """Asks for the risk to be mitigated by one control that holds: (the control, the request)."""

    def make():
        now = timezone.now()
        with transaction.atomic():
            control = estate.control(application, developer, at=now - timedelta(hours=1), days=1)
        scope = queries.find_scope(developer, "repository", repository.name)
        ask = services.Ask(risk.pk, "mitigate", scope, "a rule", now + timedelta(days=9), controls=[control.pk])
        return control, services.request_decision(ask, actor=developer)

    return make


def test_heartbeats_at_once_are_all_counted_and_move_the_end_once(leaning, developer, reviewer):
    control, asked = leaning()
    services.approve(asked.pk, actor=reviewer)
    people = [same(developer) for _ in range(6)]
    found = at_once([lambda p=p: services.add_evidence(control.pk, services.Evidence(), actor=p) for p in people])
    assert not [f for f in found if isinstance(f, SecGuardError)]
    assert sum(control.evidence.values_list("count", flat=True)) == 1 + len(people)
    control.refresh_from_db()
    decision = Decision.objects.get(pk=asked.pk)
    assert (decision.status, decision.controls_until) == ("approved", control.due_at)
    assert audit.verify().intact


def test_a_heartbeat_and_the_lapse_at_once_bring_nothing_back(leaning, developer, reviewer):
    for _ in range(4):
        control, asked = leaning()
        services.approve(asked.pk, actor=reviewer)
        lapsed = Decision.objects.get(pk=asked.pk).controls_until
        late = lapsed + timedelta(seconds=1)
        at_once(
            [
                lambda pk=control.pk, at=late: services.add_evidence(
                    pk, services.Evidence(), actor=same(developer), now=at
                ),
                lambda at=late: services.end_lapsed(at),
            ]
        )
        decision = Decision.objects.get(pk=asked.pk)
        assert (decision.status, decision.ended_at) == ("ended", lapsed)
        assert not Decision.objects.in_force(lapsed + timedelta(seconds=2)).filter(pk=asked.pk).exists()
    assert audit.verify().intact


def test_evidence_that_contradicts_while_it_is_approved_leaves_nothing_in_force(leaning, developer, reviewer):
    against = services.Evidence(kind="check", says="contradicts", note="the rule is gone")
    for _ in range(5):
        control, asked = leaning()
        found = at_once(
            [
                lambda pk=asked.pk: services.approve(pk, actor=same(reviewer)),
                lambda pk=control.pk: services.add_evidence(pk, against, actor=same(developer)),
            ]
        )
        assert not isinstance(found[1], SecGuardError)
        decision = Decision.objects.get(pk=asked.pk)
        # Whoever comes first: approved and ended at once, or not approved at all.
        assert decision.status in {"ended", "requested"}
        assert (decision.status == "requested") == isinstance(found[0], Conflict)
        assert not Decision.objects.in_force(timezone.now()).filter(pk=asked.pk).exists()
        if decision.status == "requested":
            services.withdraw(asked.pk, actor=developer)
    assert audit.verify().intact
