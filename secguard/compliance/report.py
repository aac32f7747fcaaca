"""A report for an auditor: one document, from which JSON, CSV and PDF are made. Pure.

``sha256`` is of the canonical JSON of ``content`` alone (keys sorted, no blanks), so that two reports of the same day
and scope can be compared, and a PDF with the JSON it was printed from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

FORMAT: Final = "secguard-compliance-1"
MAX_MEASURES: Final = 5_000
"""So many measurements stand in one report, the worst first; how many there are is told."""
HEADS: Final = (
    "framework", "version", "number", "digest", "day", "section", "control", "title", "state", "pass", "exception",
    "not_measured", "fail", "check", "application", "measured_state", "says", "total", "lacking", "untold", "evidence",
    "exceptions", "since", "measure", "report_sha256",
)  # fmt: skip


def canonical(content: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(content, order="deterministic")


def sha256_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()


def rows(content: Mapping[str, Any]) -> Iterator[list[Any]]:
    """For CSV: each control with each measurement that it stands on, or alone where there is none."""
    digest, framework = sha256_of(content), content["framework"]
    by_check: dict[str, list[Mapping[str, Any]]] = {}
    for measure in content["measures"]:
        by_check.setdefault(measure["check"], []).append(measure)
    for control in content["controls"]:
        counts = control["counts"]
        head = [
            *(framework[key] for key in ("name", "version", "number", "digest")),
            content["day"],
            *(control[key] for key in ("section", "id", "title", "state")),
            *(counts[key] for key in ("pass", "exception", "not_measured", "fail")),
        ]
        found = [one for name in control["checks"] for one in by_check.get(name, ())]
        for one in found:
            yield [*head, *_cells(one), digest]
        if not found:
            yield [*head, *[""] * 11, digest]


def _cells(one: Mapping[str, Any]) -> list[Any]:
    keys = ("check", "application", "state", "says", "total", "lacking", "untold")
    return [*(one[key] for key in keys), "; ".join(evidence(one)), "; ".join(map(exception, one["exceptions"])),
            one["since"], one["id"]]  # fmt: skip


def evidence(one: Mapping[str, Any]) -> list[str]:
    """The identifiers of a measurement in words: what lacks, what nobody knows, else what was looked at."""
    named = one["evidence"]
    said = []
    for part, words, number in (("lacking", "lacks", one["lacking"]), ("untold", "not known", one["untold"])):
        if named[part]:
            said.append(f"{words}: {_list(named[part], number)}")
    if not said and named["looked_at"]:
        said.append(f"looked at: {_list(named['looked_at'], one['total'])}")
    return said


def _list(names: Sequence[str], number: int | None) -> str:
    more = (number or 0) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more > 0 else "")


def exception(one: Mapping[str, Any]) -> str:
    """``decision 12 (accept), asked by ada, approved by bob, until 2026-12-01``."""
    who = f"asked by {one['asked_by']}, approved by {', '.join(one['approved_by']) or 'nobody'}"
    return f"{one['kind']} {one['id']} ({one['what']}), {who}, until {one['until'][:10]}"
