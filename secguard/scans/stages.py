"""The way of a look, from the words that a worker tells while it works: which stage it is at, and how far. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

TITLES = ("Resolve the tag", "Pull and look into the layers", "List the packages", "Match and take in")
_BEGINNINGS = (
    ("resolving", 0),
    ("reading the configuration", 1),
    ("pulling", 1),
    ("looking into", 1),
    ("listing packages", 2),
    ("putting it together", 3),
    ("reading the report", 3),
    ("taking in", 3),
    ("done", 3),
)
_OF = re.compile(r"layer (\d{1,4}) of (\d{1,4})")


@dataclass(frozen=True, slots=True)
class Stage:
    title: str
    state: str
    """``done``, ``now`` or ``ahead``."""


@dataclass(frozen=True, slots=True)
class Way:
    """``text`` is what is being done now; ``done`` of ``total`` where that has an end (0: nobody knows)."""

    stages: tuple[Stage, ...]
    text: str
    done: int = 0
    total: int = 0

    @property
    def percent(self) -> int | None:
        """Whole per cent, for who reads the bar; ``None`` where the end is not known."""
        return min(100, 100 * self.done // self.total) if self.total else None


def way_of(text: str, done: int, total: int) -> Way:
    """``text``, ``done`` and ``total`` as the job carries them; empty: no worker has begun."""
    at = next((stage for beginning, stage in _BEGINNINGS if text.startswith(beginning)), -1)
    stages = tuple(
        Stage(title, "done" if place < at else "now" if place == at else "ahead") for place, title in enumerate(TITLES)
    )
    if not total and (layer := _OF.search(text)):
        done, total = int(layer[1]) - 1, int(layer[2])
    return Way(stages, text[:1].upper() + text[1:] if text else "Waiting for a worker", done, total)
