"""Making the tree grow over the entries that were written since: by a job, never by who writes an entry."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from secguard.audit import chain, tree
from secguard.audit.models import AuditEntry, AuditHead, AuditTile, AuditTree
from secguard.audit.tree import Tile
from secguard.errors import Conflict

BATCH = 8_192
"""Entries taken in by one transaction: it locks nothing that a writer of the log waits for, SQLite's file excepted."""

Row = tuple[int, str, str]
"""An entry's sequence, its predecessor's digest, and its own."""


def grow(progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Take in all entries there are, from wherever the tree ends; returns its size.

    Every step is one transaction, so whatever ends this process loses one step at most, and the next run goes on from
    there: the entries of before there was a tree are taken in by the same steps. Raises ``Conflict`` where the log is
    not the one that the tree was made of.
    """
    while True:
        size, taken = _step()
        if not taken:
            return size
        progress(size, AuditHead.objects.values_list("sequence", flat=True).filter(id=1).first() or size)


@transaction.atomic
def _step() -> tuple[int, int]:
    """Take in the next ``BATCH`` entries; returns the tree's size and how many they were."""
    AuditTree.objects.get_or_create(id=1, defaults={"origin": _new_origin()})
    found = AuditTree.objects.select_for_update().get(id=1)
    rows = _rows_after(found.size)
    if not rows:
        return found.size, 0
    tiles = tiles_at(tree.edge(found.size))
    _require_continuation(found.size, tiles, rows)
    _keep(tiles, tree.grown(tiles, found.size, [tree.leaf_of(digest) for _, _, digest in rows]))
    found.size += len(rows)
    found.save(update_fields=["size"])
    return found.size, len(rows)


def _rows_after(size: int) -> list[Row]:
    log = AuditEntry.objects.filter(sequence__gt=size).order_by("sequence")
    return list(log.values_list("sequence", "previous_digest", "digest")[:BATCH])


def tiles_at(places: Sequence[Tile] | set[Tile]) -> dict[Tile, bytes]:
    """The tiles there are at ``places``. One query."""
    wanted = Q(pk__in=[])
    for level in {level for level, _ in places}:
        wanted |= Q(level=level, index__in=[index for other, index in places if other == level])
    rows = AuditTile.objects.filter(wanted).values_list("level", "index", "hashes")
    return {(level, index): bytes(hashes) for level, index, hashes in rows}


def _require_continuation(size: int, tiles: dict[Tile, bytes], rows: Sequence[Row]) -> None:
    """The entries follow each other and the one that the tree ends with; else somebody rewrote the log behind it."""
    before = _last_leaf(size, tiles)
    for place, (sequence, previous, digest) in enumerate(rows, start=size + 1):
        if sequence != place or not chain.is_digest(digest) or _as_leaf(previous, sequence) != before:
            raise Conflict(
                f"The audit log is not the one that its tree was made of: entry {place} does not follow entry "
                f"{place - 1} as it was then. Nothing is signed. `secguard audit verify` says what was altered.",
                code="audit-log-altered",
            )
        before = tree.leaf_of(digest)


def _as_leaf(previous: str, sequence: int) -> bytes | None:
    if sequence == 1:
        return None if previous == chain.START else b""
    return tree.leaf_of(previous) if chain.is_digest(previous) else b""


def _last_leaf(size: int, tiles: dict[Tile, bytes]) -> bytes | None:
    if size == 0:
        return None
    place = (0, (size - 1) // tree.WIDTH)
    tile = tiles.get(place) or tiles_at([place])[place]
    at = (size - 1) % tree.WIDTH * tree.HASH
    return tile[at : at + tree.HASH]


def _keep(before: dict[Tile, bytes], after: dict[Tile, bytes]) -> None:
    new = [AuditTile(level=at[0], index=at[1], hashes=hashes) for at, hashes in after.items() if at not in before]
    AuditTile.objects.bulk_create(new, batch_size=100)
    for (level, index), hashes in after.items():
        if (level, index) in before:
            AuditTile.objects.filter(level=level, index=index).update(hashes=hashes)


def _new_origin() -> str:
    """A name that no other log has, in the form that C2SP's checkpoint recommends: a URL without its scheme."""
    host = urlsplit(settings.PUBLIC_URL).hostname or "localhost"
    return f"{host}/audit/{secrets.token_hex(4)}"
