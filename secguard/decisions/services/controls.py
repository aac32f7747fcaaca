"""Controls: propose, confirm, give evidence, retire."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.decisions.controls import (
    ControlEvent,
    ControlKind,
    EvidenceKind,
    Says,
    after,
    check_hours,
    check_seen,
    due_at,
    gather,
    warning,
    word,
)
from secguard.decisions.models import Control, ControlEvidence
from secguard.decisions.queries.controls import is_own, keeps, sightings, team_of
from secguard.decisions.services import controls_telling
from secguard.decisions.services.controls_leaning import end_overdue, follow
from secguard.decisions.services.controls_watching import checked_watch
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound

MAX_NAME: Final = 150
MAX_TEXT: Final = 2_000
MAX_REASON: Final = 300
MAX_URL: Final = 500
MAX_STANDING: Final = 500
"""Controls of one application that are not retired."""
MAX_ROWS_A_DAY: Final = 500
"""Pieces of evidence about one control within a day that are not the same seen again."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class NewControl:
    """What somebody proposes. No ``application``: it covers the whole organisation; no ``owner``: the team answers."""

    name: str
    kind: str
    kept_alive_by: str
    every_hours: int
    description: str = ""
    application: Application | None = None
    owner: User | None = None
    watch: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of a control, when (now, where nothing is said), and what shows it."""

    kind: str = EvidenceKind.HEARTBEAT.value
    says: str = Says.HOLDS.value
    seen_at: datetime | None = None
    note: str = ""
    url: str = ""
    digest: str = ""
    source: str = ""


def propose(new: NewControl, *, actor: User, now: datetime | None = None) -> Control:
    """Keep a control that nothing counts on before somebody else has confirmed it.

    Raises ``NotAllowed`` without decision:request for the application's team (for all of them: organisation-wide);
    ``NotFound`` for an application that ``actor`` may not see; ``Conflict`` (code "control-duplicate") where one of
    that name stands there; ``Invalid`` for what is no kind, no schedule, no owner or nothing that SecGuard observes.
    """
    at = now or timezone.now()
    application = new.application
    if application is not None and not Application.objects.visible_to(actor).filter(pk=application.pk).exists():
        raise NotFound(f"There is no application {application.slug}.", where="application")
    require(actor, Permission.DECISION_REQUEST, team_id=application.team_id if application else None)
    kept = word(EvidenceKind, new.kept_alive_by, "way to keep a control alive", "kept_alive_by")
    control = Control(
        name=_text(new.name, MAX_NAME, "name", needed=True),
        kind=word(ControlKind, new.kind, "kind of control", "kind").value,
        description=_text(new.description, MAX_TEXT, "description"),
        application=application,
        owner=_owner(new.owner, application, actor),
        kept_alive_by=kept.value,
        every_hours=check_hours(new.every_hours),
        watch=checked_watch(kept, new.watch, application, actor),
        proposed_by=actor,
        proposed_at=at,
    )
    with transaction.atomic():
        _insert(control)
        record(Action.CONTROL_PROPOSE, actor=actor, **line(control, kept_alive_by=kept.value, every=new.every_hours))
        controls_telling.tell_waiting(control, now=at)
    return control


def confirm(control_id: int, *, actor: User, now: datetime | None = None) -> Control:
    """Say that a control is one, by somebody who neither proposed it nor answers for it.

    Raises ``NotFound``; ``NotAllowed`` without control:confirm, and for one's own (the database refuses that too);
    ``Conflict`` where it is confirmed or retired already.
    """
    at = now or timezone.now()
    with transaction.atomic():
        control = locked(control_id, actor)
        require(actor, Permission.CONTROL_CONFIRM, team_id=team_of(control))
        if is_own(control, actor):
            raise NotAllowed(
                f"{control.name} is your own: you proposed it or answer for it. Somebody else has to confirm it.",
                code="own-control",
            )
        control.status = after(control.status, ControlEvent.CONFIRM).value
        control.confirmed_by, control.confirmed_at = actor, at
        control.save(update_fields=["status", "confirmed_by", "confirmed_at"])
        record(Action.CONTROL_CONFIRM, actor=actor, **line(control, watch=control.watch))
        controls_telling.settle_waiting(control, now=at)
    return control


def retire(control_id: int, *, reason: str, actor: User, now: datetime | None = None) -> Control:
    """The control is there no longer, or was none: what leans on it ends at once.

    Its owner may, and whoever confirms controls there. Raises ``NotFound``, ``NotAllowed``, ``Invalid`` without a
    reason, ``Conflict`` where it is retired already.
    """
    at = now or timezone.now()
    words = _text(reason, MAX_REASON, "reason", needed=True)
    with transaction.atomic():
        control = locked(control_id, actor)
        if not keeps(control, actor):
            require(actor, Permission.CONTROL_CONFIRM, team_id=team_of(control))
        control.status = after(control.status, ControlEvent.RETIRE).value
        control.retired_by, control.retired_at, control.retired_reason = actor, at, words
        control.save(update_fields=["status", "retired_by", "retired_at", "retired_reason"])
        ended = follow(control, at)
        record(Action.CONTROL_RETIRE, actor=actor, **line(control, reason=words, decisions_ended=ended))
        controls_telling.settle_waiting(control, now=at)
        controls_telling.settle_due(control, now=at)
    return control


def add_evidence(control_id: int, evidence: Evidence, *, actor: User, now: datetime | None = None) -> ControlEvidence:
    """Keep what ``actor`` or its machine saw of a control; decisions follow in the same transaction.

    Raises ``NotFound``; ``NotAllowed`` where ``actor`` neither owns the control nor may ask for decisions in its team;
    ``Conflict`` for a retired one, and for too much in a day; ``Invalid`` for an observation (those are SecGuard's
    own), a check by a service, a time to come, and what is no URL or digest.
    """
    at = now or timezone.now()
    kind = word(EvidenceKind, evidence.kind, "kind of evidence", "kind")
    if kind is EvidenceKind.OBSERVATION:
        raise Invalid("Observations are SecGuard's own; send a heartbeat or a check.", where="kind")
    if kind is EvidenceKind.CHECK and actor.is_service:
        raise Invalid("A check is a person's; a service sends heartbeats.", where="kind")
    with transaction.atomic():
        control = locked(control_id, actor)
        if not keeps(control, actor):
            require(actor, Permission.DECISION_REQUEST, team_id=team_of(control))
        return note(control, evidence, by=actor, now=at)


def locked(control_id: int, actor: User | None) -> Control:
    """The control, its row locked until the transaction ends; ``NotFound`` where ``actor`` may not see it."""
    rows = Control.objects.all() if actor is None else Control.objects.visible_to(actor)
    found = Control.objects.select_for_update(of=("self",)).filter(pk__in=rows.filter(pk=control_id).values("pk"))
    control = found.select_related("application__team", "owner", "proposed_by", "confirmed_by", "retired_by").first()
    if control is None:
        raise NotFound(f"There is no control {control_id}.")
    return control


def note(control: Control, evidence: Evidence, *, by: User | None, now: datetime) -> ControlEvidence:
    """Keep what was seen of the locked ``control``, and let decisions follow. ``by`` ``None`` is SecGuard itself."""
    if control.status == "retired":
        raise Conflict(f"{control.name} is retired; propose a new one where it stands again.", code="control-state")
    row = _row(control, evidence, by, now)
    before = control.state_at(now)
    end_overdue(control, now)
    controls_telling.settle_due(control, now=now)
    is_new = _keep(row, control, now)
    remember(control, now)
    ended = follow(control, now)
    state = control.state_at(now)
    if is_new or state is not before:
        details = {"evidence": row.kind, "says": row.says, "state": state.value, "decisions_ended": ended}
        record(Action.CONTROL_EVIDENCE, actor=by, **line(control, **details, note=row.note[:300]))
    controls_telling.tell_evidence(control, row, before, now=now)
    return row


def _row(control: Control, evidence: Evidence, by: User | None, now: datetime) -> ControlEvidence:
    seen = check_seen(evidence.seen_at, now)
    token = getattr(by, "token", None)
    return ControlEvidence(
        control=control,
        kind=EvidenceKind(evidence.kind).value,
        says=word(Says, evidence.says, "thing that evidence says", "says").value,
        first_seen_at=seen,
        seen_at=seen,
        noted_at=now,
        by=by,
        source=_text(evidence.source, 100, "source") or (f"token {token.prefix}" if token else ""),
        note=_text(evidence.note, MAX_TEXT, "note"),
        url=_url(evidence.url),
        digest=_digest(evidence.digest),
    )


def _keep(row: ControlEvidence, control: Control, now: datetime) -> bool:
    """Write it down; the same seen again is counted where it stands. True where it is a row of its own."""
    last = control.evidence.filter(kind=row.kind).order_by("-seen_at", "-pk").first()
    if last is not None and _is_same(last, row, control):
        last.seen_at, last.noted_at, last.count = row.seen_at, max(last.noted_at, now), last.count + 1
        last.save(update_fields=["seen_at", "noted_at", "count"])
        row.pk, row.first_seen_at, row.count = last.pk, last.first_seen_at, last.count
        return False
    if control.evidence.filter(noted_at__gt=now - timedelta(days=1)).count() >= MAX_ROWS_A_DAY:
        raise Conflict(
            f"There are {MAX_ROWS_A_DAY} different pieces of evidence about {control.name} within a day; no more are "
            "kept. A heartbeat that says the same each time is one.",
            code="too-much-evidence",
        )
    row.save(force_insert=True)
    return True


def _is_same(last: ControlEvidence, row: ControlEvidence, control: Control) -> bool:
    """Unbroken in time, from one source, in the same words; a person's check always stands for itself."""
    if row.kind == EvidenceKind.CHECK or not last.seen_at <= row.seen_at <= last.seen_at + control.life.every:
        return False
    same = ("says", "by_id", "source", "note", "url", "digest")
    return all(getattr(last, name) == getattr(row, name) for name in same)


def remember(control: Control, now: datetime) -> None:
    """Keep beside the control what its evidence comes to."""
    life = control.life
    known = gather(life, sightings(control, now), now)
    due = due_at(life, known)
    control.last_seen_at, control.contradicted_at, control.due_at = known.last_seen_at, known.contradicted_at, due
    control.warn_at = due - warning(life.every) if due else None
    control.save(update_fields=["last_seen_at", "contradicted_at", "warn_at", "due_at"])


def line(control: Control, **details: Any) -> dict[str, Any]:
    """The control as an audit entry's subject."""
    where = f"application {control.application.name}" if control.application else "the organisation"
    return {
        "subject_type": "control",
        "subject_id": control.pk,
        "subject": f"{control.name} in {where}",
        "team_id": team_of(control),
        "details": {"kind": control.kind, **details},
    }


def _insert(control: Control) -> None:
    standing = Control.objects.standing().filter(application=control.application)
    if standing.count() >= MAX_STANDING:
        raise Conflict(f"{MAX_STANDING} controls stand there already; retire what is gone.", code="too-many-controls")
    try:
        with transaction.atomic():
            control.save(force_insert=True)
    except IntegrityError:
        first = standing.filter(name=control.name).first()
        if first is None:
            raise
        raise Conflict(
            f"Control {first.pk} is called {control.name!r} there already. Lean on it, or name the new one otherwise.",
            code="control-duplicate",
            control=first.pk,
        ) from None


def _owner(owner: User | None, application: Application | None, actor: User) -> User | None:
    """A person who may see what they answer for; ``Invalid`` for anybody else."""
    if owner is None:
        return None
    team = application.team_id if application else None
    grants = owner.memberships.filter(user__is_active=True, user__is_service=False)
    known = User.objects.visible_to(actor).filter(pk=owner.pk).exists()
    if not known or not any(held is None or held == team for held in grants.values_list("team_id", flat=True)):
        raise Invalid(
            f"{owner.username} cannot answer for it: an owner is a person who works in the team that owns the "
            "application, or in the whole organisation.",
            where="owner",
        )
    return owner


def _text(text: str, most: int, where: str, *, needed: bool = False) -> str:
    words = " ".join(text.replace("\x00", "").split()) if where in ("name", "reason") else text.replace("\x00", "")
    words = words.strip()
    if needed and not words:
        raise Invalid(f"The {where} is empty; expected are 1 to {most} characters.", where=where)
    if len(words) > most:
        raise Invalid(f"The {where} has {len(words):,} characters; at most {most:,} are kept.", where=where)
    return words


def _url(text: str) -> str:
    url = text.strip()
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        fits = False
    if not fits or len(url) > MAX_URL:
        raise Invalid(
            f"{url[:80]!r} is no address that can be kept; expected is http(s)://… of at most {MAX_URL} characters.",
            where="url",
        )
    return url


def _digest(text: str) -> str:
    digest = text.strip().lower()
    if digest and not _DIGEST.fullmatch(digest):
        raise Invalid(f"{digest[:80]!r} is no digest; expected is sha256: and 64 hexadecimal digits.", where="digest")
    return digest
