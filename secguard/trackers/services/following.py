"""What changed here is told there; and what a rule of a tracker asks for is opened."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from secguard.accounts.models import Team
from secguard.audit.actions import Action
from secguard.decisions.models import Decision
from secguard.findings.models import Exposure
from secguard.trackers.keeping import ActKind, IssueStatus, Standing, standing
from secguard.trackers.models import Issue, Tracker
from secguard.trackers.services.opening import note, send, written

BATCH = 200
A_RUN = 20
"""Issues that one tracker's rule opens in a minute, and ``A_DAY`` in a day: a first import floods nobody."""

A_DAY = 100


def follow(now: datetime | None = None) -> int:
    """Note where issues' risks now stand otherwise than was told, and have it told; returns how many.

    One query finds them. Closing an issue elsewhere changes nothing here, and so is nothing to follow.
    """
    at = now or timezone.now()
    rows = _with_standing(Issue.objects.filter(status=IssueStatus.LINKED), at)
    fixed = Q(is_present=False) & ~Q(stands=Standing.FIXED)
    accepted = Q(is_present=True, is_uncovered=False) & ~Q(stands=Standing.ACCEPTED)
    back = Q(is_uncovered=True) & ~Q(stands=Standing.OPEN)
    changed = rows.filter(fixed | accepted | back).order_by("pk")[:BATCH]
    return sum(_tell(issue.pk, issue.stands, at) for issue in changed)


def _with_standing(rows: QuerySet[Issue], at: datetime) -> QuerySet[Any]:
    owned = Exposure.objects.present().alias(owner=Coalesce("team_id", 0))
    here = owned.filter(risk=OuterRef("risk"), owner=Coalesce(OuterRef("team_id"), 0))
    return rows.annotate(is_present=Exists(here), is_uncovered=Exists(here.filter(~_covered(at))))


def _covered(at: datetime) -> Q:
    """By a decision in force that needs no work: to fix it is a promise of work."""
    done = Decision.objects.filter(pk=OuterRef("decision_id")).exclude(kind="fix")
    return Q(Exists(done), decision_id__isnull=False, decided_until__gt=at)


@transaction.atomic
def _tell(issue_id: int, was: str, at: datetime) -> bool:
    """Whoever changes the row tells it: two workers tell once."""
    found = _with_standing(Issue.objects.filter(pk=issue_id), at).select_related("tracker").first()
    if found is None:
        return False
    now = standing(is_present=found.is_present, is_uncovered=found.is_uncovered)
    if now == was:
        return False
    rows = Issue.objects.filter(pk=issue_id, stands=was, status=IssueStatus.LINKED)
    if not rows.update(stands=now):
        return False
    send(found, ActKind.TELL, now)
    return True


def open_by_rule(now: datetime | None = None) -> int:
    """Open what the trackers' rules ask for; returns how many."""
    at = now or timezone.now()
    ruled = Tracker.objects.filter(Q(opens_from__isnull=False) | Q(opens_overdue=True), is_active=True)
    return sum(_open(tracker, at) for tracker in ruled.order_by("pk"))


def _open(tracker: Tracker, at: datetime) -> int:
    today = Issue.objects.filter(tracker=tracker, is_by_rule=True, created_at__gt=at - timedelta(days=1)).count()
    most = min(A_RUN, A_DAY - today)
    return sum(_open_one(tracker, *wanted) for wanted in _wanted(tracker, at)[:most]) if most > 0 else 0


def _wanted(tracker: Tracker, at: datetime) -> list[tuple[int, int]]:
    """(risk, team) that the rule asks for and that never had an issue here: what was unlinked stays so."""
    asked = Q()
    if tracker.opens_from is not None:
        asked |= Q(severity__gte=tracker.opens_from)
    if tracker.opens_overdue:
        asked |= Q(due_at__lt=at)
    had = Issue.objects.filter(risk=OuterRef("risk"), team_id=OuterRef("team_id"))
    rows = Exposure.objects.present().filter(asked, ~_covered(at), ~Exists(had), team_id__isnull=False)
    if tracker.team_id is not None:
        rows = rows.filter(team_id=tracker.team_id)
    if tracker.opens_application_id is not None:
        rows = rows.filter(application_id=tracker.opens_application_id)
    pairs: Iterable[tuple[int, int]] = rows.order_by("-severity", F("due_at").asc(nulls_last=True), "pk").values_list(
        "risk_id", "team_id"
    )[:500]  # type: ignore[assignment]
    return list(dict.fromkeys(pairs))


@transaction.atomic
def _open_one(tracker: Tracker, risk_id: int, team_id: int) -> bool:
    team = Team.objects.filter(pk=team_id).first()
    exposure = Exposure.objects.select_related("risk__vulnerability").filter(risk_id=risk_id, team_id=team_id).first()
    if team is None or exposure is None:
        return False
    made, is_new = written(tracker, exposure.risk, team, by=None, by_rule=True)
    if is_new:
        send(made, ActKind.OPEN)
        note(Action.ISSUE_OPEN, made, None)
    return is_new
