"""Trackers and issues, as pages and the API show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, QuerySet
from django_filters import ChoiceFilter, FilterSet, NumberFilter

from secguard.accounts.models import Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.findings.models import OPEN, Exposure, Finding, Risk
from secguard.findings.severity import Severity
from secguard.policies.upgrades import best_upgrade
from secguard.trackers.keeping import RemoteState, TrackerKind
from secguard.trackers.models import Act, Issue, Tracker
from secguard.trackers.wording import SHOWN, Place, Story


class IssueFilter(FilterSet):
    risk = NumberFilter(field_name="risk_id", label="Risk (id)", min_value=1, max_value=2**63 - 1)
    state = ChoiceFilter(choices=[(s.value, s.value) for s in RemoteState if s.value], label="State there")

    class Meta:
        model = Issue
        fields: list[str] = []


def trackers(user: User) -> QuerySet[Tracker]:
    """Those that ``user`` may set up, each with how much waits. Raises ``NotAllowed``."""
    require(user, Permission.SETTINGS_EDIT, anywhere=True)
    waits = Count("acts", filter=Q(acts__status="waiting"))
    rows = Tracker.objects.visible_to(user).select_related("team", "opens_application")
    return rows.annotate(waiting=waits)


def find(user: User, tracker_id: int) -> Tracker:
    found = trackers(user).filter(pk=tracker_id).first()
    if found is None:
        raise NotFound(f"There is no tracker {tracker_id}.")
    return found


def issues(user: User) -> QuerySet[Issue]:
    """Those of the user's teams, the newest first; also the ones that are unlinked."""
    rows = Issue.objects.visible_to(user).select_related("tracker", "risk__vulnerability", "team")
    return rows.order_by("-pk")


def find_issue(user: User, issue_id: int) -> Issue:
    found = issues(user).filter(pk=issue_id).first()
    if found is None:
        raise NotFound(f"There is no issue {issue_id}.")
    with_words([found])
    return found


def with_words(rows: Sequence[Issue]) -> None:
    """Gives each ``error``: why what was last to be told did not arrive, so far or at all; one query for all."""
    last: dict[int, str] = {}
    acts = Act.objects.filter(issue__in=[row.pk for row in rows]).exclude(status="done").order_by("pk")
    for issue_id, error in acts.values_list("issue_id", "error"):
        last[issue_id] = error
    for row in rows:
        row.error = last.get(row.pk, "")  # type: ignore[attr-defined]


def acts_of(tracker: Tracker) -> QuerySet[Act]:
    return Act.objects.filter(tracker=tracker).select_related("issue__risk__vulnerability").order_by("-pk")


def hook_url(tracker: Tracker) -> str:
    name = "jira-issues" if TrackerKind(tracker.kind).is_jira else "github-issues"
    return f"{settings.PUBLIC_URL.rstrip('/')}/hooks/{name}/{tracker.pk}/"


def card(risk: Risk, user: User) -> dict[str, Any]:
    """The issues of a risk that ``user`` may see, and where one may be opened: [(team, [tracker, …]), …]."""
    rows = list(issues(user).filter(risk=risk).exclude(status="ended").order_by("team__name"))
    with_words(rows)
    usable = list(Tracker.objects.usable_by(user).order_by("team__name", "name"))
    return {"issues": rows, "offers": _offers(risk, user, {row.team_id for row in rows}, usable) if usable else []}


def _offers(
    risk: Risk, user: User, have: set[int | None], usable: Sequence[Tracker]
) -> list[tuple[Any, list[Tracker]]]:
    """Teams whose newest images have the risk, that have no issue for it, and that the user may open one for."""
    may = user.teams_with(Permission.DECISION_REQUEST)
    rows = Exposure.objects.visible_to(user).present().filter(risk=risk)
    ids = set(rows.order_by().values_list("team_id", flat=True).distinct()) - have
    ids = ids if may is None else {pk for pk in ids if pk in may}
    teams: list[Team | None] = list(Team.objects.filter(pk__in=[pk for pk in ids if pk]).order_by("name"))
    found = []
    for team in [*teams, *([None] if None in ids else [])]:
        fitting = [t for t in usable if t.team_id in (None, team.pk if team else None)]
        if fitting:
            found.append((team, fitting))
    return found


def story_of(issue: Issue) -> Story:
    """What is told of the issue's risk: of the issue's team alone, by its newest images."""
    risk = Risk.objects.select_related("vulnerability").get(pk=issue.risk_id)
    stands = (
        Exposure.objects.present().filter(risk=risk, team_id=issue.team_id).select_related("repository__newest_image")
    )
    rows = list(stands.order_by("-severity", "repository__name")[:200])
    total = len(rows) if len(rows) < 200 else stands.count()
    places = _places(risk, [row for row in rows[:SHOWN] if row.repository.newest_image is not None])
    due = min((row.due_at for row in rows if row.due_at), default=None)
    severity = max((row.severity for row in rows), default=risk.severity)
    return Story(
        name=risk.name,
        kind=risk.kind,
        severity=Severity(severity).label,
        where=risk.where,
        title=risk.title,
        url=f"{settings.PUBLIC_URL.rstrip('/')}/risks/{risk.pk}/",
        marker=issue.marker,
        places=tuple(places),
        total=total,
        due=f"{due:%Y-%m-%d}" if due else "",
        is_exploited=any(row.known_exploited for row in rows),
        remediation=risk.remediation[:500],
    )


def _places(risk: Risk, rows: Sequence[Exposure]) -> list[Place]:
    images = [row.repository.newest_image_id for row in rows]
    found: dict[int, list[Finding]] = defaultdict(list)
    findings = Finding.objects.filter(risk=risk, status=OPEN, image__in=images).select_related("component")
    for finding in findings.order_by("pk")[: 10 * SHOWN]:
        found[finding.image_id].append(finding)
    places = []
    for row in rows:
        image: Any = row.repository.newest_image
        parts = [_upgrade(finding) for finding in found[image.pk][:3]] or [("", "")]
        places += [Place(row.repository.name, image.digest, has, fix) for has, fix in dict.fromkeys(parts)]
    return places


def _upgrade(finding: Finding) -> tuple[str, str]:
    """(what is installed, the smallest version that fixes it)."""
    part = finding.component
    if part is None or not finding.fixed_versions:
        return (part.version if part else ""), ""
    return part.version, best_upgrade(part.type, part.version, (tuple(finding.fixed_versions),))[0]
