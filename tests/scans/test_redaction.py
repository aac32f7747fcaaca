"""The texts of secrets never reach the database; what is read of a report stays the same."""

from __future__ import annotations

import json
import zlib

import pytest

from secguard.errors import Invalid
from secguard.scans.models import Report
from secguard.scans.readers import read_report
from secguard.scans.redaction import redacted

KEY = "AKIAZ7QX4M2LPV9TBWEK"


def kept(document: object) -> str:
    raw = json.dumps(document).encode()
    report = read_report(raw)
    assert report.secrets
    stored = redacted(raw, report)
    assert read_report(stored) == report
    return stored.decode()


def test_gitleaks_8():
    found = {
        "RuleID": "aws-access-token",
        "Description": "AWS",
        "File": "app/config.py",
        "StartLine": 3,
        "Match": f'key = "{KEY}\\"',
        "Secret": KEY,
        "Message": "Add the configuration",
    }
    stored = kept([found])
    assert KEY not in stored
    assert "Add the configuration" in stored


def test_gitleaks_7():
    found = {
        "rule": "AWS",
        "file": "a.py",
        "lineNumber": 4,
        "line": f"key = {KEY}",
        "offender": KEY,
        "commit": "c0ffee",
    }
    assert KEY not in kept([found])


@pytest.mark.parametrize("match", [f"key = {KEY}", "key = ********************"])
def test_trivy_keeps_the_masked_match_that_tells_secrets_apart(match):
    secret = {
        "RuleID": "aws-access-key-id",
        "Severity": "CRITICAL",
        "Title": "AWS Access Key ID",
        "StartLine": 3,
        "Match": match,
        "Code": {"Lines": [{"Number": 3, "Content": f"other = {KEY}", "Highlighted": f"other = {KEY}"}]},
    }
    flaw = {"VulnerabilityID": "CVE-2024-1", "PkgName": "a", "InstalledVersion": "1", "Severity": "LOW"}
    stored = kept(
        {
            "SchemaVersion": 2,
            "ArtifactName": "app:1",
            "ArtifactType": "container_image",
            "Results": [
                {"Target": "/app/config.py", "Class": "secret", "Secrets": [secret]},
                {"Target": "debian", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": [flaw]},
            ],
        }
    )
    assert KEY not in stored
    assert ("*****" in stored) == ("*****" in match)


def test_sarif_of_a_secret_scanner():
    result = {
        "ruleId": "aws",
        "message": {"text": f'found "{KEY}" {{here}}\nSeverity: CRITICAL\nMatch: {KEY}', "arguments": [KEY, "]"]},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "a.py"},
                    "region": {"startLine": 1, "snippet": {"text": f"}} {KEY}", "rendered": {"text": KEY}}},
                }
            }
        ],
    }
    run = {"tool": {"driver": {"name": "gitleaks", "rules": [{"id": "aws"}]}}, "results": [result]}
    assert KEY not in kept({"version": "2.1.0", "runs": [run]})


def test_a_report_without_secrets_is_kept_as_received():
    raw = json.dumps(
        {
            "SchemaVersion": 2,
            "ArtifactName": "app:1",
            "ArtifactType": "container_image",
            "Results": [{"Target": "debian", "Class": "os-pkgs", "Match": "this stays"}],
        }
    ).encode()
    assert redacted(raw, read_report(raw)) is raw


def test_real_reports_read_the_same_without_their_secrets(corpus, corpus_members):
    seen = 0
    for member in corpus_members("scanner"):
        if "gitleaks" not in member and "secret" not in member and "securecodebox-repo" not in member:
            continue
        raw = corpus(member)
        try:
            report = read_report(raw)
        except Invalid:  # refused reports have tests of their own
            continue
        if report.secrets:
            seen += 1
            assert read_report(redacted(raw, report)) == report, member
    assert seen >= 5


@pytest.mark.django_db
def test_what_is_stored_holds_no_secret(post):
    found = {"RuleID": "aws", "File": "config.py", "StartLine": 3, "Match": f"k={KEY}", "Secret": KEY}
    scan = post(json.dumps([found]).encode(), image="reg.example/shop/web:1")
    stored = Report.objects.get()
    assert scan.counts["found"] == 1
    assert KEY.encode() not in zlib.decompress(stored.body)
