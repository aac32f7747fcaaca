"""What runs where: the list, and one workload with what it runs, whether that may start again, and what it mounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.admission import services
from secguard.admission.answer import WORST, Judged, Mode, Outcome
from secguard.admission.models import ClusterGate
from secguard.admission.queries import Stored, stored_verdicts
from secguard.admission.views.decisions import TONES, WORDS
from secguard.dashboards import queries
from secguard.dashboards.queries.drift import WORDS as DRIFTS
from secguard.dashboards.queries.drift import Drift, drifting
from secguard.errors import NotFound
from secguard.images.models import Image
from secguard.network.views.reaching import of_workload as network_of
from secguard.planning.measured import MeasuredFilter
from secguard.policies.facts import Gate
from secguard.policies.services import document_of, verdict_of
from secguard.web.filters import ChipFilter, YesNoFilter
from secguard.web.listing import Column, Listing
from secguard.workloads.models import CLUSTER_KINDS, Workload, WorkloadQuerySet
from secguard.workloads.volumes import MAX_MOUNTS

MAY = [("block", "Block"), ("warn", "Warn"), ("pass", "Pass"), ("unknown", "Not judged")]
VERDICTS = {
    "pass": ("May start", "good"),
    "warn": ("May start, warned", "warn"),
    "block": ("Blocked by the policy", "bad"),
}
MODES = {
    Mode.ENFORCE: "what is refused does not start",
    Mode.WARN: "what is refused starts, with warnings",
    Mode.OBSERVE: "what is refused starts without a word, and is only kept",
}


class WorkloadFilter(MeasuredFilter):
    cluster_kind = django_filters.ChoiceFilter(
        label="Cluster kind",
        choices=[(kind, word.capitalize()) for kind, word in CLUSTER_KINDS],
        field_name="cluster__kind",
    )
    may = django_filters.ChoiceFilter(label="At admission", choices=MAY, method="by_verdict")
    holds_data = YesNoFilter(label="Holds data", method="by_data")
    application = ChipFilter(label="Application", field_name="application__slug")
    cluster = ChipFilter(label="Cluster", field_name="cluster__name")
    namespace = ChipFilter(label="Namespace")
    image = ChipFilter(label="Image", field_name="images__digest")
    team = ChipFilter(label="Team", field_name="application__team__slug")
    environment = ChipFilter(label="Environment", field_name="cluster__gate__environment")
    drift = django_filters.ChoiceFilter(
        label="Drift", choices=[(word.value, said.capitalize()) for word, said in DRIFTS.items()], method="by_drift"
    )

    class Meta:
        model = Workload
        fields: list[str] = []

    def by_verdict(self, rows: QuerySet[Workload], name: str, value: str) -> QuerySet[Workload]:
        judged: Any = rows  # annotated by ``queries.workload_rows``
        found: QuerySet[Workload] = judged.filter(may_start="" if value == "unknown" else value)
        return found

    def by_drift(self, rows: QuerySet[Workload], name: str, value: str) -> QuerySet[Workload]:
        return rows.filter(drifting(Drift(value), timezone.now()))

    def by_data(self, rows: WorkloadQuerySet, name: str, value: bool) -> WorkloadQuerySet:
        return rows.with_data(value)


class WorkloadListing(Listing):
    name, noun = "workloads", "workload"
    caption = "Workloads that run and that you may see"
    default_sort = "application"
    search_hint = "Workload or namespace"
    search_fields = ("name__icontains", "namespace__icontains")
    filterset = WorkloadFilter
    columns = (
        Column("name", "Workload", sort="name"),
        Column("application", "Application", sort="application__name", value="application.name", css="fit-word"),
        Column("cluster", "Cluster", sort="cluster__name", value="cluster.name", css="fit-word"),
        Column("may", "At admission", value="may_start", css="fit-word"),
        Column("images", "Images", value="image_count", numeric=True, css="fit-number"),
        Column("volumes", "Volumes", value=lambda w: ", ".join(v.name for v in w.volumes.all()), css="fit-word"),
        Column("seen", "Last told", sort="seen_at", first="-", value="seen_at", css="fit-date wide-only"),
        Column("kind", "Kind", hidden=True),
        Column("namespace", "Namespace", hidden=True),
        Column("cluster_kind", "Cluster kind", value="cluster.kind", hidden=True),
        Column("data", "Holds data", value=lambda w: "yes" if w.data_count else "no", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        for row in rows:
            row.volume_count = len(row.volumes.all())
            row.data_count = sum(v.holds_data for v in row.volumes.all())
            row.node_count = sum(v.is_of_node for v in row.volumes.all())


@require_safe
@login_required
def workload_list(request: HttpRequest) -> HttpResponseBase:
    listing = WorkloadListing(request, queries.workload_rows(person_of(request)))
    return listing.respond("workloads/list.html", "workloads/_list.html")


@dataclass(frozen=True, slots=True)
class Runs:
    """One image that a workload runs, and whether it may start again there. What is in it is told to who may see it."""

    image: Image
    name: str
    is_seen: bool = True
    word: str = ""
    tone: str = ""
    blocks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    grace_until: datetime | None = None


@require_safe
@login_required
def workload_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One workload: what it runs and may it, which volumes it mounts, and what its cluster was answered."""
    user, now = person_of(request), timezone.now()
    rows = Workload.objects.visible_to(user).select_related("cluster", "application__team")
    workload = rows.filter(pk=pk).first()
    if workload is None:
        raise NotFound(f"There is no workload {pk} that you may see.")
    answers: list[Any] = queries.answers_about(workload, user)
    for answer in answers:
        answer.word, answer.tone = WORDS[Outcome(answer.outcome)], TONES[Outcome(answer.outcome)]
        answer.has_grace = answer.grace_until is not None and answer.grace_until > now
    gate = queries.gate_of(workload)
    context = {
        "workload": workload,
        "runs": _runs(workload, gate, queries.images_of_workload(workload, user), answers, now),
        "volumes": queries.volumes_of(workload),
        "most_volumes": MAX_MOUNTS,
        "answers": answers,
        "network": network_of(request, workload),
        "mode": MODES[gate.rules.mode_in(workload.namespace)] if gate else "",
    }
    return render(request, "workloads/detail.html", context)


def _runs(
    workload: Workload, gate: ClusterGate | None, images: list[Any], answers: list[Any], now: datetime
) -> list[Runs]:
    """What it runs, what may not start first: as the cluster would be answered now; by the policy alone where the
    cluster does not ask."""
    shown = [image for image in images if image.is_seen]
    verdicts = _verdicts(shown, now)
    references = queries.references_of(shown, answers)
    judged = services.preview(gate, workload.namespace, references.values(), now) if gate else {}
    found = []
    for image in images:
        if not image.is_seen:
            found.append((len(Outcome), Runs(image, image.digest[:19], is_seen=False)))
        elif (told := judged.get(references.get(image.pk, ""))) is not None:
            found.append((-WORST.index(told.outcome), _answered(image, told)))
        else:
            document = verdicts[image.pk].document
            found.append((-("pass", "warn", "block").index(document["verdict"]), _judged(image, document)))
    return [row for _, row in sorted(found, key=itemgetter(0))]


def _answered(image: Image, told: Judged) -> Runs:
    # Its grace is shown by its clock, not once more in words.
    notes = () if told.outcome is Outcome.GRACE else tuple(map(_first_line, told.notes))
    blocks = tuple(map(_first_line, told.blocks))
    word, tone = WORDS[told.outcome], TONES[told.outcome]
    return Runs(image, queries.name_of(image), True, word, tone, blocks, notes, told.until)


def _judged(image: Image, document: Mapping[str, Any]) -> Runs:
    said = {
        effect: tuple(_first_line(r["message"]) for r in document["reasons"] if r["effect"] == effect)
        for effect in ("block", "warn")
    }
    word, tone = VERDICTS[document["verdict"]]
    return Runs(image, queries.name_of(image), True, word, tone, said["block"], said["warn"])


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _verdicts(images: list[Any], now: datetime) -> dict[int, Stored]:
    """What holds now at the gate ``admit``; judged anew where nothing does."""
    found = stored_verdicts([image.pk for image in images], now)
    for image in images:
        if image.pk not in found:
            verdict = verdict_of(image, Gate.ADMIT)
            found[image.pk] = Stored(document_of(verdict), verdict.evaluation_id)
    return found
