"""Read frameworks and how applications stand with their controls: now, and at the end of any past day.

Counts come from ``FrameworkDay`` where they are kept, and else from ``MeasureStanding``, which says the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from django.db.models import (
    BigIntegerField,
    Case,
    Count,
    DateTimeField,
    F,
    FilteredRelation,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone
from msgspec import Struct

from secguard import bulk
from secguard.accounts.models import Application, Team, User
from secguard.compliance.framework import Control
from secguard.compliance.models import (
    ORGANISATION,
    FrameworkDay,
    FrameworkVersion,
    MeasuredApplication,
    MeasureStanding,
)
from secguard.compliance.standing import TRUST, Counts, State, add, count, effective, end_of, tally
from secguard.errors import NotFound

Measured = dict[str, State]
"""What was measured of one application: {check: state}."""


class Moment(Struct, frozen=True):
    """When is asked about: now, or the end of a past day."""

    at: datetime
    day: date
    is_past: bool


class Scope(Struct, frozen=True, kw_only=True):
    """Whose applications are counted: what ``user`` may see, or one team of that, or one application."""

    user: User
    team: Team | None = None
    application: Application | None = None

    @property
    def kept(self) -> list[int] | None:
        """The scopes of ``FrameworkDay`` that together are this one; None where they are not."""
        if self.application is not None or (not self.user.sees_everything and self.user.limit is not None):
            return None
        if self.team is not None:
            return [self.team.pk]
        return [ORGANISATION] if self.user.sees_everything else sorted(self.user.team_ids)

    def applications(self) -> QuerySet[Application]:
        rows = Application.objects.visible_to(self.user)
        if self.application is not None:
            rows = rows.filter(pk=self.application.pk)
        return rows


class Standing(Struct, frozen=True, kw_only=True):
    """One framework over a scope at a moment."""

    counts: dict[str, Counts]
    """{control: applications by state}."""

    @property
    def tally(self) -> Counts:
        """Controls by state."""
        return tally(self.counts)


def moment(day: date | None = None) -> Moment:
    """The end of ``day``, or now where it is left out, today or later."""
    now = timezone.now()
    if day is None or day >= now.date():
        return Moment(now, now.date(), False)
    return Moment(end_of(day), day, True)


# --- frameworks ---


def in_force(at: datetime) -> list[FrameworkVersion]:
    """The frameworks in force, the shipped ones first. One query."""
    rows = FrameworkVersion.objects.in_force(at).select_related("added_by")
    return list(rows.order_by("-is_shipped", "name"))


def find_version(name: str, at: datetime) -> FrameworkVersion:
    """The version of that name that was in force, or the first where that came later: its checks may have been
    measured before, and whoever shows it says so (``showing.came_later``). Raises ``NotFound`` naming what there is."""
    rows = FrameworkVersion.objects.filter(name=name).select_related("added_by")
    found = rows.in_force(at).first() or rows.filter(valid_from__gt=at).order_by("number").first()
    if found is not None:
        return found
    ended = rows.aggregate(last=Max("valid_until"))["last"]
    if ended is None:
        known = ", ".join(row.name for row in in_force(at)) or "none"
        raise NotFound(f"There is no framework {name[:60]!r}; in force are: {known}.", code="framework")
    raise NotFound(
        f"The framework {name!r} is out of force since {ended:%Y-%m-%d}; ask for a day before.", code="framework-ended"
    )


def find_control(version: FrameworkVersion, id_: str) -> Control:
    found = version.parsed.control(id_)
    if found is None:
        raise NotFound(f"{version} has no control {id_[:40]!r}.", code="control")
    return found


def versions_of(name: str) -> list[FrameworkVersion]:
    """All versions, newest first, without their text."""
    return list(FrameworkVersion.objects.filter(name=name).defer("text").select_related("added_by")[:50])


def retired() -> list[FrameworkVersion]:
    """The last version of each framework of which none is in force."""
    alive = FrameworkVersion.objects.filter(valid_until=None).values("name")
    rows = FrameworkVersion.objects.exclude(name__in=alive).defer("text").order_by("name", "-number")
    return list({row.name: row for row in reversed(list(rows[:500]))}.values())


def first_day() -> date | None:
    """The first day of which anything is known."""
    found: date | None = FrameworkDay.objects.aggregate(first=Min("day"))["first"]
    return found


# --- counted ---


def standings(versions: Sequence[FrameworkVersion], scope: Scope, when: Moment) -> dict[int, Standing]:
    """{version: how the scope stands with it}. One query where the day's counts are kept and hold; else what they are
    counted from is read."""
    found = _kept(versions, scope, when)
    missing = [version for version in versions if version.pk not in found]
    if missing:
        by_team = measured_by_team(scope, when, sorted(set().union(*(v.parsed.checks for v in missing))))
        several = [one for rows in by_team.values() for one in rows]
        found |= {version.pk: Standing(counts=count(version.parsed, several)) for version in missing}
    return found


def _kept(versions: Sequence[FrameworkVersion], scope: Scope, when: Moment) -> dict[int, Standing]:
    scopes = scope.kept
    if not scopes:
        return {}
    rows = FrameworkDay.objects.filter(day=when.day, team_id__in=scopes, version__in=[v.pk for v in versions])
    if when.is_past:
        rows = rows.filter(is_closed=True)
    else:
        rows = rows.filter(Q(turns_at=None) | Q(turns_at__gt=when.at), counted_at__gt=when.at - TRUST)
    by_version: dict[int, list[dict[str, Counts]]] = defaultdict(list)
    for version, counts in rows.values_list("version_id", "counts"):
        by_version[version].append(_read(counts))
    # A team without a row has no application; that of a single scope must be there to be believed.
    return {pk: Standing(counts=add(several)) for pk, several in by_version.items()}


def _read(counts: Mapping[str, Sequence[int]]) -> dict[str, Counts]:
    return {id_: (n[0], n[1], n[2], n[3]) for id_, n in counts.items()}


def measured_by_team(scope: Scope | None, when: Moment, checks: Sequence[str]) -> dict[int, list[Measured]]:
    """{team: what was measured of each of its applications at that moment}: an application that was there and of which
    nothing is known is an empty one. Three queries."""
    everything = Application.objects.all() if scope is None else scope.applications()
    teams = dict(everything.filter(created_at__lte=when.at).order_by().values_list("pk", "team_id"))
    rows = MeasureStanding.objects.told(when.at, is_past=when.is_past).filter(measure__in=bulk.among(checks)).order_by()
    if scope is not None and not scope.user.sees_everything:
        rows = rows.visible_to(scope.user)
    if scope is not None and scope.application is not None:
        rows = rows.filter(application=scope.application)
    lost = _forgotten(when.at)
    found: dict[int, Measured] = {pk: {} for pk in teams}
    columns = ("application_id", "team_id", "measure", "state", "turns_at", "until")
    for pk, team, name, state, turns_at, until in rows.values_list(*columns).iterator(chunk_size=5_000):
        if pk in found:
            teams[pk] = team
            if until is not None or pk not in lost:
                found[pk][name] = effective(State(state), turns_at, when.at)
    by_team: dict[int, list[Measured]] = defaultdict(list)
    for pk, measured in found.items():
        if scope is None or scope.team is None or teams[pk] == scope.team.pk:
            by_team[teams[pk]].append(measured)
    return dict(by_team)


def _forgotten(at: datetime) -> set[int]:
    """Applications of which what was measured last counts for nothing any more. One query; most often none."""
    rows = MeasuredApplication.objects.filter(measured_at__lte=at - TRUST)
    return set(rows.values_list("application_id", flat=True))


def trend(
    versions: Sequence[FrameworkVersion], scope: Scope, since: date, until: date
) -> dict[str, dict[date, Counts]]:
    """{framework: {day: controls by state}}, by all its versions, of what is kept. One query."""
    names = {version.name for version in versions}
    rows = FrameworkDay.objects.filter(
        day__gte=since, day__lte=until, version__name__in=names, team_id__in=scope.kept or []
    )
    found: dict[str, dict[date, Counts]] = defaultdict(dict)
    columns = ("version__name", "day", "passing", "excepted", "unmeasured", "failing")
    if len(scope.kept or []) == 1:
        for name, day, *numbers in rows.order_by("day", "version_id").values_list(*columns):
            found[name][day] = (numbers[0], numbers[1], numbers[2], numbers[3])
        return dict(found)
    several: dict[tuple[str, date], list[dict[str, Counts]]] = defaultdict(list)
    for name, day, counts in rows.order_by("day").values_list("version__name", "day", "counts"):
        several[name, day].append(_read(counts))
    for (name, day), one in several.items():
        found[name][day] = tally(add(one))
    return dict(found)


# --- rows ---

_WORST: Final = int(State.UNMEASURED)


def at_control(control: Control, scope: Scope, when: Moment) -> QuerySet[Any]:
    """The scope's applications with ``state`` (of the control) and ``since`` (when the newest measurement that counts
    began), as they stood at that moment. One pass over the measurements, however many applications there are."""
    found: Any = scope.applications().filter(created_at__lte=when.at).select_related("team")
    if not control.checks:
        nothing = Value(None, output_field=DateTimeField())
        found = _of_team(found, scope, when, None)
        unknown: QuerySet[Any] = found.annotate(state=Value(_WORST), since=nothing)
        return unknown
    alive = Q(standings__until=None)
    if when.is_past:
        alive = (alive | Q(standings__until__gt=when.at)) & Q(standings__since__lte=when.at)
    told = FilteredRelation("standings", condition=alive & Q(standings__measure__in=list(control.checks)))
    # The trust in a measurement that nothing followed has ended where the application was not looked at for so long.
    is_lost = Q(told__until=None, measured__measured_at__lte=when.at - TRUST)
    is_turned = ~Q(told__state=int(State.FAIL)) & Q(told__turns_at__lte=when.at)
    worth = Case(
        When(Q(told__state__isnull=False) & (is_lost | is_turned), then=Value(_WORST)),
        default=F("told__state"),
        output_field=IntegerField(),
    )
    found = found.annotate(told=told).annotate(worst=Max(worth), number=Count("told"), since=Max("told__since"))
    is_part = Q(number__lt=len(control.checks)) & Q(worst__lt=_WORST)
    state = Case(When(is_part | Q(worst=None), then=Value(_WORST)), default=F("worst"), output_field=IntegerField())
    rows: QuerySet[Any] = _of_team(found.annotate(state=state), scope, when, Max("told__team_id"))
    return rows


def _of_team(rows: Any, scope: Scope, when: Moment, then: Max | None) -> Any:
    """A team's are those that were its own at that moment, as the measurements of then say (``then``)."""
    if scope.team is None:
        return rows
    if not when.is_past or then is None:
        return rows.filter(team=scope.team)
    return rows.annotate(owner=Coalesce(then, F("team_id"), output_field=BigIntegerField())).filter(owner=scope.team.pk)


def measures(application_ids: Iterable[int], checks: Sequence[str], when: Moment) -> dict[int, dict[str, Any]]:
    """{application: {check: its ``MeasureStanding``, with ``worth`` (its state at that moment)}}. Two queries."""
    ids = list(application_ids)
    rows = MeasureStanding.objects.told(when.at, is_past=when.is_past).filter(
        application__in=bulk.among(ids), measure__in=bulk.among(list(checks))
    )
    seen = seen_at(ids)
    found: dict[int, dict[str, Any]] = {pk: {} for pk in ids}
    for row in rows.order_by("application_id", "measure"):
        found[row.application_id][row.measure] = valued(row, seen.get(row.application_id), when)
    return found


def seen_at(application_ids: Iterable[int]) -> dict[int, datetime]:
    """{application: when it was measured last}. One query."""
    rows = MeasuredApplication.objects.filter(application__in=bulk.among(sorted(set(application_ids))))
    return dict(rows.values_list("application_id", "measured_at"))


def valued(row: Any, seen: datetime | None, when: Moment) -> Any:
    """Give a ``MeasureStanding`` its ``worth``, the state that it still tells at that moment."""
    is_lost = row.until is None and (seen is None or seen <= when.at - TRUST)
    row.worth = State.UNMEASURED if is_lost else effective(State(row.state), row.turns_at, when.at)
    row.is_outdated = row.worth is not State(row.state)
    return row
