"""Who is told of what changes here. Upper apps add themselves in their ``ready``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

RISKS_CHANGED: list[Callable[[Sequence[int], datetime], None]] = []
"""Called by a job of its own (it may reach many images, and must hold no image's lock before) with the ids of risks
whose facts changed (a fix, exploitation, severity): decisions approved under other facts re-open, verdicts follow."""

EXPOSURES_CHANGED: list[Callable[[Sequence[int], datetime], None]] = []
"""Called inside the transaction with the ids of exposures that are new or whose facts changed."""

IMAGES_CHANGED: list[Callable[[Sequence[int], datetime], None]] = []
"""Called inside the transaction with the ids of images, their rows locked, of which findings changed without a scan."""

RISK_MERGED: list[Callable[[int, int], None]] = []
"""Called inside the transaction as ``(gone risk id, kept risk id)`` before the gone one is deleted: two names of one
flaw became one, and what people decided under the one name follows to the other."""


class Circumstances(NamedTuple):
    """What the time to fix a risk in a repository depends on."""

    kind: str
    severity: int
    known_exploited: bool
    fix_available: bool
    is_exposed: bool


TimeToFix = Callable[[Circumstances], timedelta | None]
TIME_TO_FIX: list[Callable[[], TimeToFix]] = []
"""Called once for many new exposures; what it returns says for each how long it may stand (``None``: no deadline). At
most one app registers: a new exposure is then written once, with its deadline, and not again by who follows."""


class Given(Protocol):
    """By when something must be fixed, and the row of the risk appetite that says so."""

    @property
    def row(self) -> str: ...
    @property
    def days(self) -> int | None: ...
    @property
    def words(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def inputs(self) -> Sequence[Any]: ...


DEADLINE_ROWS: list[Callable[[Iterable[int]], Mapping[int, Given]]] = []
"""Called for a page of exposures with their ids: what gives each its deadline. At most one app registers."""
