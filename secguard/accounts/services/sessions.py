"""Where a person is signed in: listed, and ended, one or all."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import login
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from secguard.accounts.authentication import client_address
from secguard.accounts.models import SignedIn, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import devices
from secguard.accounts.services.attempts import origin
from secguard.accounts.services.permission import require
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import NotFound

BACKEND = "django.contrib.auth.backends.ModelBackend"
SEEN = "seen"
SECOND_FACTOR = "second-factor"
"""In the session: that a second factor was shown at this sign-in."""
NOTED_EVERY = timedelta(minutes=5)

_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))


def start_session(request: HttpRequest, user: User, *, way: str, has_second_factor: bool = False) -> None:
    """Sign ``user`` in on this browser, with a new session that ends 12 hours from now whatever happens in it."""
    login(request, user, backend=BACKEND)
    now = timezone.now()
    ends = now + timedelta(seconds=settings.SESSION_COOKIE_AGE)
    request.session.set_expiry(ends)
    request.session[SEEN] = now.timestamp()
    request.session[SECOND_FACTOR] = has_second_factor
    request.session.save()
    devices.remember(request, user, has_second_factor=has_second_factor)
    SignedIn.objects.filter(ends_at__lt=now).delete()
    SignedIn.objects.update_or_create(
        session_key=request.session.session_key,
        defaults={
            "user": user,
            "device": device_of(request.headers.get("User-Agent", "")),
            "address": shortened(client_address(request)),
            "way": way[:60],
            "created_at": now,
            "last_seen_at": now,
            "ends_at": ends,
        },
    )


def note_use(request: HttpRequest) -> None:
    """That this session is in use, at most once in five minutes."""
    now = timezone.now()
    seen = request.session.get(SEEN)
    if not isinstance(seen, int | float) or now.timestamp() - seen < NOTED_EVERY.total_seconds():
        return
    request.session[SEEN] = now.timestamp()
    SignedIn.objects.filter(session_key=request.session.session_key).update(last_seen_at=now)


def forget_session(session_key: str | None) -> None:
    """The person signed out here."""
    SignedIn.objects.filter(session_key=session_key or "").delete()


def moved_session(old_key: str | None, new_key: str | None) -> None:
    """The session goes on under another key, as after a new password."""
    SignedIn.objects.filter(session_key=old_key or "").update(session_key=new_key)


def end_session(session_id: int, *, actor: User) -> None:
    """End one of the actor's own sessions, or anybody's with user:manage. ``NotFound`` for one they may not know of."""
    with transaction.atomic():
        found = SignedIn.objects.select_related("user").filter(pk=session_id).first()
        if found is None or (found.user_id != actor.pk and actor.teams_with(Permission.USER_MANAGE) is not None):
            raise NotFound("There is no such session; it may have ended already.")
        _end([found])
        _record(found.user, actor, 1)


def end_sessions(user_id: int, *, actor: User | None, but: str | None = None) -> int:
    """End all of a person's sessions, ``but`` the one of that key; returns how many. Others' need user:manage."""
    if actor is not None and actor.pk != user_id:
        require(actor, Permission.USER_MANAGE)
    with transaction.atomic():
        user = User.objects.filter(pk=user_id).first()
        if user is None:
            raise NotFound(f"there is no user {user_id}")
        rows = list(SignedIn.objects.filter(user_id=user_id).exclude(session_key=but or ""))
        _end(rows)
        if rows:
            _record(user, actor, len(rows))
    return len(rows)


def _end(rows: list[SignedIn]) -> None:
    # A session that is gone is signed out at its next request; nothing has to look it up.
    Session.objects.filter(session_key__in=[row.session_key for row in rows]).delete()
    SignedIn.objects.filter(pk__in=[row.pk for row in rows]).delete()


def device_of(agent: str) -> str:
    """A browser and a system, as far as the browser says; for people to know their own by."""
    text = agent[:500]
    system = next((name for mark, name in _SYSTEMS if mark in text), "")
    browser = next((name for mark, name in _BROWSERS if mark in text), "")
    if browser or system:
        return " on ".join(word for word in (browser or "A browser", system) if word)
    first = re.match(r"[A-Za-z0-9._ -]{1,40}", text)
    return first[0].strip() if first and first[0].strip() else "unknown"


def shortened(address: str) -> str:
    """An address without what tells one machine from its neighbours: IPv4 by its /24, IPv6 by its /48."""
    bare = origin(address).partition("/")[0]
    try:
        ip = ipaddress.ip_address(bare)
    except ValueError:
        return "unknown"
    if ip.is_loopback or bare == "::":  # ::1 by its own /64
        return "this machine"
    if isinstance(ip, ipaddress.IPv4Address):
        return f"{bare.rpartition('.')[0]}.*"
    return f"{ipaddress.ip_network((ip, 48), strict=False).network_address}*"


def _record(user: User, actor: User | None, ended: int) -> None:
    audit.record(
        Action.SESSION_END,
        actor=actor,
        subject_type="user",
        subject_id=user.pk,
        subject=user.username,
        details={"ended": ended},
    )
