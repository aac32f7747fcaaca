"""SecGuard's own format: the example of docs/report-format.md, and every refusal that the page promises."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers.secguard import read

PAGE = (Path(__file__).parents[2] / "docs" / "report-format.md").read_text()
EXAMPLE = re.findall(r"```json\n(.*?)```", PAGE, re.S)[0].encode()
KINDS = ["vulnerability", "secret", "malware", "misconfiguration", "hygiene"]


def own(*findings, **more):
    report = {"schema": "secguard-report/v1", "scanner": {"name": "x"}, "covers": KINDS, "findings": findings} | more
    return read(Document.parse(json.dumps(report).encode()))


def vulnerability(**more):
    return {"kind": "vulnerability", "id": "CVE-2024-1", "package": {"purl": "pkg:npm/p@1"}} | more


def test_the_example_of_the_documentation():
    found = read(Document.parse(EXAMPLE))
    assert (found.scanner, found.scanner_version, found.complete, found.inventory) == ("acme-scan", "4.2.0", True, True)
    assert found.covers == frozenset(FindingKind)
    assert found.subject.reference == "registry.example.com/shop/cart:1.4.2"
    assert found.subject.digest.startswith("sha256:9f86d081")
    log4j, libc = found.vulnerabilities
    assert (log4j.id, log4j.aliases, log4j.name, log4j.version) == (
        "GHSA-jfh8-c2jp-5v3q",
        ("CVE-2021-44228",),
        "log4j-core",
        "2.14.1",
    )
    assert (log4j.severity, log4j.known_exploited, log4j.epss) == (Severity.CRITICAL, True, 0.97)
    assert (log4j.fix_state, log4j.fixed_versions) == ("fixed", ("2.15.0", "2.12.2"))
    assert libc.purl == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1"
    assert (libc.fix_state, libc.severity_source) == ("wont_fix", "acme-scan")
    assert libc.suppressed.startswith("not_affected")
    assert [(s.rule, s.path, s.line) for s in found.secrets] == [("aws-access-key-id", "/app/.env", 3)]
    assert [(m.signature, m.severity) for m in found.malware] == [("Linux.Miner.XMRig", Severity.CRITICAL)]
    assert [(c.kind, c.check_id) for c in found.checks] == [
        (FindingKind.MISCONFIGURATION, "ACME-ROOT-USER"),
        (FindingKind.HYGIENE, "ACME-PACKAGE-CACHE"),
    ]
    assert [c.name for c in found.components] == ["log4j-core", "libc6"]
    assert found.generated_at is not None
    assert found.database_updated_at is not None


def test_the_documentation_names_every_field_of_a_finding():
    from secguard.scans.readers.secguard import _Finding

    assert [f for f in _Finding.__struct_fields__ if f"`{f}`" not in PAGE] == []


def test_the_least_that_is_a_report():
    found = read(Document.parse(b'{"schema": "secguard-report/v1", "scanner": {"name": "x"}}'))
    assert (found.covers, found.finding_count, found.inventory) == (frozenset(), 0, False)


def test_no_components_and_an_empty_list_differ():
    assert not own().inventory
    assert own(components=[]).inventory


def test_a_score_gives_the_severity_that_is_not_said():
    assert own(vulnerability(cvss_score=9.1)).vulnerabilities[0].severity == Severity.CRITICAL
    assert own(vulnerability(cvss_score=9.1, severity="low")).vulnerabilities[0].severity == Severity.LOW
    assert own(vulnerability()).vulnerabilities[0].severity == Severity.UNKNOWN


def test_secrets_are_told_apart_by_fingerprint_else_by_line():
    secret = {"kind": "secret", "id": "r", "path": "/f"}
    found = own(secret | {"line": 1}, secret | {"line": 2}, secret | {"line": 2, "fingerprint": "a"}).secrets
    assert len({s.fingerprint for s in found}) == 3
    moved = own(secret | {"line": 9, "fingerprint": "a"}).secrets[0]
    assert moved.fingerprint == found[2].fingerprint


SHA = "a" * 64


@pytest.mark.parametrize(
    ("finding", "where"),
    [
        ({"kind": "virus"}, "$.findings[0].kind"),
        (vulnerability(id=""), "$.findings[0].id"),
        ({"kind": "vulnerability", "id": "CVE-1"}, "$.findings[0].package"),
        (vulnerability(package={"version": "1"}), "$.findings[0].package.name"),
        (vulnerability(package={"purl": "npm/p"}), "$.findings[0].package.purl"),
        (vulnerability(severity="bad"), "$.findings[0].severity"),
        (vulnerability(serverity="high"), "$.findings[0]"),
        (vulnerability(published_at="2024-01-01T00:00:00"), "$.findings[0].published_at"),
        ({"kind": "secret", "id": "r"}, "$.findings[0].path"),
        ({"kind": "malware", "id": "s", "sha256": "x"}, "$.findings[0].sha256"),
        ({"kind": "malware", "sha256": SHA}, "$.findings[0].id"),
        ({"kind": "hygiene", "id": "c"}, "$.findings[0].target"),
        ({"kind": "misconfiguration", "target": "t"}, "$.findings[0].id"),
    ],
)
def test_a_faulty_finding_is_refused_with_its_place(finding, where):
    with pytest.raises(Invalid) as caught:
        own(finding)
    assert caught.value.where == where
    assert where in caught.value.detail


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"schema": "secguard-report/v2"}, "$.schema"),
        ({"scanner": {"name": "Trivy!"}}, "$.scanner.name"),
        ({"scanner": {}}, "$.scanner"),
        ({"image": {"digest": "sha256:1"}}, "$.image.digest"),
        ({"image": {"image_id": SHA}}, "$.image.image_id"),
        ({"covers": ["bugs"]}, "$.covers[0]"),
        ({"covers": []}, "$.covers"),
        ({"components": [{}]}, "$.components[0].name"),
        ({"extra": 1}, "$"),
    ],
)
def test_a_faulty_report_is_refused_with_its_place(more, where):
    with pytest.raises(Invalid) as caught:
        own(vulnerability(), **more)
    assert caught.value.where == where


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"schema": "other/v1"}', b'{"schema": 1}'])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_report_is_read_or_refused(mutate, data):
    with suppress(Invalid):
        read(Document.parse(mutate(EXAMPLE, data)))
