"""Bills of materials: valid against the formats' own schemas, the same every time, and read back as they were."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from secguard.images import cyclonedx, licenses, spdx
from secguard.images.bill import Bill, BillComponent, BillLayer
from secguard.scans.readers import read_report
from secguard.scans.report import ScanReport

DIGEST, LAYER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
AT = datetime(2026, 1, 31, 12, 0, 5, 123456, UTC)

COMPONENTS = (
    BillComponent(
        "pkg:deb/debian/zlib1g@1:1.2.13",
        "pkg:deb/debian/zlib1g@1:1.2.13?arch=amd64&distro=debian-12&upstream=zlib",
        "zlib1g",
        "1:1.2.13",
        ("Zlib",),
        LAYER,
        "var/lib/dpkg/status",
    ),
    BillComponent("pkg:npm/%40scope/x@1.0.0", "pkg:npm/%40scope/x@1.0.0", "x", "1.0.0", ("MIT OR Apache-2.0",)),
    BillComponent("pkg:pypi/six@1.15.0", "pkg:pypi/six@1.15.0", "six", "1.15.0", ("MIT", "my own words")),
    BillComponent(
        "pkg:maven/org.x/y@2", "pkg:maven/org.x/y@2", "y", "2", ("GPL-2.0-only WITH Classpath-exception-2.0",)
    ),
    BillComponent("pkg:generic/nameless", "pkg:generic/nameless", "nameless", ""),
)
BILL = Bill(
    digest=DIGEST,
    at=AT,
    name="reg.example/shop/Web",
    tag="1.0",
    os_name="debian",
    os_version="12",
    architecture="amd64",
    layers=(BillLayer(LAYER, "RUN apt-get install zlib1g"), BillLayer(DIGEST)),
    components=COMPONENTS,
    tool_version="1.2",
)
FORMATS: list[Callable[[Bill], bytes]] = [cyclonedx.document, spdx.document]


def _check_cyclonedx(raw: bytes) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode()) is None


def _check_spdx(raw: bytes) -> None:
    assert validate_full_spdx_document(JsonLikeDictParser().parse(json.loads(raw)), "SPDX-2.3") == []


def _read(raw: bytes) -> ScanReport:
    return read_report(raw)


@pytest.mark.parametrize(
    "bill", [BILL, Bill(digest=DIGEST, at=AT, components=COMPONENTS[:1]), Bill(digest=DIGEST, at=AT)]
)
def test_they_are_valid(bill: Bill) -> None:
    _check_cyclonedx(cyclonedx.document(bill))
    _check_spdx(spdx.document(bill))


@pytest.mark.parametrize("write", FORMATS)
def test_our_own_readers_read_them_back(write: Callable[[Bill], bytes]) -> None:
    report = _read(write(BILL))
    assert [(c.purl, c.version) for c in report.components] == [(c.purl, c.version) for c in COMPONENTS]
    assert report.components[0].layer == LAYER
    assert report.components[0].paths == ("var/lib/dpkg/status",)
    assert [c.name for c in report.components] == ["zlib1g", "@scope/x", "six", report.components[3].name, "nameless"]
    assert report.components[1].licenses == ("MIT OR Apache-2.0",)
    assert (report.subject.digest, report.subject.os_name, report.subject.os_version) == (DIGEST, "debian", "12")
    assert (report.subject.kind, report.subject.architecture) == ("image", "amd64")
    assert (report.scanner, report.scanner_version, report.inventory) == ("secguard", "1.2", True)
    assert report.generated_at == AT.replace(microsecond=0)


@pytest.mark.parametrize("write", FORMATS)
def test_the_same_content_is_the_same_document(write: Callable[[Bill], bytes]) -> None:
    def ids(bill: Bill) -> Any:
        document = json.loads(write(bill))
        return document.get("serialNumber") or document["documentNamespace"]

    assert write(BILL) == write(BILL)
    later = Bill(digest=DIGEST, at=AT + timedelta(days=1), components=COMPONENTS)
    assert ids(BILL) != ids(later)


def test_what_cyclonedx_says_of_the_image() -> None:
    document = json.loads(cyclonedx.document(BILL))
    image = document["metadata"]["component"]
    assert image["purl"] == (f"pkg:oci/web@sha256%3A{'a' * 64}?arch=amd64&repository_url=reg.example/shop/web&tag=1.0")
    assert image["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    said = {p["name"]: p["value"] for p in image["properties"]}
    assert said["secguard:layer:0:by"] == "RUN apt-get install zlib1g"
    assert said["secguard:layer:1:digest"] == DIGEST
    zlib = next(c for c in document["components"] if c["name"] == "zlib1g")
    assert zlib["evidence"] == {"occurrences": [{"location": "var/lib/dpkg/status"}]}
    assert set(document["dependencies"][0]["dependsOn"]) == {c["bom-ref"] for c in document["components"]}
    assert document["metadata"]["timestamp"] == "2026-01-31T12:00:05Z"


def test_licences_that_are_no_spdx_ids_keep_their_words() -> None:
    six = next(c for c in json.loads(cyclonedx.document(BILL))["components"] if c["name"] == "six")
    assert six["licenses"] == [{"license": {"id": "MIT"}}, {"license": {"name": "my own words"}}]
    document = json.loads(spdx.document(BILL))
    six = next(p for p in document["packages"] if p["name"] == "six")
    (said,) = document["hasExtractedLicensingInfos"]
    assert said["extractedText"] == "my own words"
    assert six["licenseDeclared"] == f"MIT AND {said['licenseId']}"


@pytest.mark.parametrize(
    "text",
    [
        "MIT",
        "GPL-2.0+",
        "MIT OR Apache-2.0",
        "(MIT AND (Zlib OR ISC))",
        "GPL-2.0-only WITH Classpath-exception-2.0 AND MIT",
    ],
)
def test_expressions(text: str) -> None:
    assert licenses.is_expression(text)


@pytest.mark.parametrize(
    "text",
    ["", "()", "MIT MIT", "MIT AND", "OR MIT", "(MIT", "MIT)", "mit", "MIT or ISC", "MIT WITH", "MIT WITH x", "Custom",
     "(MIT) WITH LLVM-exception", "MIT WITH LLVM-exception WITH LLVM-exception)", "AND", "( MIT AND ) ISC"],
)  # fmt: skip
def test_no_expressions(text: str) -> None:
    assert not licenses.is_expression(text)


def test_every_known_licence_is_one_by_the_schema() -> None:
    """One document with all of them is valid: the schema lists the ids."""
    every = tuple(sorted(licenses.KNOWN))
    _check_cyclonedx(
        cyclonedx.document(Bill(digest=DIGEST, at=AT, components=[BillComponent("x", "pkg:x/x", "x", "", every)]))
    )


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=25, deadline=None)
@given(names=st.lists(_TEXT, max_size=3), name=_TEXT, version=_TEXT, layer=_TEXT, path=_TEXT)
def test_whatever_stands_in_the_rows_the_documents_are_valid(
    names: list[str], name: str, version: str, layer: str, path: str
) -> None:
    part = BillComponent("pkg:generic/x@1", "pkg:generic/x@1", f"x{name}", version, names, layer, path)
    bill = Bill(digest=DIGEST, at=AT, name="reg.example/x", os_name="x", components=[part])
    _check_cyclonedx(cyclonedx.document(bill))
    assert json.loads(spdx.document(bill))["packages"][2]["name"] == f"x{name}"
