"""Dockle JSON (``dockle --format json``): ``{image?, summary{fatal, warn, info, skip, pass}, details[]}``.

The shape is Dockle's ``pkg/report/json.go``. Each detail is one checkpoint with its alerts; an alert that names a
file, a user or a variable is a finding of its own, because each is fixed on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._checks import check_kind, distinct_checks
from secguard.scans.report import ReportedCheck, ScanReport, Subject

WHOLE_IMAGE = "image"
"""The target of a checkpoint about the image as a whole."""

_NO_FINDING = frozenset({"PASS", "SKIP", "IGNORE"})
_CREDENTIALS = "CIS-DI-0010"
_NAMED = re.compile(
    r"set[ug]id file: \S+ (?P<file>.+)"
    r"|(?:Suspicious (?:filename|ENV key) found|Suspicious directory|[Uu]nnecessary file) ?: ?(?P<name>[^\s=]+)"
    r"|.*\busername ?: ?(?P<user>\S+)"
)


class _Summary(msgspec.Struct):
    fatal: int
    warn: int
    skip: int | None = None


class _Detail(msgspec.Struct):
    code: str
    level: str
    title: str | None = None
    alerts: list[str] | None = None


class _Report(msgspec.Struct):
    summary: _Summary
    details: list[_Detail] | None = None
    image: str | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of misconfigurations and hygiene, or ``None`` where the document is no Dockle report.

    ``PASS``, ``SKIP`` and ``IGNORE`` are no findings. Raises ``Invalid`` with the JSON path of a broken detail.
    """
    if document.keys is None or "details" not in document.keys or not _is_summary(document.keys.get("summary")):
        return None
    report = document.decode(_Report)
    checks, _ = distinct_checks(check for detail in report.details or () for check in _checks(detail))
    ignored = sum(1 for d in report.details or () if d.level.upper() == "IGNORE")
    return ScanReport(
        format="dockle",
        scanner="dockle",
        subject=Subject(reference=report.image or ""),
        covers=frozenset({FindingKind.MISCONFIGURATION, FindingKind.HYGIENE}),
        checks=checks,
        warnings=(f"{ignored} checkpoints were ignored by Dockle's own settings.",) if ignored else (),
    )


def _is_summary(raw: msgspec.Raw | None) -> bool:
    try:
        summary: dict[str, msgspec.Raw] = decode(raw or b"{}", dict[str, msgspec.Raw], "$.summary")
    except Invalid:
        return False
    return {"fatal", "warn", "info", "pass"} <= summary.keys()


def _checks(detail: _Detail) -> Iterator[ReportedCheck]:
    if detail.level.upper() in _NO_FINDING:
        return
    for target, alerts in _by_target(detail.alerts or []).items():
        yield ReportedCheck(
            kind=check_kind(detail.code),
            check_id=detail.code,
            target=target,
            severity=from_word(detail.level),
            title=detail.title or detail.code,
            # A credential alert quotes the whole instruction, value included (Dockle's credential assessor).
            description="" if detail.code == _CREDENTIALS else "\n".join(alerts),
            references=(f"https://github.com/goodwithtech/dockle/blob/master/CHECKPOINT.md#{detail.code.lower()}",),
        )


def _by_target(alerts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for alert in alerts:
        named = _NAMED.match(alert)
        target = next((g for g in named.groups() if g), WHOLE_IMAGE) if named else WHOLE_IMAGE
        found.setdefault(target.strip(), []).append(alert)
    return found or {WHOLE_IMAGE: []}
