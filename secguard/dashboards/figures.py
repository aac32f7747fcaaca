"""The figures of the homes and of compliance, as one frozen record. Pure: rows in, numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from secguard.findings.severity import LABELS, Severity

DEADLINES = ("overdue", "soon", "later", "none", "covered")


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything counts what stands in the newest image of a repository; ``share`` of nothing is ``None``."""

    images: int = 0
    verdicts: Mapping[str, int] = field(default_factory=dict)
    """{pass | warn | block | unknown: newest images}."""
    applications: int = 0
    applications_within: int = 0
    open: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """{severity: {deadline word: open risks}}."""
    exceptions: int = 0
    exceptions_ending: int = 0
    """Within 30 days."""
    waiting: int = 0
    """Requests that nobody has decided."""

    @property
    def open_total(self) -> int:
        return sum(n for row in self.open.values() for n in row.values())

    def of_severity(self, label: str) -> int:
        return sum(self.open.get(label, {}).values())

    def of_deadline(self, word: str) -> int:
        return sum(row.get(word, 0) for row in self.open.values())

    @property
    def image_share(self) -> float | None:
        """Per cent of newest images that the gate lets pass, warnings included."""
        return share(self.verdicts.get("pass", 0) + self.verdicts.get("warn", 0), self.images)

    @property
    def application_share(self) -> float | None:
        return share(self.applications_within, self.applications)

    def as_row(self) -> dict[str, object]:
        """What a day keeps of it."""
        return {
            "images": self.images,
            "verdicts": dict(self.verdicts),
            "applications": self.applications,
            "applications_within": self.applications_within,
            "open": {s: sum(row.values()) for s, row in self.open.items()},
            "overdue": self.of_deadline("overdue"),
            "exceptions": self.exceptions,
        }


@dataclass(frozen=True, slots=True)
class Card:
    """One number of a page: ``value`` is the count of the rows that ``url`` lists, ``note`` says of what.

    A note with a number of its own leads to those rows in turn: ``note_url``.
    """

    label: str
    value: int
    url: str
    note: str = ""
    note_url: str = ""
    share: str = ""
    """Beside it: ``25 % within policy``."""


def share(part: int, whole: int) -> float | None:
    """Per cent, one decimal; ``None`` of nothing: an empty estate is not a perfect one."""
    return round(100 * part / whole, 1) if whole else None


def spread(rows: Iterable[tuple[int, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """(severity, {deadline word: number}) rows to the table, worst first, with every cell there."""
    found = {label: dict.fromkeys(DEADLINES, 0) for label in LABELS}
    for severity, numbers in rows:
        for word, n in numbers.items():
            found[Severity(severity).label][word] += n
    return {label: row for label, row in found.items() if any(row.values()) or label in ("critical", "high", "medium")}
