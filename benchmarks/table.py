"""What was measured, as the table of docs/benchmarks.md."""

from __future__ import annotations

import platform
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import django

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


@dataclass(frozen=True)
class Measure:
    """``limit`` is a floor where ``more_is_better``, else a ceiling; ``None`` where nothing is promised."""

    part: str
    what: str
    value: float
    unit: str
    limit: float | None = None
    more_is_better: bool = False
    note: str = ""

    @property
    def row(self) -> str:
        sign = "≥" if self.more_is_better else "≤"
        target = "–" if self.limit is None else f"{sign} {_shown(self.limit)} {self.unit}"
        return f"| {self.what} | {target} | {_shown(self.value)} {self.unit} | {self._ratio} | {self.note} |"

    @property
    def _ratio(self) -> str:
        if self.limit is None:
            return "–"
        if not self.limit:
            return "met" if self.value == 0 else "**missed**"
        ratio = self.value / self.limit
        is_met = ratio >= 1 if self.more_is_better else ratio <= 1
        return f"{ratio:.2f}" if is_met else f"**{ratio:.2f}**"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.2f}"


def machine(database: str) -> str:
    cpu = re.search(r"model name\s*: (.+)", _read("/proc/cpuinfo"))
    cores = _read("/proc/cpuinfo").count("processor\t:")
    memory = re.search(r"MemTotal:\s*(\d+)", _read("/proc/meminfo"))
    gigabytes = int(memory[1]) / 2**20 if memory else 0
    return (
        f"{cpu[1].strip() if cpu else platform.machine()}, {cores} cores (shared by database, server, workers and the "
        f"measuring client), {gigabytes:.0f} GB of memory; {platform.system()}, Python {platform.python_version()}, "
        f"Django {django.get_version()}, {database}."
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def sqlite_version() -> str:
    return f"SQLite {sqlite3.sqlite_version}"


def write(measures: list[Measure], database: str, broker: str) -> None:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`python -m benchmarks`); `python -m benchmarks ingest gate pages --findings N` runs",
        "parts of it.",
        "",
        f"Machine: {machine(database)} Broker: {broker}.",
        "",
        "The processes are those of `secguard up`. Reports are Trivy's, generated, one flaw in three packages on",
        "average. They go over HTTP on the loopback interface with `?wait=`, so a time ends when the answer with the",
        "stored verdict has arrived. Every flaw, package and risk of the first report is new to the database: the",
        "slowest case there is. Ratio is measured to target; bold where the target is missed.",
    ]
    for part in dict.fromkeys(m.part for m in measures):
        lines += ["", f"## {part}", "", "| what | target | measured | ratio | |", "|---|---|---|---|---|"]
        lines += [m.row for m in measures if m.part == part]
    DOCUMENT.write_text("\n".join(lines) + "\n", encoding="utf-8")
