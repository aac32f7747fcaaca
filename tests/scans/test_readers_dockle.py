"""Dockle's JSON. The corpus has only a clean report; the others here are in the shape of Dockle's own README."""

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
from secguard.scans.readers.dockle import read

CLEAN = "scanner/DefectDojo+django-DefectDojo/unittests/scans/dockle/no_findings.json"

DETAILS = [
    {
        "code": "CIS-DI-0010",
        "title": "Do not store credential in environment variables/files",
        "level": "FATAL",
        "alerts": [
            'Suspicious ENV key found : MYSQL_PASSWD on ENV MYSQL_PASSWD=hunter2 (You can suppress it with "-ak X")',
            "Suspicious filename found : app/credentials.json",
        ],
    },
    {"code": "CIS-DI-0001", "title": "Create a user", "level": "WARN", "alerts": ["Last user should not be root"]},
    {
        "code": "CIS-DI-0008",
        "title": "Confirm safety of setuid/setgid files",
        "level": "INFO",
        "alerts": ["setuid file: urwxr-xr-x usr/bin/chfn", "setgid file: grwxr-xr-x usr/bin/wall"],
    },
    {"code": "DKL-LI-0003", "title": "Only put necessary files", "level": "INFO", "alerts": ["unnecessary file : a"]},
    {"code": "CIS-DI-0005", "title": "Enable Content trust", "level": "SKIP", "alerts": ["skipped"]},
    {"code": "DKL-DI-0006", "title": "Avoid latest tag", "level": "IGNORE", "alerts": ["Avoid 'latest' tag"]},
]


def _report(details=DETAILS, **more):
    summary = {"fatal": 1, "warn": 1, "info": 2, "skip": 1, "pass": 9}
    return json.dumps({"image": "goodwithtech/test-image:v1", "summary": summary, "details": details} | more).encode()


@pytest.mark.corpus
def test_a_clean_report_is_read(corpus):
    report = read(Document.parse(corpus(CLEAN)))
    assert (report.finding_count, report.complete) == (0, True)
    assert report.covers == {FindingKind.MISCONFIGURATION, FindingKind.HYGIENE}


def test_an_alert_that_names_something_is_a_finding_of_its_own():
    report = read(Document.parse(_report()))
    assert report.subject.reference == "goodwithtech/test-image:v1"
    assert [(c.check_id, c.target) for c in report.checks] == [
        ("CIS-DI-0010", "MYSQL_PASSWD"),
        ("CIS-DI-0010", "app/credentials.json"),
        ("CIS-DI-0001", "image"),
        ("CIS-DI-0008", "usr/bin/chfn"),
        ("CIS-DI-0008", "usr/bin/wall"),
        ("DKL-LI-0003", "a"),
    ]
    assert [c.severity for c in report.checks[:3]] == [Severity.CRITICAL, Severity.CRITICAL, Severity.MEDIUM]
    assert report.checks[-1].kind is FindingKind.HYGIENE
    assert report.warnings == ("1 checkpoints were ignored by Dockle's own settings.",)


def test_a_credential_is_named_and_never_shown():
    report = read(Document.parse(_report()))
    assert "hunter2" not in repr(report)


def test_alerts_may_be_missing():
    report = read(Document.parse(_report([{"code": "CIS-DI-0006", "level": "INFO", "alerts": None}])))
    assert [(c.check_id, c.target, c.title) for c in report.checks] == [("CIS-DI-0006", "image", "CIS-DI-0006")]


def test_a_fault_is_told_with_its_place():
    with pytest.raises(Invalid) as caught:
        read(Document.parse(_report([{"code": "CIS-DI-0006"}])))
    assert caught.value.where == "$.details[0]"


@pytest.mark.parametrize(
    "raw", [b"{}", b"[]", b'{"summary": "all well", "details": []}', b'{"summary": {"pass": 1}, "details": []}']
)
def test_other_documents_are_not_claimed(raw):
    assert read(Document.parse(raw)) is None


@pytest.mark.parametrize("text", ["<script>", "a\0b", "x" * 1_000_000])
def test_text_passes_through_unharmed(text):
    report = read(Document.parse(_report([{"code": "A", "title": text, "level": "WARN", "alerts": [text]}])))
    assert (report.checks[0].title, report.checks[0].description) == (text, text)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_broken_reports_raise_invalid_and_nothing_else(mutate, data):
    with suppress(Invalid):
        report = read(Document.parse(mutate(_report(), data)))
        assert report is None or report.scanner == "dockle"
