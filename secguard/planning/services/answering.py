"""What people answer: that a requirement is kept, or not yet; and that one is not applicable, with a second person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import require
from secguard.approvals import services as approvals
from secguard.approvals.quorum import Choice, Standing
from secguard.approvals.services import Ballot
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound, SecGuardError
from secguard.planning.checklist import holds_until
from secguard.planning.models import Checklist, RequirementAnswer, RequirementWaiver
from secguard.planning.services.standing import recount, state_of
from secguard.planning.services.telling import tell_ended, tell_waiting
from secguard.planning.template import MOST_DAYS, Requirement

MAX_TEXT: Final = 4_000
MAX_EVIDENCE: Final = 500
SEATS: Final = {Role.SECURITY_REVIEWER: 1}
"""Who says yes to "not applicable": one reviewer, who is not the one who asks."""


@dataclass(frozen=True, slots=True)
class Said:
    """A person's answer. ``until`` may end it before the requirement's own days are over."""

    is_kept: bool
    text: str
    evidence: str = ""
    until: datetime | None = None


@transaction.atomic
def answer(application_id: int, requirement_id: str, said: Said, *, actor: User) -> RequirementAnswer:
    """Say how the application does with one requirement. Needs decision:request in the owning team.

    What is measured stays as it is measured; the answer is kept beside it, and counts where nothing is measured.
    Raises ``NotFound``, ``NotAllowed``, ``Invalid``.
    """
    checklist, requirement = _asked(application_id, requirement_id, actor)
    now = timezone.now()
    text = _text(said.text, "text")
    until = _until(said.until, now, requirement.answer_days)
    made = RequirementAnswer.objects.create(
        checklist=checklist,
        requirement=requirement.id,
        digest=requirement.digest,
        is_kept=said.is_kept,
        text=text,
        evidence=_evidence(said.evidence),
        answered_by=actor,
        answered_at=now,
        until=holds_until(now, requirement, until),
    )
    recount([checklist.application_id], now, measure=False)
    _record(Action.PLANNING_ANSWER, checklist, actor, requirement=requirement.id, is_kept=said.is_kept)
    return made


@transaction.atomic
def ask_for_waiver(
    application_id: int, requirement_id: str, reason: str, until: datetime | None, *, actor: User
) -> RequirementWaiver:
    """Ask that a requirement is not applicable here, until a day within two years. Needs decision:request in the team.

    It counts once a security reviewer who is somebody else has approved it. Raises ``Conflict`` where one waits.
    """
    checklist, requirement = _asked(application_id, requirement_id, actor)
    now = timezone.now()
    words = _text(reason, "reason")
    ends = _until(until, now, MOST_DAYS) or now + timedelta(days=requirement.answer_days)
    if checklist.waivers.filter(requirement=requirement.id, request__status="open").exists():
        raise Conflict(
            f"That {requirement.id} is not applicable waits for approval already; withdraw that first.",
            code="waiver-waits",
        )
    made = RequirementWaiver.objects.create(
        checklist=checklist,
        requirement=requirement.id,
        digest=requirement.digest,
        reason=words,
        request=approvals.open_requests([SEATS], requester=actor, now=now)[0],
        asked_at=now,
        until=ends,
    )
    _record(Action.PLANNING_WAIVER_REQUEST, checklist, actor, requirement=requirement.id, until=ends.isoformat())
    tell_waiting(made, requirement, now=now)
    return made


@transaction.atomic
def vote_on_waiver(pk: int, choice: Choice, *, comment: str = "", actor: User) -> RequirementWaiver:
    """Approve or reject it. Raises ``NotFound``; ``NotAllowed`` for one's own, or without the role; ``Conflict`` where
    it does not wait or this person voted already; ``Invalid`` for a rejection without words."""
    waiver = _waiver(pk, actor)
    now = timezone.now()
    if not waiver.is_waiting or waiver.ended_at is not None:
        raise Conflict("It does not wait for approval any more.", code="waiver-state")
    application = waiver.checklist.application
    ballot = Ballot(waiver.request_id, frozenset({application.team_id}))
    outcome = approvals.vote([ballot], actor=actor, choice=choice, comment=comment, now=now)[waiver.request_id]
    if isinstance(outcome, SecGuardError):
        raise outcome
    waiver.request.refresh_from_db()
    if outcome.standing is not Standing.PENDING:
        recount([application.pk], now, measure=False)
        tell_ended(waiver, choice, comment, now=now)
    _record(
        Action.PLANNING_WAIVER_VOTE,
        waiver.checklist,
        actor,
        requirement=waiver.requirement,
        vote=choice.value,
        comment=comment.strip()[:500],
    )
    return waiver


@transaction.atomic
def end_waiver(pk: int, *, actor: User) -> RequirementWaiver:
    """Take it back, whether it waits or counts: who asked for it, or who may ask for one in the team; reviewers too."""
    waiver = _waiver(pk, actor)
    now = timezone.now()
    application = waiver.checklist.application
    require(actor, Permission.DECISION_REQUEST, team_id=application.team_id, application=application)
    if waiver.ended_at is not None or waiver.request.status not in ("open", "approved"):
        raise Conflict("It has ended already.", code="waiver-state")
    waiver.ended_at = now
    waiver.save(update_fields=["ended_at"])
    if waiver.is_waiting:
        approvals.close([waiver.request_id], now=now)
        waiver.request.refresh_from_db()
    recount([application.pk], now, measure=False)
    tell_ended(waiver, None, "", now=now)
    _record(Action.PLANNING_WAIVER_END, waiver.checklist, actor, requirement=waiver.requirement)
    return waiver


@transaction.atomic
def measure_now(application_id: int, *, actor: User) -> Checklist:
    """Measure an application's checklist anew, now: who has just mended something need not wait."""
    checklist = Checklist.objects.visible_to(actor).filter(application=application_id).first()
    if checklist is None:
        raise NotFound(f"Application {application_id} has no checklist.")
    owner = checklist.application
    require(actor, Permission.DECISION_REQUEST, team_id=owner.team_id, application=owner)
    recount([application_id], timezone.now())
    checklist.refresh_from_db()
    return checklist


def _asked(application_id: int, requirement_id: str, actor: User) -> tuple[Checklist, Requirement]:
    found = Checklist.objects.visible_to(actor).filter(application=application_id).values("pk")
    rows = Checklist.objects.select_for_update(of=("self",)).select_related("template", "application")
    checklist = rows.filter(pk__in=found).first()
    if checklist is None:
        raise NotFound(f"Application {application_id} has no checklist; choose a template for it first.")
    owner = checklist.application
    require(actor, Permission.DECISION_REQUEST, team_id=owner.team_id, application=owner)
    requirement = checklist.template.parsed.requirement(requirement_id)
    if requirement is None:
        raise NotFound(f"{checklist.template} asks for nothing called {requirement_id[:60]!r}.")
    return checklist, requirement


def _waiver(pk: int, actor: User) -> RequirementWaiver:
    seen = RequirementWaiver.objects.visible_to(actor).filter(pk=pk).values("pk")
    rows = RequirementWaiver.objects.select_for_update(of=("self",)).filter(pk__in=seen)
    waiver = rows.select_related("request", "checklist__application", "checklist__template").first()
    if waiver is None:
        raise NotFound(f"There is no request {pk} that something is not applicable.")
    return waiver


def _text(raw: str, where: str) -> str:
    text = raw.strip()
    if not 1 <= len(text) <= MAX_TEXT or "\0" in text:
        raise Invalid(
            f"Say in 1 to {MAX_TEXT:,} characters how it is done, or why not; this has {len(text):,}.", where=where
        )
    return text


def _evidence(raw: str) -> str:
    link = raw.strip()
    if not link:
        return ""
    try:
        parts = urlsplit(link)
        is_address = parts.scheme == "https" and bool(parts.hostname) and not parts.username
    except ValueError:
        is_address = False
    if not is_address or len(link) > MAX_EVIDENCE or not link.isprintable() or " " in link:
        raise Invalid(
            f"{link[:80]!r} is no address; expected https://… of at most {MAX_EVIDENCE} characters, without a name or "
            "password in it. Other evidence goes into the text.",
            where="evidence",
        )
    return link


def _until(raw: datetime | None, now: datetime, days: int) -> datetime | None:
    if raw is not None and not now < raw <= now + timedelta(days=days, hours=1):
        raise Invalid(f"{raw:%Y-%m-%d} is not within the next {days} days.", where="until")
    return raw


def _record(action: Action, checklist: Checklist, actor: User, **details: object) -> None:
    owner = checklist.application
    now_stands = Checklist.objects.get(pk=checklist.pk)
    record(
        action,
        actor=actor,
        subject_type="application",
        subject_id=owner.pk,
        subject=owner.name,
        team_id=owner.team_id,
        details={**details, "template": str(checklist.template), **state_of(now_stands)},
    )
