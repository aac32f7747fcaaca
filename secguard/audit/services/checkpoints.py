"""Making signed checkpoints of the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from secguard.audit import checkpoint, notary, tree
from secguard.audit.checkpoint import Checkpoint
from secguard.audit.models import AuditCheckpoint, AuditTree
from secguard.audit.services.growing import grow, tiles_at
from secguard.errors import Conflict, NotAllowed, Unavailable


def make_checkpoint(
    now: datetime, *, is_asked: bool = False, progress: Callable[[int, int], None] = lambda done, total: None
) -> AuditCheckpoint | None:
    """Take in what was written, and sign where it is time (``checkpoint.is_due``) or somebody ``is_asked``.

    Returns the newest checkpoint there is then; None of a log that has none yet. Raises ``Conflict`` where the log is
    not the one that was signed before, and as the signer does. For a job: a key in a device takes its time.
    """
    size = grow(progress)
    last = AuditCheckpoint.objects.order_by("-id").first()
    before = None if last is None else (last.size, last.made_at)
    if not size or not (is_asked or checkpoint.is_due(before, size, now)):
        return last
    signer = notary.notary().signer()
    key = checkpoint.read_keys(signer.public_pem)[0]
    if last is not None and (last.size, last.fingerprint) == (size, key.fingerprint):
        return last
    made = Checkpoint(AuditTree.objects.get(id=1).origin, size, root_at(size))
    if last is not None:
        _require_same_log(last)
    try:
        note = checkpoint.signed(made, key, signer.sign)
    except checkpoint.Unsigned as error:
        raise Unavailable(f"The checkpoint is not made: {error}.", code="key-damaged") from error
    return AuditCheckpoint.objects.create(
        size=size, root=made.root.hex(), fingerprint=key.fingerprint, note=note, made_at=now
    )


def root_at(size: int) -> bytes:
    """The root over the first ``size`` entries, as the tree has it. One query."""
    span = (0, size)
    return tree.hash_of(span, tree.reading(tiles_at(tree.tiles_for([span]))))


def _require_same_log(last: AuditCheckpoint) -> None:
    """A log signs nothing that does not continue what it signed before (c2sp.org/tlog-checkpoint, "Signatures")."""
    if checkpoint.parse(last.note).checkpoint.root != root_at(last.size):
        raise Conflict(
            f"The tree is not the one that the checkpoint of {last.size} entries was made of. Nothing is signed: "
            "somebody altered the tree's tiles, or that checkpoint.",
            code="audit-log-altered",
        )


def may_ask(actor: Any) -> bool:
    """Whether ``actor`` may have a checkpoint made: who reads the log of the whole organisation."""
    return bool(actor.can("audit:read")) and actor.teams_with("audit:read") is None


def ask_for_checkpoint(*, actor: Any) -> int:
    """Have a worker make a checkpoint soon; returns the job's id. For who reads the log of the whole organisation.

    It changes nothing that anybody may do, and so is no entry: a log would otherwise never end with its checkpoint.
    """
    if not may_ask(actor):
        raise NotAllowed(
            "audit:read in the whole organisation is needed to ask for a checkpoint of its log.",
            code="not-allowed",
            permission="audit:read",
        )
    return notary.notary().ask()
