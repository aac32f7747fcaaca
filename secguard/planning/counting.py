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
    is_blind: bool = False
    """Whoever tells of such rows is not heard: there may be others than these."""
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
    quiet: str = ""
    """The whole sentence where there are none, and that is as it should be; without it nothing is measured then."""
    blind: str = ""
    """The whole sentence where whoever tells of them is not heard."""
    covered: Covered | None = None

    def ask(self, application_ids: Sequence[int], now: datetime) -> dict[int, Outcome]:
        """What is measured of each application: the same number of statements for any number of them."""
        return self.outcomes(self.measure(application_ids, now), application_ids)

    def outcomes(self, found: Mapping[int, Rows], application_ids: Sequence[int]) -> dict[int, Outcome]:
        """What rows that were measured come to, for each of the applications."""
        slugs, untold = self.of.slugs(application_ids), Rows(is_blind=bool(self.quiet))
        return {pk: self._outcome(found.get(pk, untold), slugs.get(pk, "")) for pk in application_ids}

    @property
    def check(self) -> Check:
        return Check(name=self.name, about=self.about, ask=self.ask, covered=self.covered)

    def _outcome(self, rows: Rows, slug: str) -> Outcome:
        links = tuple(
            (self._label(part, len(getattr(rows, part))), f"{self.of.page}?{part}={slug}:{self.name}")
            for part in self._shown(rows)
        )
        return Outcome(state=self._state(rows), says=self._says(rows), links=links, changes_at=rows.changes_at)

    def _state(self, rows: Rows) -> Measured:
        if rows.lacking:
            return "missing"
        is_known = rows.total or self.quiet
        return "unmeasured" if rows.untold or rows.is_blind or not is_known else "kept"

    @staticmethod
    def _shown(rows: Rows) -> list[str]:
        some = [part for part in PARTS[:2] if getattr(rows, part)]
        return some or (["total"] if rows.total else [])

    def _says(self, rows: Rows) -> str:
        total = len(rows.total)
        if not total:
            found = [self.quiet if self.quiet and not rows.is_blind else self.of.nothing]
        else:
            found = [
                f"{len(some)} of {self._count(total)}: {words}."
                for some, words in ((rows.lacking, self.lacking), (rows.untold, self.untold))
                if some
            ] or [f"{'All ' if total > 1 else ''}{self._count(total)}: {self.kept}."]
        return " ".join([*found, self.blind] if rows.is_blind else found)

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
    COUNTED.update({counting.name: counting for counting in found})


def soonest(*instants: datetime | None) -> datetime | None:
    """The first of those that there are."""
    return min((at for at in instants if at is not None), default=None)
