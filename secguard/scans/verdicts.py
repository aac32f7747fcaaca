"""Who judges a scanned image: the upper app says so here, because scans must not know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Judge = Callable[[Any, Any], dict[str, Any] | None]
_judges: list[Judge] = []


def register(judge: Judge) -> None:
    """``judge(image, reader)`` gives the verdict document at the build gate that holds now, as ``reader`` may read
    it."""
    _judges.append(judge)


def verdict_of(image: Any, reader: Any) -> dict[str, Any] | None:
    """The verdict on ``image`` for ``reader``; ``None`` where nobody judges."""
    return _judges[0](image, reader) if _judges else None
