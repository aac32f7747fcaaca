"""The product's own sources are read into the store: each line once, whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application, Team
from secguard.audit import services as audit
from secguard.events import sources
from secguard.events.models import Event, Position, Tally
from secguard.events.record import Kind, Line
from secguard.events.services import collecting
from secguard.events.sources import After, Pulled
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db


def note(subject: str, team_id: int | None = None) -> None:
    with transaction.atomic():
        audit.record("team:rename", actor=None, subject_type="team", subject_id=1, subject=subject, team_id=team_id)


def of_log() -> list[str]:
    return [e.title for e in Event.objects.filter(kind=Kind.AUDIT).order_by("at", "pk")]


def test_the_log_is_read_once_and_in_its_order() -> None:
    note("one")
    note("two")
    assert collecting.collect()["audit"] == 2
    note("three")
    assert collecting.collect()["audit"] == 1
    assert collecting.collect()["audit"] == 0
    assert of_log() == [f"team:rename: team {name}" for name in ("one", "two", "three")]
    event = Event.objects.order_by("-pk")[0]
    assert (event.source, event.rule, event.actor, event.detail["subject_id"]) == (
        "secguard", "team:rename", "system", "1",
    )  # fmt: skip
    assert sources.address_of(event.ref, event) == f"/audit/{event.ref.removeprefix('audit:')}/"


def test_a_long_log_is_read_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "LIMIT", 2)
    monkeypatch.setattr(collecting, "ROUNDS", 2)
    for n in range(7):
        note(str(n))
    assert [collecting.collect()["audit"] for _ in range(3)] == [4, 3, 0]
    assert len(of_log()) == 7


def test_only_the_last_days_are_read_the_first_time() -> None:
    note("old")
    now = timezone.now() + sources.FIRST_DAYS + timedelta(hours=1)
    assert collecting.collect(now)["audit"] == 0
    note("new")
    assert collecting.collect(now)["audit"] == 1


@pytest.fixture
def failing(line: Callable[..., Line]) -> Iterator[list[datetime]]:
    """A source that fails in the middle the first time it is read."""
    asked: list[datetime] = []

    def pull(after: After, limit: int, now: datetime) -> Pulled:
        asked.append(now)
        if len(asked) == 1:
            raise ValueError("in the middle")
        return Pulled([line(1, fingerprint=None)], {"read": True}) if not after else Pulled([], dict(after))

    sources.register("failing", pull)
    yield asked
    sources.forget("failing")


def test_a_source_that_fails_stops_no_other_and_goes_on_later(failing: list[datetime]) -> None:
    note("one")
    assert collecting.collect().get("failing") is None
    assert of_log() == ["team:rename: team one"]
    assert collecting.collect()["failing"] == 1
    assert collecting.collect()["failing"] == 0
    assert Position.objects.get(source="failing").after == {"read": True}


def test_the_log_is_shown_to_its_readers_alone(
    make_person: MakePerson, team: Team, other_team: Team, administrator: Person, viewer: Person, stranger: Person
) -> None:
    """The team's operator may read the team's entries, its viewer none, and nobody else any."""
    note("ours", team.pk)
    note("theirs", other_team.pk)
    note("everybody's")
    collecting.collect()
    seen = {
        "operator": make_person("op", "operator", team=team),
        "administrator": administrator,
        "viewer": viewer,
        "stranger": stranger,
        "wide viewer": make_person("wide", "viewer"),
    }
    titles = {
        name: {e.title.split()[-1] for e in Event.objects.visible_to(person).filter(kind=Kind.AUDIT)}
        for name, person in seen.items()
    }
    assert titles["operator"] == {"ours"}
    assert titles["administrator"] >= {"ours", "theirs", "everybody's"}
    assert titles["viewer"] == titles["stranger"] == titles["wide viewer"] == set()
    tallies = {t.title.split()[-1] for t in Tally.objects.visible_to(viewer).filter(kind=Kind.AUDIT)}
    assert tallies == set()


def test_a_team_s_event_is_its_own(
    line: Callable[..., Line], application: Application, viewer: Person, stranger: Person, administrator: Person
) -> None:
    from secguard.events.services.recording import record

    with transaction.atomic():
        owned = {"application_id": application.pk, "team_id": application.team_id}
        record([line(1, **owned), line(2, story="nobody's")], timezone.now())
    counts = [Event.objects.visible_to(p).count() for p in (viewer, stranger, administrator)]
    assert counts == [1, 0, 2]
    assert [Tally.objects.visible_to(p).count() for p in (viewer, stranger, administrator)] == [1, 0, 2]
