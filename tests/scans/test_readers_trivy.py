"""Trivy and trivy-operator: real reports of every schema. The numbers are counted in the files, not by the reader."""

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
from secguard.scans.readers.trivy import read

V20 = "scanner/aquasecurity+trivy/@v0.20.0/integration/testdata/"
V15 = "scanner/aquasecurity+trivy/@v0.15.0/integration/testdata/"
NOW = "scanner/aquasecurity+trivy/integration/testdata/"
DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/"
BOX = "scanner/secureCodeBox+secureCodeBox/scanners/trivy/parser/__testFiles__/"
OPERATOR = DOJO + "trivy_operator/"
VULNERABILITY, SECRET, CHECK = FindingKind.VULNERABILITY, FindingKind.SECRET, FindingKind.MISCONFIGURATION


@pytest.fixture
def report(corpus):
    return lambda path: read(Document.parse(corpus(path)))


def read_json(value):
    return read(Document.parse(json.dumps(value).encode()))


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("path", "schema", "vulnerabilities", "secrets", "checks", "components"),
    [
        (V15 + "debian-stretch.json.golden", "1", 160, 0, 0, 0),
        (V15 + "centos-7.json.golden", "1", 711, 0, 0, 0),
        (DOJO + "trivy/legacy_trivy_mix.json", "1", 6, 0, 0, 0),
        (V20 + "centos-7.json.golden", "2", 711, 0, 0, 0),
        (V20 + "ubi-7.json.golden", "2", 631, 0, 0, 0),
        # 236 entries, of which 39 name a package again that lies in a second folder
        (BOX + "juice-shop-v10.2.0.json", "2", 197, 1, 0, 0),
        (BOX + "securecodebox-repo.json", "2", 21, 1, 0, 0),
        (BOX + "juice-shop-v12.10.2-no-results.json", "2", 0, 0, 0, 0),
        # 18 failures, two of them of one check on one template
        (NOW + "helm.json.golden", "2", 0, 0, 17, 0),
        (NOW + "secrets.json.golden", "2", 0, 2, 0, 0),
        (NOW + "cargo.lock.json.golden", "2", 0, 0, 0, 7),
        (NOW + "fixtures/convert/npm-with-suppressed.json.golden", "2", 2, 0, 0, 2),
    ],
)
def test_counts(report, path, schema, vulnerabilities, secrets, checks, components):
    found = report(path)
    assert (found.format, found.format_version, found.scanner) == ("trivy", schema, "trivy")
    assert len(found.vulnerabilities) == vulnerabilities
    assert (len(found.secrets), len(found.checks), len(found.components)) == (secrets, checks, components)


@pytest.mark.corpus
def test_severities_are_trivys(report):
    severities = Counter(v.severity for v in report(V20 + "centos-7.json.golden").vulnerabilities)
    assert severities == {Severity.MEDIUM: 279, Severity.LOW: 406, Severity.HIGH: 26}
    severities = Counter(v.severity for v in report(V15 + "debian-stretch.json.golden").vulnerabilities)
    assert severities == {Severity.LOW: 104, Severity.HIGH: 24, Severity.MEDIUM: 20, Severity.CRITICAL: 12}


@pytest.mark.corpus
def test_a_vulnerability_of_a_system_package(report):
    apt = report(DOJO + "trivy/all_statuses.json").vulnerabilities[0]
    assert (apt.id, apt.name, apt.version) == ("CVE-2011-3374", "apt", "1.8.2.3")
    assert apt.purl == "pkg:deb/debian/apt@1.8.2.3"
    assert (apt.severity, apt.severity_source) == (Severity.LOW, "debian")
    assert apt.path == ""
    assert apt.layer.startswith("sha256:")
    assert apt.references[0].startswith("https://avd.aquasec.com/nvd/cve-")
    assert apt.published_at is not None
    assert apt.published_at.tzinfo is not None


@pytest.mark.corpus
def test_a_package_without_purl_gets_one_from_type_and_distribution(report):
    purls = {v.purl for v in report(DOJO + "trivy/legacy_trivy_mix.json").vulnerabilities}
    assert "pkg:npm/lodash@4.17.4" in purls
    assert "pkg:apk/alpine/curl@7.61.0-r0" in purls
    assert not any(p.startswith("pkg:generic/") for p in purls)


@pytest.mark.corpus
def test_what_an_image_report_says_of_its_image(report):
    subject = report(V20 + "alpine-310-registry.json.golden").subject
    assert (subject.kind, subject.os_name, subject.os_version) == ("image", "alpine", "3.10.2")
    assert subject.image_id.startswith("sha256:961769676411")
    assert subject.digest == ""
    assert (subject.architecture, subject.platform_os) == ("amd64", "linux")
    subject = report(BOX + "juice-shop-v10.2.0.json").subject
    assert subject.reference == "bkimminich/juice-shop:v10.2.0"
    assert subject.repository_digests


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("path", "kinds", "kind"),
    [
        (V20 + "alpine-39.json.golden", {VULNERABILITY}, "image"),
        (BOX + "juice-shop-v10.2.0.json", {VULNERABILITY, SECRET}, "image"),
        (BOX + "juice-shop-v12.10.2-no-results.json", {VULNERABILITY}, "image"),
        (NOW + "helm.json.golden", {CHECK}, "repository"),
        (NOW + "secrets.json.golden", {SECRET}, "repository"),
        (NOW + "amazonlinux2-gp2-x86-vm.json.golden", {VULNERABILITY}, "vm"),
        (DOJO + "trivy/issue_9092.json", {VULNERABILITY}, "sbom"),
        (OPERATOR + "configauditreport_many.json", {CHECK}, "configuration"),
    ],
)
def test_a_report_covers_what_was_looked_for(report, path, kinds, kind):
    found = report(path)
    assert found.covers == kinds
    assert found.subject.kind == kind


@pytest.mark.corpus
def test_an_archives_path_is_no_reference(report):
    assert report(V20 + "alpine-39.json.golden").subject.reference == ""


@pytest.mark.corpus
def test_a_finding_taken_out_by_vex_is_kept_with_the_reason(report):
    found = report(NOW + "fixtures/convert/npm-with-suppressed.json.golden")
    suppressed = {v.id: v.suppressed for v in found.vulnerabilities if v.suppressed}
    assert suppressed == {"CVE-2017-16137": "not_affected vulnerable_code_not_in_execute_path (./vex.json)"}
    assert next(v for v in found.vulnerabilities if v.suppressed).fixed_versions == ("2.6.9", "3.1.0", "3.2.7", "4.3.1")


@pytest.mark.corpus
def test_the_whole_list_of_packages_is_an_inventory(report):
    found = report(NOW + "cargo.lock.json.golden")
    assert found.inventory
    assert all(c.purl.startswith("pkg:cargo/") for c in found.components)
    assert not report(V20 + "alpine-39.json.golden").inventory


@pytest.mark.corpus
def test_statuses_are_fix_states(report):
    found = report(DOJO + "trivy/all_statuses.json").vulnerabilities
    assert [(v.fix_state, v.suppressed) for v in found] == [
        ("", ""),
        ("", "not_affected"),
        ("not_fixed", ""),
        ("fixed", ""),
        ("", ""),
        ("wont_fix", ""),
        ("not_fixed", ""),
        ("wont_fix", ""),
    ]


def secret(**more):
    return {"RuleID": "r", "Severity": "HIGH", "Title": "T", "StartLine": 3, "Match": "key = *****"} | more


def test_secrets_are_told_apart_without_their_text():
    secrets = [secret(), secret(StartLine=9), secret(StartLine=12, Match="key = hunter2hunter2"), secret(StartLine=3)]
    result = {"Target": "/app/.env", "Class": "secret", "Secrets": secrets}
    found = read_json({"SchemaVersion": 2, "ArtifactName": "a:1", "Results": [result]}).secrets
    assert [s.line for s in found] == [3, 9, 12]
    assert len({s.fingerprint for s in found}) == 3
    assert "hunter2" not in repr(found)


def test_an_image_configurations_check_has_the_same_target_in_every_tag():
    def checks(tag):
        check = {
            "ID": "DS-0002",
            "Title": "root",
            "Severity": "HIGH",
            "Status": "FAIL",
            "CauseMetadata": {"StartLine": 4},
        }
        passed = check | {"ID": "DS-0001", "Status": "PASS"}
        name = f"registry/app:{tag}"
        result = {"Target": name, "Class": "config", "Type": "dockerfile", "Misconfigurations": [check, passed]}
        return read_json({"SchemaVersion": 2, "ArtifactName": name, "Results": [result]}).checks

    assert [(c.check_id, c.target, c.line) for c in checks("1")] == [("DS-0002", "Dockerfile", 4)]
    assert checks("1") == checks("2")


def test_vendor_ids_are_aliases_only_where_they_name_one_flaw():
    v = {"VulnerabilityID": "CVE-2024-1", "PkgName": "p", "InstalledVersion": "1", "VendorIDs": ["DSA-1-1", "GHSA-x"]}
    result = {"Target": "x", "Type": "npm", "Vulnerabilities": [v]}
    assert read_json([result]).vulnerabilities[0].aliases == ("GHSA-x",)


def test_the_score_goes_with_the_severitys_source():
    cvss = {"nvd": {"V3Score": 9.8, "V3Vector": "N"}, "redhat": {"V3Score": 5.0, "V3Vector": "R", "V2Score": 1}}
    v = {"VulnerabilityID": "CVE-2024-1", "PkgName": "p", "SeveritySource": "redhat", "CVSS": cvss}
    found = read_json([{"Target": "x", "Type": "rpm", "Vulnerabilities": [v]}]).vulnerabilities[0]
    assert (found.cvss_score, found.cvss_vector, found.severity_source) == (5.0, "R", "redhat")


def test_licences_are_left_out_and_said():
    result = {"Target": "x", "Class": "license", "Licenses": [{"Name": "GPL-3.0"}, {"Name": "MIT"}]}
    found = read_json({"SchemaVersion": 2, "ArtifactName": "a", "Results": [result]})
    assert found.finding_count == 0
    assert found.covers == frozenset()
    assert found.warnings == ("2 licence findings were left out: licences are judged from the components",)


def test_an_epoch_and_a_release_are_part_of_the_version():
    package = {"Name": "openssl", "Version": "1.1.1k", "Release": "9.el8", "Epoch": 1}
    result = {"Target": "a (redhat 8.7)", "Class": "os-pkgs", "Type": "redhat", "Packages": [package]}
    component = read_json({"SchemaVersion": 2, "ArtifactName": "a", "Results": [result]}).components[0]
    assert (component.version, component.purl) == ("1:1.1.1k-9.el8", "pkg:rpm/redhat/openssl@1:1.1.1k-9.el8")


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("path", "code"),
    [
        (BOX + "trivy--k8s-scan-results.json", "several-images"),
        (DOJO + "trivy/issue_10991.json", "no-image"),
        (OPERATOR + "all_reports_in_dict.json", "several-images"),
        (OPERATOR + "clustercompliancereport.json", "no-image"),
    ],
)
def test_a_report_about_a_cluster_is_refused_with_the_way_out(report, path, code):
    with pytest.raises(Invalid) as caught:
        report(path)
    assert caught.value.code == code
    assert "one" in caught.value.detail


@pytest.mark.corpus
def test_a_cluster_report_about_one_image_is_read(report):
    found = report(DOJO + "trivy/kubernetes_fabricated_internal_duplicates_subset.json")
    assert (found.subject.reference, len(found.vulnerabilities)) == ("docker.io/redis:6.0.5", 2)


@pytest.mark.corpus
def test_the_operators_resources(report):
    found = report(OPERATOR + "vulnerabilityreport_many.json")
    assert (len(found.vulnerabilities), found.covers) == (41, {VULNERABILITY})
    assert found.subject.reference == "index.docker.io/library/nginx:alpine"
    found = report(OPERATOR + "configauditreport_many.json")
    assert len(found.checks) == 13
    assert {c.target for c in found.checks} == {"ReplicaSet/nginx-deployment-965685897"}
    found = report(OPERATOR + "findings_in_list.json")
    assert (len(found.vulnerabilities), len(found.checks)) == (5, 13)


@pytest.mark.corpus
def test_the_operators_webhook_wraps_one_resource(corpus):
    resource = json.loads(corpus(OPERATOR + "vulnerabilityreport_many.json"))
    assert len(read_json({"verb": "update", "operatorObject": resource}).vulnerabilities) == 41
    assert read_json({"verb": "delete", "operatorObject": resource}) is None
    assert len(read_json({"apiVersion": "v1", "kind": "List", "items": [resource]}).vulnerabilities) == 41


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{}",
        b'{"Results": []}',
        b'[{"Target": "x"}]',
        b'{"apiVersion": "v1", "kind": "Pod"}',
        b'{"matches": []}',
    ],
)
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


def test_a_field_of_another_type_is_placed():
    with pytest.raises(Invalid) as caught:
        read_json({"SchemaVersion": 2, "ArtifactName": "a", "Results": [{"Target": "x"}, {"Target": []}]})
    assert caught.value.where == "$.Results[1].Target"


@pytest.mark.corpus
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        [
            NOW + "secrets.json.golden",
            NOW + "terraform-remote-module.json.golden",
            NOW + "fixtures/convert/npm-with-suppressed.json.golden",
            V15 + "alpine-310-medium-high.json.golden",
            DOJO + "trivy/kubernetes_fabricated_internal_duplicates_subset.json",
            OPERATOR + "findings_in_list.json",
        ]
    ),
    st.data(),
)
def test_a_damaged_report_is_read_or_refused(corpus, mutate, path, data):
    with suppress(Invalid):
        read(Document.parse(mutate(corpus(path), data)))
