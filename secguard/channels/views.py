"""Settings: the channels that news are posted to."""

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
from secguard.channels import queries, services
from secguard.channels.forms import ChannelForm
from secguard.channels.models import Channel
from secguard.web.listing import Column, Listing

SHOWN = 25
"""Messages on a channel's page; the API has all of them."""


class ChannelListing(Listing):
    name, noun = "channels", "channel"
    caption = "Channels that news are posted to"
    columns = (
        Column("name", "Channel", sort="name"),
        Column("team", "Whose news", sort=("team__name", "name"), value=lambda c: c.team or "everything"),
        Column("format", "Format", sort=("format", "name")),
        Column("host", "Host", sort=("host", "name")),
        Column("state", "State", value=lambda c: queries.state_of(c, timezone.now())),
        Column("sent_at", "Last taken", sort="sent_at", first="-"),
    )
    default_sort = "name"
    search_fields = ("name__icontains", "host__icontains")
    search_hint = "Search by name or host"

    def prepare(self, rows: list[Any]) -> None:
        now = timezone.now()
        for row in rows:
            row.state = queries.state_of(row, now)


@require_safe
@login_required
def channel_list(request: HttpRequest) -> HttpResponseBase:
    listing = ChannelListing(request, queries.channels(person_of(request)))
    return listing.respond("channels/list.html", "channels/_list.html", {"tab": "channels"})


@never_cache
@login_required
def channel_new(request: HttpRequest) -> HttpResponse:
    """A new channel; its secret, where it has one, is shown with the answer and never again."""
    actor = person_of(request)
    require(actor, Permission.CHANNEL_EDIT, anywhere=True)
    form = ChannelForm(request.POST or None, user=actor)
    if request.method == "POST":
        made = form.run(
            lambda entered: services.add_channel(
                form.edit(), format_=entered["format"], team=entered["team"], actor=actor
            )
        )
        if made is not None:
            channel, secret = made
            if secret:
                return _secret_page(request, channel, secret)
            messages.success(request, f"{channel.name} is set up. Send a test to see that it arrives.")
            return redirect("channels:detail", pk=channel.pk)
    return render(request, "channels/new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def channel_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A channel's settings and what was posted to it; POST saves the settings."""
    actor = person_of(request)
    channel = queries.find(actor, pk)
    form = ChannelForm(request.POST or None, user=actor, channel=channel)
    if request.method == "POST" and form.works(lambda _: services.edit_channel(pk, form.edit(), actor=actor)):
        messages.success(request, "Saved.")
        return redirect("channels:detail", pk=pk)
    rows = list(queries.deliveries(channel)[: SHOWN + 1])
    for row in rows:
        row.heading = "Test" if row.is_test else queries.heading_of(row.kind)  # type: ignore[attr-defined]
    context = {
        "form": form,
        "channel": channel,
        "state": queries.state_of(channel, timezone.now()),
        "deliveries": rows[:SHOWN],
        "has_more": len(rows) > SHOWN,
        "has_overlap": bool(channel.former_until and channel.former_until > timezone.now()),
    }
    return render(request, "channels/detail.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def channel_test(request: HttpRequest, pk: int) -> HttpResponse:
    services.send_test(pk, actor=person_of(request))
    messages.success(request, "A test is on its way; what became of it is below. Load the page again to see it.")
    return redirect("channels:detail", pk=pk)


@never_cache
@require_POST
@login_required
def channel_secret(request: HttpRequest, pk: int) -> HttpResponse:
    """A new secret, shown this once."""
    channel, secret = services.renew_secret(pk, actor=person_of(request))
    return _secret_page(request, channel, secret)


@login_required
def channel_remove(request: HttpRequest, pk: int) -> HttpResponse:
    """What removing it would do; POST removes it."""
    actor = person_of(request)
    channel = queries.find(actor, pk)
    if request.method == "POST":
        services.remove_channel(pk, actor=actor)
        messages.success(request, f"{channel.name} is removed.")
        return redirect("channels:list")
    return render(request, "channels/remove.html", {"channel": channel})


def _secret_page(request: HttpRequest, channel: Channel, secret: str) -> HttpResponse:
    return render(request, "channels/secret.html", {"channel": channel, "secret": secret}, status=201)
