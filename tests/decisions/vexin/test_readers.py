"""What single documents are read as, and how hostile ones end."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions import vexin
from secguard.decisions.vexin.document import MAX_STATEMENTS
from secguard.errors import Invalid, SecGuardError, TooLarge
from tests.scans.conftest import ODD_VALUES

DIGEST = "sha256:" + "a" * 64


def openvex(*statements: dict[str, Any], **changed: Any) -> bytes:
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://example.org/vex/1",
        "author": "Example Security",
        "timestamp": "2026-01-02T03:04:05Z",
        "version": 1,
        "statements": list(statements),
    }
    return json.dumps(document | changed).encode()


def said(**changed: Any) -> dict[str, Any]:
    return {
        "vulnerability": {"name": "CVE-2026-1", "aliases": ["GHSA-x"]},
        "products": [{"@id": "pkg:oci/api@sha256%3A" + "a" * 64, "subcomponents": [{"@id": "pkg:deb/debian/zlib@1"}]}],
        "status": "not_affected",
        "justification": "component_not_present",
    } | changed


def csaf(**changed: Any) -> dict[str, Any]:
    return {
        "document": {
            "category": "csaf_vex",
            "csaf_version": "2.0",
            "publisher": {"category": "vendor", "name": "Example", "namespace": "https://example.org"},
            "title": "t",
            "tracking": {
                "id": "EX-1",
                "status": "final",
                "version": "2",
                "current_release_date": "2026-01-02T03:04:05Z",
            },
        },
        "product_tree": {
            "full_product_names": [
                {"product_id": "A", "name": "api", "product_identification_helper": {"purl": "pkg:oci/api"}},
                {"product_id": "Z", "name": "zlib", "product_identification_helper": {"purl": "pkg:deb/debian/zlib@1"}},
            ],
            "relationships": [
                {
                    "category": "default_component_of",
                    "full_product_name": {"product_id": "A:Z", "name": "zlib in api"},
                    "product_reference": "Z",
                    "relates_to_product_reference": "A",
                }
            ],
        },
        "vulnerabilities": [
            {
                "cve": "CVE-2026-1",
                "product_status": {"known_not_affected": ["A:Z"]},
                "threats": [{"category": "impact", "details": "Not called.", "product_ids": ["A:Z"]}],
            }
        ],
    } | changed


def refused(raw: bytes | dict[str, Any]) -> SecGuardError:
    with pytest.raises(Invalid) as caught:
        vexin.read(raw if isinstance(raw, bytes) else json.dumps(raw).encode())
    return caught.value


def test_openvex_in_the_normal_form() -> None:
    document = vexin.read(openvex(said()))
    assert (document.format, document.author, document.version) == ("openvex", "Example Security", "1")
    (one,) = document.statements
    assert one.names == {"CVE-2026-1", "GHSA-X"}
    assert one.product is not None
    assert one.product.subcomponents == ("pkg:deb/debian/zlib@1",)
    assert one.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_csaf_in_the_normal_form() -> None:
    document = vexin.read(json.dumps(csaf()).encode())
    assert (document.author, document.namespace, document.id) == ("Example", "https://example.org", "EX-1")
    (one,) = document.statements
    assert one.product is not None
    assert (one.product.purls, one.product.subcomponents) == (("pkg:oci/api",), ("pkg:deb/debian/zlib@1",))
    assert (one.status, one.impact) == (vexin.Status.NOT_AFFECTED, "Not called.")


def test_of_statements_about_the_same_the_latest_stands() -> None:
    early = said(status="under_investigation", timestamp="2026-01-03T00:00:00Z")
    late = said(timestamp="2026-01-04T00:00:00Z")
    for order in ((early, late), (late, early)):
        assert [s.status for s in vexin.read(openvex(*order)).statements] == [vexin.Status.NOT_AFFECTED]


def test_two_statuses_at_the_same_time_are_refused() -> None:
    refusal = refused(openvex(said(), said(status="fixed")))
    assert refusal.code == "vex-contradiction"
    assert "both not_affected and fixed" in refusal.detail


def test_a_csaf_product_in_two_statuses_is_refused() -> None:
    document = csaf()
    document["vulnerabilities"][0]["product_status"]["fixed"] = ["A:Z"]
    assert refused(document).code == "vex-contradiction"


def test_products_that_lead_back_to_themselves_are_refused() -> None:
    document = csaf()
    tree = document["product_tree"]["relationships"]
    tree[0]["relates_to_product_reference"] = "B"
    tree.append(
        {
            "full_product_name": {"product_id": "B", "name": "b"},
            "product_reference": "A:Z",
            "relates_to_product_reference": "A",
        }
    )
    assert "6.1.3" in refused(document).detail


def test_a_part_without_purl_never_stands_for_the_whole() -> None:
    document = csaf()
    del document["product_tree"]["full_product_names"][1]["product_identification_helper"]
    (one,) = vexin.read(json.dumps(document).encode()).statements
    assert one.product is not None
    assert one.product.subcomponents == ("zlib",)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"@context": "https://openvex.dev/ns/v9.0.0"}, "vex-version"),
        ({"author": " "}, "bad-document"),
        ({"timestamp": "yesterday"}, "bad-document"),
        ({"statements": []}, "vex-empty"),
    ],
)
def test_openvex_that_is_none(changed: dict[str, Any], code: str) -> None:
    assert refused(openvex(said(), **changed)).code == code


def test_not_affected_needs_its_reason() -> None:
    one = said()
    del one["justification"]
    assert "neither justification nor impact_statement" in refused(openvex(one)).detail


def cyclonedx(state: str, versions: list[dict[str, str]], **component: str) -> bytes:
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 3,
            "metadata": {"supplier": {"name": "Example"}},
            "components": [{"bom-ref": "z", "type": "library", "name": "zlib"} | component],
            "vulnerabilities": [
                {"id": "CVE-2026-1", "analysis": {"state": state}, "affects": [{"ref": "z", "versions": versions}]},
                {"id": "CVE-2026-2"},
            ],
        }
    ).encode()


def test_cyclonedx_versions_are_kept_apart_by_status() -> None:
    raw = cyclonedx("exploitable", [{"version": "1"}, {"version": "2", "status": "unaffected"}], purl="pkg:pypi/zlib")
    document = vexin.read(raw)
    found = {s.status: s.product.versions for s in document.statements if s.product}
    assert found == {vexin.Status.AFFECTED: ("1",), vexin.Status.UNDER_INVESTIGATION: ("2",)}
    assert document.left_out == ("vulnerabilities without an analysis: 1",)


def test_trivyignore() -> None:
    text = "# Not reachable\nCVE-2026-1 exp:2026-12-31\n\nAVD-DS-0002\nDS002\nCVE-2026-2 # in a test only\n"
    document = vexin.read(text.encode())
    first, second = document.statements
    assert (first.impact, first.until) == ("Not reachable", datetime(2026, 12, 31, tzinfo=UTC))
    assert (second.impact, second.until, second.status) == ("in a test only", None, vexin.Status.IGNORED)
    assert document.left_out == ("ids that name no vulnerability: 2",)


@pytest.mark.parametrize(
    ("line", "told"),
    [("CVE-2026-1 exp:2026-13-01", "which is none"), ("CVE-2026-1 forever", "exp:YYYY-MM-DD"), ("hello", "no id")],
)
def test_trivyignore_with_a_line_that_is_none(line: str, told: str) -> None:
    assert told in refused(f"CVE-2026-9\n{line}\n".encode()).detail


def test_trivyignore_yaml() -> None:
    text = """
vulnerabilities:
  - id: CVE-2026-1
    purls: ["pkg:deb/debian/zlib@1"]
    expired_at: 2026-12-31
    statement: Not called
  - id: CVE-2026-2
    paths: [usr/lib/x]
secrets:
  - id: aws
"""
    document = vexin.read(text.encode())
    first, second = document.statements
    assert first.product == vexin.Product(purls=("pkg:deb/debian/zlib@1",))
    assert (first.until, first.impact) == (datetime(2026, 12, 31, tzinfo=UTC), "Not called")
    assert second.narrowed_by == "the paths usr/lib/x"
    assert document.left_out == ("secrets: 1",)


def test_grype_ignore_rules() -> None:
    text = """
check-for-app-update: false
ignore:
  - vulnerability: CVE-2026-1
    reason: not called
    package: {name: zlib, version: "1"}
  - vulnerability: CVE-2026-2
    fix-state: unknown
  - package: {type: npm}
  - vex-status: not_affected
"""
    document = vexin.read(text.encode())
    first, second = document.statements
    assert first.product == vexin.Product(name="zlib", versions=("1",))
    assert second.narrowed_by == "fix-state unknown"
    assert document.left_out == ("rules that name no vulnerability, or are about VEX statements: 2",)


def test_yaml_faults_have_line_and_column() -> None:
    refusal = refused(b"vulnerabilities:\n  - statement: x\n  - id: CVE-1\n    unknown: y\n")
    errors = refusal.extra["errors"]
    assert isinstance(errors, list)
    assert [e["line"] for e in errors] == [2, 4]


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"{", b"[]", b"a\0b", b"", b"{}", b"ignore: *x", b"vulnerabilities: 1"])
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    assert refused(raw).status == 422


def test_too_much_is_refused() -> None:
    with pytest.raises(TooLarge):
        vexin.read(b" " * (vexin.MAX_BYTES + 1))
    with pytest.raises(TooLarge):
        vexin.read(b'{"a":' * 40 + b"1" + b"}" * 40)
    many = [{"@id": f"pkg:deb/debian/p{i}"} for i in range(MAX_STATEMENTS)]
    with pytest.raises(TooLarge):
        vexin.read(openvex(said(products=many), said(vulnerability={"name": "CVE-2026-2"})))


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return (
        [path, *(p for k, v in inner for p in _places(v, (*path, k)))]
        if path
        else [p for k, v in inner for p in _places(v, (k,))]
    )


@given(data=st.data())
def test_whatever_stands_anywhere_it_is_read_or_refused(data: st.DataObject) -> None:
    sources: list[dict[str, Any]] = [
        json.loads(openvex(said(), said(vulnerability="CVE-2026-3"))),
        csaf(),
        json.loads(cyclonedx("not_affected", [{"version": "1"}], purl="pkg:pypi/zlib")),
    ]
    document = deepcopy(data.draw(st.sampled_from(sources)))
    path = data.draw(st.sampled_from(_places(document)))
    holder: Any = document
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = data.draw(st.sampled_from(ODD_VALUES))
    try:
        read = vexin.read(json.dumps(document).encode())
    except Invalid:
        return
    assert 0 < len(read.statements) <= MAX_STATEMENTS


@given(st.lists(st.tuples(st.sampled_from(["1", "2"]), st.sampled_from(list(vexin.Status)), st.integers(1, 9))))
def test_what_stands_is_the_latest_and_one_for_each_product(rows: list[tuple[str, vexin.Status, int]]) -> None:
    statements = [
        vexin.Statement(vulnerability=f"CVE-{flaw}", status=status, at=datetime(2026, 1, day, tzinfo=UTC))
        for flaw, status, day in rows
    ]
    from secguard.decisions.vexin.document import settled

    try:
        found = settled(statements, "it")
    except Invalid:
        days = [(s.vulnerability, s.at) for s in statements]
        assert any(
            a.status != b.status
            for i, a in enumerate(statements)
            for b in statements[:i]
            if (a.vulnerability, a.at) == (b.vulnerability, b.at)
        ), days
        return
    assert len({s.vulnerability for s in found}) == len(found)
    for one in found:
        ats = [s.at for s in statements if s.vulnerability == one.vulnerability]
        assert one.at == max(a for a in ats if a)
