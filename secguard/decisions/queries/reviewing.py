"""What waits for whom, and everything a person needs to decide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q, QuerySet

from secguard.accounts.models import User
from secguard.approvals.models import Vote
from secguard.approvals.queries import Seat, may_fill, open_for, outcomes, seats_of_others, votes_of
from secguard.approvals.quorum import Choice
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries.scopes import Scope, places_with, teams_of
from secguard.findings.models import OPEN, Finding, Risk
from secguard.findings.severity import Severity
from secguard.images.models import ImageRepository

QUEUE = 200
"""How many requests the review queue shows at once, those that wait longest."""

SAMPLE = 50
"""How many places a reviewer sees by name; the number says how many there are."""


def waiting_for(user: User, now: datetime) -> QuerySet[Decision]:
    """Requests that ``user`` may be asked to decide: visible, not their own, with a role of theirs, oldest first.

    Also what they may decide for somebody who is away, and their team's part of what lies with several teams. Whether
    the seat is still empty is the quorum's to say (``approvals.queries.outcomes``).
    """
    return _waiting_for(user, now, seats_of_others(user, now))


def _waiting_for(user: User, now: datetime, others: Sequence[Seat]) -> QuerySet[Decision]:
    return (
        Decision.objects.visible_to(user)
        .waiting()
        .filter(open_for(user, prefix="approval__", in_team=_concerns, now=now, others=others), expires_at__gt=now)
        .select_related("risk__vulnerability", "requested_by", "approval", "appetite")
        .order_by("requested_at", "pk")
    )


def _concerns(team: int) -> Q:
    """The decisions in which a team has a part: its own, and those on images that lie with it."""
    with_them = ImageRepository.objects.filter(image=OuterRef("image_id"), repository__application__team_id=team)
    return Q(team_id=team) | Q(image__isnull=False) & Q(Exists(with_them))


@dataclass(frozen=True, slots=True)
class Waiting:
    """One risk in the review queue, with the requests on it."""

    risk: Risk
    decisions: tuple[Decision, ...]


def queue(user: User, now: datetime, *, limit: int = QUEUE) -> list[Waiting]:
    """What ``user`` may decide now, grouped by risk, the risk that waits longest first.

    A request of which only seats are empty that ``user`` cannot fill is left out. At most ``limit``, in a fixed number
    of queries.
    """
    groups: dict[int, list[Decision]] = {}
    for decision in _decidable(user, now, limit):
        groups.setdefault(decision.risk_id, []).append(decision)
    return [Waiting(found[0].risk, tuple(found)) for found in groups.values()]


def _decidable(user: User, now: datetime, limit: int) -> list[Decision]:
    others = seats_of_others(user, now)
    rows = list(_waiting_for(user, now, others)[:limit])
    teams, votes = teams_of(rows), votes_of([d.approval for d in rows])
    standing = outcomes({d.approval_id: (d.approval, teams[d.pk]) for d in rows}, votes)

    def fits(d: Decision) -> bool:
        taken = frozenset(v.seat_of_id or v.voter_id for v in votes.get(d.approval_id, []))
        return may_fill(user, d.approval, standing[d.approval_id], teams[d.pk], now, others, taken)

    return [d for d in rows if fits(d)]


def waiting_count(user: User, now: datetime, *, bound: int = QUEUE) -> int:
    """How many requests the review queue lists for ``user``, counted up to ``bound``: the navigation's badge."""
    return len(_decidable(user, now, bound))


def earlier_decisions(risks: Sequence[Risk], user: User, *, before: Decision | None = None) -> list[Decision]:
    """The latest decisions on ``risks`` that ``user`` may see, newest first, without ``before`` itself.

    Each has its ``words``, of who refused it: whoever asks again knows what was wrong with it.
    """
    rows = Decision.objects.visible_to(user).filter(risk__in=risks)
    rows = rows.select_related("requested_by", "risk__vulnerability")
    if before is not None:
        rows = rows.exclude(pk=before.pk)
    found = list(rows.order_by("-requested_at", "-pk")[:20])
    refusing = Vote.objects.filter(request__in=[d.approval_id for d in found], choice=Choice.REJECT.value)
    words = {vote.request_id: vote for vote in refusing.select_related("voter").order_by("-pk")}
    for decision in found:
        decision.words = words.get(decision.approval_id)  # type: ignore[attr-defined]
    return found


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A repository where the risk stands, with the image that shows it and the fixes that tools name."""

    repository: str
    application: str
    team: str
    digest: str
    severity: Severity
    severity_source: str
    component: str
    fixed_versions: tuple[str, ...]


def occurrences(risk: Risk, scope: Scope, user: User) -> list[Occurrence]:
    """Where ``risk`` stands open inside ``scope``, as far as ``user`` may see; worst first, at most ``SAMPLE``."""
    places = places_with([risk.pk], scope, user)
    findings = (
        Finding.objects.filter(risk=risk, status=OPEN, image__places__in=places)
        .order_by("-severity", "image__places__repository__name", "-image__first_seen_at", "pk")
        .values_list(
            "image__places__repository__name",
            "image__places__repository__application__name",
            "image__places__repository__application__team__name",
            "image__digest",
            "severity",
            "severity_source",
            "component__purl",
            "path",
            "fixed_versions",
        )
    )
    return [
        Occurrence(repository, app or "", team or "", digest, Severity(severity), source, purl or path, tuple(fixes))
        for repository, app, team, digest, severity, source, purl, path, fixes in findings[:SAMPLE]
    ]


def effective_status(decision: Decision, now: datetime) -> DecisionStatus:
    """The status as it counts at ``now``: past its end a request or an approved decision shows as ended (rule 5)."""
    status = DecisionStatus(decision.status)
    open_ones = (DecisionStatus.REQUESTED, DecisionStatus.APPROVED)
    return DecisionStatus.ENDED if status in open_ones and decision.counts_until <= now else status
