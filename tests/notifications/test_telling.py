"""Into people's inboxes: together, once, and only to whom it is for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from secguard.errors import NotFound
from secguard.notifications.models import Notice, NoticeLine
from secguard.notifications.services import Telling, mark_read, notify, notify_many, prune, silence
from secguard.notifications.services.telling import MAX_LINES
from tests.fixtures_people import Person
from tests.notifications.conftest import FLAW, WAITS, line

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def flaws(*keys: str, team: Any = None, **facts: Any) -> Telling:
    return Telling(FLAW.name, tuple(line(key, **facts) for key in keys), team.pk if team else None)


def test_one_notice_holds_all_of_it_and_grows_while_it_is_untold(developer: Person, viewer: Person) -> None:
    people = [developer.pk, viewer.pk]
    assert notify(people, flaws("1", "2", rank=4), now=NOW) == 4
    assert notify(people, flaws("3", rank=5, is_running=True), now=NOW + timedelta(minutes=1)) == 2
    notice = Notice.objects.get(user=developer)
    assert (notice.total, notice.subject, notice.url) == (3, "New flaw: CVE-2026-3, running in shop/api", "/risks/3/")
    assert (notice.created_at, notice.changed_at) == (NOW, NOW + timedelta(minutes=1))
    assert list(notice.lines.order_by("-weight", "id").values_list("key", flat=True)) == ["3", "1", "2"]
    assert Notice.objects.count() == 2


def test_the_same_is_told_once_even_after_it_was_read(developer: Person) -> None:
    notify([developer.pk], flaws("1"), now=NOW)
    assert notify([developer.pk], flaws("1"), now=NOW) == 0
    mark_read(Notice.objects.get().pk, actor=developer, now=NOW)
    assert notify([developer.pk], flaws("1"), now=NOW + timedelta(days=2)) == 0
    assert Notice.objects.count() == 1
    assert notify([developer.pk], flaws("1", "2"), now=NOW) == 1
    fresh = Notice.objects.get(told_at=None)
    assert (fresh.total, fresh.subject) == (1, "New flaw: CVE-2026-2, in shop/api")


def test_the_database_refuses_to_tell_twice(developer: Person) -> None:
    notify([developer.pk], flaws("1"), now=NOW)
    had = NoticeLine.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        NoticeLine.objects.create(notice=had.notice, user=developer, kind=had.kind, key=had.key, facts={})
    notice = Notice.objects.get()
    with pytest.raises(IntegrityError), transaction.atomic():
        Notice.objects.create(user=developer, kind="x", key=notice.key, created_at=NOW, changed_at=NOW)


def test_kinds_teams_and_days_have_notices_of_their_own(developer: Person, team: Any, other_team: Any) -> None:
    waits = Telling(WAITS.name, (line("1"),), team.pk)
    notify([developer.pk], flaws("1", team=team), now=NOW)
    notify_many([(developer.pk, flaws("2", team=other_team)), (developer.pk, waits)], now=NOW)
    notify([developer.pk], flaws("3", team=team), now=NOW + timedelta(days=1))
    assert Notice.objects.count() == 4


def test_only_the_most_pressing_lines_are_kept_and_all_are_counted(developer: Person) -> None:
    notify([developer.pk], flaws(*map(str, range(MAX_LINES + 40)), rank=4), now=NOW)
    notify([developer.pk], flaws("run", is_running=True), now=NOW)
    notice = Notice.objects.get()
    assert (notice.total, notice.lines.count()) == (MAX_LINES + 41, MAX_LINES)
    assert notice.lines.order_by("-weight")[0].key == "run"
    counted = Telling(WAITS.name, (line("1"),), None, more=999)
    notify([developer.pk], counted, now=NOW)
    assert Notice.objects.get(kind=WAITS.name).total == 1_000


def test_a_transaction_that_fails_tells_nobody(developer: Person) -> None:
    with transaction.atomic():
        assert notify([developer.pk], flaws("1"), now=NOW) == 1
        transaction.set_rollback(True)
    assert not Notice.objects.exists()


def test_nothing_is_told_in_silence(developer: Person) -> None:
    with silence():
        assert notify([developer.pk], flaws("1"), now=NOW) == 0
    assert not Notice.objects.exists()
    assert notify([developer.pk], flaws("1"), now=NOW) == 1


def test_an_unknown_kind_is_named(developer: Person) -> None:
    with pytest.raises(NotFound, match="no kind of news 'odd'"):
        notify([developer.pk], Telling("odd", (line("1"),)), now=NOW)


def test_telling_costs_the_same_however_many_people_and_lines(
    make_person: Any, django_assert_max_num_queries: Any
) -> None:
    people = [make_person(f"p{n}").pk for n in range(30)]
    with django_assert_max_num_queries(16):
        assert notify(people, flaws(*map(str, range(50))), now=NOW) == 1_500


def test_a_strangers_inbox_is_not_there(developer: Person, stranger: Person, administrator: Person, team: Any) -> None:
    notify([developer.pk], flaws("1", team=team), now=NOW)
    notice = Notice.objects.get()
    for other in (stranger, administrator):
        assert not Notice.objects.visible_to(other).exists()
        with pytest.raises(NotFound):
            mark_read(notice.pk, actor=other)
    assert Notice.objects.get().seen_at is None


def test_whoever_left_the_team_no_longer_sees_what_is_the_teams(developer: Person, team: Any) -> None:
    notify([developer.pk], flaws("1", team=team), now=NOW)
    notify([developer.pk], Telling(FLAW.name, (line("2"),), 0), now=NOW)  # no team's: for who sees everything
    notify([developer.pk], flaws("3"), now=NOW)
    assert {n.team_id for n in Notice.objects.visible_to(developer)} == {team.pk, None}
    developer.memberships.all().delete()
    developer.refresh_from_db()
    assert {n.team_id for n in Notice.objects.visible_to(developer)} == {None}


def test_what_was_read_long_ago_goes(developer: Person) -> None:
    for day, key in ((0, "1"), (1, "2")):
        notify([developer.pk], flaws(key), now=NOW + timedelta(days=day))
    mark_read(Notice.objects.order_by("pk")[0].pk, actor=developer, now=NOW)
    assert prune(NOW + timedelta(days=89)) == 0
    assert prune(NOW + timedelta(days=91)) == 1
    assert prune(NOW + timedelta(days=367)) == 1
    assert not NoticeLine.objects.exists()
