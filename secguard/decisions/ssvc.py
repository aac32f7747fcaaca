"""SSVC: what is known of a flaw where it stands, as the points of a decision table. Pure.

The published tables lie in ``ssvc_tables``, each with its source. Where nothing is known a point takes the worse
value, and says that it was assumed (docs/risk-appetite.md, where each derivation is explained).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

PUBLISHED: Final = ("cisa", "deployer")
EPSS_LINE: Final = 0.1
"""From here on it is as likely to be tried as what has a public proof of concept."""
EXPLOIT_SITES: Final = (
    "exploit-db.com/exploits",
    "/metasploit-framework/",
    "packetstormsecurity.com/files",
    "projectdiscovery/nuclei-templates",
    "0day.today/exploit",
)
"""A reference of a flaw that holds one of these leads to an exploit."""
_FOLDER: Final = Path(__file__).resolve().parent / "ssvc_tables"


class Point(StrEnum):
    EXPLOITATION = "exploitation"
    EXPOSURE = "exposure"
    AUTOMATABLE = "automatable"
    TECHNICAL_IMPACT = "technical_impact"
    IMPACT = "impact"

    @property
    def words(self) -> str:
        return "mission impact" if self is Point.IMPACT else self.value.replace("_", " ")


VALUES: Final[dict[Point, tuple[str, ...]]] = {
    Point.EXPLOITATION: ("none", "poc", "active"),
    Point.EXPOSURE: ("small", "controlled", "open"),
    Point.AUTOMATABLE: ("no", "yes"),
    Point.TECHNICAL_IMPACT: ("partial", "total"),
    Point.IMPACT: ("low", "medium", "high", "very-high"),
}
"""What each point may be, the mildest first."""

ASSUMED: Final[dict[Point, str]] = {
    Point.EXPLOITATION: "poc",
    Point.EXPOSURE: "open",
    Point.AUTOMATABLE: "yes",
    Point.TECHNICAL_IMPACT: "total",
    Point.IMPACT: "high",
}
"""What stands for what nobody knows, where the risk appetite does not say otherwise."""


class Cell(NamedTuple):
    outcome: str
    row: str
    """What the table calls the row."""


class Table(Struct, frozen=True, kw_only=True):
    """Every combination of its points, and what each comes to."""

    name: str
    title: str
    source: str = ""
    values: dict[Point, tuple[str, ...]]
    cells: dict[tuple[str, ...], Cell]

    @property
    def points(self) -> tuple[Point, ...]:
        return tuple(self.values)

    @property
    def outcomes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.outcome for cell in self.cells.values()))

    def combinations(self) -> Iterator[tuple[str, ...]]:
        return product(*self.values.values())


@lru_cache(maxsize=len(PUBLISHED))
def published(name: str) -> Table:
    """A table as it was published."""
    lines = (_FOLDER / f"{name}.csv").read_text(encoding="utf-8").splitlines()
    notes = [line.removeprefix("# ") for line in lines if line.startswith("#")]
    head, *rows = csv.reader(line for line in lines if not line.startswith("#"))
    points = [Point(word) for word in head[1:-1]]
    found = {p: tuple(v for v in VALUES[p] if v in {row[n] for row in rows}) for n, p in enumerate(points, 1)}
    cells = {tuple(row[1:-1]): Cell(row[-1], f"row {row[0]}") for row in rows}
    return Table(name=name, title=notes[0], source=notes[1].removeprefix("Source: "), values=found, cells=cells)


class Held(NamedTuple):
    """What is known of a flaw where it stands."""

    known_exploited: bool = False
    epss: float | None = None
    has_exploit: bool = False
    """One of its references leads to an exploit."""
    vector: str = ""
    """CVSS 2, 3 or 4."""
    application: str = ""
    """The slug of the application that it stands in; empty: in none."""
    is_exposed: bool = False
    impact: str = ""
    """What is said of the application itself; empty: nothing."""


class Input(NamedTuple):
    """The value of one point, and where it comes from."""

    point: Point
    value: str
    why: str
    is_assumed: bool = False

    @property
    def words(self) -> str:
        return f"{self.point.words} {self.value}" + (" (assumed)" if self.is_assumed else "")


def exploitation(held: Held) -> tuple[str, str] | None:
    if held.known_exploited:
        return "active", "it is known to be exploited"
    if held.has_exploit:
        return "poc", "a reference leads to an exploit"
    if held.epss is None:
        return None
    if held.epss >= EPSS_LINE:
        return "poc", f"EPSS is {held.epss:.2f}, at least {EPSS_LINE:g}"
    return "none", f"EPSS is {held.epss:.2f}, below {EPSS_LINE:g}, and no reference leads to an exploit"


def exposure(held: Held) -> tuple[str, str] | None:
    if not held.application:
        return None
    if held.is_exposed:
        return "open", "its application can be reached from outside"
    return "controlled", "its application cannot be reached from outside"


_ALONE: Final = {
    "4": {"AV": "N", "AC": "L", "AT": "N", "PR": "N", "UI": "N"},
    "3": {"AV": "N", "AC": "L", "PR": "N", "UI": "N"},
    "2": {"AV": "N", "AC": "L", "AU": "N"},
}
"""What an attacker needs who needs nobody: over the network, without odd luck, rights, or a person who clicks."""


def automatable(held: Held) -> tuple[str, str] | None:
    version, metrics = _read(held.vector)
    if not metrics or not _ALONE[version].keys() <= metrics.keys():
        return None
    if version == "4" and metrics.get("AU") in ("Y", "N"):
        value = "yes" if metrics["AU"] == "Y" else "no"
        return value, f"the CVSS vector says AU:{metrics['AU']}"
    needs = [f"{key}:{metrics[key]}" for key, want in _ALONE[version].items() if metrics[key] != want]
    if needs:
        return "no", f"CVSS {', '.join(needs)} stands in the way"
    return "yes", "by CVSS it needs the network alone: no rights, no person, no odd conditions"


def technical_impact(held: Held) -> tuple[str, str] | None:
    """As CERT/CC's table from CVSS 4 to technical impact, of which CVSS 3 has the same three metrics."""
    version, metrics = _read(held.vector)
    names = {"4": ("VC", "VI", "PR"), "3": ("C", "I", "PR"), "2": ("C", "I", "AU")}.get(version, ())
    if not metrics or not set(names) <= metrics.keys():
        return None
    high, low = ("C", "P") if version == "2" else ("H", "L")
    read, changed, rights = (metrics[name] for name in names)
    is_total = (read, changed) == (high, high) or (rights == "N" and {read, changed} == {high, low})
    told = ", ".join(f"{name}:{metrics[name]}" for name in (names if is_total and read != changed else names[:2]))
    return ("total" if is_total else "partial"), f"CVSS {told}"


@lru_cache(maxsize=4096)
def _read(vector: str) -> tuple[str, Mapping[str, str]]:
    """(major version, {metric: value}); without metrics where it is no vector."""
    parts = vector.strip().strip("()").upper().split("/")
    version = "2"
    if parts[0].startswith("CVSS:"):
        version = parts.pop(0).removeprefix("CVSS:")[:1]
    metrics = dict(part.split(":", 1) for part in parts if part.count(":") == 1)
    return (version, metrics) if version in _ALONE and metrics else ("2", {})


DERIVED: Final = {
    Point.EXPLOITATION: exploitation,
    Point.EXPOSURE: exposure,
    Point.AUTOMATABLE: automatable,
    Point.TECHNICAL_IMPACT: technical_impact,
}
UNKNOWN: Final = {
    Point.EXPLOITATION: "no EPSS is known",
    Point.EXPOSURE: "it stands in no application",
    Point.AUTOMATABLE: "no CVSS vector is known",
    Point.TECHNICAL_IMPACT: "no CVSS vector is known",
    Point.IMPACT: "nobody said what it means to the mission",
}
