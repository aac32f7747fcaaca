"""Measured checks: what SecGuard itself can tell of a requirement, for many applications at once. Pure.

An app that owns the data registers its checks when it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

Measured = Literal["kept", "missing", "unmeasured"]


class Outcome(Struct, frozen=True, kw_only=True):
    """What was measured for one application."""

    state: Measured
    says: str
    """In words, with counts."""
    links: tuple[tuple[str, str], ...] = ()
    """(label, path) of the pages that show the rows."""
    same: str = ""
    """What it comes to, where the words hold numbers that grow by themselves: nothing has changed while this stays the
    same. Empty: the words themselves."""
    changes_at: datetime | None = None
    """The first instant at which the state may change by the clock alone."""


Covered = Callable[[Sequence[int], datetime], Mapping[int, Collection[int]]]
"""Application ids and an instant to the decisions of each that cover what would be missing without them."""


class Check(Struct, frozen=True, kw_only=True):
    """One thing that can be measured; a requirement names it."""

    name: str
    about: str
    ask: Callable[[Sequence[int], datetime], Mapping[int, Outcome]]
    """Application ids and an instant to an outcome for each: one or a few statements for all of them."""
    covered: Covered | None = None
    """Of a check that passes over what a decision covers: which decisions those are. Few statements, too."""


CHECKS: Final[dict[str, Check]] = {}
"""Every check there is, by its name. Apps add theirs when they start (``register``)."""


def register(*found: Check) -> None:
    """Add an app's checks; a name belongs to one of them."""
    for check in found:
        if CHECKS.get(check.name, check) is not check:
            raise ValueError(f"Two measured checks are called {check.name!r}.")
        CHECKS[check.name] = check
