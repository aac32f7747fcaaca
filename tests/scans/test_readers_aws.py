"""Amazon's reports: ECR basic and enhanced, Inspector, Security Hub's ASFF."""

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
from secguard.scans.readers.aws import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans"
TRIVY = "scanner/aquasecurity+trivy"
HEIMDALL = "scanner/mitre+heimdall2/libs/hdf-converters/sample_jsons/asff_mapper/sample_input_report"
DIGEST = "sha256:" + "c" * 64

# In the shapes of the API references of ECR and Inspector2.
INSPECTED = {
    "findingArn": "arn:aws:inspector2:eu-central-1:123456789012:finding/1",
    "title": "CVE-2023-2650 - openssl",
    "description": "slow",
    "severity": "MEDIUM",
    "status": "ACTIVE",
    "type": "PACKAGE_VULNERABILITY",
    "epss": {"score": 0.0014},
    "packageVulnerabilityDetails": {
        "vulnerabilityId": "CVE-2023-2650",
        "source": "DEBIAN_CVE",
        "sourceUrl": "https://security-tracker.debian.org/tracker/CVE-2023-2650",
        "cvss": [
            {"baseScore": 5.0, "scoringVector": "AV:N", "source": "NVD", "version": "2.0"},
            {"baseScore": 6.5, "scoringVector": "CVSS:3.1/AV:N", "source": "NVD", "version": "3.1"},
        ],
        "vulnerablePackages": [
            {
                "name": "openssl",
                "version": "1.1.1n",
                "release": "0+deb11u4",
                "epoch": 1,
                "packageManager": "OS",
                "fixedInVersion": "0:1.1.1n-0+deb11u5",
                "sourceLayerHash": "sha256:layer",
            },
            {"name": "semver", "version": "7.5.1", "packageManager": "NODEPKG", "filePath": "app/package.json"},
        ],
    },
    "resources": [
        {
            "type": "AWS_ECR_CONTAINER_IMAGE",
            "id": f"arn:aws:ecr:eu-central-1:123456789012:repository/app/{DIGEST}",
            "details": {
                "awsEcrContainerImage": {
                    "imageHash": DIGEST,
                    "imageTags": ["v1"],
                    "platform": "DEBIAN_11",
                    "repositoryName": "app",
                }
            },
        }
    ],
}
BASIC = {
    "registryId": "123456789012",
    "repositoryName": "app",
    "imageId": {"imageDigest": DIGEST, "imageTag": "v1"},
    "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed successfully."},
    "imageScanFindings": {
        "findings": [
            {
                "name": "CVE-2019-5188",
                "uri": "http://people.ubuntu.com/~ubuntu-security/cve/CVE-2019-5188",
                "severity": "HIGH",
                "description": "e2fsck",
                "attributes": [
                    {"key": "package_version", "value": "1.44.1-1ubuntu1.1"},
                    {"key": "package_name", "value": "e2fsprogs"},
                    {"key": "CVSS3_SCORE", "value": "6.7"},
                ],
            }
        ],
        "imageScanCompletedAt": 1579839105.0,
        "vulnerabilitySourceUpdatedAt": "2020-01-20T10:00:00+00:00",
    },
}


def _read(document):
    return read(Document.parse(json.dumps(document).encode()))


def test_ecr_basic_scanning():
    report = _read(BASIC)
    assert (report.scanner, report.subject.reference, report.subject.digest) == ("ecr", "app:v1", DIGEST)
    (found,) = report.vulnerabilities
    assert (found.id, found.purl) == ("CVE-2019-5188", "pkg:generic/e2fsprogs@1.44.1-1ubuntu1.1")
    assert (found.severity, found.cvss_score) == (Severity.HIGH, 6.7)
    assert report.generated_at.isoformat() == "2020-01-24T04:11:45+00:00"
    assert report.database_updated_at.year == 2020
    assert report.covers == {FindingKind.VULNERABILITY}


def test_ecr_enhanced_scanning_is_inspector():
    report = _read(BASIC | {"imageScanFindings": {"enhancedFindings": [INSPECTED]}})
    assert (report.scanner, report.subject.digest) == ("inspector", DIGEST)
    assert [v.purl for v in report.vulnerabilities] == [
        "pkg:deb/debian/openssl@1:1.1.1n-0%2Bdeb11u4",
        "pkg:npm/semver@7.5.1",
    ]


@pytest.mark.parametrize("status", ["IN_PROGRESS", "FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED"])
def test_a_scan_that_did_not_end_closes_nothing(status):
    report = _read(BASIC | {"imageScanStatus": {"status": status}, "imageScanFindings": None})
    assert not report.complete
    assert status in report.warnings[0]


def test_one_page_of_several_closes_nothing():
    assert not _read(BASIC | {"nextToken": "abc"}).complete
    assert not _read({"findings": [INSPECTED], "nextToken": "abc"}).complete
    assert _read({"findings": [INSPECTED]}).complete


def test_inspector_tells_package_place_and_scores():
    report = _read({"findings": [INSPECTED]})
    first, second = report.vulnerabilities
    assert (first.fixed_versions, first.layer) == (("1.1.1n-0+deb11u5",), "sha256:layer")
    assert (first.cvss_score, first.cvss_vector, first.epss) == (6.5, "CVSS:3.1/AV:N", 0.0014)
    assert (first.severity, first.severity_source) == (Severity.MEDIUM, "debian_cve")
    assert (second.path, second.fix_state) == ("app/package.json", "not_fixed")
    assert (report.subject.reference, report.subject.digest) == ("app:v1", DIGEST)


def test_closed_findings_are_gone_and_suppressed_ones_are_told():
    findings = [INSPECTED | {"status": status} for status in ("CLOSED", "SUPPRESSED")]
    report = _read({"findings": findings})
    assert {v.suppressed for v in report.vulnerabilities} == {"suppressed in Amazon Inspector"}


def test_findings_about_other_things_are_left_out_and_counted():
    other = INSPECTED | {"resources": [{"type": "AWS_EC2_INSTANCE", "id": "i-1"}]}
    report = _read({"findings": [INSPECTED, other]})
    assert len(report.vulnerabilities) == 2
    assert report.warnings[0].startswith("1 findings are about something else")


@pytest.mark.corpus
@pytest.mark.parametrize(
    "member",
    [
        f"{DOJO}/aws_inspector2/aws_inspector2_package_vuln_metadata.json",
        f"{DOJO}/awssecurityhub/inspector_ec2_cve.json",
        f"{DOJO}/awssecurityhub/config_one_finding.json",
        f"{DOJO}/asff/prowler-output.asff.json",
        f"{HEIMDALL}/asff_sample.json",
        f"{TRIVY}/integration/testdata/secrets.asff.golden",
    ],
)
def test_findings_about_no_image_are_refused_with_what_they_are_about(corpus, member):
    with pytest.raises(Invalid, match=r"they are about: [A-Z]") as caught:
        read(Document.parse(corpus(member)))
    assert caught.value.code == "no-image"


@pytest.mark.corpus
def test_several_images_are_refused_by_name(corpus):
    with pytest.raises(Invalid, match="7 images: arn:aws:ecr") as caught:
        read(Document.parse(corpus(f"{DOJO}/awssecurityhub/inspector_ecr.json")))
    assert caught.value.code == "several-images"


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("repository", "purls", "severity"),
    [
        ("repo-os", ["pkg:deb/debian/openssl@1.1.1n-0%2Bdeb11u4"], "medium"),
        ("repo-nodepkg", ["pkg:npm/semver@7.5.1"], "high"),
        ("repo-poetry", ["pkg:pypi/certifi@2022.12.7", "pkg:pypi/certifi@2023.5.7"], "critical"),
        ("repo-bundler", ["pkg:gem/tzinfo@1.2.9"], "high"),
        ("repo-jar", ["pkg:maven/org.apache.kafka/kafka-clients@3.1.2"], "high"),
    ],
)
def test_each_image_of_security_hub_by_itself(corpus, repository, purls, severity):
    findings = json.loads(corpus(f"{DOJO}/awssecurityhub/inspector_ecr.json"))["Findings"]
    report = _read([f for f in findings if f"/{repository}/" in f["Resources"][0]["Id"]])
    assert [v.purl for v in report.vulnerabilities] == purls
    assert {v.severity.label for v in report.vulnerabilities} == {severity}
    assert report.scanner == "inspector"
    assert report.subject.reference.partition(":")[0] == repository
    assert report.subject.digest.startswith("sha256:")


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("member", "count"),
    [("@v0.15.0/integration/testdata/alpine-310.asff.golden", 8), ("integration/testdata/alpine-310.asff.golden", 4)],
)
def test_trivy_through_security_hub_is_trivy(corpus, member, count):
    report = read(Document.parse(corpus(f"{TRIVY}/{member}")))
    assert (report.scanner, len(report.vulnerabilities)) == ("trivy", count)
    first = report.vulnerabilities[0]
    assert (first.id, first.purl) == ("CVE-2019-1549", "pkg:generic/libcrypto1.1@1.1.1c-r0")
    assert (first.severity, first.fixed_versions) == (Severity.MEDIUM, ("1.1.1d-r0",))


@pytest.mark.parametrize("raw", [b"{}", b"[]", b"[1]", b'{"findings": []}', b'{"Findings": 1}', b'{"findings": [{}]}'])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


def test_a_fault_is_told_with_its_place():
    with pytest.raises(Invalid) as caught:
        _read({"findings": [INSPECTED, INSPECTED | {"severity": ["HIGH"]}]})
    assert caught.value.where == "$.findings[1].severity"


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    report = _read({"findings": [INSPECTED | {"title": text, "description": text}]})
    assert (report.vulnerabilities[0].title, report.vulnerabilities[0].description) == (text, text)


@settings(max_examples=120, deadline=None)
@given(data=st.data(), shape=st.sampled_from([BASIC, {"findings": [INSPECTED]}]))
def test_broken_reports_raise_invalid_and_nothing_else(mutate, data, shape):
    with suppress(Invalid):
        report = read(Document.parse(mutate(json.dumps(shape).encode(), data)))
        assert report is None or report.scanner


@pytest.mark.corpus
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_broken_asff_raises_invalid_and_nothing_else(corpus, mutate, data):
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(f"{TRIVY}/integration/testdata/alpine-310.asff.golden"), data)))
        assert report is None or report.scanner
