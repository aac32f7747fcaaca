"""Snyk's JSON: counts checked by hand against the files."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.scans.document import Document
from secguard.scans.readers.snyk import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/snyk"
HTML = "scanner/snyk+snyk-to-html/test/fixtures"
HEIMDALL = "scanner/mitre+heimdall2/libs/hdf-converters/sample_jsons/snyk_mapper/sample_input_report"

# Distinct (id, package, version) that are no licence issues, of the first path to each, counted with plain json.
TABLE = [
    (f"{DOJO}/snykcontainer_issue_9270.json", {"low": 18, "medium": 9, "high": 2, "critical": 1}),
    (f"{DOJO}/all_projects_issue4277.json", {"medium": 28, "high": 15, "critical": 4, "low": 2}),
    (f"{DOJO}/single_project_upgrade_libs.json", {"medium": 31, "high": 19, "low": 2}),
    (f"{HEIMDALL}/nodejs-goof-remote.json", {"high": 35, "medium": 33, "low": 8, "critical": 1}),
    (f"{HTML}/test-report-container-with-app-vulns.json", {"high": 1, "critical": 1}),
    (f"{HTML}/test-report.json", {"medium": 12, "high": 12, "low": 2}),
    (f"{HTML}/multi-test-report.json", {"medium": 38, "high": 37, "low": 14}),
    (f"{HTML}/test-report-with-critical-severity-vuln.json", {"medium": 38, "high": 37, "low": 14, "critical": 1}),
    (f"{DOJO}/all-projects_no_vulns.json", {}),
]


def _issue(**changes):
    return {
        "id": "SNYK-JS-LODASH-567746",
        "title": "Prototype Pollution",
        "severity": "medium",
        "packageManager": "npm",
        "name": "lodash",
        "version": "4.17.15",
        "identifiers": {"CVE": ["CVE-2020-8203"], "GHSA": ["GHSA-p6mc-m468-83gw"]},
        "from": ["app@1.0.0", "async@2.0.0", "lodash@4.17.15"],
    } | changes


def _read(*issues, **project):
    document = {"ok": False, "packageManager": "npm", "vulnerabilities": issues} | project
    return read(Document.parse(json.dumps(document).encode()))


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "severities"), TABLE, ids=lambda v: str(v)[-40:])
def test_real_reports_have_the_counts_checked_by_hand(corpus, member, severities):
    report = read(Document.parse(corpus(member)))
    assert Counter(v.severity.label for v in report.vulnerabilities) == severities
    assert (report.scanner, report.covers) == ("snyk", {FindingKind.VULNERABILITY})


@pytest.mark.corpus
def test_a_container_has_packages_of_its_system_and_its_applications(corpus):
    report = read(Document.parse(corpus(TABLE[0][0])))
    assert (report.subject.reference, report.subject.kind) == ("sarim04/juiceshop:latest", "image")
    assert (report.subject.platform_os, report.subject.architecture) == ("linux", "amd64")
    types = Counter(v.purl.partition("/")[0] for v in report.vulnerabilities)
    assert types == {"pkg:deb": 18, "pkg:npm": 12}
    first = report.vulnerabilities[0]
    assert (first.purl, first.name) == ("pkg:deb/debian/libgcc-s1@10.2.1-6", "libgcc-s1")
    assert report.vulnerabilities[-1].path == "/juice-shop/package.json"


@pytest.mark.corpus
def test_licence_issues_are_left_out_and_counted(corpus):
    assert read(Document.parse(corpus(TABLE[6][0]))).warnings == ("10 licence issues were left out.",)


@pytest.mark.parametrize(
    ("changes", "fixes"),
    [
        ({"fixedIn": ["4.17.16", "5.0.0"]}, ("4.17.16", "5.0.0")),
        ({"nearestFixedInVersion": "4.17.20"}, ("4.17.20",)),
        ({"upgradePath": [False, "async@2.6.0", "lodash@4.17.21"], "isUpgradable": True}, ("4.17.21",)),
        ({"upgradePath": [False, "async@2.6.0"], "isUpgradable": True}, ()),
        ({"upgradePath": [], "isUpgradable": False}, ()),
        ({}, ()),
    ],
)
def test_the_fix_is_of_the_package_itself(changes, fixes):
    (found,) = _read(_issue(**changes)).vulnerabilities
    assert found.fixed_versions == fixes
    assert found.fix_state == ("fixed" if fixes else "not_fixed")


def test_what_brings_a_package_in_is_told():
    (found,) = _read(_issue()).vulnerabilities
    assert found.path == "async@2.0.0 > lodash@4.17.15"
    assert found.aliases == ("CVE-2020-8203", "GHSA-p6mc-m468-83gw")


def test_one_flaw_by_two_paths_is_one_finding():
    assert len(_read(_issue(), _issue(**{"from": ["app@1.0.0", "lodash@4.17.15"]})).vulnerabilities) == 1


def test_what_the_policy_ignores_is_reported_as_suppressed():
    ignored = _issue(id="SNYK-JS-X-1", filtered={"ignored": [{"reason": "not reachable"}]})
    found = _read(_issue(), filtered={"ignore": [ignored], "patch": []}).vulnerabilities
    assert [(v.id, v.suppressed) for v in found] == [("SNYK-JS-LODASH-567746", ""), ("SNYK-JS-X-1", "not reachable")]


def test_what_could_not_be_tested_closes_nothing():
    failed = {"ok": False, "error": "no lock file", "path": "web"}
    fine = {"ok": True, "packageManager": "npm", "vulnerabilities": []}
    report = read(Document.parse(json.dumps([fine, failed]).encode()))
    assert not report.complete
    assert "no lock file" in report.warnings[0]
    with pytest.raises(Invalid, match="no lock file"):
        read(Document.parse(json.dumps(failed).encode()))


def test_several_images_are_refused_by_name():
    projects = [
        {"ok": True, "packageManager": "deb", "docker": {}, "path": path, "vulnerabilities": []}
        for path in ("a:1", "b:1")
    ]
    with pytest.raises(Invalid, match="a:1, b:1") as caught:
        read(Document.parse(json.dumps(projects).encode()))
    assert caught.value.code == "several-images"


@pytest.mark.corpus
@pytest.mark.parametrize("member", ["adm-zip.vuln.json", "lodash.patched.vuln.json"])
def test_a_lone_vulnerability_is_not_claimed(corpus, member):
    assert read(Document.parse(corpus(f"{HTML}/{member}"))) is None


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"[{}]", b'{"vulnerabilities": []}', b'{"ok": true}', b"[1]"])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


def test_a_fault_is_told_with_its_place():
    with pytest.raises(Invalid) as caught:
        _read(_issue(), _issue(id=None))
    assert caught.value.where == "$.vulnerabilities[1].id"


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    (found,) = _read(_issue(title=text, description=text)).vulnerabilities
    assert (found.title, found.description) == (text, text)


@pytest.mark.corpus
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    member = data.draw(st.sampled_from([TABLE[4][0], f"{HTML}/test-report-with-risk-scores.json"]))
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(member), data)))
        assert report is None or report.scanner == "snyk"
