"""Events of an IPS or a WAF as evidence for a control that leans on one of its rules."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.decisions.controls import Says
from secguard.errors import Invalid
from secguard.events.record import Kind, Line, story_of
from secguard.events.services import recording
from secguard.runtime import controls

pytestmark = pytest.mark.django_db
WATCH = {"source": "modsecurity", "rule": "SQLi", "hours": 24}


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def tried(now: datetime) -> Callable[..., None]:
    """The rule was tried ``ago``, with that outcome."""

    def record(outcome: str, ago: timedelta, **changes: Any) -> None:
        told: dict[str, Any] = {
            "kind": Kind.NETWORK,
            "source": "modsecurity",
            "rule": "SQLi",
            "title": f"SQLi: {outcome}",
        }
        told |= {"at": now - ago, "outcome": outcome} | changes
        with transaction.atomic():
            recording.record([Line(story=story_of(sorted(map(str, told.items()))), **told)], now)

    return record


def says(application: Application | None, now: datetime, **changes: Any) -> Says | None:
    seen = controls.look(WATCH | changes, application, now)
    return seen.says if seen else None


def test_a_rule_that_nothing_tried_says_nothing(now: datetime, tried: Callable[..., None]) -> None:
    assert says(None, now) is None
    tried("blocked", timedelta(hours=25))
    tried("blocked", timedelta(hours=1), rule="another")
    tried("blocked", timedelta(hours=1), source="suricata")
    assert says(None, now) is None
    assert says(None, now, hours=48) is Says.HOLDS


@pytest.mark.parametrize("let_pass", ["detected", "allowed"])
def test_the_last_time_counts(now: datetime, tried: Callable[..., None], let_pass: str) -> None:
    tried("blocked", timedelta(hours=3))
    assert says(None, now) is Says.HOLDS
    tried(let_pass, timedelta(hours=2))
    assert says(None, now) is Says.CONTRADICTS
    tried("blocked", timedelta(hours=1))
    assert says(None, now) is Says.HOLDS


def test_another_applications_traffic_says_nothing(
    now: datetime, tried: Callable[..., None], application: Application, other_application: Application
) -> None:
    tried("blocked", timedelta(hours=1), application_id=other_application.pk, team_id=other_application.team_id)
    tried("blocked", timedelta(hours=1))
    assert says(application, now) is None
    assert says(application, now, shared=True) is Says.HOLDS
    tried("blocked", timedelta(hours=1), application_id=application.pk, cluster="prod")
    assert says(application, now) is Says.HOLDS
    assert says(application, now, cluster="staging") is None


@pytest.mark.parametrize(
    ("watch", "where"),
    [
        ({"rule": "x"}, "watch.source"),
        ({"source": "modsecurity"}, "watch.rule"),
        ({"source": "nobody", "rule": "x"}, "watch.source"),
        ({"source": "falco", "rule": "x" * 201}, "watch.rule"),
        ({"source": "falco", "rule": "x", "hours": 0}, "watch.hours"),
        ({"source": "falco", "rule": "x", "hours": True}, "watch.hours"),
        ({"source": "falco", "rule": "x", "shared": "yes"}, "watch.shared"),
        ({"source": "falco", "rule": "x", "cluster": 7}, "watch.cluster"),
        ({"source": "falco", "rule": "x", "more": 1}, "watch"),
    ],
)
def test_what_cannot_be_watched_is_refused(watch: dict[str, Any], where: str, reviewer: Any) -> None:
    with pytest.raises(Invalid) as refused:
        controls.check(watch, None, reviewer)
    assert refused.value.where == where


def test_what_is_watched_is_kept_as_it_was_agreed(application: Application, reviewer: Any) -> None:
    told = {"source": "suricata", "rule": "ET EXPLOIT", "cluster": "prod", "shared": True}
    assert controls.check(told, application, reviewer) == {**told, "hours": 24}
    assert "shared" not in controls.check(told, None, reviewer)
