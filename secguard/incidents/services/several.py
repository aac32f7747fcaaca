"""The same act on several incidents, each by its own rules: what one is refused leaves the others done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.db import transaction

from secguard.errors import SecGuardError


@dataclass(frozen=True, slots=True)
class Done:
    """How many were done, and what the others were refused with."""

    count: int
    refused: tuple[tuple[int, str], ...]


@transaction.atomic
def each(ids: Iterable[int], act: Callable[[int], object]) -> Done:
    """``act`` for each id, in their order."""
    count, refused = 0, []
    for pk in sorted(set(ids)):
        try:
            with transaction.atomic():
                act(pk)
            count += 1
        except SecGuardError as error:
            refused.append((pk, error.detail))
    return Done(count, tuple(refused))
