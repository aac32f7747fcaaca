"""What the layers below tell of: exposures that changed, applications that changed. Registered in ``apps.ready``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application
from secguard.approvals.services import UNOWNED
from secguard.decisions.appetite import Case
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries import teams_of
from secguard.decisions.scope import ScopeKind
from secguard.decisions.services.appetite import active_appetite, refresh_deadlines
from secguard.decisions.services.controls_leaning import let_go
from secguard.decisions.services.coverage import PARTED, refresh_coverage
from secguard.decisions.services.ending import end, review_material_changes, review_soon
from secguard.findings.identity import FindingKind
from secguard.findings.models import Exposure
from secguard.findings.services import Circumstances, TimeToFix
from secguard.findings.severity import Severity
from secguard.images.models import ImageRepository, Repository

CHUNK = 50_000


def follow_exposures(exposure_ids: Sequence[int], at: datetime) -> None:
    """``findings.services.EXPOSURES_CHANGED``: deadlines and decisions of exposures that are new or changed.

    A new image in a repository is covered here by what was decided before it came. What covered only the image that
    was newest until now covers no longer. A decision that was approved for something less severe, or less exposed, than
    what now stands in its scope ends: a scope grows, what was accepted in it does not.
    """
    _, appetite = active_appetite()
    for start in range(0, len(exposure_ids), CHUNK):
        chunk = Q(pk__in=bulk.among(exposure_ids[start : start + CHUNK]))
        refresh_deadlines(chunk, appetite)
        refresh_coverage(chunk, at)
        review_soon(Q(risk_id__in=Exposure.objects.filter(chunk).values("risk_id")), at)
        _part(Exposure.objects.filter(chunk, resolved_at__isnull=False).order_by(), at)
    named = Exposure.objects.filter(pk__in=bulk.among(exposure_ids)).order_by()
    repositories = set(named.values_list("repository_id", flat=True).distinct())
    refresh_coverage(Q(repository_id__in=repositories, decision_id__isnull=False), at)


def _part(resolved: QuerySet[Exposure], at: datetime) -> None:
    """What was agreed until it is fixed ends where it was, in the same instant: whoever keeps answers is told."""
    until = Decision.objects.in_force(at).filter(conditions__until_fixed=True, risk_id__in=resolved.values("risk_id"))
    decisions = list(until.order_by("pk"))
    if decisions:
        fixed = resolved.filter(risk_id__in={d.risk_id for d in decisions})
        repositories = set(fixed.values_list("repository_id", flat=True))
        for follow in PARTED:
            follow(decisions, repositories)


def time_to_fix() -> TimeToFix:
    """``findings.services.TIME_TO_FIX``: the deadlines of the risk appetite in force.

    What an SSVC table decides depends on more than is told here: ``follow_exposures`` gives it its deadline.
    """
    _, appetite = active_appetite()

    def within(case: Circumstances) -> timedelta | None:
        if appetite.plan is not None and case.kind == FindingKind.VULNERABILITY:
            return None
        row = appetite.row_for(
            Case(
                severity=Severity(case.severity),
                kind=FindingKind(case.kind),
                known_exploited=case.known_exploited,
                fix_available=case.fix_available,
                exposed=case.is_exposed,
            )
        )
        return None if row.fix_within_days is None else timedelta(days=row.fix_within_days)

    return within


def follow_application(application: Application) -> None:
    """``accounts.services.APPLICATION_FOLLOWERS``: its exposure decides the deadlines of what it owns, its team whose
    the decisions over it are."""
    _, appetite = active_appetite()
    refresh_deadlines(Q(application=application), appetite)
    refresh_coverage(Q(application=application), timezone.now())
    inside = ImageRepository.objects.filter(repository__application=application).values("image_id")
    _hand_over(Q(application=application) | Q(repository__application=application) | Q(image_id__in=inside))
    if application.is_exposed:
        risks = Exposure.objects.present().filter(application=application).values("risk_id")
        review_soon(Q(risk_id__in=risks) | Q(image_id__in=inside), timezone.now())


def follow_repository(repository: Repository, at: datetime) -> None:
    """``images.services.REPOSITORY_FOLLOWERS``: the decisions over it, and over the images in it, are its owner's."""
    _hand_over(Q(repository=repository) | Q(image_id__in=repository.places.values("image_id")))


def _hand_over(where: Q) -> None:
    """Let what waits or is in force belong to whom its scope belongs to now: they see it, decide it and revoke it.

    What has ended stays with whom it was: it is history, and covers nothing. What leaned on a control of an application
    that it is no longer inside of counts no more.
    """
    live = Decision.objects.filter(where, status__in=[DecisionStatus.REQUESTED.value, DecisionStatus.APPROVED.value])
    rows = list(live.defer("reason", "conditions", "snapshot").order_by("pk"))
    teams = teams_of(rows)
    moved: dict[int | None, list[int]] = defaultdict(list)
    for decision in rows:
        owners = teams[decision.pk] - {UNOWNED}
        if decision.team_id not in (owners or {None}):
            moved[min(owners, default=None)].append(decision.pk)
    for team, ids in moved.items():
        Decision.objects.filter(pk__in=ids).update(team_id=team)
    let_go(where, timezone.now())


def _scope(decision: Decision) -> tuple[str, int | None]:
    return decision.scope_kind, decision.image_id or decision.repository_id or decision.application_id


def follow_risks(risk_ids: Sequence[int], at: datetime) -> None:
    """``findings.services.RISKS_CHANGED``: decisions that were approved under other facts end; EPSS moves deadlines."""
    review_material_changes(risk_ids, at)
    _, appetite = active_appetite()
    if appetite.plan is not None:
        refresh_deadlines(Q(risk__in=bulk.among(risk_ids)), appetite)


def decided_by_others(flaw_ids: Sequence[int], teams: frozenset[int]) -> set[int]:
    """``advisories.services.DECIDED_BY_OTHERS``: flaws with a decision, waiting or in force, that is not ``teams``'.

    A decision over the organisation is no team's own.
    """
    live = Q(status=DecisionStatus.REQUESTED.value) | Q(status=DecisionStatus.APPROVED.value)
    rows = Decision.objects.filter(live, risk__vulnerability__in=list(flaw_ids), expires_at__gt=timezone.now())
    others = rows.exclude(~Q(scope_kind=ScopeKind.ORGANISATION.value), team_id__in=teams)
    return set(others.values_list("risk__vulnerability_id", flat=True))


def follow_merge(gone_risk_id: int, kept_risk_id: int) -> None:
    """``findings.services.RISK_MERGED``: what was decided under one name of a flaw follows to the other.

    Where the same is asked for under both names, the request under the gone name ends and says why; PostgreSQL's law
    lets a decision follow only to the flaw's other name in the same package.
    """
    now = timezone.now()
    kept = {_scope(d): d.pk for d in Decision.objects.waiting().filter(risk_id=kept_risk_id)}
    asked = Decision.objects.waiting().filter(risk_id=gone_risk_id).select_for_update(of=("self",))
    rows = asked.select_related("risk__vulnerability").order_by("pk")
    twice = [d for d in rows if _scope(d) in kept]
    if twice:
        reasons = [f"decision {kept[_scope(d)]} asks for the same" for d in twice]
        end(twice, reasons, now=now)
    Decision.objects.filter(risk_id=gone_risk_id).update(risk_id=kept_risk_id)
    refresh_coverage(Q(risk_id=kept_risk_id), now)
