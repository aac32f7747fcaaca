"""Which image another was built on, and what building it on a newer one would change. Pure.

An image is built on another where it begins with all of that one's layers (OCI image-spec 1.1, config.md, "rootfs"):
what was built is told by content, not by what a label says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from msgspec import Struct

Key = TypeVar("Key")


def base_of(chain: Sequence[str], known: Mapping[Key, Sequence[str]]) -> Key | None:
    """Of the images ``known`` by their diff ids (lowest first) the one whose layers are the longest proper beginning of
    ``chain``; of equals the first; ``None`` where there is none."""
    longest: Key | None = None
    length = 0
    for key, layers in known.items():
        if length < len(layers) < len(chain) and list(chain[: len(layers)]) == list(layers):
            longest, length = key, len(layers)
    return longest


class Standing(NamedTuple):
    """A finding that stands open in an image."""

    id: int
    risk: int
    severity: int
    layer: str = ""
    """Digest or diff id of the layer that it is in; empty where nobody knows."""
    is_component: bool = True
    """It is in something that is installed, whichever layer that came with."""


class Rebuilding(Struct, frozen=True):
    """What the image would have, built anew on the newest base."""

    before: Mapping[int, int]
    """Open findings by severity."""
    after: Mapping[int, int]
    removed: Sequence[int]
    """Ids of the findings that would go: they came with the base, and the newest base has them no more."""
    added: Sequence[int]
    """Ids of the newest base's findings that the image does not have yet."""

    @property
    def moves_from(self) -> int:
        return sum(self.before.values())

    @property
    def moves_to(self) -> int:
        return sum(self.after.values())


def rebuilding(findings: Iterable[Standing], base_layers: Collection[str], newest: Iterable[Standing]) -> Rebuilding:
    """``findings`` of the image, the digests and diff ids of its base's layers, and what stands in the newest base.

    A finding is the same where its risk is (the vulnerability in the package, whatever its version; or the rule and
    its target). What the image's own layers bring stays, and so does what no layer is known of.
    """
    standing = list(findings)
    has = {finding.risk for finding in standing}
    still = list(newest)
    stays = {finding.risk for finding in still}
    removed = [f for f in standing if f.layer in base_layers and f.risk not in stays]
    added = [f for f in still if f.risk not in has]
    before = Counter(f.severity for f in standing)
    after = before - Counter(f.severity for f in removed) + Counter(f.severity for f in added)
    return Rebuilding(
        dict(before), dict(after), tuple(sorted(f.id for f in removed)), tuple(sorted(f.id for f in added))
    )
