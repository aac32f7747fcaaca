"""Keep by day and application how much was fixed and decided and how long it took: pages then add up rows of days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from secguard.dashboards.models import ApplicationDay
from secguard.dashboards.pace import Pace
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.findings.models import Exposure
from secguard.jobs.registry import Run

KEEP_PACE: Final = "dashboards.keep-pace"
BACK: Final = timedelta(days=365)
"""How far the first run looks."""
KEPT: Final = timedelta(days=400)
Key = tuple[date, int]
_GIVEN: Final = (DecisionStatus.APPROVED.value, DecisionStatus.ENDED.value, DecisionStatus.REVOKED.value)


def keep_pace(run: Run) -> Mapping[str, Any]:
    """The job: the days since the last one that is kept, and that one again. Safe to run twice."""
    return {"rows": keep_paces(timezone.now())}


def keep_paces(now: datetime) -> int:
    """Write, or write over, the days up to ``now``'s; returns how many rows were written."""
    last = ApplicationDay.objects.aggregate(at=Max("day"))["at"]
    first = max(last - timedelta(days=1), (now - BACK).date()) if last else (now - BACK).date()
    paces = _paces(datetime.combine(first, time(), tzinfo=UTC), now)
    open_ = _open(now)
    with transaction.atomic():
        _write(paces, first)
        _write_open(open_, now.date())
        ApplicationDay.objects.filter(day__lt=(now - KEPT).date()).delete()
    return len(paces)


def _write(paces: Mapping[Key, Pace], first: date) -> None:
    columns = list(asdict(Pace()))
    # What was resolved may have come back since: its day is counted anew, from nothing.
    ApplicationDay.objects.filter(day__gte=first).update(**asdict(Pace()))
    rows = [ApplicationDay(day=day, application_id=pk, **asdict(pace)) for (day, pk), pace in sorted(paces.items())]
    _upsert(rows, columns)


def _write_open(counts: Mapping[int, tuple[int, int]], today: date) -> None:
    ApplicationDay.objects.filter(day=today).update(open=0, overdue=0)
    rows = [ApplicationDay(day=today, application_id=pk, open=n, overdue=late) for pk, (n, late) in counts.items()]
    _upsert(rows, ["open", "overdue"])


def _upsert(rows: list[ApplicationDay], columns: list[str]) -> None:
    ApplicationDay.objects.bulk_create(
        rows, batch_size=500, update_conflicts=True, unique_fields=["day", "application"], update_fields=columns
    )


def _open(now: datetime) -> dict[int, tuple[int, int]]:
    """{application: (open risks, those of them that are overdue and not covered)}."""
    bare = Q(decided_until=None) | Q(decided_until__lte=now)
    rows = Exposure.objects.present().exclude(application=None).order_by().values_list("application_id")
    counted = rows.annotate(n=Count("pk"), late=Count("pk", filter=bare & Q(due_at__lte=now)))
    return {pk: (n, late) for pk, n, late in counted}


def _paces(since: datetime, now: datetime) -> dict[Key, Pace]:
    found: dict[Key, Pace] = defaultdict(Pace)
    for key, pace in (*_fixed(since, now), *_decided(since, now)):
        found[key] += pace
    return found


def _between(earlier: Any, later: Any) -> Any:
    return ExpressionWrapper(later - earlier, output_field=DurationField())


def _fixed(since: datetime, now: datetime) -> Iterator[tuple[Key, Pace]]:
    """What left the newest images, by the day on which it did."""
    decided = Decision.objects.filter(pk=OuterRef("decision_id"), decided_at__isnull=False).values("decided_at")[:1]
    rows: QuerySet[Any] = Exposure.objects.filter(resolved_at__gte=since, resolved_at__lte=now)
    rows = rows.exclude(application=None).annotate(
        day=TruncDate("resolved_at"),
        took=_between(F("since"), F("resolved_at")),
        decided_at=Subquery(decided),
    )
    under = Q(decided_at__isnull=False, decided_at__lte=F("resolved_at"))
    rows = rows.annotate(after=_between(F("decided_at"), F("resolved_at"))).order_by().values("day", "application_id")
    for row in rows.annotate(
        fixed=Count("pk"),
        seconds=Sum("took"),
        kept=Count("pk", filter=Q(due_at__gte=F("resolved_at"))),
        missed=Count("pk", filter=Q(due_at__lt=F("resolved_at"))),
        carried_out=Count("pk", filter=under),
        after_seconds=Sum("after", filter=under),
    ):
        yield (
            (row["day"], row["application_id"]),
            Pace(
                fixed=row["fixed"],
                fixed_seconds=_seconds(row["seconds"]),
                kept=row["kept"],
                missed=row["missed"],
                carried_out=row["carried_out"],
                carried_out_seconds=_seconds(row["after_seconds"]),
            ),
        )


def _decided(since: datetime, now: datetime) -> Iterator[tuple[Key, Pace]]:
    """What was decided for an application or one of its repositories, by the day on which it was.

    From when the risk was first found there; what is decided for an image or the organisation is no application's.
    """
    found = Exposure.objects.filter(risk=OuterRef("risk"), application=OuterRef("whose")).order_by("since", "pk")
    rows: QuerySet[Any] = Decision.objects.filter(decided_at__gte=since, decided_at__lte=now, status__in=_GIVEN)
    rows = rows.annotate(whose=Coalesce("application_id", "repository__application_id")).exclude(whose=None)
    rows = rows.annotate(found_at=Subquery(found.values("since")[:1]), day=TruncDate("decided_at"))
    rows = rows.filter(found_at__lte=F("decided_at")).annotate(took=_between(F("found_at"), F("decided_at")))
    counted = rows.order_by().values("day", "whose").annotate(decided=Count("pk"), seconds=Sum("took"))
    for row in counted:
        yield (row["day"], row["whose"]), Pace(decided=row["decided"], decided_seconds=_seconds(row["seconds"]))


def _seconds(duration: timedelta | None) -> int:
    return int(duration.total_seconds()) if duration else 0
