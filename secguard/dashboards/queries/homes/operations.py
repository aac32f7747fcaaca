"""What operations see first: open incidents, what runs where, what was refused, and where what runs is not what was
promoted."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Min, Q
from django.urls import reverse

from secguard.admission.answer import Outcome
from secguard.admission.queries import in_grace
from secguard.dashboards.homes import Audience, Cell, Home, Number, Panel
from secguard.dashboards.queries.drift import WORDS, Drift, drifting
from secguard.dashboards.queries.homes.narrowing import Narrowed
from secguard.findings.severity import Severity
from secguard.incidents.lifecycle import Decision as IncidentDecision
from secguard.incidents.lifecycle import Status
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.workloads.models import CLUSTER_KINDS, Workload

ROWS = 10
NOBODYS = Q(assigned_to=None)
TONES: dict[Severity, Any] = {Severity.CRITICAL: "bad", Severity.HIGH: "bad"}
REFUSED = (Outcome.DENIED.value, Outcome.WOULD_DENY.value)


def operations(of: Narrowed) -> Home:
    """Fifteen queries or so, whatever the number of rows."""
    panels = (_incidents(of), _by_severity(of), _decided(of), _where(of), _refused(of), *_drifts(of))
    return Home(Audience.OPERATIONS, of.slice, of.now, _numbers(of), panels)


def _numbers(of: Narrowed) -> tuple[Number, ...]:
    counts: Any = of.workloads().aggregate(
        runs=Count("pk"), **{word.name: Count("pk", filter=drifting(word, of.now)) for word in Drift}
    )
    answers = of.admissions().filter(last_at__gte=of.since, outcome=Outcome.DENIED.value).count()
    grace = in_grace(of.admissions(), of.now).count()
    days = str(of.slice.days)
    open_ = of.incidents().aggregate(
        all=Count("pk"), severe=Count("pk", filter=Q(severity__gte=Severity.HIGH)), free=Count("pk", filter=NOBODYS)
    )
    return (
        Number(
            "incidents", "Open incidents", open_["all"], of.url("incidents:all"),
            note=f"{open_['severe']:,} are high or critical", tone="bad",
        ),
        Number(
            "unassigned", "Unassigned incidents", open_["free"], of.url("incidents:all", assigned="nobody"),
            note="nobody has taken them", tone="warn",
        ),
        Number("runs", "Workloads", counts["runs"], of.url("workloads:list"), note="that run now"),
        Number(
            "refused", "Refused", answers, of.url("admissions:list", outcome="denied", days=days),
            note=of.slice.words.rpartition(", ")[2], tone="bad",
        ),
        Number("grace", "In grace", grace, of.url("admissions:list", outcome="grace", grace="runs"), tone="warn"),
        *(
            Number(
                word.value.replace("-", "_"), LABELS[word], counts[word.name],
                of.url("workloads:list", drift=word.value), note="workloads", tone="bad",
            )
            for word in Drift
        ),
    )  # fmt: skip


LABELS = {
    Drift.NOT_PROMOTED: "Not promoted",
    Drift.UNKNOWN: "Unknown image",
    Drift.NOT_SCANNED: "Not scanned lately",
}


def _incidents(of: Narrowed) -> Panel:
    """What is to be read first on top, as on the incidents' own page."""
    rows = of.incidents().select_related("assigned_to").order_by("-score", "-last_at", "-id")
    cells = [
        (
            Cell(row.title, reverse("incidents:detail", args=[row.pk])),
            Cell(Severity(row.severity).label, tone=TONES.get(Severity(row.severity), "")),
            Cell(row.where),
            Cell(Status(row.status).value),
            Cell(str(row.assigned_to) if row.assigned_to else "nobody"),
            Cell(f"{row.first_at:%Y-%m-%d %H:%M}"),
            Cell(row.count),
        )
        for row in rows[:ROWS]
    ]
    return Panel(
        "incidents", "Open incidents, what to read first on top",
        ("Incident", "Severity", "Where", "Status", "Assigned to", "Since", "Events"), tuple(cells),
        "No incident is open.", of.url("incidents:all"),
    )  # fmt: skip


def _by_severity(of: Narrowed) -> Panel:
    """How many are open, how many of them nobody has taken, and since when the oldest is."""
    rows: Any = of.incidents().order_by().values("severity")
    rows = rows.annotate(n=Count("pk"), free=Count("pk", filter=NOBODYS), oldest=Min("first_at")).order_by("-severity")
    cells = []
    for row in rows:
        word = str(row["severity"])
        url = of.url("incidents:all", severity=word)
        cells.append(
            (
                Cell(Severity(row["severity"]).label, url),
                Cell(row["n"], url),
                Cell(row["free"], of.url("incidents:all", severity=word, assigned="nobody")),
                Cell(f"{row['oldest']:%Y-%m-%d %H:%M}", of.url("incidents:all", severity=word, sort="first")),
            )
        )
    return Panel(
        "incidents-severity", "Open incidents by severity", ("Severity", "Open", "Unassigned", "Oldest"), tuple(cells),
        "No incident is open.", of.url("incidents:all"),
    )  # fmt: skip


def _decided(of: Narrowed) -> Panel:
    """What became of those that people decided on, the latest first."""
    rows = of.decided_incidents().select_related("decided_by").order_by("-decided_at", "-pk")
    cells = [
        (
            Cell(row.title, reverse("incidents:detail", args=[row.pk])),
            Cell(row.where),
            Cell(row.decision, tone="bad" if row.decision == IncidentDecision.ATTACK else ""),
            Cell(Status(row.status).value),
            Cell(str(row.decided_by)),
            Cell(f"{row.decided_at:%Y-%m-%d %H:%M}"),
        )
        for row in rows[:ROWS]
    ]
    return Panel(
        "incidents-decided", "What was decided of incidents",
        ("Incident", "Where", "Decision", "Status", "Decided by", "Decided"), tuple(cells),
        f"Nothing was decided: {of.slice.words}.",
        of.url("incidents:all", status="all", decided=str(of.slice.days)),
    )  # fmt: skip


def _where(of: Narrowed) -> Panel:
    """Clusters with the most workloads first."""
    # Not asked for each workload: the database makes the set once, and looks each of them up in it.
    blocks = Verdict.objects.filter(stage=Gate.ADMIT, verdict="block").values("image")
    blocked = Q(pk__in=Workload.images.through.objects.filter(image__in=blocks).values("workload"))
    rows: Any = of.workloads().order_by().values("cluster__name", "cluster__kind", "cluster__gate__environment")
    rows = rows.annotate(n=Count("pk"), refused=Count("pk", filter=blocked)).order_by("-n", "cluster__name")
    kinds = dict(CLUSTER_KINDS)
    cells = []
    for row in rows[:ROWS]:
        url = of.url("workloads:list", cluster=row["cluster__name"])
        cells.append(
            (
                Cell(row["cluster__name"], url),
                Cell(kinds[row["cluster__kind"]]),
                Cell(row["cluster__gate__environment"] or "any"),
                Cell(row["n"], url),
                Cell(row["refused"], f"{url}&may=block", "bad" if row["refused"] else ""),
            )
        )
    return Panel(
        "clusters", "What runs where", ("Cluster", "Where", "Environment", "Workloads", "Would not start again"),
        tuple(cells), "Nothing runs that you may see. Connect a cluster, or post what runs.",
        of.url("workloads:list"),
    )  # fmt: skip


def _refused(of: Narrowed) -> Panel:
    rows = of.admissions().filter(last_at__gte=of.since, outcome__in=REFUSED).select_related("cluster")
    cells = [
        (
            Cell(f"{row.last_at:%Y-%m-%d %H:%M}", reverse("admissions:detail", args=[row.pk])),
            Cell(row.reference or "what the pod asks for"),
            Cell(f"{row.cluster.name} {row.namespace}".strip()),
            Cell("would be denied" if row.outcome == Outcome.WOULD_DENY else "denied"),
            Cell(row.count),
        )
        for row in rows.order_by("-last_at", "-pk")[:ROWS]
    ]
    return Panel(
        "refused", "Refused", ("Last", "Image", "Where", "Answer", "Times"), tuple(cells),
        f"Nothing was refused: {of.slice.words}.", of.url("admissions:list", days=str(of.slice.days)),
    )  # fmt: skip


def _drifts(of: Narrowed) -> tuple[Panel, ...]:
    """For each way to drift the workloads that do."""
    return tuple(_drift(of, word) for word in Drift)


def _drift(of: Narrowed, word: Drift) -> Panel:
    rows = of.workloads().filter(drifting(word, of.now)).select_related("cluster__gate", "application")
    cells = []
    for row in rows.order_by("cluster__name", "namespace", "name", "pk")[:ROWS]:
        gate: Any = getattr(row.cluster, "gate", None)
        cells.append(
            (
                Cell(str(row), reverse("workloads:detail", args=[row.pk])),
                Cell(row.application.name if row.application else "none"),
                Cell(row.cluster.name),
                Cell(gate.environment if gate and gate.environment else "any"),
            )
        )
    return Panel(
        word.value, f"Runs, {WORDS[word]}", ("Workload", "Application", "Cluster", "Environment"), tuple(cells),
        "No workload.", of.url("workloads:list", drift=word.value),
    )  # fmt: skip
