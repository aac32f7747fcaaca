"""Harbor's reports, under their MIME type and plain."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers.harbor import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/harbor_vulnerability"
GENERIC = "application/vnd.security.vulnerability.report; version=1.1"

# Counted by eye: the files have 1, 5 and 3 vulnerabilities.
TABLE = [
    ("harbor-1-vuln.json", "1.0", "Clair 2.x", ["negligible"]),
    ("harbor-5-vuln.json", "1.0", "Clair 2.x", ["negligible", "high", "high", "critical", "critical"]),
    ("harbor-trivy-vuln.json", "1.1", "Trivy v0.44.0", ["high", "low", "low"]),
]


def _plain(**changes):
    item = {"id": "CVE-2024-1", "package": "zlib", "version": "1.2", "fix_version": "1.3", "severity": "High"}
    return {
        "generated_at": "2024-05-01T10:00:00Z",
        "artifact": {"repository": "library/app", "tag": "v1", "digest": "sha256:" + "a" * 64},
        "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "v0.50.0"},
        "severity": "High",
        "vulnerabilities": [item | changes],
    }


def _read(document):
    return read(Document.parse(json.dumps(document).encode()))


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "version", "tool", "severities"), TABLE)
def test_real_reports_have_the_counts_checked_by_hand(corpus, member, version, tool, severities):
    report = read(Document.parse(corpus(f"{DOJO}/{member}")))
    assert [v.severity.label for v in report.vulnerabilities] == severities
    assert (report.scanner, report.scanner_version, report.format_version) == ("harbor", tool, version)
    assert report.covers == {FindingKind.VULNERABILITY}


@pytest.mark.corpus
def test_trivy_through_harbor_tells_score_vector_and_digest(corpus):
    report = read(Document.parse(corpus(f"{DOJO}/harbor-trivy-vuln.json")))
    first = report.vulnerabilities[0]
    assert (first.id, first.cvss_score) == ("CVE-2022-1304", 7.8)
    assert first.cvss_vector == "CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H"
    assert report.subject.digest == "sha256:711103cfce07dc03d61f51e819fad7d6fbbad20fc99caa039cc8da77e7a1c51b"
    assert report.generated_at == datetime(2023, 9, 8, 0, 19, 11, 258693, UTC)


def test_the_plain_form_tells_the_artifact():
    report = _read(_plain())
    assert (report.subject.reference, report.subject.digest) == ("library/app:v1", "sha256:" + "a" * 64)
    (found,) = report.vulnerabilities
    assert (found.purl, found.fixed_versions, found.fix_state) == ("pkg:generic/zlib@1.2", ("1.3",), "fixed")
    assert found.severity is Severity.HIGH


def test_a_scan_that_has_not_ended_is_refused():
    with pytest.raises(Invalid, match="not ended"):
        _read({GENERIC: None})


@pytest.mark.parametrize("vulnerabilities", [None, []])
def test_no_vulnerabilities_is_a_clean_report(vulnerabilities):
    report = _read({GENERIC: _plain() | {"vulnerabilities": vulnerabilities}})
    assert (report.finding_count, report.complete) == (0, True)


def test_a_fault_is_told_with_its_place():
    with pytest.raises(Invalid) as caught:
        _read({GENERIC: _plain(id=["CVE-2024-1"])})
    assert caught.value.where == f"$[{GENERIC!r}].vulnerabilities[0].id"


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"vulnerabilities": []}', b'{"application/json": {}}'])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    (found,) = _read(_plain(description=text, package=text)).vulnerabilities
    assert (found.description, found.name) == (text, text)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), mime=st.booleans())
def test_broken_reports_raise_invalid_and_nothing_else(mutate, data, mime):
    raw = json.dumps({GENERIC: _plain()} if mime else _plain()).encode()
    with suppress(Invalid):
        report = read(Document.parse(mutate(raw, data)))
        assert report is None or report.scanner == "harbor"
