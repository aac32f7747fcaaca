"""Who is told of what changes here. Upper apps add themselves in their ``ready``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

RISKS_CHANGED: list[Callable[[Sequence[int], datetime], None]] = []
"""Called by a job of its own (it may reach many images, and must hold no image's lock before) with the ids of risks
whose facts changed (a fix, exploitation, severity): decisions approved under other facts re-open, verdicts follow."""

EXPOSURES_CHANGED: list[Callable[[Sequence[int], datetime], None]] = []
"""Called inside the transaction with the ids of exposures that are new or whose facts changed."""

RISK_MERGED: list[Callable[[int, int], None]] = []
"""Called inside the transaction as ``(gone risk id, kept risk id)`` before the gone one is deleted: two names of one
flaw became one, and what people decided under the one name follows to the other."""
