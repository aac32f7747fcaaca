"""Who is told of what changes here. Upper apps add themselves in their ``ready``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

Merged = Callable[[Sequence[tuple[int, int]]], None]
ON_MERGE: list[Merged] = []
"""Called inside the transaction with (kept id, gone id) pairs before the gone are deleted: upper apps re-point what
they own. All pairs at once, so that they can lock what they touch in one order, and before anything else is locked."""

FACTS_CHANGED: list[Callable[[Sequence[int]], None]] = []
"""Called inside the transaction with the ids of flaws of which known exploitation or EPSS changed."""

DECIDED_BY_OTHERS: list[Callable[[Sequence[int], frozenset[int]], set[int]]] = []
"""Called with flaw ids and the teams that a report's sender speaks for; gives back the flaws on which something hangs
that other teams or the organisation decided: no word of that sender makes them another flaw."""


class Changes(NamedTuple):
    """What other advisories than before say."""

    packages: frozenset[tuple[str, str]]
    """(ecosystem, name) as ``AffectedRange`` has them: named by a new or changed advisory, or by what it was before."""
    flaws: frozenset[int]
    """Ids of the flaws that those advisories are about now, or were before."""


ADVISORIES_CHANGED: list[Callable[[Changes], None]] = []
"""Called inside the transaction of each batch of an import (at most ``BATCH`` advisories), once it is written."""
