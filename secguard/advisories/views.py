"""The page "Vulnerability data": every feed and how it stands, what was read lately, and files brought by people."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.advisories import queries, services
from secguard.advisories.api import receive
from secguard.advisories.forms import AddressForm, UploadForm
from secguard.advisories.models import Feed

LATEST = 15


@require_safe
@login_required
def feed_list(request: HttpRequest) -> HttpResponse:
    return _page(request, UploadForm())


def _page(request: HttpRequest, form: UploadForm, status: int = 200) -> HttpResponse:
    user = person_of(request)
    context = {
        "feeds": list(queries.feeds()),
        "imports": list(queries.imports()[:LATEST]),
        "data_as_of": queries.data_as_of(),
        "may_edit": user.teams_with(Permission.FEED_EDIT) is None,
        "form": form,
    }
    return render(request, "advisories/feeds.html", context, status=status)


@require_POST
@login_required
def schedule(request: HttpRequest) -> HttpResponse:
    """Which feeds are fetched by schedule: those whose boxes are ticked, and no other."""
    actor = person_of(request)
    require(actor, Permission.FEED_EDIT)
    wanted = set(request.POST.getlist("enabled"))
    changed = [feed for feed in queries.feeds() if feed.is_enabled != (str(feed.pk) in wanted)]
    for feed in changed:
        services.edit_feed(feed.pk, actor=actor, is_enabled=str(feed.pk) in wanted)
    messages.success(request, f"Saved: {len(wanted)} of the feeds are fetched by schedule.")
    return redirect("feeds:list")


@require_POST
@login_required
def fetch(request: HttpRequest, pk: int) -> HttpResponse:
    feed = services.request_fetch(pk, actor=person_of(request))
    messages.success(request, f"{feed.title} is being fetched; what becomes of it shows here.")
    return redirect("feeds:list")


@login_required
def address(request: HttpRequest, pk: int) -> HttpResponse:
    """Where a feed lies; POST saves it."""
    actor = person_of(request)
    require(actor, Permission.FEED_EDIT)
    feed = get_object_or_404(Feed, pk=pk)
    form = AddressForm(request.POST or None, initial={"url": feed.url})
    if request.method == "POST" and form.works(lambda entered: services.edit_feed(pk, actor=actor, url=entered["url"])):
        messages.success(request, f"{feed.title} is fetched from there from now on.")
        return redirect("feeds:list")
    return render(request, "advisories/feed.html", {"form": form, "feed": feed}, status=422 if form.errors else 200)


@require_POST
@login_required
def upload(request: HttpRequest) -> HttpResponse:
    """Take a file in."""
    actor = person_of(request)
    require(actor, Permission.FEED_EDIT)
    form = UploadForm(request.POST, request.FILES)

    def run(entered: dict[str, Any]) -> object:
        received = receive(entered["file"].chunks())
        try:
            return services.request_import(received, entered["file"].name, actor=actor)
        finally:
            received.unlink(missing_ok=True)

    if not form.works(run):
        return _page(request, form, 422)
    messages.success(request, f"{form.cleaned_data['file'].name} is being imported; what becomes of it shows below.")
    return redirect("feeds:list")
