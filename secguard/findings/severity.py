"""Severity: one ordered scale for every tool (CVSS v3.1 section 5 for the scores)."""

from __future__ import annotations

from enum import IntEnum


class Severity(IntEnum):
    """Ordered, so that ``max`` and the database's order are the order of concern."""

    UNKNOWN = 0
    NEGLIGIBLE = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5

    @property
    def label(self) -> str:
        """The word for people, the API and policies: ``critical``, ``high`` …"""
        return self.name.lower()


LABELS: tuple[str, ...] = tuple(s.label for s in sorted(Severity, reverse=True))

_WORDS = {
    "critical": Severity.CRITICAL,
    "defcon1": Severity.CRITICAL,
    "urgent": Severity.CRITICAL,
    "blocker": Severity.CRITICAL,
    "fatal": Severity.CRITICAL,
    "high": Severity.HIGH,
    "important": Severity.HIGH,
    "major": Severity.HIGH,
    "error": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "moderate": Severity.MEDIUM,
    "warning": Severity.MEDIUM,
    "warn": Severity.MEDIUM,
    "low": Severity.LOW,
    "minor": Severity.LOW,
    "note": Severity.LOW,
    "info": Severity.NEGLIGIBLE,
    "informational": Severity.NEGLIGIBLE,
    "information": Severity.NEGLIGIBLE,
    "style": Severity.NEGLIGIBLE,
    "negligible": Severity.NEGLIGIBLE,
    "none": Severity.NEGLIGIBLE,
    "ignore": Severity.NEGLIGIBLE,
    "unimportant": Severity.NEGLIGIBLE,
}


def from_word(word: str | None) -> Severity:
    """A tool's own word to the scale; a word nobody knows is ``UNKNOWN``, never ``LOW``."""
    return _WORDS.get(word.strip().lower(), Severity.UNKNOWN) if word else Severity.UNKNOWN


def from_score(score: float | None) -> Severity:
    """A CVSS base score (0.0 to 10.0) to the scale, after CVSS v3.1 table 14; outside it ``UNKNOWN``."""
    if score is None or not 0.0 <= score <= 10.0:
        return Severity.UNKNOWN
    if score >= 9.0:
        return Severity.CRITICAL
    if score >= 7.0:
        return Severity.HIGH
    if score >= 4.0:
        return Severity.MEDIUM
    return Severity.LOW if score > 0 else Severity.NEGLIGIBLE
