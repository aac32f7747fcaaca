"""Asking for decisions, and taking a request back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.services import UNOWNED, Wanted, close, open_requests
from secguard.audit.actions import Action
from secguard.audit.services import record, record_many
from secguard.decisions.appetite import Appetite, Case, Requirement, check_end
from secguard.decisions.justifications import checked
from secguard.decisions.lifecycle import (
    DecisionEvent,
    DecisionKind,
    DecisionStatus,
    after,
    check_conditions,
    parse_conditions,
)
from secguard.decisions.models import Decision, RiskAppetite
from secguard.decisions.queries import (
    Scope,
    Standing,
    beyond,
    kinds_of_standing,
    may_ask,
    places_with,
    snapshot,
    standings,
)
from secguard.decisions.queries.standing import stands_in_newest
from secguard.decisions.scope import ScopeKind
from secguard.decisions.services import controls_leaning
from secguard.decisions.services.appetite import active_appetite
from secguard.decisions.services.ending import end, is_own, line, locked
from secguard.decisions.services.telling import settle, tell_waiting
from secguard.decisions.spreading import MAX_SPREAD, spread
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, SecGuardError
from secguard.findings.identity import FindingKind
from secguard.findings.models import Risk

MAX_REASON = 4_000
MAX_BULK = 500


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants decided."""

    risk_id: int
    kind: str
    scope: Scope
    reason: str
    expires_at: datetime
    conditions: Mapping[str, Any] | None = None
    justification: str = ""
    """Of ``not_affected`` alone: one of ``justifications``."""
    controls: Sequence[int] = ()
    """What mitigates elsewhere, by id; ``mitigate`` needs one at least."""


def request_decision(ask: Ask, *, actor: User, now: datetime | None = None) -> Decision:
    """Ask for a decision; it counts for nothing until the people that the risk appetite names have approved it.

    Raises ``NotFound`` for a risk that ``actor`` may not see; ``NotAllowed`` without decision:request for a team that
    owns the scope (for the organisation's scope: organisation-wide, because nobody asks over what they cannot see);
    ``Conflict`` (code "decision-duplicate", extra ``decision`` and the id) where the same is asked for already;
    ``Invalid`` at an unknown kind or justification, no reason, conditions that are broken from the start, an end later
    than the risk appetite allows for the worst way in which the risk stands in the scope, and a risk that does not
    stand there.
    """
    at = now or timezone.now()
    with transaction.atomic():
        decision = _request(ask, actor, at, active_appetite())
        record(Action.DECISION_REQUEST, actor=actor, **line(decision, **_asked(decision)))
        tell_waiting([decision], now=at)
    return decision


def request_many(
    asks: Sequence[Ask], *, actor: User, now: datetime | None = None, spread_days: int = 0
) -> list[Decision | SecGuardError]:
    """Ask for several at once: for each, in order, the decision or why it was refused. A refused one leaves no trace.

    The rules are those of ``request_decision``, one by one. ``spread_days`` spreads equal ends over so many working
    days that end with the one asked for. Raises ``Invalid`` for none, or more than ``MAX_BULK``.
    """
    if not 1 <= len(asks) <= MAX_BULK:
        raise Invalid(f"{len(asks)} requests at once; expected are 1 to {MAX_BULK}.", where="risks")
    at = now or timezone.now()
    results: list[Decision | SecGuardError] = []
    with transaction.atomic():
        appetite = active_appetite()
        for ask in _spread(asks, spread_days, at):
            try:
                with transaction.atomic():
                    results.append(_request(ask, actor, at, appetite))
            except SecGuardError as refusal:
                results.append(refusal)
        made = [d for d in results if isinstance(d, Decision)]
        record_many(Action.DECISION_REQUEST, [line(d, **_asked(d)) for d in made], actor=actor)
        tell_waiting(made, now=at)
    return results


def _spread(asks: Sequence[Ask], days: int, now: datetime) -> Sequence[Ask]:
    """The asks with their ends spread, in their order; by the risks' ids, so that the order changes no end."""
    if not 0 <= days <= MAX_SPREAD:
        raise Invalid(f"The ends cannot be spread over {days} days; expected 0 to {MAX_SPREAD}.", where="spread")
    ranked = sorted(range(len(asks)), key=lambda place: (asks[place].risk_id, place))
    ends = spread([asks[place].expires_at for place in ranked], days, now)
    by_place = dict(zip(ranked, ends, strict=True))
    return [replace(ask, expires_at=by_place[place]) for place, ask in enumerate(asks)]


def withdraw(decision_id: int, *, actor: User, now: datetime | None = None) -> Decision:
    """Take a request back: whoever asked, or somebody with decision:withdraw in the team it was asked for.

    Raises ``NotFound``, ``NotAllowed``, and ``Conflict`` where it was decided already.
    """
    at = now or timezone.now()
    with transaction.atomic():
        decision = locked(decision_id, actor)
        if not is_own(decision, actor):
            require(actor, Permission.DECISION_WITHDRAW, team_id=decision.team_id)
        decision.status = after(decision.status, DecisionEvent.WITHDRAW).value
        decision.ended_at, decision.ended_by, decision.end_reason = at, actor, "withdrawn"
        decision.save(update_fields=["status", "ended_at", "ended_by", "end_reason"])
        close([decision.approval_id], now=at)
        record(Action.DECISION_WITHDRAW, actor=actor, **line(decision))
        settle([decision], now=at)
    return decision


def _request(ask: Ask, actor: User, now: datetime, appetite: tuple[RiskAppetite, Appetite]) -> Decision:
    kind, reason, conditions = _kind(ask.kind), _reason(ask.reason), parse_conditions(ask.conditions)
    justification = checked(ask.justification, kind)
    scope = ask.scope
    _check_may_ask(actor, scope)
    # The risk's row is the place in line for everybody who asks about it: two equal requests meet here.
    visible = Risk.objects.visible_to(actor).filter(pk=ask.risk_id).values("pk")
    risk = Risk.objects.select_for_update(of=("self",)).filter(pk__in=visible).first()
    if risk is None:
        raise NotFound(f"There is no risk {ask.risk_id}.", where="risk")
    if not places_with([risk.pk], scope, actor).exists():
        raise Invalid(
            f"{risk.name} stands open nowhere in {scope.kind.value} {scope.label}, so there is nothing to decide "
            "there. Choose a scope in which it stands.",
            code="nothing-in-scope",
            where="scope",
        )
    ways = standings(risk, scope)
    requirement = strictest(appetite[1], scope, [(risk.kind, w) for w in ways], kind)
    check_end(requirement, now, ask.expires_at)
    facts = snapshot(risk, ways)
    check_conditions(conditions, facts, kind)
    if conditions.until_fixed and not stands_in_newest(risk, scope):
        raise Invalid(
            f"{risk.name} is in no newest image of {scope.kind.value} {scope.label}: it is fixed there already, so a "
            "decision until then would end at once. Ask without that condition, with a date.",
            code="conditions",
            where="conditions.until_fixed",
        )
    _check_not_asked(risk, scope, now)
    controls = controls_leaning.choose(ask.controls, kind, scope, actor=actor, now=now)
    approval = open_requests([wanted(requirement)], requester=actor, now=now)[0]
    decision = Decision.objects.create(
        kind=kind.value,
        risk=risk,
        scope_kind=scope.kind.value,
        scope_label=scope.label,
        **scope.column,
        team_id=_team(actor, scope),
        reason=reason,
        justification=justification,
        conditions={k: v for k, v in msgspec.to_builtins(conditions).items() if v is not None},
        requested_by=actor,
        requested_at=now,
        expires_at=ask.expires_at,
        approval=approval,
        appetite=appetite[0],
        appetite_row=requirement.row,
        snapshot=msgspec.to_builtins(facts),
    )
    controls_leaning.lean(decision, controls)
    return decision


def wanted(requirement: Requirement) -> Wanted:
    """The requirement as it is asked of people."""
    return Wanted(
        requirement.approvers,
        waits=timedelta(hours=requirement.waits_hours),
        then=requirement.then,
        haste=requirement.haste,
    )


def preview(risk_ids: Sequence[int], scope: Scope, kind: str) -> Requirement | None:
    """What the risk appetite would ask for these risks; ``None`` where they stand nowhere in ``scope``."""
    ways = kinds_of_standing(risk_ids, scope)
    return strictest(active_appetite()[1], scope, ways, _kind(kind)) if ways else None


def strictest(
    appetite: Appetite, scope: Scope, ways: Iterable[tuple[str, Standing]], kind: DecisionKind
) -> Requirement:
    """What the risk appetite asks for the worst of ``ways`` ((kind of finding, standing), at least one).

    The shortest times, and for each role the most people; where rows differ, the row named is that of the shortest
    time. It goes to a next role where every row names the same one.
    """
    cases = [
        Case(
            severity=w.severity,
            kind=FindingKind(of),
            known_exploited=w.known_exploited,
            exposed=w.exposed,
            fix_available=w.fix_available,
            scope=scope.kind,
        )
        for of, w in ways
    ]
    found = [appetite.requirement(case, kind) for case in cases]
    first = min(found, key=lambda r: (r.max_days, -r.people, r.row))
    roles = {role for r in found for role in r.approvers}
    most = {role: max(r.approvers.get(role, 0) for r in found) for role in sorted(roles)}
    then = {r.then for r in found}
    return msgspec.structs.replace(
        first,
        approvers=most,
        waits_hours=min(r.waits_hours for r in found),
        then=first.then if len(then) == 1 else None,
    )


def _kind(word: str) -> DecisionKind:
    try:
        return DecisionKind(word)
    except ValueError:
        known = ", ".join(k.value for k in DecisionKind)
        raise Invalid(f"{word[:40]!r} is no kind of decision; expected is one of {known}.", where="kind") from None


def _reason(text: str) -> str:
    reason = text.replace("\x00", "").strip()
    if not reason:
        raise Invalid(
            "A decision needs a reason: what makes it acceptable here, for whoever has to approve it.", where="reason"
        )
    if len(reason) > MAX_REASON:
        raise Invalid(f"The reason has {len(reason):,} characters; at most {MAX_REASON:,} are kept.", where="reason")
    return reason


def _check_may_ask(actor: User, scope: Scope) -> None:
    if may_ask(actor, scope):
        return
    if actor.limit is not None and (outside := beyond(actor, scope)):
        raise NotAllowed(
            f"The token is limited to {actor.limit.words}, and {scope.kind.value} {scope.label} reaches beyond that: "
            f"{outside}. Ask for what lies inside, or with a token of the whole team.",
            code="token-limited",
        )
    if scope.kind is ScopeKind.ORGANISATION:
        raise NotAllowed(
            "A decision over the whole organisation is asked for by somebody with decision:request in the whole "
            "organisation. Ask for your application or repository, or let security ask.",
            code="scope-too-wide",
        )
    owner = min(scope.teams - {UNOWNED}, default=None)
    require(actor, Permission.DECISION_REQUEST, team_id=owner)


def _check_not_asked(risk: Risk, scope: Scope, now: datetime) -> None:
    same = Decision.objects.waiting().filter(risk=risk, scope_kind=scope.kind.value, **scope.column)
    open_one = same.select_for_update().first()
    if open_one is None:
        return
    if open_one.expires_at <= now:
        # Nobody answered before its end; a worker would have said so in a moment.
        end([open_one], ["nobody decided before the end that was asked for"], now=now)
        return
    raise Conflict(
        f"Decision {open_one.pk} asks for this already ({open_one.kind}, since {open_one.requested_at:%Y-%m-%d}). "
        "Wait for it, or withdraw it and ask again.",
        code="decision-duplicate",
        decision=open_one.pk,
    )


def _team(actor: User, scope: Scope) -> int | None:
    """Whose request it is: of the owning teams the one that ``actor`` asks for."""
    if actor.limit is not None:
        return actor.limit.team
    teams = actor.teams_with(Permission.DECISION_REQUEST)
    own = scope.teams - {UNOWNED} if teams is None else scope.teams & teams
    return min(own, default=None)


def _asked(decision: Decision) -> dict[str, Any]:
    return {
        "reason": decision.reason[:500],
        **({"justification": decision.justification} if decision.justification else {}),
        "conditions": decision.conditions,
        "appetite": decision.appetite_row,
        "status": DecisionStatus.REQUESTED.value,
    }
