from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secguard.findings.severity import LABELS, Severity
from secguard.policies.facts import Facts, FindingFact, Gate, ImageFact, ScanFact
from secguard.policies.vocabulary import COUNTS, FINDING, IMAGE, NEVER_DAYS, RECORDS, count_values, image_values, rank

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOCS = Path(__file__).parents[2] / "docs" / "policy.md"
PYTHON = {"bool": bool, "int": int, "double": float, "string": str, "list": (list, tuple), "map": dict}
BARE = FindingFact(id=1, risk=1, kind="secret", first_seen_at=NOW)
NOTHING = Facts(stage=Gate.BUILD, image=ImageFact(digest="sha256:aa"))


def test_every_word_has_a_value_of_its_type_even_where_nothing_is_known():
    image, counts = image_values(NOTHING, NOW), count_values([], NOW)
    for name, word in FINDING.items():
        assert isinstance(word.read(BARE, NOW), PYTHON[word.type.name]), name
    for name, word in IMAGE.items():
        assert isinstance(image[name], PYTHON[word.type.name]), name
    assert counts == dict.fromkeys(COUNTS, 0)


def test_what_was_never_scanned_is_older_than_any_limit():
    assert image_values(NOTHING, NOW)["scan_age_days"] == NEVER_DAYS


def test_scans_count_where_they_are_complete_and_looked_for_it():
    scans = (
        ScanFact(
            id=1,
            scanner="trivy",
            finished_at=NOW - 3 * DAY,
            covers=("vulnerability",),
            database_updated_at=NOW - 5 * DAY,
        ),
        ScanFact(id=2, scanner="grype", finished_at=NOW, complete=False, covers=("malware",)),
        ScanFact(id=3, scanner="dockle", finished_at=NOW, covers=("hygiene",)),
    )
    found = image_values(Facts(stage=Gate.BUILD, image=NOTHING.image, scans=scans), NOW)
    assert found["scanned_for"] == ["hygiene", "vulnerability"]
    assert found["scanners"] == ["dockle", "trivy"]
    assert (found["scan_age_days"], found["database_age_days"], found["has_database_age"]) == (3, 5, True)


@pytest.mark.parametrize(
    ("changes", "word", "expected"),
    [
        ({"first_seen_at": NOW - 2 * DAY - timedelta(hours=23)}, "age_days", 2),
        ({"first_seen_at": NOW + DAY}, "age_days", 0),
        ({"due_at": NOW}, "overdue", True),
        ({"due_at": NOW + timedelta(seconds=1)}, "overdue", False),
        ({"purl": "pkg:deb/debian/x@1"}, "ecosystem", "deb"),
        ({"purl": "x"}, "ecosystem", ""),
        ({"epss": 0.0}, "has_epss", True),
        ({}, "has_epss", False),
        ({}, "epss", 0.0),
    ],
)
def test_words_of_a_finding(changes, word, expected):
    fact = FindingFact(**({"id": 1, "risk": 1, "kind": "vulnerability", "first_seen_at": NOW} | changes))
    assert FINDING[word].read(fact, NOW) == expected


def test_rank_is_the_scale():
    assert [rank(w) for w in LABELS] == sorted(Severity, reverse=True)


def test_the_documentation_lists_every_word_with_its_type():
    text = DOCS.read_text(encoding="utf-8")
    for record, words in RECORDS.items():
        for name, word in words.items():
            assert f"| `{record}.{name}` | {word.type} | {word.about} |" in text
