"""Writing the audit log, and reading it back against its chain (DESIGN rule 10)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import structlog
from django.db import transaction
from django.utils import timezone

from secguard.audit import chain
from secguard.audit.actions import Action
from secguard.audit.models import AuditEntry, AuditHead
from secguard.errors import Invalid

SYSTEM = "system"
"""The actor of what nobody asked for by name: a decision's end, a command on the server's own machine."""

PAGE = 2_000

LOWEST = -(2**62)
"""Below every entry there is, so that one put in front of the first is seen."""


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


def entries(*, first: int = 1, last: int | None = None) -> Iterator[chain.Entry]:
    """The log in its own order, read in pages of the primary key: 10^8 rows need no more memory than one page."""
    rows = AuditEntry.objects.order_by("sequence")
    after = first - 1
    while page := list(rows.filter(sequence__gt=after, **({} if last is None else {"sequence__lte": last}))[:PAGE]):
        yield from (row.as_entry() for row in page)
        after = page[-1].sequence


def export(*, first: int = 1, last: int | None = None) -> Iterator[str]:
    """The log as NDJSON, one line (with its end) at a time; ``verify_lines`` and any SHA-256 can check it."""
    for entry in entries(first=first, last=last):
        yield chain.line(entry) + "\n"


def head() -> chain.Head:
    """Where the log ends now; kept elsewhere it shows later that nothing before it was cut off or rewritten."""
    row = AuditHead.objects.filter(id=1).first()
    return chain.Head(0, chain.START) if row is None else chain.Head(row.sequence, row.digest or chain.START)


def verify(*known: chain.Head) -> chain.Verification:
    """Hold the live log, all of it, against its chain, its own head and every head ``known`` from elsewhere.

    The head is read before and after: entries written while it runs are read too, and none may stand past it.
    """
    found = chain.verify(entries(first=LOWEST), heads=[head(), *known], is_whole=True)
    return chain.held_against(found, head())


def verify_file(path: Path, *known: chain.Head) -> chain.Verification:
    """Hold an NDJSON export against its chain, without the database. Raises ``Invalid`` if it is no export.

    An export carries no head of its own: give one as ``known``, or a cut-off end stays unseen.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            return chain.verify(chain.read_lines(lines), heads=known)
    except (chain.BrokenLine, UnicodeDecodeError) as error:
        raise Invalid(f"{path.name} is no audit export: {error}", where=str(path)) from error
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
