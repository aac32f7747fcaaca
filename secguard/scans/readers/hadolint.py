"""hadolint JSON (``hadolint --format json``): an array of ``{line, column, level, code, message, file}``.

The shape is hadolint's ``Hadolint.Formatter.Json``; codes are ``DL####`` (hadolint) and ``SC####`` (ShellCheck).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._bounds import require_few
from secguard.scans.readers._checks import check_kind, clean_path, distinct_checks, joined_warning
from secguard.scans.report import ReportedCheck, ScanReport, Subject

EMPTY_COVERS = frozenset({FindingKind.MISCONFIGURATION, FindingKind.HYGIENE})
_CODE = re.compile(r"(DL|SC)\d{4}")
_PROBED = 20
_STDIN = frozenset({"", "-", "/dev/stdin"})
_UNPARSED = "DL1000"


class _Result(msgspec.Struct):
    code: str | None = None
    level: str | None = None
    message: str | None = None
    file: str | None = None
    line: int | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of misconfigurations, or ``None`` where the document is no hadolint output.

    An empty array says nothing of who wrote it and is not claimed. A Dockerfile that hadolint could not parse
    (``DL1000``) makes the report incomplete. Raises ``Invalid`` where a result is of another shape.
    """
    if not document.items or not any(_is_result(raw) for raw in document.items[:_PROBED]):
        return None
    require_few(document, findings=b'"code"')
    results = document.decode(list[_Result])
    checks, joined = distinct_checks(_checks(results))
    without_code = sum(1 for r in results if not r.code)
    warnings = (f"{without_code} results without a code were left out.",) if without_code else ()
    return ScanReport(
        format="hadolint",
        scanner="hadolint",
        subject=Subject(kind="configuration"),
        covers=EMPTY_COVERS,
        checks=checks,
        complete=all(r.code != _UNPARSED for r in results),
        warnings=(*warnings, *joined_warning(joined)),
    )


def _is_result(raw: msgspec.Raw) -> bool:
    try:
        item: Any = decode(raw, dict[str, msgspec.Raw], "$[]")
        code = decode(item["code"], str, "$[].code") if {"code", "file", "line", "level"} <= item.keys() else ""
    except Invalid:
        return False
    return _CODE.fullmatch(code) is not None


def _checks(results: list[_Result]) -> Iterator[ReportedCheck]:
    for r in results:
        if r.code:
            file = r.file or ""
            yield ReportedCheck(
                kind=check_kind(r.code),
                check_id=r.code,
                target="Dockerfile" if file in _STDIN else clean_path(file),
                severity=from_word(r.level),
                title=r.message or r.code,
                references=_references(r.code),
                line=r.line or 0,
            )


def _references(code: str) -> tuple[str, ...]:
    if not _CODE.fullmatch(code):
        return ()
    site = "https://github.com/hadolint/hadolint/wiki/" if code.startswith("DL") else "https://www.shellcheck.net/wiki/"
    return (site + code,)
