"""Which environment follows which, and where an image goes when it is promoted to one. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from secguard.errors import Invalid

_PREFIX = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
MAX_PATH = 255
"""Of a repository (distribution-spec, "Pulling manifests")."""


@dataclass(frozen=True, slots=True)
class Stop:
    """An environment on the way of an image: its registry's host, and what its repositories' paths begin with."""

    name: str
    position: int
    host: str
    prefix: str = ""
    requires_previous: bool = True

    def holds(self, host: str, path: str) -> bool:
        """Whether a repository is one of this environment's."""
        return host == self.host and (not self.prefix or path.startswith(f"{self.prefix}/"))


def in_order(stops: Sequence[Stop]) -> list[Stop]:
    return sorted(stops, key=lambda s: s.position)


def is_first(stops: Sequence[Stop], name: str) -> bool:
    """Images are pushed to the first environment; to every other one they are promoted."""
    ordered = in_order(stops)
    return bool(ordered) and ordered[0].name == name


def previous(stops: Sequence[Stop], name: str) -> Stop | None:
    """The environment that an image must have been promoted to before it may go to ``name``.

    None where it comes straight from the first one, to which nothing is promoted, or where that is not wanted.
    """
    ordered = in_order(stops)
    at = next(i for i, stop in enumerate(ordered) if stop.name == name)
    return ordered[at - 1] if at >= 2 and ordered[at].requires_previous else None


def home_of(stops: Sequence[Stop], host: str, path: str) -> Stop | None:
    """The environment that a repository belongs to: of several, the one with the longest prefix, then the first."""
    holding = [stop for stop in in_order(stops) if stop.holds(host, path)]
    return max(holding, key=lambda s: len(s.prefix)) if holding else None


def destination(stops: Sequence[Stop], host: str, path: str, target: Stop) -> str:
    """The path in the target's registry: the same, with the target's prefix in place of the one it had.

    Raises ``Invalid`` where that would be longer than a registry takes.
    """
    home = home_of(stops, host, path)
    bare = path.removeprefix(f"{home.prefix}/") if home and home.prefix else path
    found = f"{target.prefix}/{bare}" if target.prefix else bare
    if len(found) > MAX_PATH:
        raise Invalid(
            f"In {target.name} the repository would be {found[:60]}… with {len(found)} characters; registries take "
            f"{MAX_PATH}. Shorten the environment's prefix or the repository's path.",
            code="path-too-long",
        )
    return found


def check_prefix(text: str) -> str:
    """A prefix without slashes around it; raises ``Invalid`` where no repository may begin so."""
    prefix = text.strip().strip("/")
    if prefix and (not _PREFIX.fullmatch(prefix) or len(prefix) > 100):
        raise Invalid(
            f"{text[:80]!r} is no beginning of a repository's path; expected lower-case parts divided by '/', at most "
            "100 characters: prod or apps/prod.",
            where="path_prefix",
        )
    return prefix
