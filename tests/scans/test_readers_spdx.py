"""SPDX 2 of many tools. The numbers are counted in the files, not by the reader."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.scans.document import Document
from secguard.scans.readers.spdx import read

TRUSTIFY = "sbom/trustification+trustify/etc/test-data/spdx/"
QUARKUS = TRUSTIFY + "quarkus-bom-3.2.12.Final-redhat-00002.json"
CLAIR = TRUSTIFY + "issues/1492/sbom.spdx.json"
UBI = TRUSTIFY + "rh/image_index_variants/ubi9-micro-container-9.4-6.1716471860_amd64.spdx.json"
CONDA = "scanner/aquasecurity+trivy/integration/testdata/conda-spdx.json.golden"
BACKEND = (
    "sbom/SecObserve+SecObserve/backend/unittests/import_observations/parsers/spdx/files/multiple_observations.json"
)
DTR_DIGEST = "sha256:96965c6f716b2ecbb72cf9eaaf2f9177ce1f7b6ec82910b8436f05c05ff4903f"
DTR = (
    "sbom/chainguard-dev+bom-shelter/in-the-lab/spdx-popular-containers/data/"
    f"spdx-trivy-mirantis_dtr-{DTR_DIGEST.replace(':', '_')}.json"
)
SPDX3 = "sbom/anchore+syft/syft/format/spdxjson/testdata/identify/3.0.json"


@pytest.fixture
def report(corpus):
    return lambda path: read(Document.parse(corpus(path)))


def spdx(packages=(), relationships=(), **more):
    packages = [{"SPDXID": f"SPDXRef-{i}"} | p for i, p in enumerate(packages)]
    relationships = [
        {"spdxElementId": a, "relationshipType": kind, "relatedSpdxElement": b} for a, kind, b in relationships
    ]
    document = {"spdxVersion": "SPDX-2.3", "packages": packages, "relationships": relationships} | more
    return read(Document.parse(json.dumps(document).encode()))


def purl(locator, type_="purl"):
    return {
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": type_, "referenceLocator": locator}]
    }


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("path", "version", "scanner", "components"),
    [
        (QUARKUS, "2.3", "spdx", 1053),
        # 22 packages, of which the image and its index are two
        (UBI, "2.3", "example-spdx-document-only", 20),
        (CONDA, "2.3", "trivy", 2),
        # 124 packages: the image, its operating system, and one purl twice
        (BACKEND, "2.3", "trivy", 121),
        # 104 packages: the image, its operating system, and a file of Go modules
        (DTR, "2.2", "trivy", 101),
    ],
)
def test_counts(report, path, version, scanner, components):
    found = report(path)
    assert (found.format, found.format_version, found.scanner) == ("spdx", version, scanner)
    assert len(found.components) == components
    assert found.inventory
    assert (found.covers, found.finding_count) == (frozenset(), 0)


@pytest.mark.corpus
def test_source_packages_of_clair_are_no_components(report, corpus):
    binaries = {
        (p["name"], p["versionInfo"])
        for p in json.loads(corpus(CLAIR))["packages"]
        if p.get("primaryPackagePurpose") == "APPLICATION" and p.get("versionInfo")
    }
    found = report(CLAIR)
    assert {(c.name, c.version) for c in found.components} == binaries
    assert found.scanner == "claircore"


@pytest.mark.corpus
def test_the_image_that_trivy_names(report):
    subject = report(DTR).subject
    assert (subject.kind, subject.reference, subject.digest) == ("image", f"mirantis/dtr@{DTR_DIGEST}", DTR_DIGEST)
    assert subject.image_id.startswith("sha256:1c2ae")
    assert (subject.os_name, subject.os_version) == ("alpine", "3.14.2")
    subject = report(BACKEND).subject
    assert subject.reference == "ghcr.io/secobserve/secobserve-backend:1.20.0"
    assert subject.digest.startswith("sha256:ce5416f0")


@pytest.mark.corpus
def test_a_folder_is_no_image(report):
    assert report(CONDA).subject.kind == "source"


@pytest.mark.parametrize(
    ("namespace", "name", "kind", "reference"),
    [
        ("https://anchore.com/syft/image/r/a@sha256-1", "r/a@sha256:1", "image", "r/a@sha256:1"),
        ("https://anchore.com/syft/image/r/a-1", "r/a:1", "image", "r/a:1"),
        ("https://anchore.com/syft/image/r/a-1", "r/a-1", "image", ""),
        ("https://anchore.com/syft/dir/x", "x", "filesystem", "x"),
        ("http://aquasecurity.github.io/trivy/container_image/r/a:1-9", "r/a:1", "image", "r/a:1"),
        ("https://example.com/x", "x:1", "image", ""),
    ],
)
def test_the_namespace_tells_what_the_name_names(namespace, name, kind, reference):
    subject = spdx(documentNamespace=namespace, name=name).subject
    assert (subject.kind, subject.reference) == (kind, reference)


@pytest.mark.parametrize("kind", ["DESCRIBES", "DESCRIBE"])
def test_the_described_package_is_the_subject(kind):
    root = {"name": "registry/a", "versionInfo": "1", "primaryPackagePurpose": "CONTAINER"}
    found = spdx(
        [root, {"name": "p", "versionInfo": "2"} | purl("pkg:npm/p@2")],
        [("SPDXRef-DOCUMENT", kind, "SPDXRef-0"), ("SPDXRef-0", "CONTAINS", "SPDXRef-1")],
    )
    assert found.subject.reference == "registry/a:1"
    assert [c.purl for c in found.components] == ["pkg:npm/p@2"]


def test_several_described_packages_are_components():
    packages = [{"name": n, "versionInfo": "1"} | purl(f"pkg:npm/{n}@1") for n in "ab"]
    found = spdx(packages, documentDescribes=["SPDXRef-0", "SPDXRef-1"])
    assert [c.name for c in found.components] == ["a", "b"]
    assert found.subject.reference == ""


def test_an_old_reference_type_is_a_purl_too():
    type_ = "http://spdx.org/rdf/references/purl"
    assert spdx([{"name": "p"} | purl("pkg:npm/p@1", type_)]).components[0].purl == "pkg:npm/p@1"


def test_a_package_without_purl_is_generic_and_one_without_version_is_left_out():
    found = spdx([{"name": "p", "versionInfo": "1"}, {"name": "q", "versionInfo": "NOASSERTION"}, {"name": "r"}])
    assert [c.purl for c in found.components] == ["pkg:generic/p@1"]
    assert found.warnings == ("2 packages without a package URL or a version were left out",)


def test_the_concluded_licence_counts_before_the_declared_one():
    packages = [
        {"licenseConcluded": "MIT", "licenseDeclared": "GPL-2.0"},
        {"licenseConcluded": "NOASSERTION", "licenseDeclared": "GPL-2.0"},
        {"licenseConcluded": "NONE"},
    ]
    found = spdx([{"name": f"p{i}", "versionInfo": "1"} | p for i, p in enumerate(packages)])
    assert [c.licenses for c in found.components] == [("MIT",), ("GPL-2.0",), ()]


@pytest.mark.parametrize(
    ("creators", "tool"),
    [
        (["Organization: a", "Tool: syft-1.4.1"], ("syft", "1.4.1")),
        (["Tool: Microsoft.SBOMTool-4.1.1"], ("microsoft.sbomtool", "4.1.1")),
        (["Tool: trivy"], ("trivy", "")),
        (["Person: a"], ("spdx", "")),
    ],
)
def test_the_tool_is_among_the_creators(creators, tool):
    found = spdx(creationInfo={"creators": creators, "created": "2024-01-01T00:00:00Z"})
    assert (found.scanner, found.scanner_version) == tool
    assert found.generated_at is not None


def test_githubs_export_is_unwrapped():
    inner = {"spdxVersion": "SPDX-2.3", "packages": [{"SPDXID": "a", "name": "p", "versionInfo": "1"}]}
    found = read(Document.parse(json.dumps({"sbom": inner}).encode()))
    assert [c.name for c in found.components] == ["p"]


@pytest.mark.corpus
def test_spdx_3_is_refused_with_what_to_post_instead(report):
    with pytest.raises(Invalid, match=r"SPDX 3 .* SPDX 2\.3 JSON or CycloneDX JSON") as caught:
        report(SPDX3)
    assert caught.value.code == "unknown-version"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"packages": []}', b'{"sbom": {}}', b'{"spdxVersion": "x"}'])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@pytest.mark.corpus
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([CONDA, UBI]), st.data())
def test_a_damaged_report_is_read_or_refused(corpus, mutate, path, data):
    with suppress(Invalid):
        read(Document.parse(mutate(corpus(path), data)))
