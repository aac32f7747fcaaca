"""Anchore's shapes: counts checked by hand, and policy evaluations refused with the reason."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.scans.document import Document
from secguard.scans.readers.anchore import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans"
JENKINS = "scanner/jenkinsci+analysis-model/src/test/resources/edu/hm/hafner/analysis/parser"
POLICY_ENGINE = (
    "scanner/anchore+anchore-engine/tests/functional/services/policy_engine/vulnerability_data_tests/expected_output"
    "/test_vulnerability_scanner/grype/sha256_fe3ca35038008b0eac0fa4e686bd072c9430000ab7d7853001bde5f5b8ccf60c.json"
)

# Distinct (vulnerability, package, version) and severities, counted with plain json.
TABLE = [
    (f"{DOJO}/anchore_engine/many_vulns_2.4.1.json", {"medium": 34, "low": 14, "high": 3}),
    (f"{DOJO}/anchore_engine/one_vuln.json", {"medium": 1}),
    (
        f"{DOJO}/anchore_engine/new_format_issue_11552.json",
        {"low": 43, "medium": 24, "critical": 8, "high": 8, "unknown": 1},
    ),
    (f"{DOJO}/anchorectl_vulns/one_vuln.json", {"medium": 1}),
    (POLICY_ENGINE, {"medium": 15, "low": 7, "high": 2, "critical": 1}),
    (f"{JENKINS}/anchorectl-vuln-bare-array.json", {"high": 1, "critical": 1}),
    (f"{JENKINS}/anchorectl-app-vuln-list-raw.json", {"medium": 1, "critical": 1}),
    (f"{JENKINS}/anchorectl-unified-report.json", {"low": 1}),
    (f"{JENKINS}/anchorectl-missing-vuln-id.json", {"critical": 1}),
    (f"{JENKINS}/anchorectl-empty.json", {}),
]


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "severities"), TABLE, ids=lambda v: str(v)[-40:])
def test_real_reports_have_the_counts_checked_by_hand(corpus, member, severities):
    report = read(Document.parse(corpus(member)))
    assert Counter(v.severity.label for v in report.vulnerabilities) == severities
    assert report.scanner == "anchore"


@pytest.mark.corpus
def test_repeated_packages_are_one_finding(corpus):
    report = read(Document.parse(corpus(f"{DOJO}/anchorectl_vulns/many_vulns.json")))
    assert len(report.vulnerabilities) == 21  # of 23 lines


@pytest.mark.corpus
def test_the_feed_tells_the_distribution(corpus):
    report = read(Document.parse(corpus(TABLE[0][0])))
    first = report.vulnerabilities[0]
    assert first.purl == "pkg:rpm/redhat/brotli@1.0.6-2.el8"
    assert (first.id, first.cvss_score, first.fix_state) == ("CVE-2020-8927", 6.5, "not_fixed")
    assert report.subject.reference == "registry1.dsop.io/ironbank-staging/cloudbees/core/agent:152299"
    assert report.subject.digest == "sha256:e010a676dba57f2110960b4e81a1d9098585ed6a8ac79e8c4a552ba4018d1674"


@pytest.mark.corpus
def test_a_report_of_one_kind_of_package_closes_nothing(corpus):
    report = read(Document.parse(corpus(TABLE[1][0])))
    assert not report.complete
    assert report.subject.digest == ""  # "sha256:xxxx…" is no digest


@pytest.mark.corpus
def test_name_and_version_are_told_apart_in_an_evaluation(corpus):
    report = read(Document.parse(corpus(TABLE[2][0])))
    found = {v.name: v.version for v in report.vulnerabilities}
    assert found["openssl-libs"] == "1:1.1.1k-14.el8_6"
    assert found["tomcat-embed-core"] == "9.0.97"
    aliases = {v.id: v.aliases for v in report.vulnerabilities}
    assert aliases["GHSA-5j33-cvvr-w245"] == ("CVE-2024-50379",)
    assert aliases["CVE-2024-50379"] == ()


@pytest.mark.corpus
def test_known_exploitation_and_wont_fix_are_told(corpus):
    (one,) = read(Document.parse(corpus(f"{JENKINS}/anchorectl-unified-report.json"))).vulnerabilities
    assert one.known_exploited
    assert one.purl == "pkg:apk/alpine/busybox-binsh@1.35.0-r17"
    listed = read(Document.parse(corpus(f"{JENKINS}/anchorectl-app-vuln-list-raw.json"))).vulnerabilities
    assert [v.fix_state for v in listed] == ["", "wont_fix"]


@pytest.mark.corpus
@pytest.mark.parametrize(
    "member",
    [
        "anchore_enterprise/many_checks.json",
        "anchore_enterprise/invalid_checks_format.json",
        "anchorectl_policies/many_violations.json",
        "anchorectl_policies/new_format_many_violations.json",
        "anchorectl_policies/new_format_one_violation.json",
    ],
)
def test_policy_evaluations_are_refused_with_what_to_post(corpus, member):
    with pytest.raises(Invalid, match="anchorectl image vulnerabilities") as caught:
        read(Document.parse(corpus(f"{DOJO}/{member}")))
    assert caught.value.code == "policy-evaluation"


@pytest.mark.corpus
@pytest.mark.parametrize(
    "member", ["anchorectl-empty-envelope.json", "anchorectl-no-vuln-key.json", "clair-unusual.json"]
)
def test_documents_that_say_too_little_are_not_claimed(corpus, member):
    assert read(Document.parse(corpus(f"{JENKINS}/{member}"))) is None


def test_a_fault_is_told_with_its_place():
    line = {"vuln": "CVE-2024-1", "packageName": "a", "packageVersion": "1"}
    with pytest.raises(Invalid) as caught:
        read(Document.parse(json.dumps([line, line | {"severity": []}]).encode()))
    assert caught.value.where == "$[1].severity"


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    line = {"vuln": "CVE-2024-1", "packageName": text, "packageVersion": "1", "description": text}
    (found,) = read(Document.parse(json.dumps([line]).encode())).vulnerabilities
    assert (found.name, found.description) == (text, text)


@pytest.mark.corpus
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    member = data.draw(st.sampled_from([TABLE[1][0], TABLE[5][0], TABLE[6][0], TABLE[7][0]]))
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(member), data)))
        assert report is None or report.scanner == "anchore"
