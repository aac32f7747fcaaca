"""Who is told of break-glass: whoever may grant one, who asked, and whoever has to look at its use. Nobody else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.admission import services
from secguard.notifications.models import Notice, NoticeLine
from secguard.notifications.rhythm import Rhythm, Wishes, is_due
from secguard.notifications.services.delivering import gather
from tests.admission.conftest import BAD
from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import digest

WHY = "The shop is down without it."
AskPod = Callable[..., dict[str, Any]]


def unread(person: Person) -> list[str]:
    """Kinds of what the person has not read."""
    return sorted(Notice.objects.visible_to(person).unread().values_list("kind", flat=True))


def line(person: Person, kind: str) -> dict[str, Any]:
    facts: dict[str, Any] = NoticeLine.objects.get(user=person, kind=kind).facts
    return facts


@pytest.fixture
def people(
    operator: Person,
    reviewer: Person,
    administrator: Person,
    developer: Person,
    stranger: Person,
    business_approver: Person,
    make_person: MakePerson,
    team: Any,
) -> dict[str, Person]:
    """Three who may grant, and everybody who may not: a team's own operator among them."""
    found = {p.username: p for p in (operator, reviewer, administrator, developer, stranger, business_approver)}
    return found | {"near": make_person("near", "operator", team=team)}


@pytest.fixture
def asked(gate: Any, images: None, people: dict[str, Person], operator: Person) -> int:
    return services.request_glass("prod", "shop", digest(2), minutes=30, reason=WHY, actor=operator).pk


pytestmark = pytest.mark.django_db
OUTSIDE = ("developer", "stranger", "business_approver", "near")


def test_who_may_grant_is_told_once_and_nobody_else(asked: int, people: dict[str, Person]) -> None:
    told = {name: unread(person) for name, person in people.items()}
    assert told.pop("reviewer") == told.pop("administrator") == ["break-glass-waiting"]
    assert told == {"operator": [], **{name: [] for name in OUTSIDE}}
    said = line(people["reviewer"], "break-glass-waiting")
    assert said["what"] == "One start of reg.example/shop/web@000000000000"
    assert said["where"] == "prod, namespace shop"
    assert said["note"] == f"asked for by Operator, for 30 minutes: {WHY}"
    assert people["reviewer"].client.get(said["url"]).status_code == 200


def test_the_answer_reaches_who_asked_and_settles_what_waited(
    asked: int, people: dict[str, Person], ask_pod: AskPod
) -> None:
    services.grant_glass(asked, actor=people["reviewer"])
    assert {name: unread(p) for name, p in people.items() if unread(p)} == {"operator": ["break-glass-granted"]}
    assert "granted by Reviewer; it may be used once, until" in line(people["operator"], "break-glass-granted")["note"]
    assert ask_pod(BAD)["allowed"]
    # Used: the grant is over, and it waits for whoever may look at it; who asked may not.
    waits = ["break-glass-used"]
    assert {name: unread(p) for name, p in people.items() if unread(p)} == {
        "reviewer": waits,
        "administrator": waits,
    }
    assert line(people["administrator"], "break-glass-used")["note"].startswith("Pod shop/web-1, asked for by ann; ")
    services.review_glass(asked, review="It was the hotfix.", actor=people["administrator"])
    assert not any(unread(person) for person in people.values())


def test_a_refusal_is_told_with_who_refused(asked: int, people: dict[str, Person]) -> None:
    services.refuse_glass(asked, actor=people["administrator"])
    assert {name: unread(p) for name, p in people.items() if unread(p)} == {"operator": ["break-glass-refused"]}
    assert line(people["operator"], "break-glass-refused")["note"] == "refused by Administrator"


def test_what_is_withdrawn_waits_for_nobody(asked: int, people: dict[str, Person]) -> None:
    services.withdraw_glass(asked, actor=people["operator"])
    assert not any(unread(person) for person in people.values())


def test_a_grant_that_somebody_else_takes_back_is_told(asked: int, people: dict[str, Person]) -> None:
    services.grant_glass(asked, actor=people["reviewer"])
    services.withdraw_glass(asked, actor=people["administrator"])
    assert {name: unread(p) for name, p in people.items() if unread(p)} == {"operator": ["break-glass-refused"]}
    assert line(people["operator"], "break-glass-refused")["note"] == "withdrawn by Administrator"


def test_an_image_that_nobody_knows_is_called_by_its_digest(gate: Any, people: dict[str, Person]) -> None:
    services.request_glass("prod", "shop", "sha256:" + "ab" * 32, minutes=1, reason=WHY, actor=people["operator"])
    said = line(people["reviewer"], "break-glass-waiting")
    assert said["what"] == "One start of abababababab"
    assert "for 1 minute:" in said["note"]


def test_nobody_whose_account_has_ended_is_told(gate: Any, people: dict[str, Person]) -> None:
    type(people["administrator"]).objects.filter(username="administrator").update(is_active=False)
    services.request_glass("prod", "shop", digest(2), minutes=5, reason=WHY, actor=people["operator"])
    assert set(Notice.objects.values_list("user__username", flat=True)) == {"reviewer"}


def test_minutes_count_so_the_message_waits_for_no_hour(asked: int, people: dict[str, Person]) -> None:
    from secguard.notifications.models import Message
    from secguard.notifications.rhythm import MessageStatus

    now = timezone.now()
    for person in people.values():
        Message.objects.create(
            user=person, message_id=f"<{person.pk}>", status=MessageStatus.SENT, next_at=now, ended_at=now
        )
    letters = list(gather(now + timedelta(minutes=1)))
    assert {m.user_id for m in letters} == {people["reviewer"].pk, people["administrator"].pk}


@pytest.mark.parametrize("rhythm", Rhythm)
def test_at_once_is_at_once_but_for_quiet_hours(rhythm: Rhythm) -> None:
    now = timezone.now().replace(hour=12, minute=10)
    news = {"first": now - timedelta(minutes=1), "latest": now - timedelta(minutes=1), "last_sent": now}
    assert is_due(Wishes(rhythm), **news, now=now, at_once=True)
    assert is_due(Wishes(rhythm), **news, now=now) == (rhythm is Rhythm.AT_ONCE)
    assert not is_due(Wishes(rhythm, quiet_from=12, quiet_until=13), **news, now=now, at_once=True)
