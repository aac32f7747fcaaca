"""Exports: the targets that events are sent to, how far each has got, and what keeps it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Conflict
from secguard.exports import queries, services
from secguard.exports.forms import TargetForm
from secguard.exports.models import ExportTarget
from secguard.exports.services import Start
from secguard.web.listing import Column, Listing


class TargetListing(Listing):
    name, noun = "export-targets", "target"
    caption = "Targets that events are sent to"
    columns = (
        Column("name", "Target", sort="name"),
        Column("sink", "How", sort=("sink", "name")),
        Column("host", "Where", sort=("host", "name")),
        Column("format", "Format", sort=("format", "name")),
        Column("state", "State", sort=("state", "name")),
        Column("waiting", "Waiting", sort=("waiting", "name"), first="-", numeric=True),
        Column("waiting_since", "Lag", sort="waiting_since", first=""),
        Column("sent_at", "Last taken", sort="sent_at", first="-"),
        Column("reason", "What keeps it", hidden=True),
    )
    default_sort = "name"
    search_fields = ("name__icontains", "host__icontains")
    search_hint = "Search by name or host"


@require_safe
@login_required
def target_list(request: HttpRequest) -> HttpResponseBase:
    listing = TargetListing(request, queries.targets(person_of(request)))
    return listing.respond("exports/list.html", "exports/_list.html", {"tab": "exports", "most": queries.COUNTED})


@never_cache
@login_required
def target_new(request: HttpRequest) -> HttpResponse:
    """A new target; a webhook's secret is shown with the answer and never again."""
    actor = person_of(request)
    require(actor, Permission.EXPORT_EDIT)
    form = TargetForm(request.POST or None, user=actor)
    if request.method == "POST":
        made = form.run(
            lambda entered: services.add_target(
                form.edit(), sink=entered["sink"], start=Start(entered["start"]), actor=actor
            )
        )
        if made is not None:
            target, secret = made
            if secret:
                return _secret_page(request, target, secret)
            messages.success(request, f"{target.name} is set up. Send a test to see that it arrives.")
            return redirect("exports:detail", pk=target.pk)
    return render(request, "exports/new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def target_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A target's state and settings; POST saves the settings."""
    actor = person_of(request)
    target = queries.find(actor, pk)
    form = TargetForm(request.POST or None, user=actor, target=target)
    if request.method == "POST" and form.works(lambda _: services.edit_target(pk, form.edit(), actor=actor)):
        messages.success(request, "Saved.")
        return redirect("exports:detail", pk=pk)
    context = {"form": form, "target": target, "most": queries.COUNTED, "now": timezone.now()}
    return render(request, "exports/detail.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def target_test(request: HttpRequest, pk: int) -> HttpResponse:
    services.send_test(pk, actor=person_of(request))
    messages.success(request, "A test is on its way; load the page again to see what became of it.")
    return redirect("exports:detail", pk=pk)


@require_POST
@login_required
def target_pause(request: HttpRequest, pk: int) -> HttpResponse:
    return _step(request, pk, services.pause_target, "is paused; its events wait in the store")


@require_POST
@login_required
def target_resume(request: HttpRequest, pk: int) -> HttpResponse:
    return _step(request, pk, services.resume_target, "goes on where it was")


def _step(request: HttpRequest, pk: int, step: Any, words: str) -> HttpResponse:
    try:
        target = step(pk, actor=person_of(request))
    except Conflict as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, f"{target.name} {words}.")
    return redirect("exports:detail", pk=pk)


@never_cache
@require_POST
@login_required
def target_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """A new secret, shown this once."""
    target, secret = services.renew_secret(pk, actor=person_of(request))
    return _secret_page(request, target, secret)


@login_required
def target_move(request: HttpRequest, pk: int) -> HttpResponse:
    """What going on from elsewhere would do; POST does it."""
    actor = person_of(request)
    target = queries.find(actor, pk)
    if request.method == "POST":
        start = Start.OLDEST if request.POST.get("start") == Start.OLDEST else Start.NOW
        services.move_target(pk, start, actor=actor)
        messages.success(request, f"{target.name} goes on from {'the oldest event' if start == 'oldest' else 'now'}.")
        return redirect("exports:detail", pk=pk)
    return render(request, "exports/move.html", {"target": target, "most": queries.COUNTED})


@login_required
def target_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """What removing it would do; POST removes it."""
    actor = person_of(request)
    target = queries.find(actor, pk)
    if request.method == "POST":
        services.remove_target(pk, actor=actor)
        messages.success(request, f"{target.name} is removed.")
        return redirect("exports:list")
    return render(request, "exports/remove.html", {"target": target, "most": queries.COUNTED})


def _secret_page(request: HttpRequest, target: ExportTarget, secret: str) -> HttpResponse:
    return render(request, "exports/secret.html", {"target": target, "secret": secret}, status=201)
