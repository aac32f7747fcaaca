"""Home: what needs this person today; and where an empty install begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from secguard.admission.models import AdmissionDecision, BreakGlass
from secguard.admission.queries import decisions, in_grace, open_glass, sees_glass
from secguard.approvals.queries import seats_of_others
from secguard.dashboards import queries
from secguard.dashboards.figures import Card, Figures
from secguard.dashboards.homes import DAYS, OF_ROLE, READS
from secguard.dashboards.queries.homes import home_of
from secguard.dashboards.queries.promotions import Moving, moving
from secguard.dashboards.slices import Slice
from secguard.dashboards.views.homes import tabs
from secguard.decisions.models import Control, Decision
from secguard.decisions.queries import Waiting, queue, waiting_count
from secguard.decisions.queries.controls import needing_someone
from secguard.decisions.queries.deadlines import give_deadlines
from secguard.findings.models import Exposure
from secguard.images.models import Image
from secguard.policies.facts import Gate
from secguard.promotion.models import Promotion
from secguard.promotion.queries import waiting_for
from secguard.workloads.models import Workload

ROWS = 8
POSTERS = (Role.DEVELOPER, Role.OPERATOR, Role.SECURITY_REVIEWER, Role.ADMINISTRATOR)

# What each audience's home shows: its heading, what is needed first, and what stands beside it (DESIGN section 8).
# Whoever holds several roles gets the home of the first one in this table.
HOMES: dict[Role, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    Role.SECURITY_REVIEWER: (
        "What waits for a decision",
        ("queue", "approvals", "work"),
        ("controls", "glass", "grace", "blocked", "ending", "mine"),
    ),
    Role.BUSINESS_APPROVER: ("Where you stand", ("queue", "approvals", "work"), ("blocked", "ending")),
    Role.OPERATOR: (
        "What runs, and what was refused",
        ("grace", "refused", "work"),
        ("glass", "promotions", "blocked", "ending", "mine"),
    ),
    Role.ADMINISTRATOR: ("What needs you", ("work",), ("controls", "glass", "promotions", "blocked", "ending", "mine")),
    Role.DEVELOPER: ("What to fix", ("work",), ("controls", "blocked", "mine", "ending")),
    Role.VIEWER: ("Where you stand", ("work",), ("blocked", "ending")),
}
SAID_BY = {"due": "work", "upgrades": "blocked", "controls": "controls", "waiting": "queue"}
"""Tables of a home, and the panel that says the same to this person, with what they may do about it."""
FIGURES = (Role.BUSINESS_APPROVER, Role.VIEWER)
"""Whose numbers are the shares and totals of the business rather than what is due next."""


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if not Image.objects.visible_to(user).exists():
        return redirect("begin")
    now = timezone.now()
    role = audience(user)
    heading, first, beside = HOMES[role]
    # Whoever votes for somebody who is away sees first what waits for that person, whatever their own home is.
    decides = user.can(Permission.DECISION_APPROVE) or bool(seats_of_others(user, now))
    if decides:
        first = tuple(dict.fromkeys(("queue", "approvals", *first)))
    audience_ = OF_ROLE[role]
    shown = home_of(audience_, Slice(days=DAYS[audience_]), user, now) if user.can(READS[audience_]) else None
    panels = {name for column in (first, beside) for name in column}
    context = {
        "now": now,
        "heading": heading,
        "home": shown,
        "tabs": tabs(user, audience_),
        "tables": [p for p in shown.panels if SAID_BY.get(p.key) not in panels] if shown else [],
        "cards": _cards(user, now, role, decides=decides),
        "columns": [
            [(f"dashboards/_{name}.html", rows) for name, rows in _panels(user, now, c)] for c in (first, beside)
        ],
    }
    return render(request, "dashboards/home.html", context)


def _panels(user: User, now: datetime, names: tuple[str, ...]) -> Iterator[tuple[str, list[Any] | Moving]]:
    """(panel, its rows); without those that are not for this person."""
    for name in names:
        rows = PANELS[name](user, now)
        if rows is not None:
            yield name, rows


def audience(user: User) -> Role:
    """Whose home this person gets: the first role in ``HOMES`` that they hold anywhere; a viewer's for nobody's."""
    held = {role for role, _ in user.grants()}
    return next((role for role in HOMES if role in held), Role.VIEWER)


def _cards(user: User, now: datetime, role: Role, *, decides: bool) -> list[Card]:
    """The numbers at the top, four at most: each leads to exactly its rows."""
    found = queries.figures(user, now)
    waiting = _waiting_card(user, now) if decides else []
    if role in FIGURES:
        return [*waiting, *_standing_cards(found)][:4]
    work, images = reverse("risks:work"), reverse("images:list")
    ending = _query("decisions:list", status="approved", ending="30")
    cards = [
        *waiting,
        Card("Overdue", found.of_deadline("overdue"), f"{work}?deadline=overdue", "past the date to fix by"),
        Card("Due this week", found.of_deadline("soon"), f"{work}?deadline=soon", "and not covered"),
        Card("Blocked", found.verdicts.get("block", 0), f"{images}?verdict=block&current=true", "newest images"),
        Card("Exceptions ending", found.exceptions_ending, ending, "within 30 days"),
    ]
    return cards[:4]


def _waiting_card(user: User, now: datetime) -> list[Card]:
    count = waiting_count(user, now)
    return [Card("Waiting for you", count, reverse("decisions:queue"), "requests to decide")]


def _standing_cards(found: Figures) -> list[Card]:
    work, images = reverse("risks:work"), f"{reverse('images:list')}?current=true"
    in_force = {"name": "decisions:list", "status": "approved"}
    return [
        Card("Overdue", found.of_deadline("overdue"), f"{work}?deadline=overdue", f"{found.open_total:,} open", work),
        Card(
            "Blocked",
            found.verdicts.get("block", 0),
            f"{images}&verdict=block",
            f"{found.images:,} newest images",
            images,
        ),
        Card(
            "Exceptions in force",
            found.exceptions,
            _query(**in_force),
            f"{found.exceptions_ending:,} end within 30 days",
            _query(**in_force, ending="30"),
        ),
    ]


def _query(name: str, **words: str) -> str:
    return f"{reverse(name)}?{urlencode(words)}"


def _work(user: User, now: datetime) -> list[Exposure]:
    """What to fix first: what no decision covers and has a date, the earliest first."""
    covered = queries.by_deadline(now, now + queries.WEEK)["covered"]
    rows = queries.open_work(user).exclude(due_at=None).exclude(covered & Q(decided_until__isnull=False))
    found = list(rows.order_by("due_at", "-severity", "id")[:ROWS])
    give_deadlines(found)
    return found


def _queue(user: User, now: datetime) -> list[Waiting]:
    return queue(user, now, limit=ROWS)


def _mine(user: User, now: datetime) -> list[Decision]:
    rows = Decision.objects.visible_to(user).filter(requested_by=user).select_related("risk__vulnerability")
    return list(rows.order_by("-id")[:ROWS])


def _ending(user: User, now: datetime) -> list[Decision]:
    rows = Decision.objects.visible_to(user).in_force(now).filter(expires_at__lte=now + queries.MONTH)
    return list(rows.select_related("risk__vulnerability").order_by("expires_at", "id")[:ROWS])


def _controls(user: User, now: datetime) -> list[Control] | None:
    """Controls that wait to be confirmed or need evidence, where there is one."""
    return needing_someone(user, now, limit=ROWS) or None


def _blocked(user: User, now: datetime) -> list[Image]:
    newest = queries.newest_images(user).values("newest_image_id")
    return queries.with_upgrades(queries.named(queries.blocked_rows(user, newest)[:ROWS]))


def _refused(user: User, now: datetime) -> list[Image]:
    """Images that run now and that would not be let start again."""
    running = Workload.objects.running().visible_to(user).values("images")
    return queries.named(queries.blocked_rows(user, running, Gate.ADMIT)[:ROWS])


def _glass(user: User, now: datetime) -> list[BreakGlass] | None:
    """Break-glass that waits for an answer or a review, or may be used; for nobody but who may ask for one."""
    return list(open_glass(user, now)[:ROWS]) if sees_glass(user) else None


def _grace(user: User, now: datetime) -> list[AdmissionDecision]:
    """What runs on in its grace, the first to end before the others."""
    return list(in_grace(decisions(user), now).order_by("grace_until", "-pk")[:ROWS])


def _approvals(user: User, now: datetime) -> list[Promotion] | None:
    """Promotions that wait for this person's vote."""
    return waiting_for(user) or None


def _promotions(user: User, now: datetime) -> Moving | None:
    return moving(user, ROWS)


PANELS: dict[str, Callable[[User, datetime], list[Any] | Moving | None]] = {
    "approvals": _approvals,
    "controls": _controls,
    "promotions": _promotions,
    "glass": _glass,
    "grace": _grace,
    "queue": _queue,
    "work": _work,
    "blocked": _blocked,
    "refused": _refused,
    "ending": _ending,
    "mine": _mine,
}


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
        "role": role.value if role else "",
        "url": settings.PUBLIC_URL,
        "may_post": role is not None and user.can(Permission.REPORT_POST),
        "may_sample": user.can(Permission.SAMPLE_LOAD),
        "has_images": Image.objects.visible_to(user).exists(),
    }
    return render(request, "dashboards/begin.html", context)
