"""The weekly letters: put into the outbox when they are due, and written when they are sent, as their reader may see
then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from secguard.dashboards import report
from secguard.dashboards.homes import Audience, Home
from secguard.dashboards.models import SavedView, Subscription
from secguard.dashboards.queries.homes import home_of
from secguard.dashboards.report import Form
from secguard.dashboards.services.saving import key_of, zone_of
from secguard.dashboards.slices import Slice
from secguard.dashboards.weekly import next_time
from secguard.errors import NotAllowed
from secguard.jobs.registry import Run
from secguard.notifications.digest import Attachment, Letter, plain
from secguard.notifications.services.writers import Written, write

WRITE_WEEKLY: Final = "dashboards.write-weekly"
ABOUT: Final = "home"
MOST: Final = 1_000
"""Letters of one run; the rest come with the next."""


def write_weekly(run: Run) -> Mapping[str, Any]:
    """The job: put the letters that are due into the outbox. Safe to run twice, and by several workers at once."""
    return {"letters": write_due(timezone.now())}


def write_due(now: datetime) -> int:
    """Returns how many letters were put there: one for each week, however often it is called."""
    count = 0
    due = Subscription.objects.filter(next_at__lte=now).select_related("view").order_by("next_at", "pk")
    for subscription in due[:MOST]:
        user = subscription.view.user_id
        then = next_time(subscription.weekday, subscription.hour, zone_of(user), now)
        with transaction.atomic():
            # Whoever moves it on writes it, and nobody else.
            ours = Subscription.objects.filter(pk=subscription.pk, next_at=subscription.next_at)
            if ours.update(next_at=then):
                write(user, f"{ABOUT}:{subscription.pk}", now=now)
                count += 1
    return count


def letter(name: str, user_id: int, now: datetime) -> Written | None:
    """``notifications.services.writers.Writer``: the subscription's letter as its person may see it at ``now``."""
    rows = Subscription.objects.filter(pk=int(name), view__user=user_id, view__user__is_active=True)
    subscription = rows.select_related("view__user").first()
    if subscription is None:
        return None
    view = subscription.view
    try:
        home = home_of(Audience(view.audience), slice_of(view), view.user, now)
    except NotAllowed:
        return None  # they may read it no longer; the subscription stays, for when they may
    path = reverse("homes:unsubscribe", args=[key_of(subscription)])
    headers = (
        ("List-Unsubscribe", f"<{settings.PUBLIC_URL}{path}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),  # RFC 8058
    )
    return Written(_letter(view, home, Form(subscription.form), path), headers)


def slice_of(view: SavedView) -> Slice:
    return Slice(view.team, view.application, view.environment, view.days)


def _letter(view: SavedView, home: Home, form: Form, path: str) -> Letter:
    base = settings.PUBLIC_URL
    subject = f"[SecGuard] {plain(view.name, 80)}: {home.made_at:%Y-%m-%d}"
    place = f"{base}{reverse('homes:detail', args=[view.audience])}?{home.slice.query}"
    tail = f"The same on its page: {place}\nNo more of these letters: {base}{path}\n"
    foot = (
        f'<p><a href="{escape(place)}">The same on its page</a> · '
        f'<a href="{base}{path}">No more of these letters</a></p>'
    )
    if form is Form.HTML:
        text = report.as_text(home, base)
        return Letter(subject, f"{text}\n-- \n{tail}", report.page(report.as_html(home, base) + foot))
    said = f"{report.title_of(home)} ({home.slice.words}) is in the file beside this letter."
    file = Attachment(f"secguard-{view.audience}-{home.made_at:%Y-%m-%d}.pdf", "application/pdf", report.as_pdf(home))
    inside = f"<p>{escape(said)}</p>{foot}"
    return Letter(subject, f"{said}\n\n-- \n{tail}", report.page(inside), (file,))
