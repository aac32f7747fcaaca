"""The Merkle tree over the audit log, as in RFC 9162 section 2.1 (the tree of RFC 6962): what a proof of one entry, or
of one log's being the continuation of another, is made of, and how both are checked.

Pure, and needs nothing but Python. A *leaf hash* is that of one entry; a *node* ``(level, index)`` is the hash of the
full subtree over the leaves ``index * 2**level`` to ``(index + 1) * 2**level``, the last not included.

Hashes are kept in *tiles* of 256, as in C2SP's tlog-tiles: the tile ``(0, i)`` holds leaf hashes, ``(1, i)`` the roots
of full tiles ``(0, ...)``, and so on. A tile only grows, and its beginning serves every smaller tree: nothing that was
written is ever written otherwise. A proof reads at most two tiles of a level, six in a log of 10^7 entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

HASH = 32
WIDTH = 256
"""Hashes in a full tile, and so the leaves under one of its second level's."""
LEVELS = 8
"""Levels of the tree in one level of tiles: 2**8 is ``WIDTH``."""
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = tuple[int, int]
Tile = tuple[int, int]
Span = tuple[int, int]
"""Leaves from the first to before the second."""


class BrokenProof(ValueError):
    """A proof that does not prove what it is for; the message says what was found and what was expected."""


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf_of(digest: str) -> bytes:
    """The leaf hash of an entry: its data are the 32 bytes of the entry's digest, which covers all else of it."""
    return leaf_hash(bytes.fromhex(digest))


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over ``hashes``, each the root of one full subtree of the same height; ``EMPTY_ROOT`` of none."""
    level = list(hashes)
    while len(level) > 1:
        pairs = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = pairs + level[len(pairs) * 2 :]
    return level[0] if level else EMPTY_ROOT


# --- what a proof consists of ---


def inclusion(index: int, size: int) -> list[Span]:
    """The subtrees whose hashes lead from a leaf to the root over ``size`` leaves, the leaf's sibling first.

    RFC 9162 section 2.1.3.1. ``ValueError`` where the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[Span] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        path.append((middle, end) if index < middle else (start, middle))
        start, end = (start, middle) if index < middle else (middle, end)
    return path[::-1]


def consistency(old: int, new: int) -> list[Span]:
    """The subtrees that show that the first ``old`` leaves of a tree of ``new`` are the tree of ``old``.

    RFC 9162 section 2.1.4.1. ``ValueError`` unless 0 < old <= new.
    """
    if not 0 < old <= new:
        raise ValueError(f"a tree of {new} leaves continues none of {old}: expected 0 < {old} <= {new}")
    path: list[Span] = []
    start, end, is_known = 0, new, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, is_known = middle, False
    return ([] if is_known else [(start, end)]) + path[::-1]


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def full(span: Span) -> Iterator[Node]:
    """The full subtrees that ``span`` is made of, from the left: one, or those at a tree's ragged right edge."""
    start, end = span
    while start < end:
        level = min((start & -start).bit_length() - 1 if start else 64, (end - start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def hash_of(span: Span, node: Callable[[Node], bytes]) -> bytes:
    """The hash over ``span``, of the nodes that ``node`` knows; the root of a tree is that of its whole span."""
    hashes = [node(one) for one in full(span)]
    if not hashes:
        return EMPTY_ROOT
    found = hashes.pop()
    while hashes:
        found = node_hash(hashes.pop(), found)
    return found


# --- tiles ---


def tile_of(node: Node) -> Tile:
    """The tile that ``node`` is read from."""
    level, index = node
    return level // LEVELS, (index << level % LEVELS) // WIDTH


def tiles_for(spans: Iterable[Span]) -> set[Tile]:
    """The tiles that the hashes of ``spans`` are read from."""
    return {tile_of(node) for span in spans for node in full(span)}


def reading(tiles: Mapping[Tile, bytes]) -> Callable[[Node], bytes]:
    """A function from a node to its hash as ``tiles`` have it; that raises ``KeyError`` for what they do not hold."""

    def node(one: Node) -> bytes:
        level, index = one
        tile, at, count = tiles[tile_of(one)], (index << level % LEVELS) % WIDTH, 1 << level % LEVELS
        if len(tile) < (at + count) * HASH:
            raise KeyError(one)
        return root_of(split(tile[at * HASH : (at + count) * HASH]))

    return node


def split(tile: bytes) -> list[bytes]:
    """The hashes of a tile."""
    return [tile[at : at + HASH] for at in range(0, len(tile), HASH)]


def edge(size: int) -> list[Tile]:
    """The tiles that a tree of ``size`` leaves grows at, one of each level there is."""
    found: list[Tile] = [(0, size // WIDTH)]
    while size >= WIDTH:
        size //= WIDTH
        found.append((len(found), size // WIDTH))
    return found


def grown(tiles: Mapping[Tile, bytes], size: int, leaves: Sequence[bytes]) -> dict[Tile, bytes]:
    """The tiles that ``leaves`` (leaf hashes) after the first ``size`` change or add, as they are then.

    ``tiles``: those at the ``edge`` of the tree as it is, an empty one may be left out.
    """
    changed: dict[Tile, bytes] = {}
    level, at, hashes = 0, size, list(leaves)
    while hashes:
        above, first = [], at // WIDTH
        while hashes:
            tile = (level, at // WIDTH)
            room = WIDTH - at % WIDTH
            before = tiles.get(tile, b"") if at % WIDTH else b""
            if len(before) != at % WIDTH * HASH:
                raise ValueError(f"tile {tile} holds {len(before)} bytes; expected {at % WIDTH * HASH}")
            changed[tile] = before + b"".join(hashes[:room])
            at, hashes = at + len(hashes[:room]), hashes[room:]
            if at % WIDTH == 0:
                above.append(root_of(split(changed[tile])))
        level, at, hashes = level + 1, first, above
    return changed


# --- checking, far from the log ---


class Peaks:
    """The root over leaves that come one after the other, in the memory of a few hashes.

    ``keep``: sizes at which the root is wanted, then in ``kept``.
    """

    def __init__(self, keep: Iterable[int] = ()) -> None:
        self.count = 0
        self._peaks: list[bytes] = []
        self._wanted = set(keep)
        self.kept: dict[int, bytes] = {0: EMPTY_ROOT} if 0 in self._wanted else {}

    def add(self, leaf: bytes) -> None:
        self._peaks.append(leaf)
        self.count += 1
        complete = self.count
        while not complete & 1:
            right = self._peaks.pop()
            self._peaks[-1] = node_hash(self._peaks[-1], right)
            complete >>= 1
        if self.count in self._wanted:
            self.kept[self.count] = self.root

    @property
    def root(self) -> bytes:
        if not self._peaks:
            return EMPTY_ROOT
        found = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            found = node_hash(peak, found)
        return found


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that ``path`` leads to from ``leaf`` (RFC 9162 section 2.1.3.2); ``BrokenProof`` if it fits no tree."""
    if not 0 <= index < size:
        raise BrokenProof(f"leaf {index} is not in a tree of {size} leaves")
    at, last, found = index, size - 1, leaf
    for step in path:
        if last == 0:
            raise BrokenProof(_too(path, "many"))
        if at & 1 or at == last:
            found = node_hash(step, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, step)
        at, last = at >> 1, last >> 1
    if last:
        raise BrokenProof(_too(path, "few"))
    return found


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Raises ``BrokenProof`` unless ``path`` shows that the tree of ``new`` leaves continues that of ``old``
    (RFC 9162 section 2.1.4.2)."""
    if not 0 <= old <= new:
        raise BrokenProof(f"a log of {new} entries continues none of {old}")
    if old in (0, new):
        _nothing_to_show(old, old_root, new_root, path)
        return
    steps = list(path) if old & (old - 1) else [old_root, *path]
    if not steps:
        raise BrokenProof(_too(path, "few"))
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    was = now = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise BrokenProof(_too(path, "many"))
        if at & 1 or at == last:
            was, now = node_hash(step, was), node_hash(step, now)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            now = node_hash(now, step)
        at, last = at >> 1, last >> 1
    if last:
        raise BrokenProof(_too(path, "few"))
    if was != old_root:
        raise BrokenProof(f"the proof leads to another root at {old} entries than the older checkpoint has")
    if now != new_root:
        raise BrokenProof(f"the proof leads to another root at {new} entries than the newer checkpoint has")


def _nothing_to_show(old: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    if path:
        raise BrokenProof(_too(path, "many"))
    if old == 0 and old_root != EMPTY_ROOT:
        raise BrokenProof("the root of a log without entries is the SHA-256 of nothing; another was found")
    if old and old_root != new_root:
        raise BrokenProof(f"two checkpoints of {old} entries have different roots: they are of different logs")


def _too(path: Sequence[bytes], how: str) -> str:
    return f"the proof has {len(path)} hashes, too {how} for trees of these sizes"
