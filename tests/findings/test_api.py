"""Findings, risks and exposures over REST: filters, orders, counts, and who sees what."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures_people import Person
from tests.fixtures_reports import flaw, report


@pytest.fixture
def three(post: Any, developer: Person, application: Any) -> None:
    found = (
        flaw("CVE-2026-1", severity="critical", fixed_versions=["2"]),
        flaw("CVE-2026-2", "zlib", severity="low"),
        {"kind": "secret", "id": "aws-key", "path": "/app/.env", "fingerprint": "abc", "severity": "high"},
    )
    post(report(*found, covers=["vulnerability", "secret"]), developer, application=application.slug)


def names(person: Person, path: str) -> list[str]:
    answer = person.api.get(path)
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["findings", "risks", "exposures"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ordering=-severity", ["CVE-2026-1", "aws-key", "CVE-2026-2"]),
        ("ordering=severity", ["CVE-2026-2", "aws-key", "CVE-2026-1"]),
        ("severity=low", ["CVE-2026-2"]),
        ("kind=secret", ["aws-key"]),
        ("kind=malware", []),
    ],
)
def test_lists_narrow_and_sort(three: None, developer: Person, what: str, query: str, expected: list[str]) -> None:
    assert names(developer, f"/api/v1/{what}/?{query}") == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("CVE-2026-77", True),
        ("cve-2026-7700", True),
        ("GHSA-AB", True),
        ("ghsa-ab12-cd34-ef56", True),
        ("CVE-2026-78", False),
        ("VE-2026-7700", True),
        ("libsearch", True),
        ("deb/debian/libsearch@1.2", True),
        ("1.2.3-search", True),
        ("1.2.4", False),
    ],
)
def test_findings_and_risks_are_found_by_their_names_and_parts(
    post: Any, developer: Person, application: Any, text: str, is_found: bool
) -> None:
    version = "1.2.3-search"
    found = flaw("CVE-2026-7700", "libsearch", version=version, aliases=["GHSA-ab12-cd34-ef56"])
    post(report(found, flaw("CVE-2026-7900", "other")), developer, application=application.slug)
    expected = ["CVE-2026-7700"] if is_found else []
    assert names(developer, f"/api/v1/findings/?search={text}") == expected
    if "@" not in text and "1.2" not in text:
        assert names(developer, f"/api/v1/risks/?search={text}") == expected


@pytest.mark.django_db
@pytest.mark.parametrize("what", ["findings", "risks", "exposures"])
def test_a_stranger_sees_none_of_it_in_lists_counts_or_alone(
    three: None, developer: Person, stranger: Person, what: str
) -> None:
    row = developer.api.get(f"/api/v1/{what}/").json()["results"][0]
    query = "?kind=vulnerability" if what == "exposures" else "?search=CVE"
    theirs = stranger.api.get(f"/api/v1/{what}/{query}").json()
    assert (theirs["results"], theirs["count"]) == ([], 0)
    assert stranger.api.get(f"/api/v1/{what}/{row['id']}/").status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("fix_available=true", ["CVE-2026-1"]),
        ("search=zlib", ["CVE-2026-2"]),
        ("open=false", []),
        ("search=aws", ["aws-key"]),
    ],
)
def test_risks_by_what_is_known_of_them(three: None, developer: Person, query: str, expected: list[str]) -> None:
    assert names(developer, f"/api/v1/risks/?{query}") == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["severity=dire", "kind=x", "risk=0", "risk=1e3", "ordering=name", "search=%00", "status=gone"]
)
def test_what_a_list_does_not_take_is_said(three: None, developer: Person, query: str) -> None:
    answer = developer.api.get(f"/api/v1/findings/?{query}")
    assert answer.status_code == 400
    assert answer.json()["where"] == query.partition("=")[0]


@pytest.mark.django_db
def test_exposures_by_deadline_and_decision(three: None, developer: Person) -> None:
    rows = developer.api.get("/api/v1/exposures/").json()["results"]
    due = [row for row in rows if row["due_at"]]
    assert due, "the default risk appetite sets a deadline for a critical vulnerability with a fix"
    assert names(developer, "/api/v1/exposures/?due_before=2000-01-01T00:00:00Z") == []
    assert len(names(developer, "/api/v1/exposures/?covered=false")) == 3
    assert names(developer, "/api/v1/exposures/?covered=true") == []
    assert names(developer, "/api/v1/exposures/?resolved=true") == []
