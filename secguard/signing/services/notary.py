"""Signing the audit log's checkpoints with a key of ours: a line of its own, which signs no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.utils import timezone

from secguard.audit import notary
from secguard.audit.services import make_checkpoint
from secguard.errors import Conflict
from secguard.jobs import services as jobs
from secguard.jobs.registry import Run
from secguard.signing.keylife import AUDIT_LINE, KeyStatus
from secguard.signing.models import SigningKey
from secguard.signing.services.keys import NewKey, create_key, sign

CHECKPOINT = "audit.checkpoint"
"""The kind of job that makes the tree grow, and signs where it is time."""


def signer() -> notary.Signer:
    """The key of the line ``AUDIT_LINE`` that signs; the first one is made here, by the system, where there was none.

    Raises ``Conflict`` where the line was ended on purpose: who ended it makes the next.
    """
    key = _signing() or _first()
    return notary.Signer(key.public_pem, partial(sign, key))


def _signing() -> SigningKey | None:
    return SigningKey.objects.filter(name=AUDIT_LINE, status=KeyStatus.ACTIVE).first()


def _first() -> SigningKey:
    if SigningKey.objects.filter(name=AUDIT_LINE).exists():
        raise Conflict(
            f"No key of the line {AUDIT_LINE!r} signs any more, so the audit log gets no checkpoint. An administrator "
            f"makes one: `secguard keys create {AUDIT_LINE}`.",
            code="no-audit-key",
        )
    return create_key(AUDIT_LINE, NewKey(), actor=None)


def public_keys() -> Sequence[notary.PublicKey]:
    """All keys of the line, the one that signs first: what an old checkpoint was signed with stays known."""
    now = timezone.now()
    rows = list(SigningKey.objects.filter(name=AUDIT_LINE).order_by("-id"))
    return [
        notary.PublicKey(row.public_pem, row.fingerprint, row.status_at(now), row.created_at, _until(row, newer))
        for row, newer in zip(rows, [None, *rows], strict=False)
    ]


def _until(key: SigningKey, newer: SigningKey | None) -> datetime | None:
    """When a key signed its last: its end, or the beginning of the one that took over."""
    if key.status == KeyStatus.ACTIVE:
        return None
    return key.ended_at if key.ended_at is not None or newer is None else newer.created_at


def ask() -> int:
    """Have a worker make a checkpoint soon, whether or not it is time; returns the job's id."""
    return jobs.enqueue(CHECKPOINT, {"is_asked": True}, key="asked", again=True).pk


def checkpoint(run: Run) -> Mapping[str, Any]:
    """The job."""
    is_asked = bool(run.args.get("is_asked"))
    made = make_checkpoint(
        timezone.now(),
        is_asked=is_asked,
        progress=lambda done, total: run.progress("Taking entries into the tree", done, total),
    )
    return {} if made is None else {"checkpoint": made.pk, "size": made.size}
