"""All readers together, over every real file: each is read by one reader, or refused with a reason; nothing else."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from types import ModuleType

import pytest

from secguard.errors import Invalid
from secguard.scans import readers
from secguard.scans.document import Document
from secguard.scans.readers import formats, read_report
from secguard.scans.report import ScanReport

KINDS = ("scanner", "sbom")


def claims(raw: bytes) -> dict[str, ScanReport | Invalid]:
    """What each reader makes of a document; readers that do not know it are left out."""
    try:
        document = Document.parse(raw)
    except Invalid:
        return {}
    found: dict[str, ScanReport | Invalid] = {}
    for module in readers.readers():
        try:
            report = module.read(document)
        except Invalid as e:
            found[module.__name__] = e
        else:
            if report is not None:
                found[module.__name__] = report
    return found


def outcome(raw: bytes) -> ScanReport | Invalid:
    try:
        return read_report(raw)
    except Invalid as refused:
        return refused


@pytest.mark.corpus
@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_read_or_refused_with_a_reason(corpus, corpus_members, kind):
    outcomes: Counter[str] = Counter()
    for member in corpus_members(kind):
        found = outcome(corpus(member))
        if isinstance(found, Invalid):
            assert found.detail, member
            assert found.code, member
            assert found.where, member
        else:
            assert found.format in formats(), member
            assert found.scanner == found.scanner.lower() != "", member
        outcomes[found.code if isinstance(found, Invalid) else "read"] += 1
    assert outcomes["read"] > 200, outcomes


@pytest.mark.corpus
@pytest.mark.parametrize("kind", KINDS)
def test_no_two_readers_claim_one_file(corpus, corpus_members, kind):
    both = {m: sorted(found) for m in corpus_members(kind) if len(found := claims(corpus(m))) > 1}
    assert both == {}


@pytest.mark.corpus
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_can_be_identified(corpus, corpus_members, kind):
    """Every vulnerability has an id and a package, and is in the report once."""
    for member in corpus_members(kind):
        for report in claims(corpus(member)).values():
            if isinstance(report, Invalid):
                continue
            for v in report.vulnerabilities:
                assert v.id, member
                assert v.name, (member, v.id)
                assert v.purl.startswith("pkg:"), (member, v.id)
            pairs = [(v.id, v.purl) for v in report.vulnerabilities]
            assert len(pairs) == len(set(pairs)), member


def test_an_unknown_format_names_what_was_found_and_what_is_known():
    with pytest.raises(Invalid) as caught:
        read_report(b'{"surprise": 1, "other": 2}')
    assert caught.value.code == "unknown-format"
    assert "'surprise', 'other'" in caught.value.detail
    assert all(f in caught.value.detail for f in ("trivy", "grype", "cyclonedx", "spdx", "docs/report-format.md"))


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (b'{"document": {"csaf_version": "2.0"}}', "vex-document", "a CSAF document"),
        (b'{"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}', "vex-document", "an OpenVEX document"),
        (b'{"document": {}, "product_tree": {}}', "vex-document", "a CSAF document"),
        (b'{"payloadType": "x", "payload": "", "signatures": []}', "attestation", "jq -r .payload"),
        (b'{"predicateType": "x", "subject": [], "predicate": {}}', "attestation", "jq .predicate"),
        (b'{"schemaVersion": 2, "config": {}, "layers": []}', "unknown-format", "an image's manifest"),
        (b'{"schemaVersion": 2, "manifests": []}', "unknown-format", "an image index"),
        (b'{"apiVersion": "v1", "kind": "Pod", "metadata": {}}', "unknown-format", "a Kubernetes object"),
        (b'{"detail-type": "ECR Image Scan", "source": "aws.ecr", "detail": {}}', "unknown-format", "EventBridge"),
        (b'{"findings": []}', "empty-list", "does not say which tool"),
        (b'{"schema_version": "1.6", "id": "GHSA-x", "affected": []}', "unknown-format", "an OSV advisory"),
    ],
)
def test_what_is_posted_by_mistake_is_refused_by_its_name(raw, code, words):
    with pytest.raises(Invalid) as caught:
        read_report(raw)
    assert (caught.value.code, caught.value.where) == (code, "$")
    assert words in caught.value.detail


def test_too_many_findings_are_refused(monkeypatch):
    finding = {"kind": "hygiene", "id": "c", "target": "t"}
    report = {
        "schema": "secguard-report/v1",
        "scanner": {"name": "x"},
        "covers": ["hygiene"],
        "findings": [finding] * 3,
    }
    monkeypatch.setattr(readers, "MAX_FINDINGS", 2)
    with pytest.raises(Invalid) as caught:
        read_report(json.dumps(report).encode())
    assert caught.value.code == "too-many-findings"


MANY = 200_001


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"SchemaVersion": 2, "Results": [{"Vulnerabilities": [%s]}]}', "too-many-findings"),
        (b'{"descriptor": {"name": "grype"}, "matches": [%s]}', "too-many-findings"),
        (b'{"version": "2.1.0", "runs": [{"results": [%s]}]}', "too-many-findings"),
        (b'{"bomFormat": "CycloneDX", "specVersion": "1.5", "components": [%s]}', "too-many-components"),
        (b'{"spdxVersion": "SPDX-2.3", "packages": [%s]}', "too-many-components"),
        (b'{"schema": "secguard-report/v1", "findings": [%s]}', "too-many-findings"),
    ],
)
def test_a_report_of_too_many_entries_is_refused_before_it_is_decoded(raw, code):
    entry = b'{"VulnerabilityID": 1, "artifact": 1, "ruleId": 1, "purl": 1, "versionInfo": [], "kind": 1}'
    raw = raw.replace(b"%s", b",".join([entry] * MANY))
    tracemalloc.start()
    with pytest.raises(Invalid) as caught:
        read_report(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == code
    assert peak < len(raw)


def test_a_key_in_other_letters_does_not_get_around_the_bound(monkeypatch):
    """JSON may write any letter of a key as an escape."""
    monkeypatch.setattr("secguard.scans.readers._bounds.MAX_FINDINGS", 2)
    entries = [{"VulnerabilityID": f"CVE-2024-{i:04}", "PkgName": "a", "InstalledVersion": "1"} for i in range(3)]
    raw = json.dumps({"SchemaVersion": 2, "Results": [{"Target": "x", "Vulnerabilities": entries}]})
    with pytest.raises(Invalid) as caught:
        read_report(raw.replace('"Vuln', '"\\u0056uln').encode())
    assert caught.value.code == "too-many-findings"


def test_too_many_components_are_refused(monkeypatch):
    components = [{"name": f"p{i}"} for i in range(3)]
    report = {"schema": "secguard-report/v1", "scanner": {"name": "x"}, "components": components}
    monkeypatch.setattr(readers, "MAX_COMPONENTS", 2)
    with pytest.raises(Invalid) as caught:
        read_report(json.dumps(report).encode())
    assert caught.value.code == "too-many-components"


def test_a_reader_is_one_module_with_one_function():
    assert all(isinstance(m, ModuleType) and callable(m.read) and m.__doc__ for m in readers.readers())
    assert len(set(formats())) == len(formats())
