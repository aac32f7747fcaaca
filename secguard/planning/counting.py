"""Checks that count rows: of what is looked at, how many lack what is asked for. Pure; the apps that own the rows
measure them, and the lists that an outcome's links lead to show the same rows, by the same measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from secguard.planning.checks import Check, Covered, Measured, Outcome, register

PARTS: Final = ("lacking", "untold", "total")
"""What of ``Rows`` a list can be asked for, by the words of its filter."""


class Rows(Struct, frozen=True):
    """What a check looked at for one application, by the rows' ids."""

    total: frozenset[int] = frozenset()
    lacking: frozenset[int] = frozenset()
    untold: frozenset[int] = frozenset()
    """Of these nobody knows."""
    changes_at: datetime | None = None
    """The first instant at which, by the clock alone, a row turns from one to the other."""


Measure = Callable[[Sequence[int], datetime], Mapping[int, Rows]]
"""Application ids and an instant to the rows of each; an application that is not among them has none."""


class Shown(Struct, frozen=True, kw_only=True):
    """The rows that several checks count, and the list that shows them."""

    noun: str
    plural: str
    page: str
    """The list's path: it has the filters of ``PARTS``, each with ``<application>:<check>``."""
    slugs: Callable[[Sequence[int]], Mapping[int, str]]
    """Application ids to what their pages' addresses call them."""
    nothing: str
    """The whole sentence where there are none."""


class Counting(Struct, frozen=True, kw_only=True):
    """A check by its rows. The words go behind a number of rows and a colon: ``2 of 3 images: not scanned``."""

    name: str
    about: str
    of: Shown
    measure: Measure
    kept: str
    lacking: str
    untold: str = "not known"
    covered: Covered | None = None

    def ask(self, application_ids: Sequence[int], now: datetime) -> dict[int, Outcome]:
        """What is measured of each application: the same number of statements for any number of them."""
        return self.outcomes(self.measure(application_ids, now), application_ids)

    def outcomes(self, found: Mapping[int, Rows], application_ids: Sequence[int]) -> dict[int, Outcome]:
        """What rows that were measured come to, for each of the applications."""
        slugs = self.of.slugs(application_ids)
        return {pk: self._outcome(found.get(pk, Rows()), slugs.get(pk, "")) for pk in application_ids}

    @property
    def check(self) -> Check:
        return Check(name=self.name, about=self.about, ask=self.ask, covered=self.covered)

    def _outcome(self, rows: Rows, slug: str) -> Outcome:
        links = tuple(
            (self._label(part, len(getattr(rows, part))), f"{self.of.page}?{part}={slug}:{self.name}")
            for part in self._shown(rows)
        )
        if not rows.total:
            return Outcome(state="unmeasured", says=self.of.nothing, links=(), changes_at=rows.changes_at)
        state: Measured = "missing" if rows.lacking else "unmeasured" if rows.untold else "kept"
        return Outcome(state=state, says=self._says(rows), links=links, changes_at=rows.changes_at)

    @staticmethod
    def _shown(rows: Rows) -> list[str]:
        return [part for part in ("lacking", "untold") if getattr(rows, part)] or ["total"]

    def _says(self, rows: Rows) -> str:
        total = len(rows.total)
        parts = [
            f"{len(some)} of {self._count(total)}: {words}."
            for some, words in ((rows.lacking, self.lacking), (rows.untold, self.untold))
            if some
        ]
        return " ".join(parts) or f"{'All ' if total > 1 else ''}{self._count(total)}: {self.kept}."

    def _label(self, part: str, number: int) -> str:
        words = {"lacking": self.lacking, "untold": self.untold, "total": ""}[part]
        return f"{self._count(number)} {words}".strip()

    def _count(self, number: int) -> str:
        return f"{number:,} {self.of.noun if number == 1 else self.of.plural}"


COUNTED: Final[dict[str, Counting]] = {}
"""Every check that counts rows, by its name: what the lists' filters ask."""


def register_counting(*found: Counting) -> None:
    """Add what an app counts to the checks, and to what lists can show."""
    register(*(counting.check for counting in found))
    show(*found)


def show(*found: Counting) -> None:
    """Let lists show what these count; for a check that says more than its rows do, and is registered by itself."""
    COUNTED.update({counting.name: counting for counting in found})


def soonest(*instants: datetime | None) -> datetime | None:
    """The first of those that there are."""
    return min((at for at in instants if at is not None), default=None)
