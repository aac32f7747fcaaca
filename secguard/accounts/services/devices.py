"""Browsers in which a person has signed in before: a signed cookie says so, and nobody else's guesses lock them out.

The cookie holds a random name of the device and, for each person who signed in there, which password held then. It
lets nobody in; it only has its holder's wrong tries counted apart from those of the rest of the world.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import constant_time_compare

from secguard.accounts.models import User

KNOWN_FOR = timedelta(days=180)
MAX_PEOPLE = 5
"""Of one browser: whoever signed in there longest ago is forgotten."""
_SALT: Final = "secguard.accounts.devices"
_NEW: Final = "_known_device"


@dataclass(frozen=True)
class _Known:
    user: int
    stamp: str
    has_second_factor: bool


@dataclass(frozen=True)
class _Device:
    name: str
    people: tuple[_Known, ...]


def cookie_name() -> str:
    return "__Host-secguard-device" if settings.SESSION_COOKIE_SECURE else "secguard-device"


def known(request: HttpRequest, user: User, *, by_both_steps: bool = False) -> str:
    """The name of this browser if ``user`` has signed in with it under the password that still holds; else nothing.

    ``by_both_steps``: with a second factor, too. Whoever knows the password alone makes no device of theirs known.
    """
    device = _read(request)
    for one in device.people if device else ():
        if one.user == user.pk and (one.has_second_factor or not by_both_steps) and _holds(one, user):
            return device.name if device else ""
    return ""


def known_to(request: HttpRequest, username: str) -> str:
    """``known`` for whoever has that name. Without a cookie nobody is looked up, so that the time tells nothing."""
    device = _read(request)
    if device is None:
        return ""
    people = User.objects.filter(pk__in=[one.user for one in device.people], username__iexact=username[:150])
    user = people.first()
    return known(request, user) if user is not None else ""


def remember(request: HttpRequest, user: User, *, has_second_factor: bool) -> None:
    """``user`` has signed in here; the answer to this request tells the browser (``write``)."""
    before = _read(request)
    had = known(request, user, by_both_steps=True)
    others = tuple(one for one in before.people if one.user != user.pk) if before else ()
    here = _Known(user.pk, _stamp(user), has_second_factor or bool(had))
    name = before.name if before else secrets.token_urlsafe(12)
    setattr(request, _NEW, _Device(name, (here, *others)[:MAX_PEOPLE]))


def write(request: HttpRequest, response: HttpResponseBase) -> None:
    device: _Device | None = getattr(request, _NEW, None)
    if device is None:
        return
    people = [[one.user, one.stamp, int(one.has_second_factor)] for one in device.people]
    response.set_cookie(
        cookie_name(),
        signing.dumps([device.name, people], salt=_SALT),
        max_age=KNOWN_FOR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _read(request: HttpRequest) -> _Device | None:
    """What this request has just made of it, or its cookie if we signed that."""
    made: _Device | None = getattr(request, _NEW, None)
    if made is not None:
        return made
    raw = request.COOKIES.get(cookie_name(), "")
    if not 1 <= len(raw) <= 1000:
        return None
    try:
        name, people = signing.loads(raw, salt=_SALT, max_age=KNOWN_FOR)
        return _Device(str(name), tuple(_known(one) for one in people[:MAX_PEOPLE]))
    except (signing.BadSignature, ValueError, TypeError):
        return None


def _known(one: Any) -> _Known:
    user, stamp, has_second_factor = one
    return _Known(int(user), str(stamp), bool(has_second_factor))


def _holds(one: _Known, user: User) -> bool:
    return constant_time_compare(one.stamp, _stamp(user))


def _stamp(user: User) -> str:
    """Of the password's own hash, whose salt nobody knows: a new password makes every other device a stranger."""
    return hashlib.sha256(f"{user.pk}\n{user.password}".encode()).hexdigest()[:20]
