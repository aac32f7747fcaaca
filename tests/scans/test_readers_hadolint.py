"""hadolint's JSON: counts checked by hand, and what the format leaves open."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers.hadolint import read

DOJO = "scanner/DefectDojo+django-DefectDojo/unittests/scans/hadolint/many_dockerfile.json"
ODD = "scanner/jenkinsci+analysis-model/src/test/resources/edu/hm/hafner/analysis/parser/hadolint-unsual.json"


def _line(**changes):
    return {"line": 1, "column": 1, "level": "error", "code": "DL3002", "message": "m", "file": "Dockerfile"} | changes


def _read(*lines):
    return read(Document.parse(json.dumps(lines).encode()))


@pytest.mark.corpus
def test_a_real_report_has_the_counts_checked_by_hand(corpus):
    report = read(Document.parse(corpus(DOJO)))
    assert len(report.checks) == 9  # 12 results; 9 distinct (code, file)
    by_kind = {kind: sum(c.kind is kind for c in report.checks) for kind in FindingKind}
    assert by_kind[FindingKind.HYGIENE] == 2  # DL3015 in two files
    assert by_kind[FindingKind.MISCONFIGURATION] == 7
    assert {c.target for c in report.checks} == {
        "django-DefectDojo/Dockerfile.django",
        "django-DefectDojo/Dockerfile.nginx",
    }
    assert sum(c.severity is Severity.MEDIUM for c in report.checks) == 7
    assert report.covers == {FindingKind.MISCONFIGURATION, FindingKind.HYGIENE}


@pytest.mark.corpus
def test_results_without_a_code_are_left_out_and_counted(corpus):
    report = read(Document.parse(corpus(ODD)))
    assert [(c.check_id, c.line, c.severity) for c in report.checks] == [
        ("DL3008", 15, Severity.UNKNOWN),
        ("DL3015", 15, Severity.UNKNOWN),
    ]
    assert report.warnings == ("2 results without a code were left out.",)


@pytest.mark.parametrize("file", ["-", "/dev/stdin", ""])
def test_standard_input_is_the_dockerfile(file):
    assert _read(_line(file=file)).checks[0].target == "Dockerfile"


def test_each_rule_set_has_its_page():
    checks = _read(_line(), _line(code="SC2046")).checks
    assert checks[0].references == ("https://github.com/hadolint/hadolint/wiki/DL3002",)
    assert checks[1].references == ("https://www.shellcheck.net/wiki/SC2046",)


def test_a_dockerfile_that_could_not_be_parsed_closes_nothing():
    assert not _read(_line(code="DL1000")).complete
    assert _read(_line()).complete


@pytest.mark.parametrize(
    "raw", [b"[]", b"{}", b"[1]", b'[{"code": "DL3002"}]', b'[{"code": 1, "file": 2, "line": 3, "level": 4}]']
)
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


def test_a_fault_is_told_with_its_place():
    with pytest.raises(Invalid) as caught:
        _read(_line(), _line(line="nine"))
    assert caught.value.where == "$[1].line"


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    assert _read(_line(message=text)).checks[0].title == text


@pytest.mark.corpus
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(corpus, mutate, data):
    with suppress(Invalid):
        report = read(Document.parse(mutate(corpus(DOJO), data)))
        assert report is None or report.scanner == "hadolint"
