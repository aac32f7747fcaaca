"""GitLab's container-scanning report: counts checked by hand."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.scans.document import Document
from secguard.scans.readers.gitlab import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans"
TRIVY = "scanner/aquasecurity+trivy"

TABLE = [
    (f"{DOJO}/gitlab_container_scan/gl-container-scanning-report-0-vuln.json", {}),
    (f"{DOJO}/gitlab_container_scan/gl-container-scanning-report-1-vuln_v14.json", {"high": 1}),
    (f"{DOJO}/gitlab_container_scan/gl-container-scanning-report-1-vuln_v15.json", {"high": 1}),
    (
        f"{DOJO}/gitlab_container_scan/issue6639_v15.json",
        {"high": 58, "medium": 26, "critical": 12, "low": 2},
    ),
    (f"{TRIVY}/integration/testdata/alpine-310.gitlab.golden", {"medium": 4}),
]


def _flaw(**location):
    place = {"image": "a:1", "dependency": {"package": {"name": "apt"}, "version": "1"}} | location
    return {"id": "x", "severity": "High", "location": place, "identifiers": [{"type": "cve", "value": "CVE-2024-1"}]}


def _read(*flaws, **more):
    document = {"version": "15.0.0", "vulnerabilities": flaws, "remediations": []} | more
    return read(Document.parse(json.dumps(document).encode()))


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "severities"), TABLE, ids=lambda v: str(v)[-40:])
def test_real_reports_have_the_counts_checked_by_hand(corpus, member, severities):
    report = read(Document.parse(corpus(member)))
    assert Counter(v.severity.label for v in report.vulnerabilities) == severities
    assert (report.scanner, report.complete) == ("gitlab-container-scanning", True)


@pytest.mark.corpus
def test_image_package_and_fix_are_told(corpus):
    report = read(Document.parse(corpus(TABLE[2][0])))
    (found,) = report.vulnerabilities
    assert (found.id, found.purl, found.fixed_versions) == ("CVE-2019-3462", "pkg:deb/debian/apt@1.4.8", ("1.4.9",))
    assert "/webgoat-8.0@sha256:bc09fe2e0721" in report.subject.reference
    assert report.scanner_version == "trivy 0.16.0"


@pytest.mark.corpus
def test_a_lock_file_in_the_images_place_is_a_path(corpus):
    report = read(Document.parse(corpus(TABLE[3][0])))
    assert report.subject.reference.endswith("/tools:pipeline-ci")
    assert {v.path for v in report.vulnerabilities} == {"", "Node.js", "var/www/composer.lock"}


def test_several_images_are_refused_by_name():
    with pytest.raises(Invalid, match="a:1, b:2") as caught:
        _read(_flaw(), _flaw(image="b:2"))
    assert caught.value.code == "several-images"


def test_a_failed_scan_closes_nothing():
    assert not _read(scan={"type": "container_scanning", "status": "failure"}).complete


@pytest.mark.corpus
def test_dependency_scanning_is_not_claimed(corpus):
    member = f"{DOJO}/gitlab_dep_scan/gl-dependency-scanning-report-1-vuln_v15.json"
    assert read(Document.parse(corpus(member))) is None


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    (found,) = _read(_flaw() | {"name": text, "description": text}).vulnerabilities
    assert (found.title, found.description) == (text, text)


@pytest.mark.corpus
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(TABLE[2][0]), data)))
        assert report is None or report.scanner == "gitlab-container-scanning"
