"""A clock that jumps by hours, both ways: what has ended stays ended, no end is lost, the audit log stays whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.audit import services as audit
from secguard.decisions.models import Decision, counts_at
from secguard.decisions.services import end_due
from secguard.images.models import Image
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.policies.services import verdict_of
from tests.fixtures_reports import digest
from tests.flows.test_exception_story import ask, pipeline

__all__ = ["pipeline"]

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], datetime]:
    """Sets the server's clock so far from the real one."""
    real = timezone.now

    def set_off(by: timedelta) -> datetime:
        monkeypatch.setattr(timezone, "now", lambda: real() + by)
        return timezone.now()

    return set_off


def said() -> str:
    return str(verdict_of(Image.objects.get(digest=digest(1)), Gate.BUILD).verdict)


@pytest.fixture
def accepted(pipeline: Any, developer: Any, reviewer: Any, run_jobs: Any) -> int:
    """Until two days from now."""
    (reason,) = [r for r in pipeline(1)["reasons"] if r["effect"] == "block"]
    end = (timezone.now() + 2 * DAY).isoformat()
    pk: int = ask(developer, reason["findings"][0]["risk"], expires_at=end).json()["id"]
    assert reviewer.api.post(f"/api/v1/decisions/{pk}/approve/", {}).status_code == 200
    run_jobs()
    assert said() != "block"
    return pk


def test_past_its_end_it_counts_for_nothing_though_no_worker_said_so(accepted: int, developer: Any, clock: Any) -> None:
    clock(2 * DAY + HOUR)
    assert said() == "block"
    assert not Decision.objects.filter(counts_at(timezone.now())).exists()
    assert Decision.objects.get(pk=accepted).status == "approved"


def test_what_has_ended_stays_ended_when_the_clock_goes_back(
    accepted: int, developer: Any, clock: Any, run_jobs: Any
) -> None:
    clock(2 * DAY + HOUR)
    end_due()
    assert Decision.objects.get(pk=accepted).status == "ended"
    clock(timedelta(0))
    run_jobs()
    assert Decision.objects.get(pk=accepted).status == "ended"
    assert said() == "block"
    clock(-5 * HOUR)
    assert said() == "block"
    assert audit.verify().intact


def test_no_end_is_lost_in_a_jump_over_it(accepted: int, developer: Any, clock: Any, run_jobs: Any) -> None:
    clock(-6 * HOUR)
    end_due()
    assert Decision.objects.get(pk=accepted).status == "approved"
    clock(40 * DAY)
    end_due()
    run_jobs()
    decision = Decision.objects.get(pk=accepted)
    assert decision.status == "ended"
    assert decision.ended_at is not None
    assert said() == "block"


def test_a_verdict_of_a_clock_behind_lets_nothing_pass_once_it_is_right(
    accepted: int, developer: Any, clock: Any
) -> None:
    """Behind, the decision stands, and its verdict says until when: past as soon as the clock is right."""
    clock(2 * DAY + HOUR)
    assert said() == "block"
    clock(2 * DAY - HOUR)
    Verdict.objects.update(valid_until=timezone.now())
    assert said() != "block"
    clock(2 * DAY + HOUR)
    assert said() == "block"


def test_votes_by_a_clock_that_went_back_are_in_the_log_in_their_order(
    pipeline: Any, developer: Any, reviewer: Any, clock: Any
) -> None:
    (reason,) = [r for r in pipeline(1)["reasons"] if r["effect"] == "block"]
    pk = ask(developer, reason["findings"][0]["risk"]).json()["id"]
    clock(-3 * HOUR)
    answer = reviewer.api.post(f"/api/v1/decisions/{pk}/approve/", {})
    assert answer.status_code == 200, answer.content
    clock(timedelta(0))
    assert Decision.objects.get(pk=pk).status == "approved"
    assert audit.verify().intact


def test_an_end_of_the_past_is_refused_by_the_servers_clock(pipeline: Any, developer: Any, clock: Any) -> None:
    (reason,) = [r for r in pipeline(1)["reasons"] if r["effect"] == "block"]
    end = (timezone.now() + HOUR).isoformat()
    clock(3 * HOUR)
    refused = ask(developer, reason["findings"][0]["risk"], expires_at=end)
    assert refused.status_code == 422
    assert not Decision.objects.exists()
