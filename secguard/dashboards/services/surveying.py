"""Count how every application stands at every stage: a fixed number of queries over all of them, kept for the
landscape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.admission.answer import Outcome
from secguard.admission.models import AdmissionDecision
from secguard.dashboards.models import ApplicationLandscape
from secguard.dashboards.queries.drift import Drift, drifting, unscanned
from secguard.dashboards.queries.standing import WEEK, by_deadline
from secguard.dashboards.stages import RANK, Counts, standings, worst
from secguard.events.models import Tally
from secguard.findings.models import Exposure
from secguard.findings.severity import Severity
from secguard.images.models import IndexImage, Repository
from secguard.incidents.models import Incident
from secguard.jobs.registry import Run
from secguard.network.models import Edge
from secguard.planning.models import Checklist
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.signing.models import Attestation, Recall
from secguard.signing.statements import PROMOTION
from secguard.workloads.models import Workload, WorkloadQuerySet

SURVEY: Final = "dashboards.survey"
DAY: Final = timedelta(days=1)
_WHERE: Final = ("laptop", "datacenter", "cloud")
Found = dict[int, Counts]


def survey(run: Run) -> Mapping[str, Any]:
    """The job: every application's row, as things stand. Safe to run twice."""
    return {"applications": count_all(timezone.now())}


def count_all(now: datetime, *, among: Collection[int] | None = None) -> int:
    """Write, or write over, the row of each application (``among``: of these alone); returns how many there are.
    Thirteen queries."""
    found: Found = defaultdict(Counts)
    for fill in (_plan, _images, _judged, _open, _registered, _admissions, _ways, _events, _incidents):
        for pk, values in fill(now):
            for name, value in values.items():
                setattr(found[pk], name, value or 0)
    places = _workloads(found, now)
    everything = Application.objects.order_by("pk").values_list("pk", flat=True)
    ids = [pk for pk in everything if among is None or pk in among]
    rows = [_row(pk, found[pk], places.get(pk, {}), now) for pk in ids]
    columns = [
        f.attname for f in ApplicationLandscape._meta.concrete_fields if f.attname not in ("id", "application_id")
    ]
    with transaction.atomic():
        ApplicationLandscape.objects.bulk_create(
            rows, batch_size=300, update_conflicts=True, unique_fields=["application"], update_fields=columns
        )
    return len(rows)


def _row(pk: int, counts: Counts, place: Mapping[str, int], now: datetime) -> ApplicationLandscape:
    told = standings(counts)
    return ApplicationLandscape(
        application_id=pk,
        rank=RANK[worst([standing.state for standing in told.values()])],
        words={stage.value: standing.words for stage, standing in told.items()},
        behind={stage.value: standing.behind for stage, standing in told.items() if standing.behind},
        images=counts.images,
        workloads=counts.workloads,
        with_volumes=place.get("with_volumes", 0),
        incidents=counts.incidents,
        counted_at=now,
        **{where: place.get(where, 0) for where in _WHERE},
        **{stage.value: standing.state.value for stage, standing in told.items()},
    )


Filled = Iterator[tuple[int, dict[str, Any]]]


def _rows(rows: Any, key: str, names: tuple[str, ...]) -> Filled:
    for row in rows:
        yield row[key], {name: row[name] for name in names}


def _plan(now: datetime) -> Filled:
    rows = Checklist.objects.exclude(counted_at=None).values_list("application_id", "missing", "open")
    for pk, missing, unanswered in rows:
        yield pk, {"has_checklist": True, "unkept": missing, "unanswered": unanswered}


def _repositories() -> QuerySet[Any]:
    rows: QuerySet[Any] = Repository.objects.exclude(newest_image=None).exclude(application=None)
    return rows.order_by().values("application_id")


def _newest(condition: Q | None = None) -> Count:
    return Count("newest_image", distinct=True, filter=condition)


def _images(now: datetime) -> Filled:
    never = Q(newest_image__last_scanned_at=None)
    counted = _repositories().annotate(
        images=_newest(), unscanned=_newest(unscanned(now, "newest_image__")), never_scanned=_newest(never)
    )
    return _rows(counted, "application_id", ("images", "unscanned", "never_scanned"))


def _judged(now: datetime) -> Filled:
    def at(gate: Gate, **columns: str) -> Q:
        return Q(Exists(Verdict.objects.filter(image=OuterRef("newest_image"), stage=gate, **columns)))

    counted = _repositories().annotate(
        judged=_newest(at(Gate.PROMOTE)),
        blocked=_newest(at(Gate.PROMOTE, verdict="block")),
        build_blocked=_newest(at(Gate.BUILD, verdict="block")),
    )
    return _rows(counted, "application_id", ("judged", "blocked", "build_blocked"))


def _open(now: datetime) -> Filled:
    words = by_deadline(now, now + WEEK)
    rows: Any = Exposure.objects.present().exclude(application=None).order_by().values("application_id")
    counted = rows.annotate(overdue=Count("pk", filter=words["overdue"]), due_soon=Count("pk", filter=words["soon"]))
    return _rows(counted, "application_id", ("overdue", "due_soon"))


def _registered(now: datetime) -> Filled:
    standing = Attestation.objects.standing(now).filter(predicate_type=PROMOTION)
    itself = Exists(standing.filter(digest=OuterRef("newest_image__digest")))
    index = Exists(
        IndexImage.objects.filter(image=OuterRef("newest_image")).filter(
            Exists(standing.filter(digest=OuterRef("index__digest")))
        )
    )
    recalled = Exists(Recall.objects.standing().filter(digest=OuterRef("newest_image__digest")))
    counted = _repositories().annotate(promoted=_newest(Q(itself) | Q(index)), recalled=_newest(Q(recalled)))
    return _rows(counted, "application_id", ("promoted", "recalled"))


def _admissions(now: datetime) -> Filled:
    rows: Any = AdmissionDecision.objects.filter(last_at__gte=now - WEEK).exclude(repository__application=None)
    counted = (
        rows.order_by()
        .values("repository__application_id")
        .annotate(
            refused=Count("pk", filter=Q(outcome=Outcome.DENIED.value)),
            broken_glass=Count("pk", filter=Q(outcome=Outcome.BROKEN_GLASS.value)),
        )
    )
    return _rows(counted, "repository__application_id", ("refused", "broken_glass"))


def _ways(now: datetime) -> Filled:
    """Of flows that begin or end at the application's workloads, each once."""
    found: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(("edges", "new_edges", "odd_edges"), 0))
    for end in ("source", "destination"):
        path = f"{end}__workload__application_id"
        rows: Any = Edge.objects.exclude(**{path: None}).order_by().values(path)
        if end == "destination":
            within = Q(source__workload__application_id=F("destination__workload__application_id"))
            rows = rows.filter(~within | Q(source__workload__application_id=None))
        counted = rows.annotate(
            edges=Count("pk"),
            new_edges=Count("pk", filter=Q(new_until__gt=now)),
            odd_edges=Count("pk", filter=~Q(anomaly="")),
        )
        for row in counted:
            for name in found[row[path]]:
                found[row[path]][name] += row[name]
    yield from found.items()


def _events(now: datetime) -> Filled:
    severe = Q(severity__gte=Severity.HIGH)
    rows: Any = (
        Tally.objects.filter(hour__gte=now - DAY).exclude(application_id=None).order_by().values("application_id")
    )
    counted = rows.annotate(events=Sum("count"), severe_events=Sum("count", filter=severe))
    return _rows(counted, "application_id", ("events", "severe_events"))


def _incidents(now: datetime) -> Filled:
    rows: Any = Incident.objects.live().exclude(application=None).order_by().values("application_id")
    severe = Q(severity__gte=Severity.HIGH)
    counted = rows.annotate(incidents=Count("pk"), severe_incidents=Count("pk", filter=severe))
    return _rows(counted, "application_id", ("incidents", "severe_incidents"))


def _workloads(found: Found, now: datetime) -> dict[int, dict[str, int]]:
    """Fills what is counted of workloads, and returns {application: {where: workloads, with_volumes: …}}."""
    running: WorkloadQuerySet = Workload.objects.running().exclude(application=None)
    blocked = Exists(
        Workload.images.through.objects.filter(
            Exists(Verdict.objects.filter(stage=Gate.ADMIT, verdict="block", image=OuterRef("image"))),
            workload=OuterRef("pk"),
        )
    )
    rows: Any = running.order_by().values("application_id")
    names = {
        "workloads": None,
        "asking": Q(cluster__gate__token_hash__isnull=False),
        "would_not_start": Q(blocked),
        "not_promoted": drifting(Drift.NOT_PROMOTED, now),
        "unknown": drifting(Drift.UNKNOWN, now),
        "not_scanned": drifting(Drift.NOT_SCANNED, now),
    }
    where = {kind: Q(cluster__kind=kind) for kind in _WHERE}
    places: dict[int, dict[str, int]] = {}
    for row in rows.annotate(**{n: Count("pk", filter=q) for n, q in (names | where).items()}):
        for name in names:
            setattr(found[row["application_id"]], name, row[name])
        places[row["application_id"]] = {kind: row[kind] for kind in _WHERE}
    held: Any = running.with_data().order_by().values(pk_=F("application_id"))
    for row in held.annotate(n=Count("pk")):
        places[row["pk_"]]["with_volumes"] = row["n"]
    return places
