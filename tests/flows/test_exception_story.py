"""A developer is blocked, asks, a reviewer decides, the pipeline passes: all of it over the surface others script."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.utils import timezone

from secguard.audit import services as audit
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db
REFERENCE = "reg.example/shop/web"
CRITICAL = flaw("CVE-2026-0001", severity="critical", fixed_versions=["1.1.1w"])


@pytest.fixture
def pipeline(developer: Any, application: Any, run_jobs: Any) -> Any:
    """Builds image ``number``, posts its report with the developer's token, and asks the gate."""

    def run(number: int, *findings: dict[str, Any], tag: str = "") -> dict[str, Any]:
        image = {"reference": f"{REFERENCE}:{tag or number}", "digest": digest(number)}
        raw = report(*(findings or (CRITICAL,)), image=image)
        answer = developer.api.post("/api/v1/reports/", data=raw, content_type="application/json")
        assert answer.status_code in (200, 202), answer.content
        run_jobs()
        return verdict(developer, number)

    return run


def verdict(person: Any, number: int) -> dict[str, Any]:
    answer = person.api.get(f"/api/v1/images/{digest(number)}/verdict/?stage=build")
    assert answer.status_code == 200, answer.content
    document: dict[str, Any] = answer.json()
    return document


def blocking(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in document["reasons"] if r["effect"] == "block"]


def ask(person: Any, risk: int, **changed: Any) -> Any:
    body = {
        "kind": "accept",
        "risk": risk,
        "scope": {"repository": REFERENCE},
        "reason": "The service does not parse certificates of others.",
        "expires_at": (timezone.now() + timedelta(days=14)).isoformat(),
    }
    return person.api.post("/api/v1/decisions/", body | changed)


def test_blocked_asked_approved_passed_and_back(pipeline: Any, developer: Any, reviewer: Any, run_jobs: Any) -> None:
    (reason,) = blocking(pipeline(1))
    risk = reason["findings"][0]["risk"]

    # The verdict's own link opens the form with the risk in it; a person who may ask sees what it would cover.
    link = urlsplit(reason["remedy"]["exception"]["url"])
    page = developer.client.get(f"{link.path}?{link.query}").content.decode()
    assert "CVE-2026-0001" in page
    assert REFERENCE in page

    asked = ask(developer, risk)
    assert asked.status_code == 201, asked.content
    decision = asked.json()["id"]
    assert verdict(developer, 1)["verdict"] == "block"
    assert developer.api.post(f"/api/v1/decisions/{decision}/approve/").status_code == 403
    assert verdict(developer, 1)["verdict"] == "block"

    assert reviewer.api.post(f"/api/v1/decisions/{decision}/approve/", {"comment": "until then"}).status_code == 200
    passed = verdict(developer, 1)
    assert passed["verdict"] != "block"
    assert decision in [d["id"] if isinstance(d, dict) else d for d in passed["decisions"]]

    # The next image, another tag and another digest, needs no new decision.
    assert pipeline(2, tag="latest")["verdict"] != "block"
    # Another flaw is not covered by it.
    other = flaw("CVE-2026-0002", "zlib1g", severity="critical", fixed_versions=["1.3"])
    assert [f["name"] for r in blocking(pipeline(3, CRITICAL, other)) for f in r["findings"]] == ["CVE-2026-0002"]

    revoked = reviewer.api.post(f"/api/v1/decisions/{decision}/revoke/", {"reason": "The fix is easy."})
    assert revoked.status_code == 200
    assert verdict(developer, 2)["verdict"] == "block"
    assert audit.verify().intact


def test_it_ends_by_itself_at_its_instant(
    pipeline: Any, developer: Any, reviewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    risk = blocking(pipeline(1))[0]["findings"][0]["risk"]
    ends = timezone.now() + timedelta(hours=2)
    decision = ask(developer, risk, expires_at=ends.isoformat()).json()["id"]
    reviewer.api.post(f"/api/v1/decisions/{decision}/approve/")
    passed = verdict(developer, 1)
    assert passed["verdict"] != "block"
    assert passed["valid_until"][:19] <= ends.isoformat()[:19]
    monkeypatch.setattr(timezone, "now", lambda: ends)
    assert verdict(developer, 1)["verdict"] == "block"


def test_a_material_change_reopens_it(pipeline: Any, developer: Any, reviewer: Any, run_jobs: Any) -> None:
    high = flaw("CVE-2026-0003", severity="medium", fixed_versions=["2"], epss=0.2)
    pipeline(1, high)
    risk = developer.api.get("/api/v1/risks/?search=CVE-2026-0003").json()["results"][0]["id"]
    decision = ask(developer, risk).json()["id"]
    reviewer.api.post(f"/api/v1/decisions/{decision}/approve/")
    worse = high | {"severity": "critical"}
    assert pipeline(2, worse)["verdict"] == "block"
    document = developer.api.get(f"/api/v1/decisions/{decision}/").json()
    assert document["status"] == "ended"
    assert "severity rose from medium to critical" in document["end_reason"]


def test_a_stranger_sees_none_of_it(pipeline: Any, developer: Any, reviewer: Any, stranger: Any) -> None:
    risk = blocking(pipeline(1))[0]["findings"][0]["risk"]
    decision = ask(developer, risk).json()["id"]
    assert ask(stranger, risk).status_code == 404
    assert stranger.api.get(f"/api/v1/decisions/{decision}/").status_code == 404
    assert stranger.api.get("/api/v1/decisions/").json()["count"] == 0
    assert stranger.client.get(f"/decisions/new/?risk={risk}").status_code == 404
