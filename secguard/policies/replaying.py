"""Whether a verdict that was computed again is the one that was stored, and what of it another team may read."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

ELSEWHERE = "a place of another team"
BEYOND = "a place that is outside of this token's limit"


@dataclass(frozen=True, slots=True)
class Replay:
    """What computing a verdict again from its stored input told; nothing to tell means that it is the same."""

    differences: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        return not self.differences


def differences(stored: Mapping[str, Any], again: Mapping[str, Any]) -> tuple[str, ...]:
    """Where two verdict documents differ, in words.

    The address at which one asks for an exception is left out: it names this installation, which may have moved.
    """
    ours, theirs = _without_addresses(stored), _without_addresses(again)
    found = []
    if ours.get("verdict") != theirs.get("verdict"):
        found.append(f"the stored verdict is {ours.get('verdict')}, computed again it is {theirs.get('verdict')}")
    names = sorted(n for n in ours.keys() | theirs.keys() if n != "verdict" and ours.get(n) != theirs.get(n))
    if names:
        found.append(f"the documents differ in {', '.join(names)}")
    return tuple(found)


def _without_addresses(document: Mapping[str, Any]) -> dict[str, Any]:
    bare = copy.deepcopy(dict(document))
    for reason in bare.get("reasons", ()):
        exception = (reason.get("remedy") or {}).get("exception")
        if isinstance(exception, dict):
            exception.pop("url", None)
    return bare


def shown(
    document: Mapping[str, Any],
    repositories: Collection[str],
    decisions: Collection[int],
    owners: Collection[str] = (),
    elsewhere: str = ELSEWHERE,
) -> dict[str, Any]:
    """The document as members of a team may read it: with no place but ``repositories``, no decision but those.

    A digest may have lain with one team when it was judged and with another since, who reads the same judgement.
    ``owners`` are the names (registry, application, team) of the place, which a rule's message may hold as well, and
    ``elsewhere`` is what stands there instead.
    """
    bare = copy.deepcopy(dict(document))
    reference = str(bare.get("reference") or "")
    if reference and repository_of(reference) not in repositories:
        bare["reference"] = ""
        for reason in (*bare.get("reasons", ()), *(bare.get("observed") or {}).get("reasons", ())):
            for name in (reference, repository_of(reference), *sorted(owners, key=len, reverse=True)):
                reason["message"] = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", elsewhere, reason["message"])
    bare["decisions"] = [d for d in bare.get("decisions", ()) if d["id"] in decisions]
    bare["covered"] = [c for c in bare.get("covered", ()) if c["decision"] in decisions]
    return bare


def repository_of(reference: str) -> str:
    """``host/path`` of a reference with or without a tag and a digest."""
    name = reference.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
