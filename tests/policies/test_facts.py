from __future__ import annotations

from datetime import UTC, datetime

import pytest

from secguard.errors import Invalid
from secguard.policies.facts import DecisionFact, Facts, FindingFact, Gate, ImageFact, ScanFact, decode, encode

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FINDING = FindingFact(
    id=1,
    risk=2,
    kind="vulnerability",
    first_seen_at=NOW,
    decision=DecisionFact(id=3, kind="accept", scope="organisation", expires_at=NOW),
)
FACTS = Facts(
    stage=Gate.ADMIT,
    image=ImageFact(digest="sha256:aa", labels={"b": "1", "a": "2"}),
    findings=(FINDING,),
    scans=(ScanFact(id=4, scanner="trivy", finished_at=NOW, covers=("vulnerability",)),),
)


def test_facts_come_back_as_they_were_stored():
    assert decode(encode(FACTS)) == FACTS


def test_equal_facts_give_equal_bytes():
    turned = Facts(
        stage=Gate.ADMIT,
        image=ImageFact(digest="sha256:aa", labels={"a": "2", "b": "1"}),
        findings=FACTS.findings,
        scans=FACTS.scans,
    )
    assert encode(turned) == encode(FACTS)


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b'{"stage":"build"}', b'{"stage":"launch","image":{"digest":"x"}}', b"\xff"]
)
def test_other_bytes_are_refused(raw):
    with pytest.raises(Invalid, match="stored facts"):
        decode(raw)


def test_facts_cannot_be_changed():
    with pytest.raises(AttributeError):
        FINDING.severity = "low"
