"""Clair v4 (claircore) reports and Clair v2 through clair-scanner and Klar."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers import clair, clair_scanner

INDEX = "scanner/quay+claircore"
BILLS = "sbom/quay+claircore/sbom/spdx/testdata"
DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/clair"

# Distinct (name, version, architecture, repository), counted with plain json.
TABLE = [
    (f"{INDEX}/ubuntu/testdata/indexreport-bionic.json", {"pkg:deb/ubuntu": 129}),
    (f"{BILLS}/round-trip/ubi8-micro.ir.json", {"pkg:rpm/redhat": 19, "pkg:generic/": 2}),  # 2: the image itself
    (f"{BILLS}/round-trip/simple.ir.json", {"pkg:rpm/redhat": 1, "pkg:maven/": 1}),
    (f"{INDEX}/test/rhel/testdata/clair-rhel8-v3.5.5-4-indexreport.json", {"pkg:generic/": 4}),
    (f"{BILLS}/decoder/konflux-syft+hermeto.ir.json", {"pkg:rpm/redhat": 794, "pkg:pypi/": 18}),  # of 1341 entries
]

# In the shape of claircore's VulnerabilityReport; the corpus has none with vulnerabilities.
REPORT = {
    "manifest_hash": "sha256:" + "b" * 64,
    "packages": {
        "10": {"id": "10", "name": "libssl3", "version": "3.0.7-r0", "kind": "binary"},
        "11": {"id": "11", "name": "PyYAML", "version": "5.3.1", "kind": "binary", "filepath": "usr/lib/PyYAML"},
    },
    "distributions": {"1": {"id": "1", "did": "alpine", "name": "Alpine Linux", "version_id": "3.17"}},
    "repository": {"2": {"id": "2", "name": "pypi", "uri": "https://pypi.org/simple"}},
    "environments": {
        "10": [{"package_db": "lib/apk/db/installed", "introduced_in": "sha256:layer", "distribution_id": "1"}],
        "11": [{"package_db": "python:usr/lib", "introduced_in": "sha256:l2", "repository_ids": ["2"]}],
    },
    "vulnerabilities": {
        "v1": {
            "name": "CVE-2023-0464",
            "updater": "alpine-main-v3.17-updater",
            "description": "policy constraints",
            "links": "https://a.example/1 https://a.example/2",
            "normalized_severity": "Unknown",
            "fixed_in_version": "3.0.8-r1",
            "issued": "2023-03-22T00:00:00Z",
        },
        "v2": {
            "name": "GHSA-8q59-q68h-6hv4",
            "normalized_severity": "Critical",
            "fixed_in_version": "fixed=5.4&introduced=0",
        },
        "v3": {"name": "RHSA-2021:1024: openssl security update (Important)", "normalized_severity": "High"},
    },
    "package_vulnerabilities": {"10": ["v1", "v3"], "11": ["v2", "v2", "gone"]},
    "enrichments": {
        "message/vnd.clair.map.vulnerability; enricher=clair.cvss schema=x": [
            {"v1": [{"baseScore": 7.5, "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]}
        ]
    },
}


def _read(document):
    return clair.read(Document.parse(json.dumps(document).encode()))


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "components"), TABLE, ids=lambda v: str(v)[-40:])
def test_real_index_reports_have_the_counts_checked_by_hand(corpus, member, components):
    report = clair.read(Document.parse(corpus(member)))
    assert Counter(_kind_of(c.purl) for c in report.components) == components
    assert (report.inventory, report.complete, report.covers) == (True, True, frozenset())


def _kind_of(purl):
    """The purl's type, and its namespace where it has one."""
    return purl.rpartition("/")[0] if purl.count("/") > 1 else purl.partition("/")[0] + "/"


@pytest.mark.corpus
def test_the_manifest_is_the_subject(corpus):
    subject = clair.read(Document.parse(corpus(TABLE[1][0]))).subject
    assert subject.digest == "sha256:2ca89d5a5c35b2d6be72e3b510e522186726e0c5960ca57e212abcee24115006"
    assert (subject.os_name, subject.os_version) == ("rhel", "8")


def test_a_vulnerability_report_joins_packages_places_and_flaws():
    report = _read(REPORT)
    assert [(v.id, v.purl) for v in report.vulnerabilities] == [
        ("CVE-2023-0464", "pkg:apk/alpine/libssl3@3.0.7-r0"),
        ("RHSA-2021:1024", "pkg:apk/alpine/libssl3@3.0.7-r0"),
        ("GHSA-8q59-q68h-6hv4", "pkg:pypi/pyyaml@5.3.1"),
    ]
    assert report.covers == {FindingKind.VULNERABILITY}
    assert len(report.components) == 2
    first = report.vulnerabilities[0]
    assert (first.severity, first.cvss_score) == (Severity.HIGH, 7.5)  # unrated by Alpine; of the enrichment
    assert (first.layer, first.references) == ("sha256:layer", ("https://a.example/1", "https://a.example/2"))
    assert report.vulnerabilities[2].fixed_versions == ("5.4",)
    assert report.vulnerabilities[1].title.endswith("(Important)")


def test_an_index_that_failed_closes_nothing():
    report = _read(REPORT | {"success": False, "state": "IndexError", "err": "layer not fetched"})
    assert not report.complete
    assert not report.inventory
    assert report.warnings == ("Clair did not finish: layer not fetched.",)


def test_a_package_that_is_not_listed_is_refused_with_its_id():
    with pytest.raises(Invalid) as caught:
        _read(REPORT | {"package_vulnerabilities": {"99": ["v1"]}})
    assert (caught.value.code, caught.value.where) == ("dangling", "$.package_vulnerabilities['99']")


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("member", "severities"),
    [
        ("clair_many_vul.json", {"low": 15, "negligible": 11, "medium": 9}),
        ("clairklar_mixed.json", {"critical": 2, "high": 1, "medium": 1, "low": 1, "unknown": 1}),
        ("clairklar_empty.json", {}),
    ],
)
def test_clair_v2_reports_have_the_counts_checked_by_hand(corpus, member, severities):
    report = clair_scanner.read(Document.parse(corpus(f"{DOJO}/{member}")))
    assert Counter(v.severity.label for v in report.vulnerabilities) == severities
    assert report.scanner == "clair"


def test_what_a_whitelist_approves_is_still_reported():
    lines = [{"vulnerability": f"CVE-2024-{n}", "featurename": "a", "namespace": "debian:12"} for n in (1000, 2000)]
    document = {"image": "a:1", "unapproved": ["CVE-2024-1000"], "vulnerabilities": lines}
    report = clair_scanner.read(Document.parse(json.dumps(document).encode()))
    assert [bool(v.suppressed) for v in report.vulnerabilities] == [False, True]
    assert report.subject.reference == "a:1"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"packages": {}}', b'{"vulnerabilities": {}}', b'{"image": "a"}'])
def test_other_documents_are_not_claimed(raw):
    assert clair.read(Document.parse(raw)) is None
    assert clair_scanner.read(Document.parse(raw)) is None


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    flaw = {"name": "CVE-2024-1234", "description": text}
    package = {"id": "1", "name": text, "version": "1"}
    document = REPORT | {
        "packages": {"1": package},
        "vulnerabilities": {"v": flaw},
        "package_vulnerabilities": {"1": ["v"]},
    }
    (found,) = _read(document).vulnerabilities
    assert (found.description, found.name) == (text, text)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(mutate, data):
    with suppress(Invalid):
        report = clair.read(Document.parse(mutate(json.dumps(REPORT).encode(), data)))
        assert report is None or report.scanner == "clair"


@pytest.mark.corpus
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broken_clair_v2_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    member = data.draw(st.sampled_from(["clair_many_vul.json", "clairklar_mixed.json"]))
    with suppress(Invalid):
        report = clair_scanner.read(Document.parse(mutate(corpus(f"{DOJO}/{member}"), data)))
        assert report is None or report.scanner == "clair"
