"""Reads around controls: what they cover, what leans on them, what can be chosen, what is due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, When
from django.db.models.functions import Coalesce

from secguard import bulk
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.decisions.controls import ControlState, EvidenceKind, Says, Sighting
from secguard.decisions.models import Control, ControlEvidence, Decision, DecisionControl, counts_at
from secguard.decisions.queries.scopes import Scope, places_in
from secguard.decisions.scope import ScopeKind
from secguard.images.models import ImageRepository, Repository

CHOICES = 100
"""How many controls a form offers."""
RELATED = ("application__team", "owner", "proposed_by", "confirmed_by", "retired_by")
"""What a document of a control reads: give it rows with these selected."""
TIMELINE = 200


def sightings(control: Control, now: datetime) -> list[Sighting]:
    """Of the evidence known at ``now`` what can decide anything: the last of each kind and word. One query."""
    known = ControlEvidence.objects.filter(control=control, noted_at__lte=now).order_by("kind", "says", "-seen_at")
    found: dict[tuple[str, str], Sighting] = {}
    for kind, says, seen, noted in known.values_list("kind", "says", "seen_at", "noted_at"):
        found.setdefault((kind, says), Sighting(kind=EvidenceKind(kind), says=Says(says), seen_at=seen, noted_at=noted))
    return list(found.values())


def leaning(decision_ids: Sequence[int]) -> dict[int, list[Control]]:
    """{decision id: the controls that it leans on, by name}; those that lean on none are left out. One query."""
    found: dict[int, list[Control]] = defaultdict(list)
    rows = DecisionControl.objects.filter(decision_id__in=bulk.among(decision_ids)).select_related(
        "control__application"
    )
    for link in rows.order_by("control__name", "pk"):
        found[link.decision_id].append(link.control)
    return found


def covers(control: Control, scope: Scope) -> bool:
    """Whether everything inside ``scope`` lies inside what the control covers."""
    if control.application_id is None:
        return True
    match scope.kind:
        case ScopeKind.APPLICATION:
            return scope.id == control.application_id
        case ScopeKind.REPOSITORY:
            return Repository.objects.filter(pk=scope.id or 0, application_id=control.application_id).exists()
        case ScopeKind.IMAGE:
            owners = set(places_in(scope).values_list("repository__application_id", flat=True))
            return owners == {control.application_id}
        case ScopeKind.ORGANISATION:
            return False
        case _:
            assert_never(scope.kind)


def outside(where: Q | None = None) -> QuerySet[DecisionControl]:
    """Of what fits ``where``: decisions whose scope no longer lies inside what their control covers."""
    own = OuterRef("control__application_id")
    elsewhere = ImageRepository.objects.filter(image=OuterRef("decision__image_id")).exclude(
        repository__application=own
    )
    anywhere = ImageRepository.objects.filter(image=OuterRef("decision__image_id"))
    covered = F("control__application_id")
    not_inside = (
        Q(decision__scope_kind=ScopeKind.ORGANISATION.value)
        | Q(decision__scope_kind=ScopeKind.APPLICATION.value) & ~Q(decision__application_id=covered)
        | Q(decision__scope_kind=ScopeKind.REPOSITORY.value)
        & (Q(decision__repository__application=None) | ~Q(decision__repository__application_id=covered))
        | Q(decision__scope_kind=ScopeKind.IMAGE.value) & (Exists(elsewhere) | ~Exists(anywhere))
    )
    rows = DecisionControl.objects.filter(not_inside, control__application__isnull=False)
    return rows if where is None else rows.filter(where)


def choices(user: User, scopes: Sequence[Scope]) -> list[Control]:
    """The controls that a request over one of ``scopes`` may name, by name: those that stand, and cover one of them."""
    rows = Control.objects.visible_to(user).standing().select_related("application", "owner")
    if not any(s.kind is ScopeKind.ORGANISATION for s in scopes):
        rows = rows.filter(Q(application=None) | Q(application_id__in=_applications(scopes)))
    return list(rows.order_by("name", "pk")[:CHOICES])


def _applications(scopes: Sequence[Scope]) -> set[int]:
    found = {s.id for s in scopes if s.kind is ScopeKind.APPLICATION and s.id is not None}
    repositories = [s.id for s in scopes if s.kind is ScopeKind.REPOSITORY]
    images = [s.id for s in scopes if s.kind is ScopeKind.IMAGE]
    owned = Repository.objects.filter(Q(pk__in=repositories) | Q(places__image_id__in=images))
    found |= set(owned.exclude(application=None).values_list("application_id", flat=True))
    return found


def with_leaning(rows: QuerySet[Control], now: datetime) -> QuerySet[Control]:
    """Each control with ``leaning_now``, how many decisions that count at ``now`` lean on it, and ``due_now``, when
    evidence must come: at once for a contradicted one, never for a retired one."""
    links = DecisionControl.objects.filter(
        control=OuterRef("pk"), decision__in=Decision.objects.filter(counts_at(now)).values("pk")
    )
    counted = links.order_by().values("control").annotate(n=Count("pk")).values("n")
    contradicted = When(contradicted_at__isnull=False, then=F("contradicted_at"))
    due = Case(When(status="retired", then=None), contradicted, default=F("due_at"))
    return rows.annotate(leaning_now=Coalesce(counted, 0), due_now=due)


def needing_someone(user: User, now: datetime, *, limit: int) -> list[Control]:
    """Controls that wait for ``user`` to confirm them, then confirmed ones that are going stale, are stale or are
    contradicted, the first to end first."""
    rows = Control.objects.visible_to(user).select_related(*RELATED)
    proposed = [c for c in rows.filter(status="proposed").order_by("pk")[:limit] if verbs(c, user).confirm]
    due = Q(contradicted_at__isnull=False) | Q(warn_at=None) | Q(warn_at__lte=now)
    confirmed = rows.filter(due, status="confirmed").order_by(F("due_at").asc(nulls_first=True), "pk")
    return [*proposed, *confirmed[:limit]][:limit]


def decisions_on(control: Control, user: User) -> QuerySet[Decision]:
    """The decisions that lean on it, and did, as far as ``user`` may see; the latest first."""
    rows = Decision.objects.visible_to(user).filter(leaning__control=control)
    return rows.select_related("risk__vulnerability", "requested_by").order_by("-pk")


def timeline(control: Control, now: datetime) -> list[ControlEvidence]:
    """Its evidence, newest first, at most ``TIMELINE``."""
    rows = control.evidence.filter(noted_at__lte=now).select_related("by")
    return list(rows.order_by("-seen_at", "-pk")[:TIMELINE])


@dataclass(frozen=True, slots=True)
class Verbs:
    """What a person can be offered to do with a control; the services decide."""

    confirm: bool
    retire: bool
    evidence: bool

    def words(self) -> list[str]:
        return [name for name in ("confirm", "evidence", "retire") if getattr(self, name)]


def verbs(control: Control, user: User) -> Verbs:
    stands = control.status != "retired"
    return Verbs(
        confirm=control.status == "proposed" and _confirms(control, user) and not is_own(control, user),
        retire=stands and (keeps(control, user) or _confirms(control, user)),
        evidence=stands and (keeps(control, user) or _confirms(control, user) or _asks(control, user)),
    )


def is_own(control: Control, user: User) -> bool:
    """Whether ``user`` proposed it or answers for it: somebody else confirms it then."""
    return user.pk in (control.proposed_by_id, control.owner_id)


def team_of(control: Control) -> int | None:
    return control.application.team_id if control.application else None


def keeps(control: Control, user: User) -> bool:
    """Whether ``user`` owns it: the person named, or, where none is, whoever may ask for decisions in its team."""
    if control.owner_id is None:
        return _asks(control, user)
    return control.owner_id == user.pk and (user.token is None or _asks(control, user))


def _asks(control: Control, user: User) -> bool:
    return _holds(user, Permission.DECISION_REQUEST, team_of(control))


def _confirms(control: Control, user: User) -> bool:
    return _holds(user, Permission.CONTROL_CONFIRM, team_of(control))


def _holds(user: User, permission: Permission, team_id: int | None) -> bool:
    teams = user.teams_with(permission)
    return teams is None or team_id in teams


def control_documents(rows: Sequence[Control], user: User, now: datetime) -> list[dict[str, Any]]:
    """Controls (with ``RELATED`` and ``with_leaning``) as documents at ``now``. No query."""
    return [_document(c, user, now) for c in rows]


def _document(c: Control, user: User, now: datetime) -> dict[str, Any]:
    return {
        "id": c.pk,
        "name": c.name,
        "kind": c.kind,
        "description": c.description,
        "covers": {"application": c.application.slug} if c.application else {"organisation": True},
        "owner": owner_words(c),
        "kept_alive_by": c.kept_alive_by,
        "every_hours": c.every_hours,
        "watch": c.watch,
        "status": c.status,
        "state": c.state_at(now).value,
        "holds_until": c.holds_until(now),
        "due_at": c.due_at if c.status != "retired" else None,
        "last_seen_at": c.last_seen_at,
        "contradicted_at": c.contradicted_at,
        "proposed_by": c.proposed_by.username,
        "proposed_at": c.proposed_at,
        "confirmed_by": c.confirmed_by.username if c.confirmed_by else None,
        "confirmed_at": c.confirmed_at,
        "retired_by": c.retired_by.username if c.retired_by else None,
        "retired_at": c.retired_at,
        "retired_reason": c.retired_reason,
        "leaning": getattr(c, "leaning_now", 0),
        "may": verbs(c, user).words(),
    }


def owner_words(c: Control) -> str:
    """Who answers for it: a person's name, else the team's, else who keeps the whole organisation's."""
    if c.owner is not None:
        return c.owner.username
    return c.application.team.name if c.application else "the organisation"


def lapse_words(control: Control, now: datetime, *, is_outside: bool = False) -> str:
    """Why a decision no longer counts on the control: ``WAF rule 942100 has had no evidence since …``."""
    if is_outside:
        return f"{control.name} no longer covers all of it"
    match control.state_at(now):
        case ControlState.RETIRED:
            return f"{control.name} was retired" + (f": {control.retired_reason}" if control.retired_reason else "")
        case ControlState.CONTRADICTED:
            return f"{control.name} is contradicted since {_instant(control.contradicted_at)}"
        case ControlState.PROPOSED:
            return f"{control.name} is not confirmed"
        case ControlState.STALE if control.last_seen_at is None:
            return f"{control.name} has no evidence"
        case ControlState.STALE:
            return f"{control.name} has had no evidence since {_instant(control.last_seen_at)}"
    return ""


def _instant(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "then"
