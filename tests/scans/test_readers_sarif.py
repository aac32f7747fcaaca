"""SARIF of many tools: counts checked by hand against the files, and the rules of SARIF 2.1.0."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers import _bounds
from secguard.scans.readers.sarif import read
from secguard.scans.report import ScanReport

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans"
OBSERVE = "scanner/SecObserve+SecObserve/backend/unittests/import_observations/parsers/sarif/files"
TRIVY = "scanner/aquasecurity+trivy"
VEXCTL = "scanner/openvex+vexctl"

# Counted with a few lines of plain json: distinct (rule, package) for vulnerabilities, (rule, file) for checks.
TABLE = [
    (f"{VEXCTL}/examples/sarif/nginx-snyk.sarif.json", "snyk", 65, 0),
    (f"{VEXCTL}/examples/sarif/nginx-trivy.sarif.json", "trivy", 99, 0),
    (f"{VEXCTL}/pkg/ctl/testdata/nginx.sarif.json", "trivy", 123, 0),
    (f"{TRIVY}/integration/testdata/alpine-310.sarif.golden", "trivy", 4, 0),
    (f"{TRIVY}/@v0.15.0/integration/testdata/alpine-310.sarif.golden", "trivy", 8, 0),
    ("scanner/anchore+grype/grype/presenter/sarif/testdata/snapshot/TestSarifPresenter_image.golden", "grype", 2, 0),
    (f"{DOJO}/sarif/cxf-3.4.6.sarif", "grype", 22, 0),
    (f"{DOJO}/sarif/blackduck_nested_fingerprints.sarif", "example-application", 5, 0),
    (f"{OBSERVE}/dependency-check.sarif", "dependency-check", 3, 0),
    (f"{OBSERVE}/checkov.sarif", "checkov", 0, 4),
    (f"{OBSERVE}/eslint.sarif", "eslint", 0, 7),
    (f"{DOJO}/sarif/issue_10191.json", "semgrep", 0, 48),
    (f"{DOJO}/sarif/semgrepowasp-benchmark-sample.sarif", "semgrep", 0, 1664),
    (f"{DOJO}/sarif/DefectDojo_django-DefectDojo__2020-12-11_13_42_10__export.sarif", "lgtm-com", 0, 256),
    (f"{DOJO}/snyk/snykcode_issue_9270.json", "snyk-code", 0, 28),
    (f"{DOJO}/govulncheck/issue_15033_sarif.json", "govulncheck", 3, 0),
]


def _read(log: Any) -> ScanReport:
    report = read(Document.parse(json.dumps(log).encode()))
    assert report is not None
    return report


def _log(driver: dict[str, Any], results: list[dict[str, Any]] | None, **run: Any) -> dict[str, Any]:
    return {"version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results, **run}]}


def _result(rule: str, uri: str = "Dockerfile", line: int = 1, **more: Any) -> dict[str, Any]:
    place = {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": line}}}
    return {"ruleId": rule, "message": {"text": "told"}, "locations": [place], **more}


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "scanner", "vulnerabilities", "checks"), TABLE, ids=lambda v: str(v)[-40:])
def test_real_logs_have_the_counts_checked_by_hand(corpus, member, scanner, vulnerabilities, checks):
    report = read(Document.parse(corpus(member)))
    assert (report.scanner, len(report.vulnerabilities), len(report.checks)) == (scanner, vulnerabilities, checks)
    assert report.complete


@pytest.mark.corpus
def test_trivy_tells_package_version_fix_and_image(corpus):
    report = read(Document.parse(corpus(f"{TRIVY}/integration/testdata/alpine-310.sarif.golden")))
    first = report.vulnerabilities[0]
    assert (first.id, first.name, first.version) == ("CVE-2019-1549", "libcrypto1.1", "1.1.1c-r0")
    assert (first.fixed_versions, first.fix_state) == (("1.1.1d-r0",), "fixed")
    assert (first.severity, first.cvss_score) == (Severity.MEDIUM, 5.3)
    assert report.subject.reference == "testdata/fixtures/images/alpine-310.tar.gz"
    assert report.subject.image_id.startswith("sha256:9617696764")


@pytest.mark.corpus
def test_snyk_tells_distribution_and_binary_package(corpus):
    report = read(Document.parse(corpus(f"{VEXCTL}/examples/sarif/nginx-snyk.sarif.json")))
    found = {v.id: v for v in report.vulnerabilities}["SNYK-DEBIAN12-DAV1D-5518047"]
    assert found.purl == "pkg:deb/debian/libdav1d6@1.0.0-2"
    assert (found.aliases, found.severity, found.name) == (("CVE-2023-32570",), Severity.LOW, "libdav1d6")
    assert report.subject.reference.startswith("nginx@sha256:13d22ec6")


@pytest.mark.corpus
def test_grype_in_both_wordings(corpus):
    new = read(Document.parse(corpus(TABLE[5][0]))).vulnerabilities
    assert [v.id for v in new] == ["CVE-1999-0001", "CVE-1999-0002"]
    assert new[1].purl == "pkg:deb/package-2@2.2.2"  # as grype gives it
    assert new[0].fixed_versions == ("1.2.1", "2.1.3", "3.4.0")
    old = read(Document.parse(corpus(f"{DOJO}/sarif/cxf-3.4.6.sarif"))).vulnerabilities[0]
    assert old.id == "CVE-2008-0732"
    assert old.purl == "pkg:maven/geronimo-j2ee-management_1.1_spec@1.0.1"
    assert old.path == "lib/geronimo-j2ee-management_1.1_spec-1.0.1.jar"


@pytest.mark.corpus
def test_an_id_that_disagrees_with_its_index_counts(corpus):
    member = "scanner/jenkinsci+analysis-model/src/test/resources/edu/hm/hafner/analysis/parser/violations"
    checks = read(Document.parse(corpus(f"{member}/emptyfilePath.sarif"))).checks
    assert [(c.check_id, c.title) for c in checks] == [
        ("FirstRule", "You should keep an eye on this code"),
        ("secondRule", "This is bad code!"),
    ]
    assert checks[0].target == "whatever/€path.cs"


def test_docker_scout_reads_every_purl_of_a_rule():
    rule = {
        "id": "CVE-2023-50495",
        "properties": {
            "cvssV3_severity": "UNSPECIFIED",
            "security-severity": "3.1",
            "fixed_version": "not fixed",
            "purls": ["pkg:deb/ubuntu/ncurses@6.2?os_name=ubuntu", "pkg:deb/ubuntu/ncurses-base@6.2"],
        },
    }
    report = _read(_log({"name": "docker scout", "version": "1.21.0", "rules": [rule]}, [_result("CVE-2023-50495")]))
    assert report.scanner == "docker-scout"
    assert [v.purl for v in report.vulnerabilities] == rule["properties"]["purls"]
    assert [v.name for v in report.vulnerabilities] == ["ncurses", "ncurses-base"]
    assert report.vulnerabilities[0].fixed_versions == ()
    assert report.covers == {FindingKind.VULNERABILITY}


@pytest.mark.parametrize(
    ("properties", "severity"),
    [
        ({"cvssV3_severity": "CRITICAL", "security-severity": "2.0"}, Severity.CRITICAL),
        ({"security-severity": "7.5"}, Severity.HIGH),
        ({"security-severity": 4}, Severity.MEDIUM),
        ({"security-severity": "LOW"}, Severity.LOW),
        ({"tags": ["security", "MEDIUM"]}, Severity.MEDIUM),
        ({"security-severity": "much"}, Severity.HIGH),  # level error
        ({}, Severity.HIGH),
    ],
)
def test_severity_is_the_word_then_the_score_then_the_level(properties, severity):
    rule = {"id": "R1", "properties": properties, "defaultConfiguration": {"level": "error"}}
    assert _read(_log({"name": "any", "rules": [rule]}, [_result("R1")])).checks[0].severity is severity


def test_a_result_without_level_and_rule_is_a_warning():
    assert _read(_log({"name": "any"}, [_result("R1")])).checks[0].severity is Severity.MEDIUM


@pytest.mark.parametrize("kind", ["pass", "notApplicable", "informational", "open", "review"])
def test_what_did_not_fail_is_no_finding(kind):
    assert _read(_log({"name": "any"}, [_result("R1", kind=kind)])).finding_count == 0


def test_what_is_only_in_the_baseline_is_no_finding():
    results = [_result("R1", baselineState="absent"), _result("R2", baselineState="unchanged")]
    assert [c.check_id for c in _read(_log({"name": "any"}, results)).checks] == ["R2"]


@pytest.mark.parametrize(
    ("suppressions", "reason"),
    [
        ([{"kind": "external", "justification": "not reachable"}], "not reachable"),
        ([{"kind": "inSource"}], "suppressed: inSource"),
        ([{"kind": "external", "status": "rejected"}], ""),
        ([{"kind": "external"}, {"kind": "external", "status": "underReview"}], ""),
        ([], ""),
    ],
)
def test_a_suppression_is_told_and_the_finding_stays(suppressions, reason):
    report = _read(_log({"name": "grype"}, [_result("CVE-2024-1234", suppressions=suppressions)]))
    assert [v.suppressed for v in report.vulnerabilities] == [reason]
    assert any("suppressed" in w for w in report.warnings) is bool(reason)


@pytest.mark.corpus
def test_suppressed_checks_stay_findings(corpus):
    report = read(Document.parse(corpus(f"{DOJO}/sarif/suppression_test.sarif")))
    assert len(report.checks) == 5
    assert any(w.startswith("3 results are suppressed") for w in report.warnings)


def test_a_failed_run_closes_nothing():
    failed = _read(_log({"name": "any"}, [], invocations=[{"executionSuccessful": False}]))
    assert not failed.complete
    not_looked = _read(_log({"name": "any"}, None))
    assert not not_looked.complete
    elsewhere = _read(_log({"name": "any"}, [], externalPropertyFileReferences={"results": [{"location": {}}]}))
    assert not elsewhere.complete
    assert all(r.warnings for r in (failed, not_looked, elsewhere))


def test_several_tools_are_refused_by_name():
    log = _log({"name": "Trivy"}, [])
    log["runs"] += _log({"name": "gitleaks"}, [])["runs"]
    with pytest.raises(Invalid, match="Trivy, gitleaks") as caught:
        _read(log)
    assert caught.value.code == "several-tools"


def test_several_runs_of_one_tool_are_one_report():
    log = _log({"name": "KICS"}, [_result("A")])
    log["runs"] += _log({"name": "kics"}, [_result("B")])["runs"]
    assert [c.check_id for c in _read(log).checks] == ["A", "B"]


@pytest.mark.corpus
def test_a_log_without_runs_is_refused(corpus):
    with pytest.raises(Invalid) as caught:
        read(Document.parse(corpus(f"{DOJO}/sarif/no_runs.sarif")))
    assert (caught.value.code, caught.value.where) == ("no-runs", "$.runs")


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0", ""])
def test_other_versions_are_refused_with_the_version(version):
    with pytest.raises(Invalid) as caught:
        read(Document.parse(json.dumps({"version": version, "runs": []}).encode()))
    assert caught.value.code == "sarif-version"


def test_a_fault_is_told_with_its_place():
    log = _log({"name": "any"}, [_result("R1"), _result("R1", locations="here")])
    with pytest.raises(Invalid) as caught:
        _read(log)
    assert caught.value.where == "$.runs[0].results[1].locations"


def test_no_part_of_a_secret_leaves_the_reader():
    secret = "AKIAIOSFODNN7EXAMPLE"
    place = {
        "artifactLocation": {"uri": "file:///app/.env"},
        "region": {"startLine": 7, "snippet": {"text": f"KEY={secret}"}},
    }
    result = {"ruleId": "aws-key", "message": {"text": f"found {secret}"}, "locations": [{"physicalLocation": place}]}
    driver = {"name": "gitleaks", "rules": [{"id": "aws-key", "shortDescription": {"text": "AWS key"}}]}
    report = _read(_log(driver, [result]))
    found = report.secrets[0]
    assert (found.rule, found.path, found.line, found.title) == ("aws-key", "/app/.env", 7, "AWS key")
    assert secret not in repr(report)
    assert report.covers == {FindingKind.SECRET}


def test_trivy_secrets_beside_vulnerabilities():
    rules = [
        {"id": "CVE-2024-1", "name": "OsPackageVulnerability", "properties": {"tags": ["vulnerability", "HIGH"]}},
        {"id": "aws-access-key-id", "name": "Secret", "properties": {"tags": ["secret", "CRITICAL"]}},
        {"id": "DS002", "name": "Misconfiguration", "properties": {"tags": ["misconfiguration", "HIGH"]}},
    ]
    text = "Package: apt\nInstalled Version: 2.6.1\nFixed Version: "
    results = [
        _result("CVE-2024-1", "library/nginx", message={"text": text}),
        _result("aws-access-key-id", "/root/.aws", 3),
        _result("DS002", "Dockerfile"),
    ]
    report = _read(_log({"name": "Trivy", "rules": rules}, results, properties={"imageName": "nginx"}))
    assert (len(report.vulnerabilities), len(report.secrets), len(report.checks)) == (1, 1, 1)
    assert report.secrets[0].severity is Severity.CRITICAL
    assert report.covers == {FindingKind.VULNERABILITY, FindingKind.SECRET, FindingKind.MISCONFIGURATION}


def test_a_clean_trivy_log_of_no_image_withdraws_nothing():
    assert _read(_log({"name": "Trivy"}, [])).covers == frozenset()
    assert _read(_log({"name": "Trivy"}, [], properties={"imageName": "a"})).covers == {FindingKind.VULNERABILITY}


def test_lines_are_no_identity():
    report = _read(_log({"name": "hadolint"}, [_result("DL3008", line=3), _result("DL3008", line=9)]))
    assert [(c.target, c.line) for c in report.checks] == [("Dockerfile", 3)]
    assert "1 results repeat" in report.warnings[0]


def test_a_vulnerability_without_a_package_is_not_lost():
    report = _read(_log({"name": "govulncheck"}, [_result("GO-2024-1234", "go.mod")]))
    assert [(v.purl, v.id) for v in report.vulnerabilities] == [("pkg:generic/go.mod", "GO-2024-1234")]
    assert "name no package" in report.warnings[0]


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "a\0b", "x" * 1_000_000, "\u202e", ""])
def test_text_passes_through_unharmed(text):
    report = _read(_log({"name": "any"}, [_result("R1", message={"text": text})]))
    assert report.checks[0].description == text


def test_a_million_results_are_refused_at_the_bound(monkeypatch):
    monkeypatch.setattr(_bounds, "MAX_FINDINGS", 3)
    results = [_result("R1", uri=f"file{n}") for n in range(4)]
    assert len(_read(_log({"name": "any"}, results[:3])).checks) == 3
    with pytest.raises(Invalid, match="more than 3 findings") as caught:
        _read(_log({"name": "any"}, results))
    assert caught.value.code == "too-many-findings"


def test_other_documents_are_not_claimed():
    for raw in (b"{}", b"[]", b'{"runs": []}', b'{"version": "2.1.0"}'):
        assert read(Document.parse(raw)) is None


@pytest.mark.corpus
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_broken_logs_raise_invalid_and_nothing_else(corpus, mutate, data):
    member = data.draw(st.sampled_from([TABLE[3][0], TABLE[5][0], TABLE[7][0], f"{DOJO}/sarif/appendix_k.sarif"]))
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(member), data)))
        assert report is None or report.scanner
