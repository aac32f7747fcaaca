"""Every real VEX document at hand is taken or refused for the right reason, and what is taken is counted anew."""

from __future__ import annotations

import json
import lzma
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from secguard.decisions import vexin
from secguard.errors import SecGuardError

Corpus = Callable[[str], bytes]
Members = Callable[[str], list[str]]

OUTCOMES = {
    "read as csaf": 75,
    "read as cyclonedx": 24,
    "read as openvex": 148,
    "bad-document": 12,
    "document-too-large": 1,
    "vex-category": 150,
    "vex-draft": 1,
    "vex-empty": 8,
    "vex-unknown-format": 21,
    "vex-version": 15,
    "vex-withdrawn": 3,
}
BAD = {
    "openvex-nested.json": "$.@id is missing",
    "openvex-oci-mismatch.json": "$.@id is missing",
    "2021-6-1-27-07-01.json": "6.1.27.7",
    "2021-6-1-27-09-01.json": "6.1.27.9",
    "2021-6-1-27-09-02.json": "6.1.27.9",
    "2021-6-1-27-09-03.json": "6.1.27.9",
    "2021-6-1-27-09-04.json": "6.1.27.9",
    "2021-6-1-27-09-05.json": "6.1.27.9",
    "2021-6-1-27-09-06.json": "6.1.27.9",
    "hello/README.md.block01.json": "$.timestamp is missing",
    "go-vex/pkg/csaf/testdata/csaf.json": "'ABC', which is not defined (6.1.1)",
    "v001-1.vex.json": "$.timestamp is missing",
}
CSAF_TESTS = "vex/oasis-tcs+csaf/csaf_2.0/test/validator/data"


@pytest.fixture(scope="module")
def documents(corpus: Corpus, corpus_members: Members) -> dict[str, bytes]:
    found = {name: corpus(name) for name in corpus_members("vex")}
    return {name: lzma.decompress(raw) if name.endswith(".xz") else raw for name, raw in found.items()}


def outcome(raw: bytes) -> vexin.Document | SecGuardError:
    try:
        return vexin.read(raw)
    except SecGuardError as refusal:
        return refusal


@pytest.fixture(scope="module")
def outcomes(documents: dict[str, bytes]) -> dict[str, vexin.Document | SecGuardError]:
    return {name: outcome(raw) for name, raw in documents.items()}


def test_each_is_read_or_refused_for_its_reason(outcomes: dict[str, vexin.Document | SecGuardError]) -> None:
    told = Counter(f"read as {o.format}" if isinstance(o, vexin.Document) else o.code for o in outcomes.values())
    assert told == OUTCOMES


@pytest.mark.parametrize(("ending", "told"), BAD.items(), ids=BAD)
def test_what_is_broken_is_told_with_its_place(
    outcomes: dict[str, vexin.Document | SecGuardError], ending: str, told: str
) -> None:
    (refusal,) = [o for name, o in outcomes.items() if name.endswith(ending)]
    assert isinstance(refusal, SecGuardError)
    assert refusal.code == "bad-document"
    assert told in refusal.detail


def test_nothing_else_is_broken(outcomes: dict[str, vexin.Document | SecGuardError]) -> None:
    broken = [n for n, o in outcomes.items() if isinstance(o, SecGuardError) and o.code == "bad-document"]
    assert all(any(name.endswith(ending) for ending in BAD) for name in broken)


def cases(documents: dict[str, bytes], valid: bool) -> Iterator[tuple[str, bytes]]:
    """CSAF's own test documents of the profile VEX, by what their authors say of them; (test, document)."""
    for test in json.loads(documents[f"{CSAF_TESTS}/testcases.json"])["tests"]:
        for case in [*test.get("failures", ()), *test.get("valid", ())]:
            raw = documents.get(f"{CSAF_TESTS}/{case['name']}")
            if raw is None or case["valid"] is not valid or test["group"] != "mandatory":
                continue
            if json.loads(raw)["document"].get("category") == "csaf_vex":
                yield test["id"], raw


def test_what_csaf_calls_valid_is_read(documents: dict[str, bytes]) -> None:
    found = [(test, outcome(raw)) for test, raw in cases(documents, valid=True)]
    assert found
    assert [(t, str(o)) for t, o in found if isinstance(o, SecGuardError)] == []


def test_what_csaf_calls_invalid_and_a_reader_depends_on_is_refused(documents: dict[str, bytes]) -> None:
    held_to = {"6.1.1", "6.1.2", "6.1.3", "6.1.4", "6.1.5", "6.1.6"} | {f"6.1.27.{n}" for n in (5, 7, 8, 9)}
    found = [(test, outcome(raw)) for test, raw in cases(documents, valid=False) if test in held_to]
    assert {test for test, _ in found} >= {"6.1.27.7", "6.1.27.9"}
    assert [test for test, o in found if isinstance(o, vexin.Document)] == []


def _plain_openvex(document: dict[str, Any]) -> Counter[str]:
    """Statuses by (vulnerability, product), the latest of each, counted by other means."""
    latest: dict[str, tuple[str, str]] = {}
    for s in document["statements"]:
        flaw = s["vulnerability"]
        name = flaw if isinstance(flaw, str) else flaw.get("name") or flaw["@id"].rpartition("/")[2]
        when = s.get("last_updated") or s.get("timestamp") or document.get("last_updated") or document["timestamp"]
        for product in s.get("products") or [None]:
            key = json.dumps([name.upper(), product, s.get("subcomponents") if isinstance(product, str) else None])
            if key not in latest or when >= latest[key][0]:
                latest[key] = (when, s["status"])
    return Counter(status for _, status in latest.values())


def test_openvex_statements_are_those_of_the_document(
    documents: dict[str, bytes], outcomes: dict[str, vexin.Document | SecGuardError]
) -> None:
    compared = 0
    for name, read in outcomes.items():
        if isinstance(read, vexin.Document) and read.format == "openvex":
            assert Counter(s.status.value for s in read.statements) == _plain_openvex(json.loads(documents[name])), name
            compared += len(read.statements)
    assert compared > 15_000


def test_csaf_statements_are_those_of_the_document(
    documents: dict[str, bytes], outcomes: dict[str, vexin.Document | SecGuardError]
) -> None:
    words = {"known_not_affected": "not_affected", "known_affected": "affected", "fixed": "fixed"}
    compared = 0
    for name, read in outcomes.items():
        if not isinstance(read, vexin.Document) or read.format != "csaf":
            continue
        listed = Counter[str]()
        for flaw in json.loads(documents[name])["vulnerabilities"]:
            for word, status in words.items():
                listed[status] += len(flaw["product_status"].get(word, []))
        found = Counter(s.status.value for s in read.statements)
        # Two ids of one product (as large vendors have them) are one statement.
        assert all(0 < found[status] <= n for status, n in listed.items() if n), name
        compared += sum(listed.values())
    assert compared > 1_000
