"""What comes first, and why; no database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from secguard.findings.severity import Severity
from secguard.incidents.ranking import Facts, rank

PLAIN = Facts(severity=Severity.LOW, stories=1, is_new=False)


@pytest.mark.parametrize(
    "worse",
    [
        {"severity": Severity.MEDIUM},
        {"stories": 3},
        {"is_new": True},
        {"has_malware": True},
        {"is_privileged": True},
        {"holds_data": True},
        {"has_known_exploited": True},
        {"returned": "it came again"},
    ],
)
def test_each_fact_raises_it_and_says_why(worse: dict[str, Any]) -> None:
    plain, found = rank(PLAIN), rank(replace(PLAIN, **worse))
    assert found.score > plain.score
    assert found.score == sum(r.points for r in found.reasons)
    assert set(found.reasons) - set(plain.reasons)
    assert all(r.words for r in found.reasons)


def test_many_stories_alone_never_come_before_what_is_severe() -> None:
    assert rank(replace(PLAIN, stories=100_000)).score < rank(replace(PLAIN, severity=Severity.HIGH)).score
