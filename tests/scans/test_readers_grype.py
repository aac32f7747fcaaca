"""Grype: real reports of several versions. The numbers are counted in the files, not by the reader."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers.grype import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/anchore_grype/"
XEOL = "scanner/DefectDojo+django-DefectDojo/unittests/scans/xeol/"
OWN = "scanner/anchore+grype/grype/presenter/"
GOLANG = (
    "scanner/mitre+heimdall2/libs/hdf-converters/sample_jsons/anchore_grype_mapper/sample_input_report/"
    "anchore_grype.json"
)


@pytest.fixture
def report(corpus):
    return lambda path: read(Document.parse(corpus(path)))


def read_json(value):
    return read(Document.parse(json.dumps(value).encode()))


def match(id_="CVE-2024-1", related=(), **more):
    vulnerability = {"id": id_, "severity": "High", "namespace": "debian:distro:debian:12"} | more
    artifact = {"name": "p", "version": "1", "type": "deb", "locations": [{"path": "/d", "layerID": "sha256:1"}]}
    return {
        "vulnerability": vulnerability,
        "relatedVulnerabilities": [{"id": r} for r in related],
        "artifact": artifact,
    }


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("path", "version", "count"),
    [
        (DOJO + "many_vulns3.json", "0.7.0", 327),
        (DOJO + "many_vulns4.json", "0.24.0", 9),
        (DOJO + "issue_9618.json", "0.96.0", 35),
        (DOJO + "no_vuln.json", "0.7.0", 0),
        (DOJO + "anchore_grype_epss_problem.json", "", 1),
        (OWN + "explain/testdata/keycloak-test.json", "0.66.0", 6),
        (OWN + "json/testdata/snapshot/TestEmptyJsonPresenter.golden", "[not provided]", 0),
        (GOLANG, "0.79.3", 89),
    ],
)
def test_counts(report, path, version, count):
    found = report(path)
    assert (found.format, found.scanner, found.scanner_version) == ("grype", "grype", version)
    assert len(found.vulnerabilities) == count
    assert found.covers == {FindingKind.VULNERABILITY}


@pytest.mark.corpus
def test_severities_are_grypes(report):
    severities = Counter(v.severity.label for v in report(DOJO + "many_vulns3.json").vulnerabilities)
    assert severities == {"medium": 155, "negligible": 106, "low": 27, "high": 24, "unknown": 10, "critical": 5}


@pytest.mark.corpus
def test_a_match_of_one_advisory_has_its_cve_as_alias(report):
    found = report(DOJO + "anchore_grype_epss_problem.json").vulnerabilities[0]
    assert (found.id, found.aliases) == ("GHSA-4374-p667-p6c8", ("CVE-2023-39325",))
    assert found.purl == "pkg:golang/golang.org/x/net@v0.9.0"
    assert (found.severity, found.severity_source) == (Severity.HIGH, "ghsa")
    assert (found.fixed_versions, found.fix_state) == (("0.17.0",), "fixed")
    assert (found.cvss_score, found.epss) == (7.5, 0.00163)
    assert found.path == "/samples/go.mod"


@pytest.mark.parametrize(
    ("id_", "related", "aliases"),
    [
        ("GHSA-aaaa-bbbb-cccc", ["CVE-2024-1"], ("CVE-2024-1",)),
        ("GHSA-aaaa-bbbb-cccc", ["CVE-2024-1", "CVE-2024-2"], ()),
        ("ELSA-2024-1", ["CVE-2024-1"], ()),
        ("ALAS-2024-1", ["CVE-2024-1", "CVE-2024-2"], ()),
        ("CVE-2024-1", ["CVE-2024-1"], ()),
    ],
)
def test_related_is_an_alias_only_where_it_is_the_same_flaw(id_, related, aliases):
    found = read_json({"matches": [match(id_, related)], "descriptor": {"name": "grype"}})
    assert found.vulnerabilities[0].aliases == aliases


@pytest.mark.corpus
def test_what_grype_says_of_the_image(report):
    found = report(GOLANG)
    subject = found.subject
    assert (subject.reference, subject.os_name, subject.architecture) == ("golang:1.12-alpine", "alpine", "arm64")
    assert subject.image_id.startswith("sha256:9d993b748f32")
    # The manifest that Grype made of a local image is not the one in the registry.
    assert subject.digest == ""
    assert subject.repository_digests == (
        "golang@sha256:3f8e3ad3e7c128d29ac3004ac8314967c5ddbfa5bfa7caa59b0de493fc01686a",
    )
    assert found.database_updated_at is not None
    assert found.generated_at is not None
    assert report(DOJO + "many_vulns4.json").subject.kind == "filesystem"


def test_a_manifest_that_the_registry_confirms_is_the_digest():
    digest = "sha256:" + "a" * 64
    target = {"userInput": "a:1", "manifestDigest": digest, "repoDigests": [f"registry/a@{digest}"]}
    report = {"matches": [], "descriptor": {"name": "grype"}, "source": {"type": "image", "target": target}}
    assert read_json(report).subject.digest == digest
    target["repoDigests"] = []
    assert read_json(report).subject.digest == ""


def test_ignored_matches_are_kept_with_the_reason():
    ignored = [
        match("CVE-1") | {"appliedIgnoreRules": [{"vulnerability": "CVE-1", "reason": "no use"}]},
        match("CVE-2") | {"appliedIgnoreRules": [{"vex-status": "not_affected", "vex-justification": "no_code"}]},
        match("CVE-3") | {"appliedIgnoreRules": [{"fix-state": "wont-fix"}]},
        match("CVE-4"),
    ]
    found = read_json({"matches": [match("CVE-4")], "ignoredMatches": ignored, "descriptor": {"name": "grype"}})
    assert {v.id: v.suppressed for v in found.vulnerabilities} == {
        "CVE-1": "no use",
        "CVE-2": "not_affected no_code",
        "CVE-3": "fix state wont-fix",
        "CVE-4": "",
    }


def test_a_package_without_purl_gets_one():
    report = {"matches": [match()], "distro": {"name": "debian", "version": 12}, "descriptor": {"name": "grype"}}
    found = read_json(report)
    assert found.vulnerabilities[0].purl == "pkg:deb/debian/p@1"
    assert found.subject.os_version == "12"


def test_the_same_package_in_two_places_is_one_finding():
    second = match() | {"artifact": match()["artifact"] | {"locations": [{"path": "/other"}]}}
    found = read_json({"matches": [match(), second], "descriptor": {"name": "grype"}})
    assert [v.path for v in found.vulnerabilities] == ["/d"]


def test_known_exploitation_is_taken_over():
    found = read_json({"matches": [match(knownExploited=[{"cve": "CVE-2024-1"}])], "descriptor": {"name": "grype"}})
    assert found.vulnerabilities[0].known_exploited


def test_a_match_without_id_or_package_is_left_out_and_said():
    found = read_json({"matches": [match(), {"artifact": {"name": "p"}}], "descriptor": {"name": "grype"}})
    assert len(found.vulnerabilities) == 1
    assert found.warnings == ("1 matches without a vulnerability's id or a package's name were left out",)


@pytest.mark.corpus
@pytest.mark.parametrize("path", [XEOL + "xeol_zero.json", XEOL + "xeol_multiple_findings.json"])
def test_xeol_in_the_same_frame_is_not_claimed(report, path):
    assert report(path) is None


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"matches": []}', b'{"matches": {}}', b'{"matches": [1]}'])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@pytest.mark.corpus
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([DOJO + "fix_available.json", OWN + "explain/testdata/ghsa-test.json"]), st.data())
def test_a_damaged_report_is_read_or_refused(corpus, mutate, path, data):
    with suppress(Invalid):
        read(Document.parse(mutate(corpus(path), data)))
