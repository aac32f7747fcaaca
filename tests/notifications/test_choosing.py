"""What a person chose for each kind of news: at once, with the rest, or not at all; by mail, on the page, or both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.errors import Invalid, NotFound
from secguard.notifications import kinds, queries
from secguard.notifications.kinds import Kind
from secguard.notifications.models import KindChoice, Message, Notice
from secguard.notifications.services import Telling, choose, deliver, edit_preferences, notify
from tests.fixtures_people import Person
from tests.notifications.conftest import FLAW, WAITS, SmtpServer, line

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
NOW = timezone.now()
AGO = NOW - timedelta(minutes=10)
URGENT = Kind("test-urgent", "Exploited flaws", "Exploited", 1, at_once=True, is_urgent=True)


@pytest.fixture(autouse=True)
def urgent_kind() -> Iterator[None]:
    kinds.register(URGENT)
    yield
    kinds._kinds.pop(URGENT.name)


def tell(person: Person, key: str, kind: Kind = FLAW, at: Any = AGO) -> None:
    notify([person.pk], Telling(kind.name, (line(key),), None), now=at)


def shown(person: Person) -> list[str]:
    return [row["lines"][0]["what"] for row in person.api.get("/api/v1/notifications/").json()["results"]]


def test_what_somebody_wants_in_no_way_is_not_told_to_them_alone(
    smtp: SmtpServer, developer: Person, viewer: Person
) -> None:
    choose(FLAW.name, actor=developer, by_mail="never", on_page=False)
    for person in (developer, viewer):
        tell(person, "1")
        tell(person, "2", WAITS)
    deliver(NOW)
    written = {letter["To"]: letter.as_string() for letter in smtp.letters}
    assert "CVE-2026-1" not in written["developer@example.org"]
    assert "CVE-2026-1" in written["viewer@example.org"]
    assert shown(developer) == ["CVE-2026-2"]


def test_on_the_page_alone(smtp: SmtpServer, developer: Person) -> None:
    choose(FLAW.name, actor=developer, by_mail="never")
    tell(developer, "1")
    assert deliver(NOW)["made"] == 0
    assert shown(developer) == ["CVE-2026-1"]
    choose(FLAW.name, actor=developer, by_mail="digest")
    assert deliver(NOW)["made"] == 0, "what came while no mail was wanted is not written afterwards"
    tell(developer, "2")
    deliver(NOW)
    (letter,) = smtp.letters
    assert "CVE-2026-2" in letter.as_string()
    assert "CVE-2026-1" not in letter.as_string()


def test_by_mail_alone(smtp: SmtpServer, developer: Person) -> None:
    choose(FLAW.name, actor=developer, on_page=False)
    tell(developer, "1")
    assert shown(developer) == []
    assert b">1<" not in developer.client.get("/notifications/").content
    assert deliver(NOW)["sent"] == 1
    assert "CVE-2026-1" in smtp.letters[0].as_string()
    assert not Notice.objects.unread().exists()


def test_mark_all_read_leaves_what_is_only_written(smtp: SmtpServer, developer: Person) -> None:
    choose(FLAW.name, actor=developer, on_page=False)
    tell(developer, "1")
    developer.api.post("/api/v1/notifications/read-all/")
    assert deliver(NOW)["sent"] == 1


def test_without_a_mail_server_it_is_on_the_page_all_the_same(developer: Person, settings: Any) -> None:
    settings.SMTP = None
    choose(FLAW.name, actor=developer, on_page=False)
    tell(developer, "1")
    assert shown(developer) == ["CVE-2026-1"]


def test_at_once_waits_for_no_hour(smtp: SmtpServer, developer: Person) -> None:
    edit_preferences({"interval": "daily"}, actor=developer)
    tell(developer, "1", at=NOW)
    assert deliver(NOW + timedelta(minutes=10))["made"] == 0
    choose(FLAW.name, actor=developer, by_mail="at-once")
    assert deliver(NOW + timedelta(minutes=10))["sent"] == 1


def test_what_comes_at_once_may_wait_for_who_wants_that(smtp: SmtpServer, developer: Person) -> None:
    edit_preferences({"interval": "daily"}, actor=developer)
    tell(developer, "1", URGENT, at=NOW)
    choose(URGENT.name, actor=developer, by_mail="digest")
    assert deliver(NOW + timedelta(minutes=10))["made"] == 0
    KindChoice.objects.all().delete()
    assert deliver(NOW + timedelta(minutes=10))["sent"] == 1


def test_a_choice_between_gathering_and_sending_counts(smtp: SmtpServer, developer: Person, settings: Any) -> None:
    smtp.answers["RCPT"] = "451 later"
    tell(developer, "1")
    deliver(NOW)
    choose(FLAW.name, actor=developer, by_mail="never")
    smtp.answers.clear()
    deliver(NOW + timedelta(minutes=5))
    assert Message.objects.get().status == "dropped"
    assert smtp.taken == []


# --- what is urgent ---


def test_what_is_urgent_stays_on_the_page_of_who_answers_for_it(smtp: SmtpServer, developer: Person) -> None:
    with pytest.raises(Invalid, match="cannot be turned off on the page") as refused:
        choose(URGENT.name, actor=developer, on_page=False)
    assert refused.value.where == "on_page"
    choose(URGENT.name, actor=developer, by_mail="never")
    tell(developer, "1", URGENT)
    assert deliver(NOW)["made"] == 0
    assert shown(developer) == ["CVE-2026-1"]


def test_a_row_that_would_hide_what_is_urgent_hides_nothing(developer: Person) -> None:
    KindChoice.objects.create(user=developer, kind=URGENT.name, by_mail="never", on_page=False)
    tell(developer, "1", URGENT)
    assert shown(developer) == ["CVE-2026-1"]


def test_what_is_urgent_in_the_product(db: None) -> None:
    urgent = {kind.name for kind in kinds.kinds() if kind.is_urgent} - {URGENT.name}
    assert urgent == {"exploited-flaw", "break-glass-waiting", "break-glass-used", "incident", "sign-in-code"}


# --- choosing ---


def test_nobody_chooses_for_another(developer: Person, stranger: Person) -> None:
    developer.api.patch(f"/api/v1/notifications/kinds/{FLAW.name}/", {"by_mail": "never"})
    found = {row["kind"]: row["by_mail"] for row in stranger.api.get("/api/v1/notifications/kinds/").json()}
    assert found[FLAW.name] == "digest"
    assert queries.own_choices(developer) != queries.own_choices(stranger)


def test_a_kind_or_a_way_that_is_none_is_refused(developer: Person) -> None:
    with pytest.raises(NotFound, match="no kind of news"):
        choose("no-such", actor=developer, on_page=False)
    with pytest.raises(Invalid, match="expected one of at-once, digest, never"):
        choose(FLAW.name, actor=developer, by_mail="sometimes")


def test_the_page_keeps_what_is_chosen_for_each_kind(developer: Person) -> None:
    page = developer.client.get("/notifications/settings/").content.decode()
    assert f'name="page-{FLAW.name}"' in page
    assert f'name="page-{URGENT.name}"' not in page
    entered = {f"mail-{kind.name}": "digest" for kind in kinds.kinds()} | {f"mail-{FLAW.name}": "never"}
    answer = developer.client.post("/notifications/settings/kinds/", entered)
    assert answer.status_code == 303
    found = {kind.name: (c.by_mail, c.on_page) for kind, c in queries.own_choices(developer)}
    assert found[FLAW.name] == ("never", False)
    assert found[WAITS.name] == ("digest", False)
    assert found[URGENT.name] == ("digest", True)
    wrong = developer.client.post("/notifications/settings/kinds/", entered | {f"mail-{FLAW.name}": "sometimes"})
    assert wrong.status_code == 422
