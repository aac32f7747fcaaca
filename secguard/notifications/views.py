"""The inbox and how one wants to be told: everybody's own, nobody else's."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from secguard.errors import Invalid
from secguard.notifications import kinds, queries, services
from secguard.notifications.forms import KindsForm, PreferenceForm, initial
from secguard.notifications.models import Notice
from secguard.notifications.services.telling import MAX_LINES
from secguard.web import htmx
from secguard.web.listing import Column, Listing

SHOWN = 3
"""Lines of a notice that the inbox itself shows."""


class InboxListing(Listing):
    name = "notifications"
    caption = "Notifications, unread first"
    noun = "notification"
    columns = (
        Column("state", "Unread", sort=("is_unread", "created_at"), first="-", value="is_unread", nullable=False),
        Column("subject", "What"),
        Column("kind", "Kind", hidden=True),
        Column("total", "Things", hidden=True),
        Column("created_at", "When", sort="created_at", first="-"),
    )
    default_sort = "-state"
    filterset = queries.NoticeFilter
    search_fields = ("subject__icontains",)
    search_hint = "Search"

    def prepare(self, rows: list[Any]) -> None:
        lines = queries.lines_of(rows, SHOWN)
        for row in rows:
            row.heading = kinds.kind_or_plain(row.kind).heading
            row.shown = lines[row.pk]
            row.rest = row.total - len(row.shown)


@require_safe
@login_required
def inbox(request: HttpRequest) -> HttpResponseBase:
    listing = InboxListing(request, queries.inbox(request.user))
    unread: QuerySet[Notice] = Notice.objects.visible_to(request.user).on_page().unread()
    context = {"has_unread": unread.exists(), "refused": queries.refused_message(request.user)}
    return listing.respond("notifications/inbox.html", "notifications/_inbox.html", context)


@require_safe
@login_required
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One notice with its lines. Whoever opens it has read it."""
    notice = queries.find(request.user, pk)
    was_unread = notice.seen_at is None
    if was_unread:
        services.mark_read(pk, actor=request.user)
    lines = queries.lines_of([notice], MAX_LINES)[notice.pk]
    context = {
        "notice": notice,
        "kind": kinds.kind_or_plain(notice.kind),
        "lines": lines,
        "rest": notice.total - len(lines),
    }
    return render(request, "notifications/detail.html", context)


@require_POST
@login_required
def mark_read(request: HttpRequest, pk: int) -> HttpResponse:
    services.mark_read(pk, actor=request.user)
    return htmx.redirect(request, reverse("notifications:list"))


@require_POST
@login_required
def mark_all_read(request: HttpRequest) -> HttpResponse:
    count = services.mark_all_read(actor=request.user)
    messages.success(request, f"{count} marked as read." if count else "Everything was read already.")
    return htmx.redirect(request, reverse("notifications:list"))


@login_required
def preferences(request: HttpRequest) -> HttpResponse:
    preference = queries.preference_of(request.user)
    form = PreferenceForm(request.POST or None, initial=dict(initial(preference)))
    if request.method == "POST" and form.is_valid():
        try:
            services.edit_preferences(form.cleaned_data, actor=request.user)
        except Invalid as error:
            form.add_error(error.where if error.where in form.fields else None, error.detail)
        else:
            messages.success(request, "Saved.")
            return htmx.redirect(request, reverse("notifications:settings"))
    return _settings_page(request, form, KindsForm(choices=queries.own_choices(request.user)))


@require_POST
@login_required
def kind_choices(request: HttpRequest) -> HttpResponse:
    """How one is told of each kind; what is as it was is left alone."""
    form = KindsForm(request.POST, choices=queries.own_choices(request.user))
    if not form.is_valid():
        own = PreferenceForm(initial=dict(initial(queries.preference_of(request.user))))
        return _settings_page(request, own, form)
    with transaction.atomic():
        for kind, choice in form.changed_choices():
            services.choose(kind, actor=request.user, by_mail=choice.by_mail, on_page=choice.on_page)
    messages.success(request, "Saved.")
    return htmx.redirect(request, reverse("notifications:settings"))


def _settings_page(request: HttpRequest, form: PreferenceForm, by_kind: KindsForm) -> HttpResponse:
    context = {
        "form": form,
        "by_kind": by_kind,
        "mail_is_on": queries.mail_is_on(),
        "address": getattr(request.user, "email", ""),
        "refused": queries.refused_message(request.user),
    }
    return render(request, "notifications/settings.html", context, status=422 if form.errors or by_kind.errors else 200)
