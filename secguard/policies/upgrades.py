"""Which upgrade mends a component: the smallest version that fixes all that is asked of it.

Versions are ordered by the rules of the component's own ecosystem (univers). Where these are not known, or a version
does not follow them, nothing is guessed: the fixed versions are given as the sources list them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from univers.version_range import RANGE_CLASS_BY_SCHEMES
from univers.versions import Version

_EPOCH: Final = re.compile(r"^\d+:")
_NUMBER: Final = re.compile(r"\d{1,18}")
_UNORDERED: Final = frozenset({"", "generic"})


@lru_cache(maxsize=16384)
def best_upgrade(ecosystem: str, current: str, fixes: tuple[tuple[str, ...], ...]) -> tuple[str, bool]:
    """(version, whether it fixes all) for a component at ``current``; ``fixes`` holds each finding's fixed versions.

    The smallest fixed version above ``current`` that fixes every finding; else the one that fixes the most. Where the
    order is not known: all fixed versions, as listed, and ``False``.
    """
    listed = list(dict.fromkeys(text for group in fixes for text in group))
    ranks = _ranks(ecosystem, [current, *listed])
    candidates = sorted((t for t in listed if ranks[t] > ranks[current]), key=ranks.__getitem__) if ranks else []
    if not candidates:
        return ", ".join(listed), False
    groups = [sorted(set(group), key=ranks.__getitem__) for group in dict.fromkeys(fixes)]
    mended = {text: sum(_fixes(text, group, ranks) for group in groups) for text in candidates}
    best = max(candidates, key=mended.__getitem__)  # the first of equals, which is the smallest
    return best, mended[best] == len(groups)


def _fixes(version: str, fixed: list[str], ranks: dict[str, int]) -> bool:
    """Whether ``version`` has the fix: at or past a fixed version of its own release line.

    Of fixed versions 1.1.1w and 3.0.11, 1.1.1x has the fix and 3.0.1 has not.
    """
    below = [f for f in fixed if ranks[f] <= ranks[version]]
    above = [f for f in fixed if ranks[f] > ranks[version]]
    if not below or not above:
        return bool(below)
    return ranks[below[-1]] == ranks[version] or _shared(version, below[-1]) > _shared(version, above[0])


def _shared(one: str, other: str) -> int:
    """How many leading numbers two versions have in common."""
    numbers = [_NUMBER.findall(_EPOCH.sub("", text)) for text in (one, other)]
    count = 0
    for left, right in zip(*numbers, strict=False):
        if int(left) != int(right):
            break
        count += 1
    return count


def _ranks(ecosystem: str, texts: Iterable[str]) -> dict[str, int]:
    """Each text's place in the ecosystem's order, equal versions at one place; empty where the order is not known."""
    versions = {text: _parsed(ecosystem, text) for text in texts}
    if None in versions.values():
        return {}
    ranks: dict[str, int] = {}
    try:
        before = None
        for text in sorted(versions, key=versions.__getitem__):  # type: ignore[arg-type]
            same = before is not None and versions[before] == versions[text]
            ranks[text] = ranks[before] if same and before is not None else len(ranks)
            before = text
    except Exception:  # noqa: BLE001 - as in _parsed
        return {}
    return ranks


@lru_cache(maxsize=65536)
def _parsed(ecosystem: str, text: str) -> Version | None:
    range_class = None if ecosystem in _UNORDERED else RANGE_CLASS_BY_SCHEMES.get(ecosystem)
    version_class = range_class.version_class if range_class is not None else None
    if version_class is None or not text or len(text) > 200:
        return None
    try:
        parsed: Version = version_class(text)
    # univers parses with several third-party grammars that raise what they like: no known order, whatever it was.
    except Exception:  # noqa: BLE001
        return None
    return parsed
