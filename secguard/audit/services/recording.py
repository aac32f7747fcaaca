"""Writing the audit log (DESIGN rule 10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from django.db import transaction
from django.utils import timezone

from secguard.audit import chain
from secguard.audit.actions import Action
from secguard.audit.models import AuditEntry, AuditHead

SYSTEM = "system"
"""The actor of what nobody asked for by name: a decision's end, a command on the server's own machine."""


class Token(Protocol):
    prefix: str


class Actor(Protocol):
    """A person or a service, by what the log keeps of them."""

    pk: Any
    username: str

    @property
    def token(self) -> Token | None: ...


def record(
    action: Action | str,
    *,
    actor: Any,
    subject_type: str,
    subject_id: object,
    subject: object,
    team_id: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Write one entry into the log, in the caller's own transaction: both happen or neither does.

    ``actor`` is a user, or None for the system. ``subject`` is the thing's name as people know it now; the log outlives
    it. ``team_id`` says whose members may read the entry (None: only who reads the whole log). ``details`` is JSON
    (see ``chain.storable``) and never holds a secret.

    Writers stand in line from here until their commit: call it as the last thing of a use case, and do nothing slow
    after it. For many entries at once, ``record_many`` takes the line's head once.

    Raises ``TransactionManagementError`` outside of ``transaction.atomic`` and ``ValueError`` for an action that
    ``actions.Action`` does not list: both are faults of the calling code, no refusal to a person.
    """
    line = {
        "subject_type": subject_type,
        "subject_id": subject_id,
        "subject": subject,
        "team_id": team_id,
        "details": details,
    }
    return record_many(action, [line], actor=actor)[0]


def record_many(action: Action | str, lines: Iterable[Mapping[str, Any]], *, actor: Any) -> list[AuditEntry]:
    """Write one entry for each of ``lines`` (the keywords of ``record``), with one lock and two statements."""
    if not transaction.get_connection().in_atomic_block:
        raise transaction.TransactionManagementError(
            "audit.record needs transaction.atomic around the change it records"
        )
    same = _columns_of(Action(action), actor)
    drafts = [same | _columns_of_subject(**line) for line in lines]
    if not drafts:
        return []
    head, _ = AuditHead.objects.select_for_update().get_or_create(id=1, defaults={"digest": chain.START})
    # After the lock, and never before the last entry, so that the log's order is the order of its times on any number
    # of hosts with clocks that differ a little.
    head.at = max(timezone.now(), head.at or datetime.min.replace(tzinfo=UTC))
    entries = AuditEntry.objects.bulk_create(
        _chained(head, [{"at": head.at} | draft for draft in drafts]), batch_size=500
    )
    head.save(update_fields=["sequence", "digest", "at"])
    return entries


def _columns_of(action: Action, actor: Any) -> dict[str, Any]:
    context = structlog.contextvars.get_contextvars()
    token = getattr(actor, "token", None)
    return {
        "action": action.value,
        "actor": SYSTEM if actor is None else chain.text(actor.username, 150),
        "actor_id": None if actor is None else actor.pk,
        "token": token.prefix if token is not None else "",
        "request_id": chain.text(str(context.get("request_id", "")), 64),
    }


def _columns_of_subject(
    subject_type: str,
    subject_id: object,
    subject: object,
    team_id: int | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    stored = chain.storable(dict(details or {}))
    if len(chain.canonical(stored)) > chain.MAX_DETAILS_BYTES:
        # The log says that something happened and where to look; it is no place for whole documents.
        stored = {"omitted": f"details of more than {chain.MAX_DETAILS_BYTES} bytes", "keys": sorted(stored)[:100]}
    return {
        "subject_type": chain.text(subject_type, 32),
        "subject_id": chain.text(str(subject_id), 80),
        "subject": chain.text(str(subject), 300),
        "team_id": team_id,
        "details": stored,
    }


def _chained(head: AuditHead, drafts: list[dict[str, Any]]) -> list[AuditEntry]:
    """Give each draft its place and digest, and move ``head`` to the last."""
    entries = []
    for draft in drafts:
        entry = chain.Entry(sequence=head.sequence + 1, previous_digest=head.digest or chain.START, **draft)
        head.sequence, head.digest = entry.sequence, chain.digest_of(entry)
        entries.append(
            AuditEntry(sequence=entry.sequence, previous_digest=entry.previous_digest, digest=head.digest, **draft)
        )
    return entries
