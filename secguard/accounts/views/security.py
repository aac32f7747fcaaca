"""One's own ways in: second factors, recovery codes, and where one is signed in."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import qrcode
import qrcode.image.svg
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts import services, totp
from secguard.accounts.authentication import person_of
from secguard.accounts.forms import AppForm, ConfirmedForm, PasskeyForm
from secguard.accounts.models import FactorKind, SignedIn, User
from secguard.accounts.services import devices, second_factors, sessions
from secguard.accounts.services.ways_in import check_current
from secguard.errors import Conflict, NotFound

NEW_SECRET, NEW_PASSKEY = "new-app-secret", "new-passkey-state"
FRESH = timedelta(minutes=15)
Done = TypeVar("Done")
Call = Callable[[dict[str, Any]], Done]


@require_safe
@login_required
def security(request: HttpRequest) -> HttpResponse:
    user = person_of(request)
    factors = list(user.second_factors.all())
    context = {
        "factors": factors,
        "has_app": any(factor.kind == FactorKind.TOTP for factor in factors),
        "must_have_one": second_factors.must_have_one(user),
        "codes_left": user.recovery_codes.count(),
        "sessions": user.sessions.filter(ends_at__gt=timezone.now()),
        "here": request.session.session_key,
        "identities": user.external_identities.all(),
    }
    return render(request, "accounts/security.html", context)


@never_cache
@login_required
@sensitive_post_parameters("current", "code")
def app_new(request: HttpRequest) -> HttpResponse:
    """The answer to the POST shows recovery codes, once."""
    user = person_of(request)
    if user.second_factors.filter(kind=FactorKind.TOTP).exists():
        raise Conflict("You have an authenticator app already; remove it before you add another.")
    secret = str(request.session.setdefault(NEW_SECRET, totp.new_secret()))
    form = AppForm(request.POST if request.method == "POST" else None, user=user)
    if request.method == "POST":
        codes = form.run(_confirmed(request, user, lambda e: second_factors.add_app(user.pk, secret, e["code"])))
        if codes is not None:
            return _added(request, NEW_SECRET, codes)
    uri = totp.uri(secret, account=user.username, issuer=second_factors.SITE)
    context = {"form": form, "secret": secret, "square": _square(uri)}
    return render(request, "accounts/app_new.html", context, status=422 if form.errors else 200)


@never_cache
@login_required
@sensitive_post_parameters("current", "credential")
def passkey_new(request: HttpRequest) -> HttpResponse:
    user = person_of(request)
    form = PasskeyForm(request.POST if request.method == "POST" else None, user=user)
    if request.method == "POST":
        state: dict[str, Any] = request.session.pop(NEW_PASSKEY, {})

        def add(entered: dict[str, Any]) -> list[str]:
            return second_factors.add_passkey(user.pk, entered["name"], entered["credential"], state)

        codes = form.run(_confirmed(request, user, add))
        if codes is not None:
            return _added(request, NEW_PASSKEY, codes)
    options, request.session[NEW_PASSKEY] = second_factors.begin_passkey(user)
    context = {"form": form, "options": options}
    return render(request, "accounts/passkey_new.html", context, status=422 if form.errors else 200)


def _added(request: HttpRequest, kept: str, codes: list[str]) -> HttpResponse:
    request.session.pop(kept, None)
    # Whoever has just shown it has shown it for this session.
    request.session[sessions.SECOND_FACTOR] = True
    devices.remember(request, person_of(request), has_second_factor=True)
    if not codes:
        messages.success(request, "Added. You are asked for it when you sign in.")
        return redirect("accounts:security")
    return render(request, "accounts/recovery_codes.html", {"codes": codes, "is_first": True}, status=201)


@never_cache
@login_required
@sensitive_post_parameters("current")
def recovery_codes(request: HttpRequest) -> HttpResponse:
    user = person_of(request)
    form = ConfirmedForm(request.POST if request.method == "POST" else None, user=user)
    if request.method == "POST":
        codes = form.run(_confirmed(request, user, lambda _: second_factors.new_recovery_codes(user.pk)))
        if codes is not None:
            return render(request, "accounts/recovery_codes.html", {"codes": codes}, status=201)
    context = {
        "form": form,
        "title": "New recovery codes",
        "text": "The codes that you have now stop working at once.",
        "button": "Make new codes",
    }
    return _asking(request, context, form)


@login_required
@sensitive_post_parameters("current")
def factor_remove(request: HttpRequest, pk: int) -> HttpResponse:
    user = person_of(request)
    factor = user.second_factors.filter(pk=pk).first()
    if factor is None:
        raise NotFound("There is no such second factor of yours.")
    form = ConfirmedForm(request.POST if request.method == "POST" else None, user=user)
    if request.method == "POST" and form.works(
        _confirmed(request, user, lambda _: services.remove_second_factor(pk, actor=user))
    ):
        messages.success(request, f"{factor.name} is removed.")
        return redirect("accounts:security")
    context = {
        "form": form,
        "title": f"Remove {factor.name}?",
        "text": "You are not asked for it any more when you sign in.",
        "button": "Remove it",
    }
    return _asking(request, context, form)


def _asking(request: HttpRequest, context: dict[str, Any], form: ConfirmedForm) -> HttpResponse:
    context |= {"back": reverse("accounts:security")}
    return render(request, "accounts/confirm_form.html", context, status=422 if form.errors else 200)


def _confirmed(
    request: HttpRequest, user: User, call: Callable[[dict[str, Any]], Done]
) -> Callable[[dict[str, Any]], Done]:
    """``call``, once it is sure that it is they: by the password, or, without one, by having signed in just now."""

    def confirmed(entered: dict[str, Any]) -> Done:
        if user.has_usable_password():
            check_current(user, entered["current"])
        elif not _is_fresh(request):
            raise Conflict("Sign out and in again first: this needs to be within 15 minutes of signing in.")
        return call(entered)

    return confirmed


def _is_fresh(request: HttpRequest) -> bool:
    since = timezone.now() - FRESH
    return SignedIn.objects.filter(session_key=request.session.session_key or "", created_at__gt=since).exists()


@require_POST
@login_required
def session_end(request: HttpRequest, pk: int) -> HttpResponse:
    services.end_session(pk, actor=person_of(request))
    messages.success(request, "That session has ended.")
    return redirect("accounts:security")


@require_POST
@login_required
def sessions_end(request: HttpRequest) -> HttpResponse:
    ended = services.end_sessions(person_of(request).pk, actor=person_of(request), but=request.session.session_key)
    messages.success(request, f"Other sessions ended: {ended}.")
    return redirect("accounts:security")


def _square(uri: str) -> str:
    """The square for the app's camera, as an address that needs no further request."""
    raw = io.BytesIO()
    qrcode.make(uri, image_factory=qrcode.image.svg.SvgPathFillImage, border=2).save(raw)
    return "data:image/svg+xml;base64," + base64.b64encode(raw.getvalue()).decode()
