"""Proofs out of the tree: that an entry is in a checkpoint, and that one checkpoint continues another.

A proof is given out as the rows have it: whether it holds is for whoever keeps a key and a checkpoint to check.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from secguard.audit import checkpoint, tree
from secguard.audit.chain import Fault
from secguard.audit.checkpoint import ConsistencyProof, InclusionProof
from secguard.audit.models import AuditCheckpoint, AuditEntry
from secguard.audit.queries.entries import readable
from secguard.audit.services.growing import tiles_at
from secguard.errors import Conflict, Invalid, NotFound


def checkpoints(user: Any) -> QuerySet[AuditCheckpoint]:
    """The checkpoints, for who may read any of the log: they tell how many entries there were, and of none of them."""
    readable(user)
    return AuditCheckpoint.objects.all()


def newest() -> AuditCheckpoint | None:
    """The newest checkpoint, if there is one."""
    return AuditCheckpoint.objects.order_by("-id").first()


def latest_checkpoint(user: Any) -> AuditCheckpoint:
    """Raises ``NotFound`` where there is none yet."""
    found = checkpoints(user).order_by("-id").first()
    if found is None:
        raise NotFound(
            "There is no checkpoint yet. One is made within minutes of the first entry, and on request at "
            "POST /api/v1/audit/checkpoints/.",
            code="no-checkpoint",
        )
    return found


def checkpoint_of(user: Any, size: int) -> AuditCheckpoint:
    """The newest checkpoint of exactly ``size`` entries; ``NotFound`` where there was never one."""
    found = checkpoints(user).filter(size=size).order_by("-id").first()
    if found is None:
        raise NotFound(
            f"There is no checkpoint of {size} entries; GET /api/v1/audit/checkpoints/ lists those that there are.",
            code="no-checkpoint",
        )
    return found


def inclusion(user: Any, sequence: int, size: int | None = None) -> InclusionProof:
    """That the entry is in the checkpoint of ``size`` entries; without a size, in the newest one. Three queries.

    Raises ``NotFound`` for an entry or a checkpoint that ``user`` may not see, and ``Conflict`` for an entry that is
    newer than the checkpoint.
    """
    entry = readable(user).filter(sequence=sequence).first()
    if entry is None:
        raise NotFound(f"There is no audit entry {sequence} that you may see.")
    made = latest_checkpoint(user) if size is None else checkpoint_of(user, size)
    return _inclusion(entry, made)


def _inclusion(entry: AuditEntry, made: AuditCheckpoint) -> InclusionProof:
    if entry.sequence > made.size:
        raise Conflict(
            f"Entry {entry.sequence} is newer than the checkpoint of {made.size} entries. The next one is made within "
            "an hour, and soon on request at POST /api/v1/audit/checkpoints/.",
            code="not-in-checkpoint",
        )
    path = _path(tree.inclusion(entry.sequence - 1, made.size))
    return InclusionProof(entry.as_entry(), entry.sequence - 1, path, made.note)


def consistency(user: Any, old: int, new: int | None = None) -> ConsistencyProof:
    """That the checkpoint of ``new`` entries (without a size, the newest) continues that of ``old``. Three queries."""
    older = checkpoint_of(user, old)
    newer = latest_checkpoint(user) if new is None else checkpoint_of(user, new)
    if newer.size < older.size:
        raise Invalid(
            f"`from` is {older.size} entries and `to` {newer.size}; expected the older checkpoint, the smaller one, in "
            "`from`.",
            where="from",
        )
    return ConsistencyProof(older.note, newer.note, _path(tree.consistency(older.size, newer.size)))


def _path(spans: Sequence[tree.Span]) -> tuple[bytes, ...]:
    """The hashes of ``spans``. One query, of at most two rows for each level of tiles."""
    node = tree.reading(tiles_at(tree.tiles_for(spans)))
    try:
        return tuple(tree.hash_of(span, node) for span in spans)
    except KeyError:
        raise Conflict(
            "The log's tree does not reach that checkpoint any more: somebody removed a part of it. "
            "`secguard audit verify` says what else was altered.",
            code="audit-log-altered",
        ) from None


@dataclass(frozen=True, slots=True)
class Standing:
    """How an entry stands to the newest checkpoint, as its page says: ``made`` None where there is none that has it."""

    made: AuditCheckpoint | None
    fault: Fault | None = None


def standing(entry: AuditEntry) -> Standing:
    """Whether the newest checkpoint has the entry, by the same proof that an auditor gets. Two queries."""
    made = newest()
    if made is None or made.size < entry.sequence:
        return Standing(None)
    return Standing(made, checkpoint.entry_fault(_inclusion(entry, made), checkpoint.parse(made.note).checkpoint))
