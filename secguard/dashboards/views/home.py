"""Home: what needs this person today; and where an empty install begins."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from secguard.accounts.models import Team, User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import create_token
from secguard.dashboards import queries
from secguard.decisions.models import Decision
from secguard.decisions.queries import queue, waiting_count
from secguard.findings.models import Exposure
from secguard.images.models import Image

ROWS = 8
POSTERS = (Role.DEVELOPER, Role.OPERATOR, Role.SECURITY_REVIEWER, Role.ADMINISTRATOR)


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if not Image.objects.visible_to(user).exists():
        return redirect("begin")
    now = timezone.now()
    context: dict[str, Any] = {"now": now, "cards": _cards(user, now), "work": _work(user, now)}
    if user.can(Permission.DECISION_APPROVE):
        context["queue"] = queue(user, now, limit=ROWS)
    context["mine"] = _mine(user)
    context["ending"] = _ending(user, now)
    context["blocked"] = _blocked(user)
    return render(request, "dashboards/home.html", context)


def _cards(user: User, now: datetime) -> list[dict[str, Any]]:
    """The numbers at the top: each leads to exactly its rows."""
    found = queries.figures(user, now)
    work = reverse("risks:work")
    images = reverse("images:list")
    cards = []
    if user.can(Permission.DECISION_APPROVE):
        waiting = waiting_count(user, now)
        cards.append(_card("Waiting for you", waiting, reverse("decisions:queue"), "requests to decide"))
    cards += [
        _card("Overdue", found.of_deadline("overdue"), f"{work}?deadline=overdue", "past the date to fix by"),
        _card("Due this week", found.of_deadline("soon"), f"{work}?deadline=soon", "and not covered"),
        _card("Blocked", found.verdicts.get("block", 0), f"{images}?verdict=block&current=true", "newest images"),
    ]
    if len(cards) < 4:
        ending = _query("decisions:list", status="approved", ending="30")
        cards.append(_card("Exceptions ending", found.exceptions_ending, ending, "within 30 days"))
    return cards


def _query(name: str, **words: str) -> str:
    return f"{reverse(name)}?{urlencode(words)}"


def _card(label: str, value: int, url: str, note: str) -> dict[str, Any]:
    return {"label": label, "value": value, "url": url, "note": note}


def _work(user: User, now: datetime) -> list[Exposure]:
    """What to fix first: what no decision covers and has a date, the earliest first."""
    covered = queries.by_deadline(now, now + queries.WEEK)["covered"]
    rows = queries.open_work(user).exclude(due_at=None).exclude(covered & Q(decided_until__isnull=False))
    return list(rows.order_by("due_at", "id")[:ROWS])


def _mine(user: User) -> list[Decision]:
    rows = Decision.objects.visible_to(user).filter(requested_by=user).select_related("risk__vulnerability")
    return list(rows.order_by("-id")[:ROWS])


def _ending(user: User, now: datetime) -> list[Decision]:
    rows = Decision.objects.visible_to(user).in_force(now).filter(expires_at__lte=now + queries.MONTH)
    return list(rows.select_related("risk__vulnerability").order_by("expires_at", "id")[:ROWS])


def _blocked(user: User) -> list[Any]:
    newest = queries.newest_images(user).values("newest_image_id")
    rows = queries.image_rows(user).filter(pk__in=newest, verdict_word="block")
    images = list(rows.order_by("-worst_severity", "-open_findings", "-id")[:ROWS])
    for image in images:
        image.name = queries.name_of(image)  # type: ignore[attr-defined]
    return images


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def begin(request: HttpRequest) -> HttpResponse:
    """Where to begin: the exact commands. A POST makes the token that they carry, shown this once."""
    user: Any = request.user
    role = next((r for r in POSTERS if any(held == r for held, _ in user.grants())), None)
    token = ""
    if request.method == "POST" and role is not None:
        team = next((t for held, t in user.grants() if held == role), None)
        wanted = Team.objects.filter(pk=team).first() if team else None
        _, token = create_token(user.pk, role, actor=user, name="first pipeline", team=wanted)
    context = {
        "token": token,
        "url": settings.PUBLIC_URL,
        "may_post": role is not None and user.can(Permission.REPORT_POST),
        "may_sample": user.can(Permission.SAMPLE_LOAD),
        "has_images": Image.objects.visible_to(user).exists(),
    }
    return render(request, "dashboards/begin.html", context)
