"""What clusters were answered: the list, and one answer with what it was made from."""

from __future__ import annotations

from typing import Any

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.admission import queries
from secguard.admission.answer import Outcome
from secguard.admission.models import AdmissionDecision
from secguard.errors import NotFound
from secguard.policies.queries import shown_to
from secguard.web.filters import ChipFilter, days_ago
from secguard.web.listing import Column, Listing

WORDS = {
    Outcome.ALLOWED: "Allowed",
    Outcome.WARNED: "Allowed, warned",
    Outcome.GRACE: "In its grace",
    Outcome.BROKEN_GLASS: "Broken glass",
    Outcome.WOULD_DENY: "Would be denied",
    Outcome.DENIED: "Denied",
}
TONES = {
    Outcome.ALLOWED: "good",
    Outcome.WARNED: "warn",
    Outcome.GRACE: "warn",
    Outcome.BROKEN_GLASS: "bad",
    Outcome.WOULD_DENY: "warn",
    Outcome.DENIED: "bad",
}


class AnswerFilter(django_filters.FilterSet):
    outcome = django_filters.ChoiceFilter(label="Answer", choices=[(o.value, word) for o, word in WORDS.items()])
    cluster = django_filters.CharFilter(label="Cluster", field_name="cluster__name", max_length=100)
    namespace = django_filters.CharFilter(label="Namespace", max_length=253)
    grace = ChipFilter(label="Grace", method="by_grace")
    image = ChipFilter(label="Image", field_name="image__digest")
    workload = ChipFilter(label="Workload", field_name="workload_name")
    team = ChipFilter(label="Team", field_name="repository__application__team__slug")
    application = ChipFilter(label="Application", field_name="repository__application__slug")
    environment = ChipFilter(label="Environment", field_name="cluster__gate__environment")
    days = ChipFilter(label="Within days", method="by_days")

    class Meta:
        model = AdmissionDecision
        fields: list[str] = []

    def by_grace(self, rows: QuerySet[AdmissionDecision], name: str, value: str) -> QuerySet[AdmissionDecision]:
        """``runs``: those whose grace still does."""
        return queries.in_grace(rows, timezone.now()) if value == "runs" else rows

    def by_days(self, rows: QuerySet[AdmissionDecision], name: str, value: str) -> QuerySet[AdmissionDecision]:
        """``7``: those given again within so many days, 1 to 365; anything else finds nothing."""
        since = days_ago(value, timezone.now())
        return rows.none() if since is None else rows.filter(last_at__gte=since)


class AnswerListing(Listing):
    name, noun = "admissions", "answer"
    caption = "What clusters were answered about images that you may see"
    columns = (
        Column("image", "Image", value=lambda d: d.reference or "what the pod asks for"),
        Column("outcome", "Answer", sort="outcome", css="fit-word"),
        Column("where", "Where", value=lambda d: f"{d.cluster.name} {d.namespace}".strip()),
        Column("workload", "Workload", value=lambda d: f"{d.workload_kind} {d.workload_name}".strip()),
        Column("count", "Times", sort="count", first="-", numeric=True, css="fit-number"),
        Column("last", "Last", sort="last_at", first="-", value="last_at", css="fit-date"),
        Column("first", "First", value="first_at", hidden=True),
        Column("grace", "Grace ends", sort="grace_until", value="grace_until", hidden=True),
        Column("reason", "Reason", value="reason", hidden=True),
        Column("digest", "Digest", value="digest", hidden=True),
        Column("requested_by", "Asked by", value="requested_by", hidden=True),
    )
    default_sort = "-last"
    filterset = AnswerFilter
    search_hint = "Image, workload or reason"

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        found = Q(reference__icontains=text) | Q(workload_name__icontains=text) | Q(reason__icontains=text)
        return queryset.filter(found | Q(digest__startswith=text))

    def prepare(self, rows: list[Any]) -> None:
        now = timezone.now()
        for row in rows:
            row.has_grace = row.grace_until is not None and row.grace_until > now
            row.word, row.tone = WORDS[Outcome(row.outcome)], TONES[Outcome(row.outcome)]


@require_safe
@login_required
def answer_list(request: HttpRequest) -> HttpResponseBase:
    listing = AnswerListing(request, queries.decisions(person_of(request)))
    return listing.respond("admission/list.html", "admission/_list.html")


@require_safe
@login_required
def answer_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One answer: what was asked, what was said and why, and the verdict behind it as it was judged."""
    user = person_of(request)
    found = queries.decisions(user).select_related("evaluation__policy_version__policy").filter(pk=pk)
    answer = found.first()
    if answer is None:
        raise NotFound(f"There is no admission decision {pk} that you may see.")
    context = {
        "answer": answer,
        "word": WORDS[Outcome(answer.outcome)],
        "tone": TONES[Outcome(answer.outcome)],
        "has_grace": answer.grace_until is not None and answer.grace_until > timezone.now(),
        "verdict": shown_to(user, answer.evaluation, answer.evaluation.kept_document) if answer.evaluation else None,
    }
    return render(request, "admission/detail.html", context)
