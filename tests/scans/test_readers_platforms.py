"""Reports of security platforms and of OSV-Scanner, Checkov and Syft: counts and values checked by hand."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.scans.readers import read_report
from secguard.scans.report import ReportedVulnerability, ScanReport

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans"
STACKROX = "scanner/stackrox+stackrox/pkg/fixtures/image/files"
NEUVECTOR = "scanner/mitre+heimdall2/libs/hdf-converters/sample_jsons/neuvector_mapper/sample_input_report"
CHECKOV = "scanner/mitre+heimdall2/libs/hdf-converters/sample_jsons/checkov_mapper/sample_input_report"
OSV = "scanner/google+osv-scanner/pkg/osvscanner/testdata/filter"
GRYPE = "scanner/anchore+grype"

# Format, vulnerabilities, failed checks, secrets, components; counted with plain json.
TABLE = [
    (f"{DOJO}/aqua/many_vulns.json", "aqua", 24, 0, 0, 0),
    (f"{DOJO}/aqua/vulns_with_aqua_severity.json", "aqua", 13, 0, 0, 0),
    (f"{DOJO}/aqua/issue_10585.json", "aqua", 0, 0, 0, 0),
    (f"{DOJO}/aqua/over_api_v2.json", "aqua", 99, 0, 0, 0),
    (f"{STACKROX}/wordpress-debian-8.json", "stackrox", 1346, 0, 0, 0),
    (f"{STACKROX}/wordpress-debian-ubuntu-11.json", "stackrox", 179, 0, 0, 0),
    (f"{NEUVECTOR}/neuvector-mitre-heimdall2.json", "neuvector", 104, 2, 0, 0),
    (f"{DOJO}/neuvector/no_vuln.json", "neuvector", 0, 0, 0, 0),
    (f"{DOJO}/osv_scanner/many_findings.json", "osv_scanner", 36, 0, 0, 0),
    (f"{OSV}/some/input.json", "osv_scanner", 9, 0, 0, 0),
    (f"{OSV}/some/want.json", "osv_scanner", 4, 0, 0, 0),
    (f"{OSV}/all/want.json", "osv_scanner", 0, 0, 0, 0),
    (f"{DOJO}/gcloud_artifact_scan/many_vulns.json", "google", 7, 0, 0, 0),
    (f"{DOJO}/wizcli_img/wizcli_img_many_vul.json", "wiz", 8, 0, 1, 0),
    (f"{DOJO}/wizcli_img/wizcli_img_zero_vul.json", "wiz", 0, 0, 0, 0),
    (f"{DOJO}/checkov/checkov-report-severity.json", "checkov", 0, 4, 0, 0),
    (f"{CHECKOV}/checkov_with_skips.json", "checkov", 0, 12, 0, 0),
    (f"{CHECKOV}/checkov_synthetic.json", "checkov", 0, 1, 0, 0),
    (f"{GRYPE}/grype/pkg/testdata/syft-multiple-ecosystems.json", "syft", 0, 0, 0, 3),
    (f"{GRYPE}/test/cli/testdata/sbom-grype-source.json", "syft", 0, 0, 0, 43),
    ("sbom/anchore+syft/syft/format/testdata/alpine-syft.json", "syft", 0, 0, 0, 14),
    ("sbom/anchore+syft/syft/format/syftjson/testdata/snapshot/TestEncodeFullJSONDocument.golden", "syft", 0, 0, 0, 2),
]


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("member", "format_", "flaws", "checks", "secrets", "components"), TABLE, ids=lambda v: str(v)[-40:]
)
def test_real_reports_have_the_counts_checked_by_hand(corpus, member, format_, flaws, checks, secrets, components):
    report = read_report(corpus(member))
    assert report.format == format_
    found = (len(report.vulnerabilities), len(report.checks), len(report.secrets), len(report.components))
    assert found == (flaws, checks, secrets, components)


def flaw(report: ScanReport, id_: str, name: str = "") -> ReportedVulnerability:
    return next(v for v in report.vulnerabilities if v.id == id_ and v.name == (name or v.name))


@pytest.mark.corpus
def test_aqua_tells_image_package_fix_and_layer(corpus):
    report = read_report(corpus(f"{DOJO}/aqua/many_vulns.json"))
    assert (report.subject.reference, report.subject.digest) == ("your_image:latest", "")
    found = flaw(report, "CVE-2019-14697")
    assert (found.purl, found.severity.label) == ("pkg:apk/alpine/musl@1.1.20-r4", "high")
    assert found.fixed_versions == ("1.1.20-r5",)
    page = json.loads(corpus(f"{DOJO}/aqua/over_api_v2.json"))
    whole = read_report(json.dumps(page).encode())
    assert flaw(whole, "CVE-2018-3745").path == "/juice-shop/node_modules/jsonwebtoken"
    part = read_report(json.dumps({**page, "count": 100}).encode())
    assert (whole.complete, part.complete) == (True, False)


@pytest.mark.corpus
def test_a_page_of_aqua_about_several_images_is_refused_by_name(corpus):
    page = json.loads(corpus(f"{DOJO}/aqua/over_api_v2.json"))
    page["result"][0]["image_name"] = "other:1"
    with pytest.raises(Invalid, match="other:1, juiceshop:latest") as caught:
        read_report(json.dumps(page).encode())
    assert caught.value.code == "several-images"


@pytest.mark.corpus
def test_stackrox_tells_the_distribution_and_whether_the_scan_is_whole(corpus):
    whole = read_report(corpus(f"{STACKROX}/wordpress-debian-8.json"))
    found = flaw(whole, "CVE-2001-1534")
    assert (found.purl, found.severity.label) == ("pkg:deb/debian/apache2@2.4.10-10%2Bdeb8u4", "low")
    assert (whole.complete, found.cvss_vector) == (True, "AV:L/AC:L/Au:N/C:P/I:N/A:N")
    partial = read_report(corpus(f"{STACKROX}/wordpress-debian-ubuntu-11.json"))
    assert not partial.complete
    assert "OS_CVES_UNAVAILABLE" in partial.warnings[0]


def test_what_roxctl_prints_is_read():
    line = {"cveId": "CVE-2024-1", "cveSeverity": "IMPORTANT", "componentName": "apt", "componentVersion": "1.0"}
    summary = {"TOTAL-VULNERABILITIES": 1}
    printed = {"result": {"summary": summary, "vulnerabilities": [{**line, "componentFixedVersion": "1.3"}]}}
    found = read_report(json.dumps(printed).encode()).vulnerabilities[0]
    assert (found.id, found.purl, found.fixed_versions) == ("CVE-2024-1", "pkg:generic/apt@1.0", ("1.3",))
    assert found.severity.label == "high"


@pytest.mark.corpus
def test_neuvector_tells_digest_kind_of_package_and_failed_checks(corpus):
    report = read_report(corpus(f"{NEUVECTOR}/neuvector-mitre-heimdall2.json"))
    assert report.subject.reference == "docker.io/mitre/heimdall2:latest"
    assert report.subject.digest.startswith("sha256:ae8e58548bb13f1aa5df8aeea51cddf118e163fbe0163165d04552de0bf0ac0")
    assert flaw(report, "CVE-2024-4068", "braces").purl == "pkg:npm/braces@3.0.2"
    assert flaw(report, "CVE-2023-37920").purl.startswith("pkg:rpm/redhat/ca-certificates@2023.2.60_v7.0.306")
    assert sorted(c.check_id for c in report.checks) == ["I.4.6", "I.4.9"]


def test_neuvector_s_secrets_are_told_without_their_evidence():
    image = {"vulnerabilities": [], "modules": [], "secrets": [{"type": "key", "path": "/k", "evidence": "hunter2"}]}
    report = read_report(json.dumps({"report": image, "error_message": "timeout"}).encode())
    assert [(s.rule, s.path) for s in report.secrets] == [("key", "/k")]
    assert (report.complete, report.warnings) == (False, ("NeuVector says: timeout",))
    assert "hunter2" not in repr(report)


@pytest.mark.corpus
def test_a_group_of_names_is_one_flaw_for_osv_scanner(corpus):
    report = read_report(corpus(f"{OSV}/some/input.json"))
    found = flaw(report, "CVE-2022-41721")
    assert {"GHSA-fxg5-wq6x-vr4w", "GO-2023-1495"} <= set(found.aliases)
    assert flaw(report, "CVE-2024-1013").purl == "pkg:deb/debian/unixodbc@2.3.11-2"
    assert report.subject.kind == "repository"
    malicious = read_report(corpus(f"{DOJO}/osv_scanner/some_findings.json")).vulnerabilities
    assert [(v.id, v.severity.label) for v in malicious] == [("MAL-2023-1035", "critical")]


@pytest.mark.corpus
def test_google_names_the_digest_and_go_s_library_as_others_do(corpus):
    report = read_report(corpus(f"{DOJO}/gcloud_artifact_scan/many_vulns.json"))
    assert "@sha256:" in report.subject.reference
    found = flaw(report, "CVE-2023-29405")
    assert (found.purl, found.fixed_versions) == ("pkg:golang/stdlib@1.17.6", ("1.19.10",))
    assert (found.severity.label, found.path) == ("critical", "/tmp/pdscan")


@pytest.mark.corpus
def test_wiz_tells_package_kinds_by_source_and_file_and_no_secret(corpus):
    report = read_report(corpus(f"{DOJO}/wizcli_img/wizcli_img_many_vul.json"))
    assert flaw(report, "CVE-2024-5535", "libcrypto3").purl == "pkg:apk/alpine/libcrypto3@3.3.1-r0"
    assert flaw(report, "CVE-2023-44487", "golang.org/x/net").purl == "pkg:golang/golang.org/x/net@0.14.0"
    assert flaw(report, "CVE-2023-44487", "golang.org/x/net").known_exploited
    assert [(s.rule, s.path, s.line) for s in report.secrets] == [("PASSWORD", "/app/testing.go", 35)]
    with pytest.raises(Invalid, match="CICDScanOriginIAC"):
        read_report(corpus(f"{DOJO}/wizcli_iac/wizcli_iac_one_vul.json"))


@pytest.mark.corpus
def test_checkov_tells_where_a_check_failed(corpus):
    report = read_report(corpus(f"{CHECKOV}/checkov_with_skips.json"))
    assert report.complete is False
    assert report.checks[0].target.startswith("main.tf: ")
    nothing = read_report(corpus(f"{DOJO}/checkov/checkov2-report-0-vuln.json"))
    assert (nothing.complete, nothing.covers) == (False, frozenset())


def test_checkov_on_a_dockerfile_and_on_an_image():
    failed = {"check_id": "CKV_DOCKER_2", "check_name": "n", "file_path": "/Dockerfile", "resource": "/Dockerfile.FROM"}
    details = {"id": "CVE-2024-1", "package_name": "flask", "package_type": "python", "package_version": "0.1"}
    flawed = {"check_id": "BC_CVE_2024_1", "vulnerability_details": {**details, "lowest_fixed_version": "1"}}
    report: list[dict[str, Any]] = [
        {"check_type": "dockerfile", "results": {"failed_checks": [failed]}, "summary": {"checkov_version": "3.2"}},
        {"check_type": "sca_image", "results": {"failed_checks": [flawed]}},
    ]
    read = read_report(json.dumps(report).encode())
    assert [(c.check_id, c.target) for c in read.checks] == [("CKV_DOCKER_2", "Dockerfile")]
    assert [(v.id, v.purl, v.fixed_versions) for v in read.vulnerabilities] == [
        ("CVE-2024-1", "pkg:pypi/flask@0.1", ("1",))
    ]
    assert read.covers == {FindingKind.VULNERABILITY, FindingKind.MISCONFIGURATION, FindingKind.HYGIENE}
    assert (read.scanner_version, read.complete) == ("3.2", True)


@pytest.mark.corpus
def test_syft_tells_image_and_packages_in_every_version_of_its_schema(corpus):
    old = read_report(corpus(f"{GRYPE}/grype/pkg/testdata/syft-multiple-ecosystems.json"))
    assert old.components[0].purl == "pkg:apk/alpine/alpine-baselayout@3.2.0-r6"
    assert (old.subject.reference, old.subject.os_name, old.subject.digest) == ("alpine:fake", "alpine", "")
    assert old.components[0].layer.startswith("sha256:8d3ac348")
    new = read_report(corpus(TABLE[-1][0]))
    assert (new.subject.reference, new.components[0].licenses) == ("user-image-input", ("MIT",))
    assert (new.inventory, new.covers) == (True, frozenset())


@pytest.mark.corpus
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    small = [m for m, *_ in TABLE if not m.startswith((STACKROX, NEUVECTOR)) and "many_findings" not in m]
    with suppress(Invalid):
        report = read_report(mutate(corpus(data.draw(st.sampled_from(small))), data))
        assert report.scanner
