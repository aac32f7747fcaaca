"""Keep the counts of each day: today's as they stand, and those of days that are over as they ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Max, Min, Q
from django.utils import timezone

from secguard import bulk
from secguard.compliance import queries
from secguard.compliance.models import (
    ORGANISATION,
    FrameworkDay,
    FrameworkVersion,
    MeasuredApplication,
    MeasureStanding,
)
from secguard.compliance.standing import ONE_DAY, TRUST, Counts, add, count, end_of, tally

OLD: Final = timedelta(hours=1)
"""Today's counts are made anew after it, whatever has changed."""
MOST_DAYS: Final = 40
"""So many days are closed by one run; the next goes on."""


def keep_days(now: datetime | None = None, *, is_changed: bool = True) -> int:
    """Close the days that are over, and count today where something has changed. Returns how many days were written."""
    at = now or timezone.now()
    days = _to_close(at.date())
    for day in days:
        _write(queries.Moment(end_of(day), day, True))
    if is_changed or _is_outdated(at):
        _write(queries.Moment(at, at.date(), False))
        return len(days) + 1
    return len(days)


def _to_close(today: date) -> list[date]:
    """Days that are over and were not counted since: each of them, whether or not anything ran then."""
    rows = FrameworkDay.objects.aggregate(last=Max("day", filter=Q(is_closed=True)), first=Min("day"))
    if rows["first"] is None:  # nothing was counted yet, or it was all forgotten
        since = MeasureStanding.objects.aggregate(first=Min("since"))["first"]
        day = today if since is None else since.date()
    else:
        day = rows["first"] if rows["last"] is None else rows["last"] + ONE_DAY
    found: list[date] = []
    while day < today and len(found) < MOST_DAYS:
        found.append(day)
        day += ONE_DAY
    return found


def forget_counts(application_ids: Sequence[int]) -> None:
    """Have every day counted anew since the first on which one of these was measured: they are about to go, and were
    never meant to count. Those that stay are counted again by the next runs."""
    rows = MeasureStanding.objects.filter(application__in=bulk.among(application_ids))
    first = rows.aggregate(first=Min("since"))["first"]
    if first is not None:
        FrameworkDay.objects.filter(day__gte=first.date()).delete()


def _is_outdated(at: datetime) -> bool:
    rows = FrameworkDay.objects.filter(day=at.date(), team_id=ORGANISATION)
    holding = rows.filter(Q(turns_at=None) | Q(turns_at__gt=at), counted_at__gt=at - OLD)
    counted = set(holding.values_list("version_id", flat=True))
    return any(pk not in counted for pk in FrameworkVersion.objects.in_force(at).values_list("pk", flat=True))


def _write(when: queries.Moment) -> None:
    """The counts of every framework in force, for the organisation and each team that has applications."""
    versions = list(FrameworkVersion.objects.in_force(when.at).order_by("pk"))
    checks = sorted(set().union(*(version.parsed.checks for version in versions)))
    by_team = queries.measured_by_team(None, when, checks)
    turns_at = None if when.is_past else _turn(when.at)
    rows: list[FrameworkDay] = []
    for version in versions:
        teams = {team: count(version.parsed, several) for team, several in sorted(by_team.items())}
        whole = add([count(version.parsed, ()), *teams.values()])
        sizes = {team: len(several) for team, several in by_team.items()}
        sizes[ORGANISATION] = sum(sizes.values())
        for team, counts in ((ORGANISATION, whole), *teams.items()):
            rows.append(_row(version.pk, team, counts, sizes[team], when, turns_at))
    _replace(rows, when)


def _turn(at: datetime) -> datetime | None:
    """Until when what is counted now holds by the clock."""
    found = MeasureStanding.objects.current().filter(turns_at__gt=at).aggregate(first=Min("turns_at"))["first"]
    oldest = MeasuredApplication.objects.aggregate(first=Min("measured_at"))["first"]
    lost = oldest + TRUST if oldest is not None else None
    turns = [one for one in (found, lost) if one is not None and one > at]
    return min(turns, default=None)


def _row(
    version: int, team: int, counts: dict[str, Counts], size: int, when: queries.Moment, turns_at: datetime | None
) -> FrameworkDay:
    passing, excepted, unmeasured, failing = tally(counts)
    return FrameworkDay(
        version_id=version,
        team_id=team,
        day=when.day,
        counts={id_: list(n) for id_, n in counts.items()},
        passing=passing,
        excepted=excepted,
        unmeasured=unmeasured,
        failing=failing,
        applications=size,
        counted_at=when.at,
        turns_at=turns_at,
        is_closed=when.is_past,
    )


@transaction.atomic
def _replace(rows: Sequence[FrameworkDay], when: queries.Moment) -> None:
    """Write a day's counts; what stood there of it goes, such as that of a team without applications now."""
    FrameworkDay.objects.filter(day=when.day, is_closed=False).delete()
    FrameworkDay.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["version", "team_id", "day"],
        update_fields=[
            "counts",
            "passing",
            "excepted",
            "unmeasured",
            "failing",
            "applications",
            "counted_at",
            "turns_at",
            "is_closed",
        ],
        batch_size=200,
    )
