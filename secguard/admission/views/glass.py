"""Break-glass on pages: the list, asking, and one with what may be done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.admission import queries, services
from secguard.admission.breakglass import GlassStatus
from secguard.admission.forms import GlassForm, ReviewForm
from secguard.admission.models import BreakGlass
from secguard.errors import NotFound
from secguard.web.listing import Column, Listing

ACTS = {
    "grant": (services.grant_glass, "Granted: it may be used once."),
    "refuse": (services.refuse_glass, "Refused."),
    "withdraw": (services.withdraw_glass, "Withdrawn."),
}


def waiting(request: HttpRequest) -> int:
    """The number beside the navigation's item: what waits for an answer or a review."""
    return queries.waiting_glass()


class GlassFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(label="Status", choices=[(s.value, s.value.capitalize()) for s in GlassStatus])

    class Meta:
        model = BreakGlass
        fields: list[str] = []


class GlassListing(Listing):
    name, noun, noun_plural = "break-glass", "break-glass", "break-glass"
    caption = "Starts that were asked for in spite of a refusal"
    columns = (
        Column("number", "Break-glass", sort="id", first="-", value="pk", css="fit-fix"),
        Column("status", "Status", css="fit-word"),
        Column("where", "Where", value=lambda g: f"{g.cluster.name} {g.namespace}"),
        Column("digest", "Digest", value="digest"),
        Column("requested_by", "Asked by", value="requested_by.username"),
        Column("requested_at", "When", value="requested_at", css="fit-date"),
        Column("reason", "Reason", hidden=True),
        Column("used_for", "Used for", hidden=True),
        Column("review", "Review", hidden=True),
    )
    default_sort = "-number"
    filterset = GlassFilter
    search_fields = ("digest__startswith", "namespace__icontains", "reason__icontains")
    search_hint = "Digest, namespace or reason"

    def prepare(self, rows: list[Any]) -> None:
        now = timezone.now()
        for row in rows:
            row.is_over = _is_over(row, now)


@require_safe
@login_required
def glass_list(request: HttpRequest) -> HttpResponseBase:
    listing = GlassListing(request, queries.glass(person_of(request)))
    return listing.respond("admission/glass_list.html", "admission/_glass_list.html")


@login_required
def glass_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    require(actor, Permission.BREAK_GLASS_REQUEST)
    given = {name: request.GET.get(name, "")[:135] for name in ("cluster", "namespace", "digest")}
    form = GlassForm(request.POST or None, initial=given)
    if request.method == "POST":
        made = form.run(lambda entered: _asked(entered, actor))
        if made is not None:
            messages.success(request, "Asked for. Somebody else has to grant it.")
            return redirect("break-glass:detail", pk=made.pk)
    return render(request, "admission/glass_new.html", {"form": form}, status=422 if form.errors else 200)


def _asked(entered: dict[str, Any], actor: Any) -> BreakGlass:
    at = (entered["cluster"], entered["namespace"], entered["digest"])
    return services.request_glass(*at, minutes=entered["minutes"], reason=entered["reason"], actor=actor)


@login_required
def glass_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One of them; POST keeps the review of its use."""
    actor = person_of(request)
    found = queries.glass(actor).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no break-glass {pk}.")
    form = ReviewForm(request.POST or None)
    if request.method == "POST" and form.works(lambda e: services.review_glass(pk, review=e["review"], actor=actor)):
        messages.success(request, "Kept. Nothing waits here any more.")
        return redirect("break-glass:detail", pk=pk)
    own = found.requested_by_id == actor.pk
    context = {
        "glass": found,
        "form": form,
        "is_over": _is_over(found, timezone.now()),
        "may_decide": not own and found.status == GlassStatus.REQUESTED,
        "may_withdraw": found.status in (GlassStatus.REQUESTED, GlassStatus.GRANTED),
        "may_review": not own and found.status == GlassStatus.USED,
    }
    return render(request, "admission/glass.html", context, status=422 if form.errors else 200)


def _is_over(glass: BreakGlass, now: datetime) -> bool:
    """Granted, and its minutes have passed unused."""
    return glass.status == GlassStatus.GRANTED and glass.expires_at is not None and glass.expires_at <= now


@require_POST
@login_required
def glass_act(request: HttpRequest, pk: int, act: str) -> HttpResponse:
    """Grant, refuse or withdraw."""
    if act not in ACTS:
        raise NotFound("There is nothing at this address.")
    call, told = ACTS[act]
    call(pk, actor=person_of(request))
    messages.success(request, told)
    return redirect("break-glass:detail", pk=pk)
