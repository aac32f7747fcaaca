"""gitleaks 7 and 8: counts checked by hand, and not a byte of a secret."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.scans.document import Document
from secguard.scans.readers.gitleaks import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/gitleaks"
CODEBOX = "scanner/secureCodeBox+secureCodeBox/scanners/gitleaks/parser/__testFiles__"
OBSERVE = "scanner/SecObserve+SecObserve/backend/unittests/import_observations/parsers/gitleaks/files"

# Distinct (rule, file, line), counted with plain json.
TABLE = [
    (f"{DOJO}/data_many.json", "7", 2),
    (f"{DOJO}/redacted_data_many.json", "7", 6),
    (f"{DOJO}/version_7.5.0.json", "7", 4),  # of 8: the same line in several commits
    (f"{CODEBOX}/test-report.json", "8", 4),
    (f"{OBSERVE}/gitleaks.dir.json", "8", 3),
]


@pytest.mark.corpus
@pytest.mark.parametrize(("member", "version", "count"), TABLE, ids=lambda v: str(v)[-40:])
def test_real_reports_have_the_counts_checked_by_hand(corpus, member, version, count):
    report = read(Document.parse(corpus(member)))
    assert (report.format_version, len(report.secrets)) == (version, count)
    assert report.covers == {FindingKind.SECRET}


@pytest.mark.corpus
@pytest.mark.parametrize("member", [row[0] for row in TABLE], ids=lambda v: v[-40:])
def test_no_part_of_a_secret_leaves_the_reader(corpus, member):
    raw = corpus(member)
    shown = repr(read(Document.parse(raw)))
    document = json.loads(raw)
    for finding in document["findings"] if isinstance(document, dict) else document:
        for name in ("Secret", "Match", "offender", "line"):
            assert finding.get(name, "\0absent") not in shown


@pytest.mark.corpus
def test_a_secret_tells_where_it_is(corpus):
    first = read(Document.parse(corpus(TABLE[3][0]))).secrets[0]
    assert (first.rule, first.path, first.line) == (
        "generic-api-key",
        "hooks/persistence-azure-monitor/hook/hook.test.js",
        51,
    )


@pytest.mark.parametrize("raw", [b"[]", b"{}", b"[1]", b'{"findings": []}', b'{"findings": [{"RuleID": "a"}]}'])
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@pytest.mark.corpus
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    member = data.draw(st.sampled_from([TABLE[0][0], TABLE[3][0], TABLE[4][0]]))
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(member), data)))
        assert report is None or report.scanner == "gitleaks"
