"""Reads of incidents: the lines of the page, one incident with what stands around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Count, F, Max, Min, Q, QuerySet, Sum, Window
from django.db.models.functions import RowNumber

from secguard import bulk
from secguard.accounts.models import Membership, User
from secguard.accounts.roles import Permission
from secguard.admission.models import ClusterGate
from secguard.decisions.models import Decision
from secguard.errors import NotFound
from secguard.events.models import Tally
from secguard.findings.models import Finding
from secguard.findings.severity import Severity
from secguard.images.models import Image, Repository
from secguard.incidents.lifecycle import Status
from secguard.incidents.models import Expectation, Incident, IncidentQuerySet, IncidentStory
from secguard.incidents.services.telling import HANDLERS
from secguard.workloads.models import Workload

MOST_FINDINGS: Final = 5
MOST_PEOPLE: Final = 200
MOST_HISTORY: Final = 100
MOST_HOURS: Final = 72
"""A chart by hour shows so many at most; past it by day."""
MOST_DAYS: Final = 90


def incidents(user: User) -> IncidentQuerySet:
    return Incident.objects.visible_to(user).select_related("application__team", "assigned_to", "workload")


def incident_of(pk: int, user: User) -> Incident:
    """Raises ``NotFound`` where the user may not see it."""
    rows = incidents(user).select_related("image", "decided_by", "before", "workload__cluster")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no incident {pk} that you may see.", code="no-incident")
    return found


def in_environment(name: str) -> Q:
    """In the clusters that run what was promoted there, as a condition on incidents."""
    return Q(cluster__in=ClusterGate.objects.filter(environment=name).values("cluster__name"))


# --- the page: one line for what repeats ---


def lines(rows: QuerySet[Incident]) -> QuerySet[Any, Any]:
    """A row for each technique and rule, with how much there is of it: dictionaries."""
    return (
        rows.select_related(None)
        .order_by()
        .values("line")
        .annotate(
            worst=Max("score"),
            most_severe=Max("severity"),
            incidents=Count("pk"),
            unseen=Count("pk", filter=Q(status=Status.OPEN)),
            places=Count("place", distinct=True),
            events=Sum("count"),
            began=Min("first_at"),
            last=Max("last_at"),
        )
    )


def first_of(rows: QuerySet[Incident], names: Collection[str]) -> dict[str, Incident]:
    """Of each line the incident that is to be read first. One query."""
    place = Window(
        RowNumber(), partition_by=F("line"), order_by=[F("score").desc(), F("last_at").desc(), F("id").desc()]
    )
    found = rows.filter(line__in=sorted(names)).order_by().annotate(place_in_line=place).filter(place_in_line=1)
    return {i.line: i for i in found}


def waiting(user: User) -> int:
    """How many nobody has looked at yet, and are severe."""
    return Incident.objects.visible_to(user).filter(status=Status.OPEN, severity__gte=Severity.HIGH).count()


# --- one incident ---


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Its findings that matter, the decisions on them that hold, and how many findings there are in all."""

    image: Image
    places: Sequence[str]
    findings: Sequence[Finding]
    decisions: Mapping[int, Sequence[Decision]]
    counts: Mapping[str, int]


def image_facts(incident: Incident, user: User, now: datetime) -> ImageFacts | None:
    """Of its image; ``None`` where it is not known here, or not the user's to see."""
    image = Image.objects.visible_to(user).filter(pk=incident.image_id or 0).first()
    if image is None:
        return None
    repositories = list(Repository.objects.visible_to(user).filter(places__image=image).distinct().order_by("name")[:5])
    still = Finding.objects.open().visible_to(user).filter(image=image)
    counts = Counter(dict(still.order_by().values_list("severity").annotate(n=Count("pk", distinct=True))))
    worst = still.select_related("risk").order_by("-risk__known_exploited", "-severity", "-pk").distinct()
    findings = list(worst[:MOST_FINDINGS])
    covered = Q(image=image) | Q(repository__in=repositories) | Q(scope_kind="organisation")
    covered |= Q(application_id__in={r.application_id for r in repositories if r.application_id}, repository=None)
    rows = Decision.objects.visible_to(user).in_force(now).filter(covered, risk_id__in=[f.risk_id for f in findings])
    decisions: dict[int, list[Decision]] = {}
    for decision in rows.distinct().order_by("pk"):
        decisions.setdefault(decision.risk_id, []).append(decision)
    words = {Severity(severity).label: count for severity, count in counts.items()}
    return ImageFacts(image, [r.name for r in repositories], findings, decisions, words)


def workload_of(incident: Incident, user: User) -> Workload | None:
    """As far as the user may see it."""
    found = Workload.objects.visible_to(user).select_related("cluster")
    return found.filter(pk=incident.workload_id or 0).first()


def stories_of(incident: Incident) -> list[IncidentStory]:
    return list(incident.stories.all())


@dataclass(frozen=True, slots=True)
class Series:
    """How many events came in each hour, or in each day where that would be too many hours; ``begins``: of each."""

    step: timedelta
    begins: Sequence[datetime]
    counts: Sequence[int]


def series_of(incident: Incident, stories: Iterable[str], user: User) -> Series:
    """From the first to the last of its events, as the store has counted them; the latest where it is too long."""
    rows = (
        Tally.objects.visible_to(user)
        .filter(story__in=bulk.among(sorted(stories)), hour__gte=_hour(incident.first_at), hour__lte=incident.last_at)
        .order_by()
        .values_list("hour")
        .annotate(n=Sum("count"))
    )
    hours = dict(rows.order_by("-hour")[: MOST_DAYS * 24])
    is_short = incident.last_at - incident.first_at <= timedelta(hours=MOST_HOURS)
    step = timedelta(hours=1) if is_short else timedelta(days=1)
    most = MOST_HOURS if step < timedelta(1) else MOST_DAYS
    end = _begin(incident.last_at, step)
    begin = max(_begin(incident.first_at, step), end - (most - 1) * step)
    counted: Counter[datetime] = Counter()
    for hour, count in hours.items():
        counted[_begin(hour, step)] += count
    begins = [begin + n * step for n in range(int((end - begin) / step) + 1)]
    return Series(step, begins, [counted[b] for b in begins])


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _begin(at: datetime, step: timedelta) -> datetime:
    return _hour(at) if step < timedelta(1) else _hour(at).replace(hour=0)


def assignable(incident: Incident) -> list[User]:
    """Who may handle it: people of its team, and of the whole organisation."""
    wide = Q(team=None) | (Q(team_id=incident.team_id) if incident.team_id else Q(pk__in=()))
    held = Membership.objects.filter(wide, role__in=HANDLERS)
    people = User.objects.people().filter(is_active=True, pk__in=held.values("user_id"))
    return list(people.order_by("username")[:MOST_PEOPLE])


def expectations(user: User) -> QuerySet[Expectation]:
    return Expectation.objects.visible_to(user).select_related("repository", "application", "incident", "decided_by")


def may_handle_some(user: User) -> bool:
    return user.can(Permission.INCIDENT_HANDLE)
