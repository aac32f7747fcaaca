"""What is told arrives, signed, once where all goes well and at least once where it does not, and to no other team."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.channels import signing
from secguard.channels.models import Channel, Delivery
from secguard.channels.services import deliver, edit_channel, prune, renew_secret, send_test
from secguard.channels.services.setting_up import ChannelEdit
from secguard.errors import Conflict
from secguard.jobs.models import Job
from secguard.notifications.services import Telling, notify, notify_many, silence
from tests.channels.conftest import FLAW, WAITS, MakeChannel, Receiver, line
from tests.dashboards.test_queries import assert_constant_queries
from tests.fixtures_people import Person

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
NOW = timezone.now()
LATER = NOW + timedelta(minutes=1)


def tell(person: Person, *keys: str, team: Any = None, kind: str = FLAW.name, **facts: Any) -> None:
    lines = tuple(line(key, **facts) for key in keys)
    notify([person.pk], Telling(kind, lines, team.pk if team else 0), now=NOW)


def told(receiver: Receiver) -> list[list[str]]:
    return [[one["what"] for one in taken.document["data"]["lines"]] for taken in receiver.taken]


def test_what_people_are_told_is_posted_signed(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, viewer: Person, team: Any
) -> None:
    channel = make_channel(team=team)
    telling = Telling(FLAW.name, (line("1"), line("2", rank=5)), team.pk)
    notify([developer.pk, viewer.pk], telling, now=NOW)
    assert deliver(NOW) == {"sent": 0, "failed": 0}, "more of the same may come within half a minute"
    assert deliver(LATER) == {"sent": 1, "failed": 0}
    (taken,) = receiver.taken
    assert told(receiver) == [["CVE-2026-2", "CVE-2026-1"]]
    assert taken.document["data"]["team"] == team.name
    stamp = int(taken.headers["webhook-timestamp"])
    signed = signing.signature(channel.secret, taken.headers["webhook-id"], stamp, taken.body)  # type: ignore[attr-defined]
    assert taken.headers["webhook-signature"] == signed
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.answer, delivery.attempts) == ("sent", 200, 1)
    assert deliver(LATER) == {"sent": 0, "failed": 0}


def test_a_teams_channel_is_told_of_that_team_alone(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, stranger: Person, team: Any, other_team: Any
) -> None:
    make_channel("theirs", team=other_team)
    tell(developer, "1", team=team)
    tell(developer, "2")
    assert deliver(LATER)["sent"] == 0
    tell(stranger, "3", team=other_team)
    deliver(LATER)
    assert told(receiver) == [["CVE-2026-3"]]


def test_the_organisations_channel_is_told_everything_but_what_is_ones_own_affair(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, team: Any
) -> None:
    make_channel()
    tell(developer, "1", team=team)
    tell(developer, "2")
    notify([developer.pk], Telling(FLAW.name, (line("3"),), None), now=NOW)
    deliver(LATER)
    assert sorted(told(receiver)) == [["CVE-2026-1"], ["CVE-2026-2"]]


def test_only_the_kinds_that_were_chosen_are_posted(
    receiver: Receiver, make_channel: MakeChannel, developer: Person
) -> None:
    make_channel(kinds=[WAITS.name])
    tell(developer, "1")
    tell(developer, "2", kind=WAITS.name)
    assert deliver(NOW)["sent"] == 1, "minutes count for this kind: it waits for no further ones"
    assert told(receiver) == [["CVE-2026-2"]]


def test_what_comes_together_is_one_message_and_is_told_once(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, viewer: Person
) -> None:
    make_channel()
    tell(developer, "1")
    tell(viewer, "1", "2")
    deliver(LATER)
    tell(developer, "2")
    tell(viewer, "3")
    deliver(LATER + timedelta(minutes=1))
    assert told(receiver) == [["CVE-2026-1", "CVE-2026-2"], ["CVE-2026-3"]]


def test_what_somebody_chose_not_to_hear_their_team_still_hears(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, viewer: Person
) -> None:
    make_channel()
    notify_many([(developer.pk, Telling(FLAW.name, (line("1"),), 0))], now=NOW)
    notify_many([(viewer.pk, Telling(FLAW.name, (line("1"),), 0))], now=NOW)
    deliver(LATER)
    assert told(receiver) == [["CVE-2026-1"]]


def test_what_is_loaded_silently_is_not_posted(
    receiver: Receiver, make_channel: MakeChannel, developer: Person
) -> None:
    make_channel()
    with silence():
        tell(developer, "1")
    assert not Delivery.objects.exists()


def test_a_receiver_that_is_away_is_tried_again_with_growing_waits(
    receiver: Receiver, make_channel: MakeChannel, developer: Person
) -> None:
    channel = make_channel()
    receiver.answer = (503, {}, b"busy")
    tell(developer, "1")
    at, waits = LATER, []
    for _ in range(4):
        assert deliver(at) == {"sent": 0, "failed": 1}
        channel.refresh_from_db()
        waits.append(channel.next_at - at)
        assert deliver(channel.next_at - timedelta(seconds=1)) == {"sent": 0, "failed": 0}
        at = channel.next_at
    assert waits == [timedelta(minutes=m) for m in (1, 2, 4, 8)]
    assert "127.0.0.1 did not take it: it answered 503: busy" in channel.error
    receiver.answer = (204, {}, b"")
    assert deliver(at) == {"sent": 1, "failed": 0}
    assert len({taken.headers["webhook-id"] for taken in receiver.taken}) == 1
    assert len({taken.body for taken in receiver.taken}) == 1
    channel.refresh_from_db()
    assert (channel.failures, channel.error, Delivery.objects.get().attempts) == (0, "", 5)


def test_it_is_given_up_in_the_end_with_the_reason(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, administrator: Person
) -> None:
    channel = make_channel()
    receiver.answer = (500, {}, b"out of order")
    tell(developer, "1")
    at = LATER
    while Delivery.objects.filter(status="waiting").exists():
        deliver(at)
        channel.refresh_from_db()
        at = channel.next_at
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts, delivery.answer) == ("failed", 12, 500)
    assert at - NOW < timedelta(days=1)
    page = administrator.client.get(f"/settings/channels/{channel.pk}/").content.decode()
    assert "it answered 500: out of order" in page
    rows = administrator.api.get(f"/api/v1/channels/{channel.pk}/deliveries/").json()["results"]
    assert (rows[0]["status"], rows[0]["attempts"]) == ("failed", 12)
    assert "out of order" in rows[0]["error"]


def test_what_waited_for_a_day_is_given_up_at_the_next_failure(
    receiver: Receiver, make_channel: MakeChannel, developer: Person
) -> None:
    make_channel()
    receiver.answer = (500, {}, b"")
    tell(developer, "1")
    deliver(NOW + timedelta(days=1))
    assert Delivery.objects.get().status == "failed"


def test_whoever_wants_no_more_is_not_asked_again(
    receiver: Receiver, make_channel: MakeChannel, developer: Person
) -> None:
    make_channel()
    receiver.answer = (410, {}, b"")
    tell(developer, "1")
    deliver(LATER)
    delivery = Delivery.objects.get()
    assert (delivery.status, delivery.attempts) == ("failed", 1)
    assert "410" in delivery.error


def test_a_receiver_decides_how_long_to_wait(receiver: Receiver, make_channel: MakeChannel, developer: Person) -> None:
    channel = make_channel()
    receiver.answer = (429, {"Retry-After": "1200"}, b"")
    tell(developer, "1")
    deliver(LATER)
    channel.refresh_from_db()
    assert channel.next_at == LATER + timedelta(minutes=20)


def test_one_that_is_away_keeps_no_other_waiting(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, settings: Any
) -> None:
    away = make_channel("away")
    make_channel("there")
    edit_url(away, "http://127.0.0.1:1/x", settings, receiver)
    for n in range(5):
        tell(developer, str(n), team=None, kind=FLAW.name if n % 2 else WAITS.name)
    assert deliver(LATER) == {"sent": 2, "failed": 1}


def edit_url(channel: Channel, url: str, settings: Any, receiver: Receiver) -> None:
    from secguard.sealing import seal

    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    sealed = seal(url, keys=[settings.SECRET_KEY], purpose="channel")
    Channel.objects.filter(pk=channel.pk).update(sealed_url=sealed)


def test_a_host_that_the_operator_no_longer_names_is_not_posted_to(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, settings: Any
) -> None:
    channel = make_channel()
    settings.WEBHOOK_HOSTS = []
    tell(developer, "1")
    deliver(LATER)
    channel.refresh_from_db()
    assert receiver.taken == []
    assert "cannot be posted to" in channel.error


def test_a_worker_that_died_is_followed_by_one_that_posts_the_same(
    receiver: Receiver, make_channel: MakeChannel, developer: Person
) -> None:
    channel = make_channel()
    tell(developer, "1")
    # As one leaves it that died after the attempt was written down, and perhaps after the receiver took it.
    Delivery.objects.update(attempts=1)
    Channel.objects.update(claim="x", claimed_until=LATER + timedelta(minutes=3))
    (before,) = Delivery.objects.values_list("message_id", flat=True)
    tell(developer, "2")
    assert deliver(LATER) == {"sent": 0, "failed": 0}
    assert deliver(LATER + timedelta(minutes=4))["sent"] == 2
    assert told(receiver) == [["CVE-2026-1"], ["CVE-2026-2"]], "nothing joins what may have been posted"
    assert receiver.taken[0].headers["webhook-id"] == before
    channel.refresh_from_db()
    assert (channel.claim, channel.claimed_until) == ("", None)


def test_a_channel_that_is_off_is_told_nothing(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, administrator: Person
) -> None:
    channel = make_channel()
    edit_channel(channel.pk, ChannelEdit(is_active=False), actor=administrator)
    tell(developer, "1")
    assert not Delivery.objects.exists()
    with pytest.raises(Conflict, match="turned off"):
        send_test(channel.pk, actor=administrator)


def test_a_renewed_secret_signs_beside_the_former_one_for_a_day(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, administrator: Person
) -> None:
    channel = make_channel()
    _, new = renew_secret(channel.pk, actor=administrator, now=NOW)
    tell(developer, "1")
    deliver(LATER)
    tell(developer, "2")
    deliver(NOW + timedelta(days=1, minutes=1))
    both, alone = receiver.taken
    for taken, secrets in ((both, [new, channel.secret]), (alone, [new])):  # type: ignore[attr-defined]
        named = (taken.headers["webhook-id"], int(taken.headers["webhook-timestamp"]), taken.body)
        assert taken.headers["webhook-signature"].split() == [signing.signature(s, *named) for s in secrets]


@pytest.mark.parametrize("format_", ["slack", "teams"])
def test_chats_get_their_own_format_unsigned(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, format_: str, administrator: Person
) -> None:
    channel = make_channel(format_=format_)
    assert channel.secret == ""  # type: ignore[attr-defined]
    tell(developer, "1")
    deliver(LATER)
    (taken,) = receiver.taken
    assert "webhook-signature" not in taken.headers
    assert ("blocks" if format_ == "slack" else "attachments") in taken.document
    with pytest.raises(Conflict, match="is not signed"):
        renew_secret(channel.pk, actor=administrator)


def test_a_test_is_posted_at_once_and_fails_at_once(
    receiver: Receiver, make_channel: MakeChannel, administrator: Person, team: Any
) -> None:
    channel = make_channel(team=team)
    answer = administrator.api.post(f"/api/v1/channels/{channel.pk}/test/")
    assert answer.status_code == 202
    assert Job.objects.get(kind="channels.post").args == {"channel": channel.pk}
    assert deliver(channel_id=channel.pk) == {"sent": 1, "failed": 0}
    document = receiver.taken[0].document
    assert (document["type"], document["data"]["is_test"]) == ("test", True)
    receiver.answer = (404, {}, b"no_service")
    send_test(channel.pk, actor=administrator)
    deliver(channel_id=channel.pk)
    last = Delivery.objects.order_by("-pk")[0]
    assert (last.status, last.attempts) == ("failed", 1)
    assert "404: no_service" in last.error
    send_test(channel.pk, actor=administrator)
    receiver.answer = (200, {}, b"")
    assert deliver(channel_id=channel.pk)["sent"] == 1, "whoever asks for a test waits for no back-off"


def test_an_instance_whose_key_was_changed_says_so(
    receiver: Receiver, make_channel: MakeChannel, developer: Person, settings: Any
) -> None:
    channel = make_channel()
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another key that is long enough for this, 7f3k"
    tell(developer, "1")
    deliver(LATER)
    channel.refresh_from_db()
    assert "SECGUARD_SECRET_KEY" in channel.error
    settings.SECRET_KEY_FALLBACKS = [former]
    assert deliver(channel.next_at)["sent"] == 1


def test_nothing_that_opens_the_receiver_is_kept_or_shown_in_the_clear(
    receiver: Receiver, make_channel: MakeChannel, administrator: Person
) -> None:
    channel = make_channel()
    row = json.dumps(list(Channel.objects.values()), default=str)
    shown = administrator.api.get(f"/api/v1/channels/{channel.pk}/").content.decode()
    page = administrator.client.get(f"/settings/channels/{channel.pk}/").content.decode()
    for text in (row, shown, page):
        assert "SECRET-PATH" not in text
        assert channel.secret not in text  # type: ignore[attr-defined]


def test_what_ended_long_ago_is_forgotten(receiver: Receiver, make_channel: MakeChannel, developer: Person) -> None:
    make_channel()
    tell(developer, "1")
    deliver(LATER)
    assert prune(LATER + timedelta(days=89)) == 0
    assert prune(LATER + timedelta(days=91)) == 1
    assert not Delivery.objects.exists()


def test_channels_cost_the_same_however_many_there_are(
    receiver: Receiver, make_channel: MakeChannel, administrator: Person, developer: Person, team: Any
) -> None:
    first = make_channel("first", team=team)
    numbers = count(1)

    def grow() -> None:
        number = next(numbers)
        make_channel(f"more {number}")
        tell(developer, str(number), team=team)
        deliver(LATER + timedelta(minutes=number))

    pages = ["/settings/channels/", f"/settings/channels/{first.pk}/"]
    assert_constant_queries(grow, pages, administrator.client.get)
    lists = ["/api/v1/channels/", f"/api/v1/channels/{first.pk}/deliveries/"]
    assert_constant_queries(grow, lists, administrator.api.get)


def test_telling_costs_the_same_however_many_channels_there_are(
    receiver: Receiver, make_channel: MakeChannel, developer: Person
) -> None:
    counts = []
    for number in (1, 2, 3):
        for more in range(number):
            make_channel(f"{number} {more}")
        with CaptureQueriesContext(connection) as captured:
            tell(developer, *(f"{number}{key}" for key in range(10)))
        counts.append(len(captured.captured_queries))
    assert counts[1] == counts[2]
