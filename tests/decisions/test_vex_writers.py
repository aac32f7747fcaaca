"""The three formats: valid as their standards say, and read back as what was decided, by readers of others' making."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.decisions.justifications import Justification
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.vex import Judgement, Ruling, Told
from secguard.decisions.vex.judgements import product
from secguard.decisions.vex.writers import csaf, cyclonedx, openvex
from tests.decisions import vexreaders as readers

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
DIGESTS = [f"sha256:{n:064x}" for n in range(1, 5)]
NAMES = ["reg.example/shop/api", "docker.io/library/web", "localhost:5000/a"]
PACKAGES = ["pkg:deb/debian/openssl@1.1.1n", "pkg:npm/%40scope/pad@1.0.0", "pkg:golang/golang.org/x/net@v0.1.0"]
FLAWS = ["CVE-2026-0001", "CVE-2026-00023", "GHSA-aaaa-bbbb-cccc"]
SLOWLY = settings(max_examples=50, deadline=None)
API = product(DIGESTS[0], NAMES[:1])
ONE = Judgement(
    decision=7,
    kind=DecisionKind.NOT_AFFECTED,
    vulnerability="CVE-2026-0001",
    aliases=["CVE-2026-0001", "GHSA-1111-2222-3333"],
    purls=PACKAGES[:1],
    approved_at=AT,
    expires_at=AT + timedelta(days=30),
    why="The code is not called.",
)


def told(*rulings: Ruling, about: str = "all images", at: datetime = AT) -> Told:
    return Told(about, "https://secguard.example/", rulings, at)


@st.composite
def many(draw: st.DrawFn) -> list[Ruling]:
    """One decision for each flaw and package, on some images, as the product chooses them."""
    found, number = [], 0
    images = [
        product(digest, draw(st.sets(st.sampled_from(NAMES))), [(DIGESTS[3], architecture)][: draw(st.integers(0, 1))])
        for digest, architecture in draw(st.sets(st.sampled_from([*zip(DIGESTS, ("amd64", "arm64"), strict=False)])))
    ]
    for flaw in draw(st.sets(st.sampled_from(FLAWS))):
        for purl in draw(st.sets(st.sampled_from([*PACKAGES, ""]))):
            number += 1
            kind = draw(st.sampled_from(DecisionKind))
            because = st.sampled_from(["", *Justification]) if kind is DecisionKind.NOT_AFFECTED else st.just("")
            one = Judgement(
                decision=number,
                kind=kind,
                vulnerability=flaw,
                aliases=draw(st.lists(st.sampled_from([flaw, f"DSA-{number}"]), max_size=2)),
                purls=[purl] if purl else [],
                approved_at=AT + timedelta(hours=draw(st.integers(0, 99))),
                expires_at=AT + timedelta(days=draw(st.integers(5, 99))),
                why=draw(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)),
                justification=str(draw(because)),
            )
            # Where one may be told why and another may not.
            found += [Ruling(image, replace(one, why=one.why if draw(st.booleans()) else "")) for image in images]
    return found


def expected(rulings: list[Ruling]) -> set[tuple[str, bool, str, str]]:
    return {(j.vulnerability, j.is_affected, p.digest, purl) for p, j in rulings for purl in j.purls or ("",)}


@SLOWLY
@given(many())
def test_openvex_is_valid_and_says_what_was_decided(rulings: list[Ruling]) -> None:
    document = json.loads(openvex.document(told(*rulings)))
    readers.check_openvex(document)
    for image, one in rulings:
        status = "affected" if one.is_affected else "not_affected"
        package = next(iter(one.purls), "pkg:generic/other@1") + "?arch=amd64"
        for asked in (*(f"{p}{'&' if '?' in p else '?'}tag=1" for p in image.purls), image.digest.partition(":")[2]):
            assert status in readers.openvex_statuses(document, one.vulnerability, asked, package)
    read = {
        (s["vulnerability"]["name"], s["status"] == "affected", part.get("@id", ""))
        for s in document["statements"]
        for p in s["products"]
        for part in p.get("subcomponents", [{}])
    }
    assert read == {(flaw, affected, purl) for flaw, affected, _, purl in expected(rulings)}


@SLOWLY
@given(many())
def test_cyclonedx_is_valid_and_says_what_was_decided(rulings: list[Ruling]) -> None:
    text = cyclonedx.document(told(*rulings)).decode()
    readers.check_cyclonedx(text)
    read = set(readers.cyclonedx_statuses(json.loads(text)))
    assert {(flaw, state == "exploitable", *rest) for flaw, state, *rest in read} == expected(rulings)
    bom: Any = Bom.from_json(json.loads(text))  # type: ignore[attr-defined]
    assert {v.id for v in bom.vulnerabilities} == {j.vulnerability for _, j in rulings}
    assert {c.version for c in bom.components} == {p.digest for p, _ in rulings}


@SLOWLY
@given(many())
def test_csaf_is_valid_and_says_what_was_decided(rulings: list[Ruling]) -> None:
    document = json.loads(csaf.document(told(*rulings)))
    readers.check_csaf(document)
    for image, one in rulings:
        if one.vulnerability.startswith("CVE-"):
            status = "known_affected" if one.is_affected else "known_not_affected"
            package = next(iter(one.purls), "pkg:generic/other@1")
            for asked in image.purls:
                assert status in readers.csaf_statuses(document, one.vulnerability, asked, package)
    known = {v.get("cve") or v["ids"][0]["text"] for v in document.get("vulnerabilities", [])}
    assert known == {j.vulnerability for _, j in rulings}


@pytest.mark.parametrize("writer", [openvex, cyclonedx, csaf], ids=["openvex", "cyclonedx", "csaf"])
@SLOWLY
@given(rulings=many(), again=st.randoms())
def test_the_same_decisions_make_the_same_bytes_whenever_and_in_whatever_order(
    writer: Any, rulings: list[Ruling], again: Any
) -> None:
    shuffled = again.sample(rulings, len(rulings))
    later = AT.replace(year=2027) if rulings else AT
    assert writer.document(told(*rulings)) == writer.document(told(*shuffled, at=later))
    assert told(*rulings).sha256 == told(*shuffled, at=AT.replace(year=2027)).sha256


@pytest.mark.parametrize(
    "other",
    [
        replace(ONE, why="Another reason."),
        replace(ONE, justification="component_not_present"),
        replace(ONE, kind=DecisionKind.ACCEPT),
        replace(ONE, expires_at=AT + timedelta(days=31)),
        replace(ONE, decision=8),
        replace(ONE, purls=PACKAGES),
    ],
    ids=["why", "justification", "kind", "until", "decision", "packages"],
)
def test_other_decisions_make_another_document(other: Judgement) -> None:
    assert told(Ruling(API, ONE)).sha256 != told(Ruling(API, other)).sha256
    assert told(Ruling(API, ONE)).sha256 != told(Ruling(API, ONE), about="other").sha256


@pytest.mark.parametrize("kind", [k for k in DecisionKind if k is not DecisionKind.NOT_AFFECTED])
@pytest.mark.parametrize("writer", [openvex, cyclonedx, csaf], ids=["openvex", "cyclonedx", "csaf"])
def test_each_says_which_decision_and_until_when_and_only_not_affected_why(writer: Any, kind: DecisionKind) -> None:
    said = writer.document(told(Ruling(API, ONE))).decode()
    assert "The code is not called. (Decision 7, until 2026-12-25.)" in said
    said = writer.document(told(Ruling(API, replace(ONE, kind=kind)))).decode()
    assert "2026-12-25. (Decision 7.)" in said
    assert "not called" not in said


def test_nothing_decided_is_a_document_that_says_nothing() -> None:
    readers.check_openvex(json.loads(openvex.document(told())))
    readers.check_cyclonedx(cyclonedx.document(told()).decode())
    document = json.loads(csaf.document(told()))
    readers.check_csaf(document)
    assert document["document"]["category"] == "csaf_base"  # csaf_vex must name a flaw


def test_the_formats_have_words_of_their_own_for_what_is_done() -> None:
    found = {}
    for kind in DecisionKind:
        said = told(Ruling(API, replace(ONE, kind=kind)))
        (analysis,) = (v["analysis"] for v in json.loads(cyclonedx.document(said))["vulnerabilities"])
        (flaw,) = json.loads(csaf.document(said))["vulnerabilities"]
        remedy = flaw.get("remediations", flaw.get("threats"))[0]["category"]
        found[kind.value] = (analysis["state"], *analysis.get("response", []), remedy)
    assert found == {
        "fix": ("exploitable", "update", "none_available"),
        "mitigate": ("exploitable", "workaround_available", "mitigation"),
        "accept": ("exploitable", "will_not_fix", "no_fix_planned"),
        "not_affected": ("not_affected", "impact"),
    }


def test_csaf_names_the_cve_by_whatever_name_the_flaw_has_here() -> None:
    by_alias = replace(ONE, vulnerability="GHSA-1111-2222-3333", aliases=["CVE-2026-0009"])
    (flaw,) = json.loads(csaf.document(told(Ruling(API, by_alias))))["vulnerabilities"]
    assert flaw["cve"] == "CVE-2026-0009"
    assert flaw["ids"] == [{"system_name": "GHSA", "text": "GHSA-1111-2222-3333"}]


def test_an_image_has_the_names_that_tools_call_it_by() -> None:
    index = DIGESTS[3].replace(":", "%3A")
    named = product(DIGESTS[0], ["docker.io/Library/web", "reg.example/web"], [(DIGESTS[3], "arm64")])
    own = DIGESTS[0].replace(":", "%3A")
    repositories = ["docker.io/library/web", "index.docker.io/library/web", "reg.example/web"]
    assert list(named.purls) == [
        *(f"pkg:oci/web@{own}?repository_url={name}" for name in repositories),
        *(f"pkg:oci/web@{index}?arch=arm64&repository_url={name}" for name in repositories),
    ]
    assert product(DIGESTS[0], []).purls == (f"pkg:oci/image@{own}",)
    (statement,) = json.loads(openvex.document(told(Ruling(named, ONE))))["statements"]
    # By the index's hash a tool would take every platform's image for this one.
    assert ["hashes" in p for p in statement["products"]] == [True] * 3 + [False] * 3
