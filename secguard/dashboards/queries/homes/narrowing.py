"""The rows that a home counts: what the reader may see, narrowed as its slice says. Nothing is counted past these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from urllib.parse import urlencode

from django.db.models import Q, QuerySet
from django.urls import reverse

from secguard.accounts.models import Application, Team, User
from secguard.admission.models import AdmissionDecision
from secguard.dashboards.slices import Slice
from secguard.decisions.models import Control, Decision, DecisionQuerySet
from secguard.findings.models import Exposure
from secguard.forecast.models import Turn
from secguard.forecast.services.computing import DAYS
from secguard.images.models import Repository
from secguard.incidents.models import Incident, IncidentQuerySet
from secguard.incidents.queries import in_environment as incidents_in
from secguard.promotion.models import Environment
from secguard.promotion.route import Stop
from secguard.workloads.models import Workload

EVERYWHERE = "in all environments"
"""Said beside what is about an application, wherever it runs."""


@dataclass(frozen=True)
class Narrowed:
    """What ``user`` may see of ``slice`` at ``now``."""

    user: User
    slice: Slice
    now: datetime

    @property
    def since(self) -> datetime:
        return self.slice.since(self.now)

    @property
    def everywhere(self) -> str:
        """The note of what the environment does not narrow; empty where none was asked for."""
        return EVERYWHERE if self.slice.environment else ""

    def of_application(self, path: str) -> Q:
        """The team and the application as a condition on rows whose application stands at ``path``."""
        asked = Q()
        if self.slice.team:
            asked &= Q(**{f"{path}__team__slug": self.slice.team})
        if self.slice.application:
            asked &= Q(**{f"{path}__slug": self.slice.application})
        return asked

    def applications(self) -> QuerySet[Application]:
        rows = Application.objects.visible_to(self.user)
        asked = Q(team__slug=self.slice.team) if self.slice.team else Q()
        return rows.filter(asked, **({"slug": self.slice.application} if self.slice.application else {}))

    @cached_property
    def _place(self) -> Q:
        return in_environment(self.slice.environment)

    def repositories(self) -> QuerySet[Repository]:
        rows = Repository.objects.visible_to(self.user).filter(self.of_application("application"), self._place)
        return rows.exclude(newest_image=None)

    def exposures(self) -> QuerySet[Exposure]:
        """What stands open."""
        return self.of_exposures(Exposure.objects.present())

    def of_exposures(self, rows: QuerySet[Exposure]) -> QuerySet[Exposure]:
        found = Exposure.objects.visible_to(self.user) & rows
        found = found.filter(self.of_application("application"))
        return found.filter(repository__in=Repository.objects.filter(self._place)) if self.slice.environment else found

    def workloads(self) -> QuerySet[Workload]:
        rows = Workload.objects.running().visible_to(self.user).filter(self.of_application("application"))
        return rows.filter(cluster__gate__environment=self.slice.environment) if self.slice.environment else rows

    def admissions(self) -> QuerySet[AdmissionDecision]:
        rows = AdmissionDecision.objects.visible_to(self.user).filter(self.of_application("repository__application"))
        return rows.filter(cluster__gate__environment=self.slice.environment) if self.slice.environment else rows

    def incidents(self) -> IncidentQuerySet:
        """With which somebody has to do something, whenever they began."""
        return self._incidents().live()

    def decided_incidents(self) -> IncidentQuerySet:
        """What people decided within the period to be an attack, or expected."""
        return self._incidents().filter(decided_at__gte=self.since)

    def _incidents(self) -> IncidentQuerySet:
        rows = Incident.objects.visible_to(self.user).filter(self.of_application("application"))
        return rows.filter(incidents_in(self.slice.environment)) if self.slice.environment else rows

    def decisions(self) -> DecisionQuerySet:
        """Of the team that asked and of the application; the environment narrows them not."""
        rows = Decision.objects.visible_to(self.user)
        if self.slice.team:
            rows = rows.filter(team_id__in=self.team_ids)
        if self.slice.application:
            slug = self.slice.application
            rows = rows.filter(Q(application__slug=slug) | Q(repository__application__slug=slug))
        return rows

    @cached_property
    def team_ids(self) -> list[int]:
        return list(Team.objects.visible_to(self.user).filter(slug=self.slice.team).values_list("pk", flat=True))

    def controls(self) -> QuerySet[Control]:
        return Control.objects.visible_to(self.user).filter(self.of_application("application"))

    def turns(self) -> QuerySet[Turn]:
        """Gates that will begin to block; the environment narrows them not."""
        rows = Turn.objects.visible_to(self.user).between(self.now, self.now + timedelta(days=DAYS))
        return rows.filter(self.of_application("repository__application"))

    def url(self, name: str, *, environment: bool = True, **words: str) -> str:
        """A list narrowed as this is, and by ``words`` besides; ``environment``: whether the list knows of them."""
        asked = {k: v for k, v in self.slice.narrows.items() if environment or k != "environment"} | words
        return f"{reverse(name)}?{urlencode(asked)}" if asked else reverse(name)


def in_environment(name: str) -> Q:
    """Which repositories are that environment's (``promotion.route.home_of``), as a condition; all where no name is
    given. One query."""
    if not name:
        return Q()
    stops = [e.stop for e in Environment.objects.select_related("registry")]
    wanted = next((stop for stop in stops if stop.name == name), None)
    if wanted is None:
        return Q(pk__in=())
    closer = Q(pk__in=())
    for stop in stops:
        if stop is not wanted and stop.host == wanted.host and _is_closer(stop, wanted):
            closer |= _held_by(stop)
    return _held_by(wanted) & ~closer


def _held_by(stop: Stop) -> Q:
    held = Q(registry__host=stop.host)
    return held & Q(path__startswith=f"{stop.prefix}/") if stop.prefix else held


def _is_closer(other: Stop, wanted: Stop) -> bool:
    if len(other.prefix) == len(wanted.prefix):
        return other.prefix == wanted.prefix and other.position < wanted.position
    return len(other.prefix) > len(wanted.prefix) and other.prefix.startswith(wanted.prefix)
