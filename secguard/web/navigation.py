"""The main navigation. The list is here; what a number beside an item counts comes from the app that owns it.

An item whose URL name does not exist is left out, and so is one that the person may not use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

Badge = Callable[[HttpRequest], int]


@dataclass(frozen=True)
class Item:
    """One place to go. It is the current one on every URL name that begins with one of ``section`` (its namespace)."""

    label: str
    url_name: str
    icon: str
    permission: str = ""
    section: tuple[str, ...] = ()

    def match(self, view_name: str) -> int:
        """How much of ``view_name`` is this item's: the item with the longest match is the current one."""
        if view_name == self.url_name:
            return len(view_name) + 1
        namespace, colon, _ = self.url_name.partition(":")
        starts = self.section or ((f"{namespace}:",) if colon else ())
        return max((len(start) for start in starts if view_name.startswith(start)), default=0)


@dataclass(frozen=True)
class Link:
    """An item as the page shows it."""

    label: str
    url: str
    icon: str
    current: bool
    badge: int = 0


GROUPS: tuple[tuple[str, tuple[Item, ...]], ...] = (
    (
        "",
        (
            Item("Home", "home", "home", section=("home", "homes:")),
            Item("Landscape", "landscape:home", "apps"),
            Item("Notifications", "notifications:list", "inbox"),
        ),
    ),
    (
        "Risk",
        (
            Item("Images", "images:list", "stack-2", section=("images:", "recalls:")),
            Item("Repositories", "repositories:list", "box"),
            Item("Scans", "scans:list", "eye"),
            Item("Risks", "risks:list", "alert-triangle", section=("risks:", "findings:")),
            Item(
                "Review queue",
                "decisions:queue",
                "checklist",
                "decision:approve",
                ("decisions:queue", "decisions:review"),
            ),
            Item("Decisions", "decisions:list", "gavel"),
            Item("Forecast", "forecast:list", "clock"),
            Item("Controls", "controls:list", "circle-check"),
        ),
    ),
    (
        "Promote and run",
        (
            Item("Promotions", "promotions:list", "rocket", "promotion:read"),
            Item("Incidents", "incidents:list", "alert-circle", "incident:read"),
            Item("Baselines", "baselines:list", "circle-check"),
            Item("Workloads", "workloads:list", "player-play"),
            Item("Network", "network:map", "plug"),
            Item("Admission", "admissions:list", "server"),
            Item("Events", "events:list", "message", "event:read"),
            Item("Break-glass", "break-glass:list", "lock", "break-glass:request"),
        ),
    ),
    (
        "Govern",
        (
            Item("Policy", "policies:detail", "shield-check", section=("policies:", "laboratory:")),
            Item("Applications", "applications:list", "apps"),
            Item("Planning", "planning:list", "flag"),
            Item("Vulnerability data", "feeds:list", "refresh"),
            Item("Compliance", "compliance:home", "report-analytics", section=("compliance:", "frameworks:")),
            Item("Audit log", "audit:list", "list-details", "audit:read"),
        ),
    ),
    (
        "",
        (
            Item(
                "Settings",
                "settings:home",
                "settings",
                section=(
                    "settings:",
                    "clusters:",
                    "registries:",
                    "environments:",
                    "keys:",
                    "trusted-keys:",
                    "channels:",
                    "trackers:",
                    "sensors:",
                    "retention:",
                    "exports:",
                ),
            ),
        ),
    ),
)

_badges: dict[str, Badge] = {}


def register_badge(url_name: str, count: Badge) -> None:
    """Puts ``count(request)`` beside an item (0 shows nothing); called from AppConfig.ready of the app that counts."""
    _badges[url_name] = count


def links(request: HttpRequest) -> list[tuple[str, list[Link]]]:
    """(group, its links) for the person who asks; groups without any are left out."""
    current = _current(request)
    found = [(label, [link for item in items if (link := _link(item, request, current))]) for label, items in GROUPS]
    return [(label, shown) for label, shown in found if shown]


def _current(request: HttpRequest) -> Item | None:
    match = request.resolver_match
    name = match.view_name if match else ""
    best = max((item for _, items in GROUPS for item in items), key=lambda item: item.match(name))
    return best if best.match(name) else None


def _link(item: Item, request: HttpRequest, current: Item | None) -> Link | None:
    if item.permission and not may(request, item.permission):
        return None
    try:
        url = reverse(item.url_name)
    except NoReverseMatch:
        return None
    count = _badges.get(item.url_name)
    return Link(item.label, url, item.icon, item is current, count(request) if count else 0)


def may(request: HttpRequest, permission: str) -> bool:
    """True when the person may do ``permission`` anywhere; nobody signed in may do nothing."""
    try:
        return bool(request.user.can(permission))  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        return False
