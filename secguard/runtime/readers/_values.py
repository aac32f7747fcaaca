"""Values that more than one reader takes from a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from secguard.images import strictjson
from secguard.images.jsonlines import Members, address
from secguard.runtime.event import MAX_FIELD, MAX_FIELDS, MAX_TAGS, Scalar

PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
"""IANA's protocol numbers, of those that containers speak."""


def scalars(members: Members, name: str, given: Mapping[str, Any]) -> dict[str, Scalar]:
    """The fields that are a text, a number, a boolean or null; others are noted. Bounded in count and length."""
    found: dict[str, Scalar] = {}
    for key, value in given.items():
        if len(found) == MAX_FIELDS:
            members.note(name, f"has {len(given):,} fields; {MAX_FIELDS} are kept")
            break
        if isinstance(value, str):
            found[key[:128]] = value[:MAX_FIELD]
        elif value is None or isinstance(value, bool) or _is_finite(value):
            found[key[:128]] = value
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            found[key[:128]] = ", ".join(value)[:MAX_FIELD]
        else:
            members.note(f"{name}.{key[:60]}", f"is {strictjson.named(value)}; expected a text or a number")
    return found


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and -1e300 < value < 1e300


def tags(words: Iterable[str]) -> tuple[str, ...]:
    """Each word once, in order."""
    return tuple(dict.fromkeys(word[:128] for word in words if word))[:MAX_TAGS]


def protocol(number: int | None, word: str | None = None) -> str | None:
    """``tcp`` and the like; a number that is not among ``PROTOCOLS`` as it is."""
    if word:
        return word.lower()
    return None if number is None else PROTOCOLS.get(number, str(number))


_PAIR = re.compile(r"\[?([0-9a-fA-F:.]{2,45}?)\]?:(\d{1,5})->\[?([0-9a-fA-F:.]{2,45}?)\]?:(\d{1,5})")


def addresses(tuple_: str) -> tuple[str, int, str, int] | None:
    """The ends of a connection as Falco writes one: ``10.0.0.1:39526->10.100.0.1:443``."""
    found = _PAIR.fullmatch(tuple_)
    if found is None or int(found[2]) > 65_535 or int(found[4]) > 65_535:
        return None
    source, destination = address(found[1]), address(found[3])
    return (source, int(found[2]), destination, int(found[4])) if source and destination else None
