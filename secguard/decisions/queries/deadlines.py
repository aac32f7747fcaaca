"""Deadlines of exposures: what is held of their flaws, and the row of the risk appetite that gives each its time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import BooleanField, Case, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Cast

from secguard import bulk
from secguard.decisions import appetite as rules
from secguard.decisions.deadlines import Deadline
from secguard.decisions.models import RiskAppetite
from secguard.decisions.ssvc import EXPLOIT_SITES, Held
from secguard.findings.identity import FindingKind
from secguard.findings.models import Exposure, Risk
from secguard.findings.severity import Severity

CHUNK = 50_000
_FLAW = "risk__vulnerability__"
_COLUMNS = (
    "pk", "since", "due_at", "kind", "severity", "known_exploited", "fix_available", "application__slug",
    "application__is_exposed", "application__impact", "risk__epss", "_has_exploit", f"{_FLAW}cvss_vector",
)  # fmt: skip


class Standing(NamedTuple):
    """An exposure, as far as its deadline depends on it."""

    pk: int
    since: datetime
    due_at: datetime | None
    case: rules.Case
    held: Held


def _leads_to_exploit() -> Case:
    """Whether one of the ``_references`` leads to an exploit."""
    sites = Q()
    for site in EXPLOIT_SITES:
        sites |= Q(_references__contains=site)
    return Case(When(sites, then=Value(True)), default=Value(False), output_field=BooleanField())


def standing(exposures: QuerySet[Exposure]) -> Iterator[list[Standing]]:
    """All rows in the order of their ids, with what is held of them; one query for each ``CHUNK``."""
    rows = exposures.annotate(_references=Cast(f"{_FLAW}references", TextField()))
    rows = rows.annotate(_has_exploit=_leads_to_exploit()).order_by("pk")
    last, is_more = 0, True
    while is_more:
        batch = list(rows.filter(pk__gt=last).values_list(*_COLUMNS)[:CHUNK])
        yield [_standing(*row) for row in batch]
        is_more = len(batch) == CHUNK
        last = batch[-1][0] if batch else 0


def _standing(
    pk: int,
    since: datetime,
    due_at: datetime | None,
    kind: str,
    severity: int,
    exploited: bool,
    fix: bool,
    application: str | None,
    exposed: bool | None,
    impact: str | None,
    epss: float | None,
    has_exploit: bool,
    vector: str | None,
) -> Standing:
    case = rules.Case(
        severity=Severity(severity),
        kind=FindingKind(kind),
        known_exploited=exploited,
        fix_available=fix,
        exposed=bool(exposed),
    )
    return Standing(
        pk,
        since,
        due_at,
        case,
        Held(exploited, epss, bool(has_exploit), vector or "", application or "", bool(exposed), impact or ""),
    )


def counted_anew(
    exposures: QuerySet[Exposure], appetite: rules.Appetite
) -> Iterator[list[tuple[int, datetime | None]]]:
    """(id, deadline) of those whose deadline is another one by ``appetite``, some at a time."""
    times: dict[tuple[rules.Case, Held], timedelta | None] = {}
    for batch in standing(exposures):
        found = []
        for row in batch:
            key = (row.case, row.held)
            if key not in times:
                days = appetite.deadline(*key).days
                times[key] = None if days is None else timedelta(days=days)
            time = times[key]
            due = None if time is None else row.since + time
            if due != row.due_at:
                found.append((row.pk, due))
        if len(times) > CHUNK:
            times.clear()
        yield found


def deadlines_of(ids: Iterable[int]) -> dict[int, Deadline]:
    """{exposure id: by when it must be fixed by the appetite in force, and what says so}; two queries for a page."""
    wanted = list(ids)
    row = RiskAppetite.objects.filter(is_active=True).first() if wanted else None
    if row is None:
        return {}
    appetite, rows = rules.parse_appetite(row.source), Exposure.objects.filter(pk__in=wanted)
    return {found.pk: appetite.deadline(found.case, found.held) for batch in standing(rows) for found in batch}


class Gave(NamedTuple):
    """What gave an exposure its deadline: the version of the risk appetite, and its row."""

    appetite: int
    deadline: Deadline


def gave(ids: Iterable[int]) -> dict[int, Gave]:
    """{exposure id: what gave it the deadline it has}; two queries.

    Without those that have none, or still one of before the risk appetite in force: nothing is named that did not say
    so.
    """
    wanted = list(ids)
    row = RiskAppetite.objects.filter(is_active=True).first() if wanted else None
    if row is None:
        return {}
    appetite = rules.parse_appetite(row.source)
    known: dict[tuple[rules.Case, Held], Deadline] = {}
    found = {}
    for batch in standing(Exposure.objects.filter(pk__in=bulk.among(wanted)).exclude(due_at=None)):
        for one in batch:
            key = (one.case, one.held)
            if key not in known:
                known[key] = appetite.deadline(*key)
            days = known[key].days
            if days is not None and one.since + timedelta(days=days) == one.due_at:
                found[one.pk] = Gave(row.number, known[key])
    return found


def give_deadlines(exposures: Iterable[Exposure]) -> None:
    """Give each its ``deadline``, for a page that shows it; two queries."""
    rows = list(exposures)
    found = deadlines_of(e.pk for e in rows)
    for exposure in rows:
        exposure.deadline = found.get(exposure.pk)  # type: ignore[attr-defined]


def vectors_of(risk_ids: Iterable[int]) -> dict[int, tuple[str, bool]]:
    """{risk id: (CVSS vector, whether a reference leads to an exploit)}; one query."""
    rows = Risk.objects.filter(pk__in=bulk.among(list(risk_ids)), vulnerability__isnull=False)
    rows = rows.annotate(_references=Cast("vulnerability__references", TextField()))
    found = rows.annotate(_has_exploit=_leads_to_exploit()).values_list(
        "pk", "vulnerability__cvss_vector", "_has_exploit"
    )
    return {pk: (vector, bool(has_exploit)) for pk, vector, has_exploit in found}
