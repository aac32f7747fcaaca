"""What runs where: the list, and one workload with what it runs, whether that may start again, and what it mounts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.admission.answer import Mode, Outcome
from secguard.admission.queries import Stored, stored_verdicts
from secguard.admission.views.decisions import TONES, WORDS
from secguard.dashboards import queries
from secguard.errors import NotFound
from secguard.images.models import Image
from secguard.policies.facts import Gate
from secguard.policies.services import document_of, verdict_of
from secguard.web.filters import ChipFilter, YesNoFilter
from secguard.web.listing import Column, Listing
from secguard.workloads.models import CLUSTER_KINDS, Workload, WorkloadQuerySet
from secguard.workloads.volumes import MAX_MOUNTS

MAY = [("block", "May not"), ("warn", "May, with warnings"), ("pass", "May"), ("unknown", "Not judged")]
MODES = {
    Mode.ENFORCE: "what is refused does not start",
    Mode.WARN: "what is refused starts, with warnings",
    Mode.OBSERVE: "what is refused starts without a word, and is only kept",
}


class WorkloadFilter(django_filters.FilterSet):
    cluster_kind = django_filters.ChoiceFilter(
        label="Cluster kind",
        choices=[(kind, word.capitalize()) for kind, word in CLUSTER_KINDS],
        field_name="cluster__kind",
    )
    may = django_filters.ChoiceFilter(label="May start again", choices=MAY, method="by_verdict")
    holds_data = YesNoFilter(label="Holds data", method="by_data")
    application = ChipFilter(label="Application", field_name="application__slug")
    cluster = ChipFilter(label="Cluster", field_name="cluster__name")
    namespace = ChipFilter(label="Namespace")
    image = ChipFilter(label="Image", field_name="images__digest")

    class Meta:
        model = Workload
        fields: list[str] = []

    def by_verdict(self, rows: QuerySet[Workload], name: str, value: str) -> QuerySet[Workload]:
        judged: Any = rows  # annotated by ``queries.workload_rows``
        found: QuerySet[Workload] = judged.filter(may_start="" if value == "unknown" else value)
        return found

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
        Column("may", "May start again", value="may_start", css="fit-word"),
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


@require_safe
@login_required
def workload_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One workload: what it runs and may it, which volumes it mounts, and what its cluster was answered."""
    user, now = person_of(request), timezone.now()
    rows = Workload.objects.visible_to(user).select_related("cluster", "application__team")
    workload = rows.filter(pk=pk).first()
    if workload is None:
        raise NotFound(f"There is no workload {pk} that you may see.")
    images = queries.images_of_workload(workload, user)
    answers: list[Any] = queries.answers_about(workload, user)
    for answer in answers:
        answer.word, answer.tone = WORDS[Outcome(answer.outcome)], TONES[Outcome(answer.outcome)]
        answer.has_grace = answer.grace_until is not None and answer.grace_until > now
    mode = queries.mode_of(workload)
    context = {
        "workload": workload,
        "runs": queries.runs(images, _verdicts(images, now), now),
        "volumes": queries.volumes_of(workload),
        "most_volumes": MAX_MOUNTS,
        "answers": answers,
        "mode": MODES[Mode(mode)] if mode else "",
    }
    return render(request, "workloads/detail.html", context)


def _verdicts(images: list[Image], now: datetime) -> dict[int, Stored]:
    """What holds now at the gate ``admit``, of the images that are shown; judged anew where nothing does."""
    shown: list[Any] = [image for image in images if getattr(image, "is_seen", False)]
    found = stored_verdicts([image.pk for image in shown], now)
    for image in shown:
        if image.pk not in found:
            verdict = verdict_of(image, Gate.ADMIT)
            found[image.pk] = Stored(document_of(verdict), verdict.evaluation_id)
    return found
