"""An image that is posted, judged and decided on over the API, at instants that the test sets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.fixtures_reports import digest, flaw, report

REFERENCE = "reg.example/shop/web"
START = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
CRITICAL = flaw("CVE-2026-0001", severity="critical", fixed_versions=["1.1.1w"])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., datetime]:
    """Sets the time to so many minutes (and hours) after the start."""

    def at(**past: float) -> datetime:
        moment = START + timedelta(**past)
        monkeypatch.setattr(timezone, "now", lambda: moment)
        return moment

    at()
    return at


@pytest.fixture
def post(developer: Any, application: Any, run_jobs: Any) -> Callable[..., str]:
    """Posts a report of image ``number`` and returns its digest."""

    def posted(number: int = 1, *findings: dict[str, Any], reference: str = REFERENCE, by: Any = None) -> str:
        raw = report(*(findings or (CRITICAL,)), image={"reference": f"{reference}:1", "digest": digest(number)})
        person = by or developer
        answer = person.api.post("/api/v1/reports/", data=raw, content_type="application/json")
        assert answer.status_code in (200, 202), answer.content
        run_jobs()
        return digest(number)

    return posted


@pytest.fixture
def accept(developer: Any, reviewer: Any) -> Callable[..., int]:
    """The developer asks to accept the flaw, the reviewer approves; returns the decision's id."""

    def accepted(until: datetime, name: str = "CVE-2026-0001", by: Any = None, repository: str = REFERENCE) -> int:
        person = by or developer
        risk = person.api.get(f"/api/v1/risks/?search={name}").json()["results"][0]["id"]
        body = {
            "kind": "accept",
            "risk": risk,
            "scope": {"repository": repository},
            "reason": "Nothing of it is reachable.",
            "expires_at": until.isoformat(),
        }
        asked = person.api.post("/api/v1/decisions/", body)
        assert asked.status_code == 201, asked.content
        pk = int(asked.json()["id"])
        answer = reviewer.api.post(f"/api/v1/decisions/{pk}/approve/", {"comment": "until the fix"})
        assert answer.status_code == 200, answer.content
        return pk

    return accepted


def verdict_at(person: Any, image: str, at: datetime, stage: str = "build") -> dict[str, Any]:
    moment = at.isoformat().replace("+00:00", "Z")
    answer = person.api.get(f"/api/v1/images/{image}/verdict/?stage={stage}&at={moment}")
    assert answer.status_code == 200, answer.content
    found: dict[str, Any] = answer.json()
    return found


def timeline_of(person: Any, image: str, query: str = "") -> list[dict[str, Any]]:
    answer = person.api.get(f"/api/v1/images/{image}/history/{query}")
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    return found
