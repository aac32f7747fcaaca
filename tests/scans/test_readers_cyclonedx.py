"""CycloneDX of many tools and versions. The numbers are counted in the files, not by the reader."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers.cyclonedx import read

EXAMPLES = "sbom/CycloneDX+bom-examples/SBOM/"
DOJO = "sbom/DefectDojo+django-DefectDojo/unittests/scans/cyclonedx/"
SCA = "scanner/aboutcode-org+scancode.io/scanpipe/tests/data/integrations-sca/"
TRIVY = "scanner/aquasecurity+trivy/integration/testdata/"
SYFT = "sbom/guacsec+guac-data/docs/cyclonedx/syft-cyclonedx-docker.io-library-debian.latest.json"
QUARKUS = (
    "sbom/trustification+trustify/etc/test-data/cyclonedx/rh/latest_filters/middleware/maven/quarkus/3.20/"
    "quarkus-cxf-bom-3.20.json"
)
LOOKED = frozenset({FindingKind.VULNERABILITY})


@pytest.fixture
def report(corpus):
    return lambda path: read(Document.parse(corpus(path)))


def bom(**more):
    return read(Document.parse(json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5"} | more).encode()))


LIBRARY = {"type": "library", "bom-ref": "r1", "name": "p", "version": "1", "purl": "pkg:npm/p@1"}


def flaw(**more):
    return {"id": "CVE-2024-1", "affects": [{"ref": "r1"}]} | more


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("path", "version", "scanner", "components", "vulnerabilities", "covers"),
    [
        (EXAMPLES + "juice-shop/v11.1.2/bom.json", "1.2", "node.js-module", 840, 0, frozenset()),
        (EXAMPLES + "laravel-7.12.0/bom.1.3.json", "1.3", "cyclonedx-php-composer", 62, 0, frozenset()),
        (EXAMPLES + "keycloak-10.0.2/bom.json", "1.2", "cyclonedx-maven-plugin", 903, 0, frozenset()),
        (SYFT, "1.4", "syft", 96, 0, frozenset()),
        # 10 vulnerabilities in 14 packages
        (DOJO + "issue_9277.json", "1.5", "trivy", 101, 14, LOOKED),
        (DOJO + "jake2.json", "1.4", "cyclonedx-python-lib", 67, 7, LOOKED),
        (SCA + "trivy-alpine-3.17-sbom.json", "1.6", "trivy", 15, 70, LOOKED),
        (SCA + "anchore-alpine-3.17-sbom.json", "1.6", "grype", 15, 81, LOOKED),
        (SCA + "depscan-alpine-3.17-sbom.json", "1.6", "owasp-depscan", 19, 35, LOOKED),
        # 486 components, of which 56 repeat a purl
        (QUARKUS, "1.6", "quarkus-domino-api-0.0.120-snapshot-sbom-generator", 430, 0, frozenset()),
        (TRIVY + "pom-cyclonedx.json.golden", "1.7", "trivy", 2, 2, LOOKED),
    ],
)
def test_counts(report, path, version, scanner, components, vulnerabilities, covers):
    found = report(path)
    assert (found.format, found.format_version, found.scanner) == ("cyclonedx", version, scanner)
    assert (len(found.components), len(found.vulnerabilities)) == (components, vulnerabilities)
    assert found.covers == covers
    assert found.inventory


@pytest.mark.corpus
def test_the_image_that_trivy_names(report):
    subject = report(SCA + "trivy-alpine-3.17-sbom.json").subject
    digest = "sha256:8914eb54f968791faf6a8638949e480fef81e697984fba772b3976835194c6d4"
    assert (subject.kind, subject.reference, subject.digest) == ("image", "alpine:3.17.0", digest)
    assert subject.repository_digests == (f"alpine@{digest}",)
    assert subject.image_id.startswith("sha256:49176f190c7e9cdb")
    assert (subject.os_name, subject.os_version, subject.architecture) == ("alpine", "3.17.0", "amd64")


@pytest.mark.corpus
def test_the_image_that_syft_names(report):
    subject = report(SYFT).subject
    assert (subject.kind, subject.reference) == ("image", "docker.io/library/debian:latest")
    # Syft makes a manifest of its own for a local image, and does not tell which it was.
    assert subject.digest == ""
    assert (subject.os_name, subject.os_version) == ("debian", "11")


@pytest.mark.corpus
def test_an_application_is_no_image(report):
    assert report(EXAMPLES + "keycloak-10.0.2/bom.json").subject.kind == "application"


@pytest.mark.corpus
def test_ratings_are_chosen_by_source(report):
    found = {v.id: v for v in report(DOJO + "issue_9277.json").vulnerabilities}["CVE-2016-2781"]
    assert (found.severity, found.severity_source) == (Severity.LOW, "ubuntu")
    assert found.purl == "pkg:deb/ubuntu/coreutils@8.32-4.1ubuntu1?arch=amd64&distro=ubuntu-22.04"


@pytest.mark.corpus
def test_a_score_alone_gives_the_severity(report):
    found = report(DOJO + "no-severity.json")
    assert [(v.id, v.severity, v.cvss_score) for v in found.vulnerabilities] == [
        ("CVE-2021-44228", Severity.CRITICAL, 10.0)
    ]
    assert found.vulnerabilities[0].name == "unknown"
    assert found.warnings == ("1 affected components are not in the document: shown against an unknown package",)


def test_components_within_components_are_found():
    inner = LIBRARY | {"bom-ref": "r2", "name": "inner", "purl": "pkg:npm/inner@1"}
    found = bom(components=[LIBRARY | {"components": [inner]}], vulnerabilities=[flaw(affects=[{"ref": "r2"}])])
    assert [c.name for c in found.components] == ["p", "inner"]
    assert found.vulnerabilities[0].purl == "pkg:npm/inner@1"


def test_only_packages_are_components():
    others = [{"type": t, "name": t, "version": "1"} for t in ("file", "operating-system", "container", "device")]
    found = bom(components=[LIBRARY, *others, {"type": "application", "name": "app/yarn.lock"}])
    assert [c.purl for c in found.components] == ["pkg:npm/p@1"]
    assert found.warnings == ("1 components without a package URL or a version were left out",)


def test_a_component_without_purl_gets_one_where_the_tool_names_its_type():
    component = {"type": "library", "name": "p", "version": "1"}
    typed = component | {"properties": [{"name": "syft:package:type", "value": "deb"}]}
    os = {"type": "operating-system", "name": "debian", "version": "12"}
    assert [c.purl for c in bom(components=[component, typed, os]).components] == [
        "pkg:generic/p@1",
        "pkg:deb/debian/p@1",
    ]


@pytest.mark.parametrize(
    "ref", ["r1", "urn:cdx:3e671687-395b-41f5-a30f-a58921a69b79/1#r1", "pkg:npm/p@1", "pkg:npm/p@1?x=y"]
)
def test_what_is_affected_is_found_by_every_kind_of_reference(ref):
    found = bom(components=[LIBRARY], vulnerabilities=[flaw(affects=[{"ref": ref}])])
    assert [(v.name, v.version) for v in found.vulnerabilities] == [("p", "1")]
    assert found.warnings == ()


def test_references_are_aliases():
    found = bom(components=[LIBRARY], vulnerabilities=[flaw(id="GHSA-1", references=[{"id": "CVE-2024-1"}])])
    assert (found.vulnerabilities[0].id, found.vulnerabilities[0].aliases) == ("GHSA-1", ("CVE-2024-1",))


@pytest.mark.parametrize(
    ("state", "suppressed"),
    [
        ("not_affected", "not_affected code_not_reachable by design"),
        ("false_positive", "false_positive code_not_reachable by design"),
        ("exploitable", ""),
        ("in_triage", ""),
    ],
)
def test_an_analysis_suppresses_but_does_not_hide(state, suppressed):
    analysis = {"state": state, "justification": "code_not_reachable", "detail": "by design"}
    found = bom(components=[LIBRARY], vulnerabilities=[flaw(analysis=analysis)])
    assert [v.suppressed for v in found.vulnerabilities] == [suppressed]


@pytest.mark.parametrize(
    "more",
    [
        {"recommendation": "Upgrade p to version 1.2, 2.0"},
        {
            "affects": [
                {
                    "ref": "r1",
                    "versions": [{"version": "1", "status": "affected"}, {"version": "1.2", "status": "unaffected"}],
                }
            ]
        },
    ],
)
def test_fixed_versions(more):
    found = bom(components=[LIBRARY], vulnerabilities=[flaw(**more)]).vulnerabilities[0]
    assert found.fixed_versions[0] == "1.2"
    assert found.fix_state == "fixed"


def test_the_old_extension_is_read():
    rating = {"score": {"base": 9.8}, "severity": "Critical", "method": "CVSSv3", "vector": "V"}
    old = {"ref": "r1", "id": "CVE-2019-1", "ratings": [rating], "advisories": ["https://a"], "source": {"name": "NVD"}}
    for found in (
        bom(specVersion="1.3", components=[LIBRARY], vulnerabilities=[old]),
        bom(specVersion="1.2", components=[LIBRARY | {"vulnerabilities": [old]}]),
    ):
        v = found.vulnerabilities[0]
        assert (v.id, v.purl, v.severity, v.cvss_score) == ("CVE-2019-1", "pkg:npm/p@1", Severity.CRITICAL, 9.8)
        assert v.references == ("https://a",)
        assert found.covers == LOOKED


def test_trivys_empty_list_does_not_say_that_it_looked():
    assert bom(metadata={"tools": [{"name": "trivy"}]}, components=[LIBRARY], vulnerabilities=[]).covers == frozenset()
    assert bom(metadata={"tools": [{"name": "grype"}]}, components=[LIBRARY]).covers == LOOKED
    assert bom(metadata={"tools": [{"name": "other"}]}, components=[LIBRARY], vulnerabilities=[]).covers == LOOKED


def test_vex_alone_is_refused_with_the_right_place():
    with pytest.raises(Invalid, match="Post the report of a scanner") as caught:
        bom(vulnerabilities=[flaw(analysis={"state": "not_affected"})])
    assert caught.value.code == "vex-document"


def test_another_major_version_is_refused():
    with pytest.raises(Invalid) as caught:
        bom(specVersion="2.0")
    assert (caught.value.code, caught.value.where) == ("unknown-version", "$.specVersion")


@pytest.mark.parametrize(
    "raw", [b"{}", b"[]", b'{"bomFormat": "SPDX"}', b'{"specVersion": "1.5"}', b'{"components": []}']
)
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@pytest.mark.corpus
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [DOJO + "no-severity.json", TRIVY + "pom-cyclonedx.json.golden", EXAMPLES + "laravel-7.12.0/bom.1.4.json"]
    ),
    st.data(),
)
def test_a_damaged_report_is_read_or_refused(corpus, mutate, path, data):
    with suppress(Invalid):
        read(Document.parse(mutate(corpus(path), data)))


def test_a_rating_of_nobody_does_not_count_before_nvd_s():
    ratings = [{"severity": "low", "method": "other"}, {"severity": "high", "score": 7.5, "source": {"name": "NVD"}}]
    flaw = {"id": "CVE-2024-1", "ratings": ratings, "affects": [{"ref": "x"}]}
    component = {"type": "library", "name": "in", "version": "2", "purl": "pkg:npm/in@2", "bom-ref": "x"}
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "components": [component],
        "vulnerabilities": [flaw, {**flaw, "id": "CVE-2024-2", "ratings": ratings[:1]}],
    }
    found = read(Document.parse(json.dumps(document).encode())).vulnerabilities
    assert [(v.severity.label, v.severity_source) for v in found] == [("high", "nvd"), ("low", "")]
