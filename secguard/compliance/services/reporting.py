"""Make a report of one framework for an auditor: what stood how on a day, and by which evidence."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, F, IntegerField, Q, Value, When
from django.utils import timezone

from secguard import bulk
from secguard.compliance import documents, queries
from secguard.compliance.models import FrameworkVersion, MeasureStanding
from secguard.compliance.queries import Moment, Scope
from secguard.compliance.report import FORMAT, MAX_MEASURES, sha256_of
from secguard.compliance.standing import NONE, State, of_scope


def make_report(version: FrameworkVersion, scope: Scope, when: Moment) -> dict[str, Any]:
    """``content`` (what is reported), its ``sha256``, and when and for whom it was made. A fixed number of queries."""
    content = _content(version, scope, when)
    return {
        "format": FORMAT,
        "content": content,
        "sha256": sha256_of(content),
        "made_at": _instant(timezone.now()),
        "made_for": scope.user.username,
    }


def _content(version: FrameworkVersion, scope: Scope, when: Moment) -> dict[str, Any]:
    framework = version.parsed
    standing = queries.standings([version], scope, when)[version.pk]
    measures, total = _measures(version, scope, when)
    return {
        "framework": {
            **{key: getattr(framework, key) for key in ("name", "title", "version", "source")},
            "number": version.number,
            "digest": version.digest,
            "is_shipped": version.is_shipped,
            "valid_from": _instant(version.valid_from),
        },
        "day": when.day.isoformat(),
        # A day that is over is the same whenever it is asked about; today is as of an instant.
        "at": _instant(when.at),
        "scope": documents.scope_document(scope),
        "standing": documents.counts_document(standing.tally),
        "controls": [
            {
                "section": part.id,
                "id": control.id,
                "title": control.title,
                "checks": list(control.checks),
                "unmeasured": control.unmeasured,
                "state": of_scope(standing.counts.get(control.id, NONE)).word,
                "counts": documents.counts_document(standing.counts.get(control.id, NONE)),
            }
            for part in framework.sections
            for control in part.controls
        ],
        "measures": measures,
        "measures_total": total,
    }


def _measures(version: FrameworkVersion, scope: Scope, when: Moment) -> tuple[list[dict[str, Any]], int]:
    """The measurements that the controls stand on, the worst first, and how many there are."""
    applications = scope.applications().filter(created_at__lte=when.at)
    rows: Any = MeasureStanding.objects.told(when.at, is_past=when.is_past).filter(
        measure__in=bulk.among(sorted(version.parsed.checks)), application__in=applications.values("pk")
    )
    if scope.team is not None:
        rows = rows.filter(team_id=scope.team.pk)
    turned = ~Q(state=int(State.FAIL)) & Q(turns_at__lte=when.at)
    worth = Case(When(turned, then=Value(int(State.UNMEASURED))), default=F("state"), output_field=IntegerField())
    total = rows.count()
    ordered = rows.annotate(rank=worth).order_by("-rank", "measure", "application__slug")
    # First which: to sort them with all that they hold takes a disk.
    ids = list(ordered.values_list("pk", flat=True)[:MAX_MEASURES])
    by_id = MeasureStanding.objects.select_related("application").filter(pk__in=bulk.among(ids)).in_bulk()
    found = [by_id[pk] for pk in ids if pk in by_id]
    seen = queries.seen_at([row.application_id for row in found])
    return [_measure(queries.valued(row, seen.get(row.application_id), when)) for row in found], total


def _measure(row: Any) -> dict[str, Any]:
    document = documents.measure_document(row, row.measure)
    document.pop("links")  # pages of today; the identifiers are what lasts
    return {**document, "application": row.application.slug, "since": _instant(row.since)}


def _instant(at: Any) -> str:
    return str(at.isoformat(timespec="microseconds")).replace("+00:00", "Z")
