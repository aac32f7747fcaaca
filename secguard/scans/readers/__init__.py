"""Readers: a tool's raw report in, a :class:`~secguard.scans.report.ScanReport` out.

One reader is one module here with one function, ``read(document) -> ScanReport | None``: ``None`` says "not my
format", decided from the content alone; ``Invalid`` says "my format, but broken here". Adding a reader is adding a
module; nothing else names it. No two readers may claim the same document (a test holds that for every real report).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from secguard.errors import Invalid
from secguard.scans.document import Document
from secguard.scans.readers._others import refusal
from secguard.scans.report import ScanReport, Subject

MAX_FINDINGS = 200_000
MAX_COMPONENTS = 200_000


@cache
def readers() -> tuple[ModuleType, ...]:
    """Every reader module, by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return tuple(importlib.import_module(f"{__name__}.{n}") for n in names)


def formats() -> tuple[str, ...]:
    return tuple(m.__name__.rpartition(".")[2] for m in readers())


def read_report(raw: bytes, scanner: str = "") -> ScanReport:
    """Read a report of whatever known format.

    ``scanner`` is the sender's word for the tool; it is needed only for an empty list, which names none.
    Raises ``Invalid`` naming what was found and where: not JSON, unknown format, broken at a place, too many entries.
    """
    document = Document.parse(raw)
    if document.items is not None and not document.items:
        return _nothing_found(scanner)
    for module in readers():
        report: ScanReport | None = module.read(document)
        if report is not None:
            _check_bounds(report)
            return report
    raise refusal(document, formats())


def _nothing_found(scanner: str) -> ScanReport:
    """A clean run of a tool that writes a bare list. A reader of such a tool says in ``EMPTY_COVERS`` what it means."""
    covers = {m.__name__.rpartition(".")[2]: m.EMPTY_COVERS for m in readers() if hasattr(m, "EMPTY_COVERS")}
    if scanner.lower() not in covers:
        raise Invalid(
            "The report is an empty list, which does not say which tool wrote it. Add ?scanner= with the tool's name "
            f"(one of {', '.join(sorted(covers))}).",
            code="empty-list",
            where="$",
        )
    name = scanner.lower()
    return ScanReport(format=name, scanner=name, subject=Subject(kind="configuration"), covers=covers[name])


def _check_bounds(report: ScanReport) -> None:
    if report.finding_count > MAX_FINDINGS:
        raise Invalid(
            f"The report has {report.finding_count:,} findings; one report may have {MAX_FINDINGS:,}. "
            "Scan images one by one, or narrow the scan.",
            code="too-many-findings",
            where="$",
        )
    if len(report.components) > MAX_COMPONENTS:
        raise Invalid(
            f"The report lists {len(report.components):,} components; one report may list {MAX_COMPONENTS:,}.",
            code="too-many-components",
            where="$",
        )
