"""Segments on pages: the matrix of who speaks to whom, and what belongs to one of them."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.network.forms import SegmentForm
from secguard.network.queries import segments as queries
from secguard.network.services import segments

SHOWN: Final = 200


@require_safe
@login_required
def segment_list(request: HttpRequest) -> HttpResponse:
    """Who speaks to whom, by segment or by application, and every segment."""
    user = person_of(request)
    by = "application" if request.GET.get("by") == "application" else "segment"
    rows = list(queries.segments(user))
    counts = queries.counts(user, rows)
    context = {
        "by": by,
        "matrix": queries.matrix(user, by),
        "segments": [(row, counts[row.pk]) for row in rows],
        "may_make": user.teams_with(Permission.WORKLOAD_EDIT) != frozenset(),
        "waiting": queries.rules(user).waiting().count(),  # type: ignore[attr-defined]
    }
    return render(request, "network/segments.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def segment_new(request: HttpRequest) -> HttpResponse:
    user = person_of(request)
    require(user, Permission.WORKLOAD_EDIT, anywhere=True)
    form = SegmentForm(user, request.POST or None)
    if request.method == "POST":
        team = (form.is_valid() and form.cleaned_data["team"]) or None
        made = form.run(lambda _: segments.create(form.edit(), team.pk if team else None, actor=user))
        if made is not None:
            messages.success(request, f"{made} is made. What belongs to it is found within a minute.")
            return redirect("network:segment", pk=made.pk)
    return render(request, "network/segment_new.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def segment_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A segment, its rules and what belongs to it; POST saves it."""
    user, now = person_of(request), timezone.now()
    segment = queries.find_segment(user, pk)
    form = SegmentForm(user, request.POST or None, segment=segment)
    if request.method == "POST" and form.works(lambda _: segments.edit(pk, form.edit(), actor=user)):
        messages.success(request, "Saved. Every edge is judged anew within a minute.")
        return redirect("network:segment", pk=pk)
    rows = queries.rules(user)
    named = list((rows.filter(source_segment=segment) | rows.filter(destination_segment=segment))[:SHOWN])
    queries.describe(user, named, now)
    ends = list(queries.ends(user, segment)[: SHOWN + 1])
    context = {
        "segment": segment,
        "form": form,
        "members": queries.member_words(segment),
        "rules": [row for row in named if row.state in ("in force", "waiting")],  # type: ignore[attr-defined]
        "former": sum(row.state not in ("in force", "waiting") for row in named),  # type: ignore[attr-defined]
        "ends": ends[:SHOWN],
        "more": len(ends) > SHOWN,
        "counts": queries.counts(user, [segment])[pk],
        "may_edit": user.can(Permission.WORKLOAD_EDIT, segment.team_id),
    }
    return render(request, "network/segment.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def segment_end(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Let it go."""
    ended = segments.end(pk, actor=person_of(request))
    messages.success(request, f"{ended} is ended.")
    return redirect("network:segments")
