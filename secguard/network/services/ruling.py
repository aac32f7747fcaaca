"""Rules of who may speak to whom: asked for by one person, approved by another of the team that is spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import require
from secguard.approvals import services as approvals
from secguard.approvals.quorum import Choice, Standing
from secguard.approvals.services import UNOWNED, Ballot
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, SecGuardError
from secguard.network import segmentation
from secguard.network.models import Edge, Segment, SegmentRule
from secguard.network.segmentation import APPLICATION, SEGMENT, Effect
from secguard.network.services import judging

MAX_RULES: Final = 2_000
MAX_TEXT: Final = 4_000
SEATS: Final = {Role.SECURITY_REVIEWER: 1}
"""Who says yes: a reviewer of the team that is spoken to, who is not the one who asks."""


@dataclass(frozen=True, slots=True)
class RuleEdit:
    """``source``, ``destination``: ``segment:12``, ``application:shop``, or ``edge:12`` for that side's application of
    an edge, whoever's it is. ``ports``: ``tcp/443, udp/53``; empty: every one."""

    source: str
    destination: str
    ports: str
    effect: Effect
    reason: str
    ends_at: datetime | None = None


class End(NamedTuple):
    """One end of a rule, and whether the person knows it."""

    segment: Segment | None
    application: Application | None
    is_known: bool

    @property
    def team_id(self) -> int | None:
        if self.application is not None:
            return self.application.team_id
        return self.segment.team_id if self.segment is not None else None


@transaction.atomic
def ask(edit: RuleEdit, *, actor: User, now: datetime | None = None) -> SegmentRule:
    """Ask for a rule. Needs decision:request in the team of either end.

    Raises ``NotFound`` for an end that the person may not see, ``Invalid``, and ``Conflict`` where there are
    ``MAX_RULES`` or the same is in force or asked for.
    """
    at = now or timezone.now()
    source, destination = (_end(word, side, actor) for side, word in _sides(edit))
    _require_either(actor, source, destination)
    ports = segmentation.ports_of(edit.ports)
    if edit.ends_at is not None and edit.ends_at <= at:
        raise Invalid("The end lies in the past; expected a later day, or none.", where="ends_at")
    row = SegmentRule(
        source_segment=source.segment,
        source_application=source.application,
        destination_segment=destination.segment,
        destination_application=destination.application,
        source_told=source.is_known,
        destination_told=destination.is_known,
        ports=[list(p) for p in ports],
        effect=edit.effect.value,
        reason=_text(edit.reason),
        ends_at=edit.ends_at,
        asked_by=actor,
        asked_at=at,
    )
    _require_new(row, at)
    row.request = approvals.open_requests([SEATS], requester=actor, now=at)[0]
    row.save()
    _record(Action.NETWORK_RULE_ASK, row, actor, reason=row.reason[:500])
    return row


def _sides(edit: RuleEdit) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("source", edit.source), ("destination", edit.destination)


def _end(word: str, side: str, actor: User) -> End:
    kind, _, name = word.partition(":")
    if kind == "edge":
        return _of_edge(name, side, actor)
    if kind == APPLICATION:
        found = Application.objects.visible_to(actor).filter(slug=name[:100]).first()
        if found is not None:
            return End(None, found, True)
    elif kind == SEGMENT:
        segment = _number(name) and Segment.objects.visible_to(actor).live().filter(pk=_number(name)).first()
        if segment:
            return End(segment, None, True)
    else:
        raise Invalid("Expected segment:, application: or edge:, and its name or number.", where=side)
    raise NotFound(f"There is no {kind} {name[:80]!r} that you may see.", code=f"no-{kind}", where=side)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _of_edge(number: str, side: str, actor: User) -> End:
    """The application at that side of an edge of which the person sees either end: it is named to nobody by that."""
    rows = Edge.objects.visible_to(actor).select_related(f"{side}__workload__application")
    edge = rows.filter(pk=_number(number)).first()
    if edge is None:
        raise NotFound(f"There is no edge {number[:20]!r} that you may see.", code="no-edge", where=side)
    workload = getattr(edge, side).workload
    if workload is None or workload.application is None:
        raise Invalid("That end belongs to no application; name a segment that it is in.", where=side)
    is_known = Application.objects.visible_to(actor).filter(pk=workload.application_id).exists()
    return End(None, workload.application, is_known)


def _require_either(actor: User, source: End, destination: End) -> None:
    """Of the ends that belong to somebody; where neither does, the organisation's word is needed."""
    refusal: NotAllowed | None = None
    teams: list[int | None] = [end.team_id for end in (destination, source) if end.team_id is not None]
    for team in teams or [None]:
        try:
            require(actor, Permission.DECISION_REQUEST, team_id=team)
        except NotAllowed as error:
            refusal = refusal or error
        else:
            return
    assert refusal is not None  # noqa: S101 - there is one at least
    raise refusal


def _require_new(row: SegmentRule, now: datetime) -> None:
    live = SegmentRule.objects.waiting() | SegmentRule.objects.in_force(now)
    if live.count() >= MAX_RULES:
        raise Conflict(f"There are {MAX_RULES:,} rules, which is the most. End some that nobody needs.", code="many")
    ends = ("source_segment", "source_application", "destination_segment", "destination_application", "effect")
    for other in live.filter(**{name: getattr(row, name) for name in ends}):
        if other.ports == row.ports:
            word = "in force" if other.request.status == "approved" else "asked for"
            raise Conflict(f"Rule {other.pk} says the same and is {word} already.", code="same-rule")


@transaction.atomic
def vote(pk: int, choice: Choice, *, comment: str = "", actor: User, now: datetime | None = None) -> SegmentRule:
    """Approve or reject a rule. Raises ``NotFound``; ``NotAllowed`` for one's own, or without the role; ``Conflict``
    where it does not wait or this person voted already; ``Invalid`` for a rejection without words."""
    at = now or timezone.now()
    row = _waiting(pk, actor)
    ballot = Ballot(row.request_id, teams_of(row), is_severe=False)
    outcome = approvals.vote([ballot], actor=actor, choice=choice, comment=comment, now=at)[row.request_id]
    if isinstance(outcome, SecGuardError):
        raise outcome
    row.request.refresh_from_db()
    if outcome.standing is Standing.REJECTED:
        row.ended_at = at
        row.save(update_fields=["ended_at"])
    _record(Action.NETWORK_RULE_VOTE, row, actor, vote=choice.value, comment=comment.strip()[:500])
    judging.ask()
    return row


@transaction.atomic
def withdraw(pk: int, *, actor: User, now: datetime | None = None) -> SegmentRule:
    """Take back what waits: who asked for it, and nobody else."""
    at = now or timezone.now()
    row = _waiting(pk, actor)
    if row.asked_by_id != actor.pk:
        raise NotAllowed("Who asked for a rule may withdraw it; you did not.", code="not-yours")
    row.ended_at = at
    row.save(update_fields=["ended_at"])
    approvals.close([row.request_id], now=at)
    row.request.refresh_from_db()
    _record(Action.NETWORK_RULE_WITHDRAW, row, actor)
    return row


@transaction.atomic
def end(pk: int, reason: str, *, actor: User, now: datetime | None = None) -> SegmentRule:
    """End a rule that is in force. Needs decision:revoke in the team that is spoken to. It is kept, with the reason."""
    row, at = _rule(pk, actor), now or timezone.now()
    for team in sorted(teams_of(row)):
        require(actor, Permission.DECISION_REVOKE, team_id=team or None)
    if state_of(row, at) != "in force":
        raise Conflict(f"The rule is {state_of(row, at)}; expected one in force.", code="state")
    row.ended_at, row.ended_by, row.end_reason = at, actor, _text(reason)
    row.save(update_fields=["ended_at", "ended_by", "end_reason"])
    _record(Action.NETWORK_RULE_END, row, actor, reason=row.end_reason[:500])
    judging.ask()
    return row


# --- rows ---


def teams_of(row: SegmentRule) -> frozenset[int]:
    """Whose word it needs: the team that is spoken to; ``UNOWNED`` where that is the organisation's."""
    to = End(row.destination_segment, row.destination_application, True)
    return frozenset({to.team_id or UNOWNED})


def state_of(row: SegmentRule, now: datetime) -> str:
    """``waiting``, ``in force``, ``ended``, ``rejected`` or ``withdrawn``: by the clock, whoever is awake."""
    status = row.request.status
    if status == "open":
        return "waiting"
    if status != "approved":
        return {"closed": "withdrawn"}.get(status, status)
    has_ended = row.ended_at is not None or (row.ends_at is not None and row.ends_at <= now)
    return "ended" if has_ended else "in force"


_RELATED: Final = (
    "source_segment__team", "source_application__team", "destination_segment__team", "destination_application__team",
    "request", "asked_by", "ended_by",
)  # fmt: skip


def _rule(pk: int, actor: User) -> SegmentRule:
    rows = SegmentRule.objects.select_for_update(of=("self",)).select_related(*_RELATED)
    row = rows.filter(pk=pk, pk__in=SegmentRule.objects.visible_to(actor).values("pk")).first()
    if row is None:
        raise NotFound(f"There is no rule {pk} that you may see.", code="no-rule")
    return row


def _waiting(pk: int, actor: User) -> SegmentRule:
    row = _rule(pk, actor)
    if row.request.status != "open":
        raise Conflict("The rule does not wait for an answer any more.", code="state")
    return row


def _text(raw: str) -> str:
    text = raw.strip()
    if not 1 <= len(text) <= MAX_TEXT or "\0" in text:
        raise Invalid(f"Say why, in 1 to {MAX_TEXT:,} characters; this has {len(text):,}.", where="reason")
    return text


def _record(action: Action, row: SegmentRule, actor: User, **details: object) -> None:
    rule, teams = row.as_rule, teams_of(row)
    record(
        action,
        actor=actor,
        subject_type="network-rule",
        subject_id=row.pk,
        subject=f"rule {row.pk}",
        team_id=next(iter(teams)) or None,
        details={
            "effect": row.effect,
            "from": f"{rule.source.kind} {rule.source.id}",
            "to": f"{rule.destination.kind} {rule.destination.id}",
            "ports": segmentation.in_words(rule.ports),
            "ends_at": row.ends_at.isoformat() if row.ends_at else None,
            **details,
        },
    )
