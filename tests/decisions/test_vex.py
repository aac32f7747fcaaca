"""Decisions as OpenVEX: what each kind says, and that the same ones make the same document."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.vex import Judgement, openvex

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
PRODUCT = f"pkg:oci/api@sha256%3A{'ab' * 32}?repository_url=reg.example/shop/api"
ONE = Judgement(
    decision=7,
    kind=DecisionKind.ACCEPT,
    vulnerability="CVE-2026-1",
    aliases=["GHSA-1", "CVE-2026-1"],
    purls=["pkg:deb/debian/zlib@1", "pkg:deb/debian/openssl@1"],
    approved_at=AT,
    expires_at=datetime(2026, 12, 24, tzinfo=UTC),
    why="Nobody reaches it.",
)


def document(*judgements: Judgement, at: datetime = AT):
    return openvex(PRODUCT, DIGEST, judgements, author="https://secguard.example/", at=at)


def test_a_statement_names_flaw_image_and_packages():
    (said,) = document(ONE)["statements"]
    assert said == {
        "vulnerability": {"name": "CVE-2026-1", "aliases": ["GHSA-1"]},
        "timestamp": "2026-11-25T12:00:00Z",
        "products": [
            {
                "@id": PRODUCT,
                "hashes": {"sha-256": "ab" * 32},
                "subcomponents": [{"@id": "pkg:deb/debian/openssl@1"}, {"@id": "pkg:deb/debian/zlib@1"}],
            }
        ],
        "status": "affected",
        "action_statement": "The risk is accepted until 2026-12-24. (Decision 7.)",
    }


@pytest.mark.parametrize(
    ("kind", "words"), [("fix", "will be fixed by"), ("mitigate", "mitigated by a control"), ("accept", "is accepted")]
)
def test_only_not_affected_says_that_it_is_not(kind, words):
    (said,) = document(replace(ONE, kind=DecisionKind(kind)))["statements"]
    assert said["status"] == "affected"
    assert words in said["action_statement"]
    assert "Nobody reaches it" not in str(said)


def test_not_affected_says_why_where_it_may_be_told():
    (said,) = document(replace(ONE, kind=DecisionKind.NOT_AFFECTED))["statements"]
    assert (said["status"], "action_statement" in said) == ("not_affected", False)
    assert said["impact_statement"] == "Nobody reaches it. (Decision 7, until 2026-12-24.)"
    (said,) = document(replace(ONE, kind=DecisionKind.NOT_AFFECTED, why=""))["statements"]
    assert said["impact_statement"] == "(Decision 7, until 2026-12-24.)"


def test_the_same_decisions_make_the_same_document_id_whenever_and_in_whatever_order():
    other = replace(ONE, decision=8, vulnerability="CVE-2026-2")
    assert document(ONE, other)["@id"] == document(other, ONE, at=AT.replace(year=2027))["@id"]
    assert document(ONE)["@id"] != document(ONE, other)["@id"]
    assert document()["statements"] == []
