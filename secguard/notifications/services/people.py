"""Who a person is, as the app of people tells it: this one stands below it and knows ids alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Addressee:
    """Somebody who may be written to: their address, their name, and what they may see (``NoticeQuerySet``)."""

    email: str
    name: str
    pk: int
    sees_everything: bool
    team_ids: frozenset[int]


ADDRESSEES: list[Callable[[Sequence[int]], Mapping[int, Addressee]]] = []
"""Called with ids of users; returns those of them that are active people with an address. The app of people adds
itself in its ``ready``; where nobody has, nobody is written to."""


def addressees(user_ids: Sequence[int]) -> dict[int, Addressee]:
    """Those of ``user_ids`` who may be written to."""
    found: dict[int, Addressee] = {}
    for ask in ADDRESSEES if user_ids else ():
        found |= ask(user_ids)
    return found
