"""Values as tools write them, to the neutral report's: times, scores, fix states, references, what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

Version = str | int | float | None
"""A version in JSON: ``1.10`` unquoted is a number for whoever wrote it so."""

MAX_REFERENCES = 10

_FIX_STATES = {
    "fixed": "fixed",
    "fix_available": "fixed",
    "affected": "not_fixed",
    "not-fixed": "not_fixed",
    "not_fixed": "not_fixed",
    "fix_deferred": "not_fixed",
    "will_not_fix": "wont_fix",
    "end_of_life": "wont_fix",
    "out_of_support_scope": "wont_fix",
    "wont-fix": "wont_fix",
    "wont_fix": "wont_fix",
}


@lru_cache(maxsize=4096)
def fix_state(word: str | None, fixed_versions: tuple[str, ...] = ()) -> str:
    """``fixed``, ``not_fixed``, ``wont_fix`` or ``""``; a version that fixes says more than any word."""
    return "fixed" if fixed_versions else _FIX_STATES.get((word or "").strip().lower().replace(" ", "_"), "")


@lru_cache(maxsize=4096)
def moment(text: str | None) -> datetime | None:
    """A time with its zone (UTC where the tool tells none); ``None`` for what is no time, or Go's zero time."""
    if not text or text.startswith("0001-"):
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def score(value: float | None) -> float | None:
    """A CVSS score; 0 and what lies outside the scale means "not rated" in every tool read here."""
    return value if value is not None and 0.0 < value <= 10.0 else None


def probability(value: float | None) -> float | None:
    """A probability 0..1, or ``None`` for anything else."""
    return value if value is not None and 0.0 <= value <= 1.0 else None


def version_text(value: Version) -> str:
    return value.strip() if isinstance(value, str) else "" if value is None else str(value)


@lru_cache(maxsize=4096)
def versions(text: str | None) -> tuple[str, ...]:
    """Each version of a comma-separated list, in order, once."""
    return tuple(dict.fromkeys(v for part in (text or "").split(",") if (v := part.strip())))


def references(*groups: Iterable[object] | None) -> tuple[str, ...]:
    """The first few links, in order, once; what is no text is passed over."""
    seen: dict[str, None] = {}
    for group in groups:
        for link in group or ():
            if isinstance(link, str) and link:
                seen[link] = None
                if len(seen) == MAX_REFERENCES:
                    return tuple(seen)
    return tuple(seen)


class LeftOut(Counter[str]):
    """Counts what a reader passes over, by reason: ``left_out["results without an id"] += 1``."""

    def warnings(self) -> tuple[str, ...]:
        """For ``ScanReport.warnings``."""
        return tuple(f"{count:,} {reason}" for reason, count in sorted(self.items()) if count)
