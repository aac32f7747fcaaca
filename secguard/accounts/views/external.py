"""To a provider and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.adapters import saml
from secguard.accounts.models import User
from secguard.accounts.providers import THEIRS, Provider
from secguard.accounts.services import external, sessions
from secguard.accounts.views.sign_in import passed_first, where_next
from secguard.errors import NotAllowed, NotFound, SecGuardError

KEPT = "external-sign-in"
SECONDS = 600
TOLD, TICKET_SECONDS = "told-by-saml", 60


@never_cache
@require_safe
def begin(request: HttpRequest, name: str) -> HttpResponse:
    """A link and no form: our own policy lets no form lead to another server."""
    provider = external.provider_named(name)
    try:
        address, kept = _begun(provider)
    except SecGuardError as error:
        messages.error(request, error.detail)
        return redirect("login")
    request.session[KEPT] = {
        **kept,
        "provider": provider.name,
        "to": where_next(request),
        "at": timezone.now().timestamp(),
    }
    return HttpResponseRedirect(address)


@never_cache
@require_safe
def callback(request: HttpRequest, name: str) -> HttpResponse:
    """What the browser brings back is taken once."""
    provider = external.provider_named(name)
    kept = taken(request, provider)
    try:
        told = (
            external.finish_oidc(provider, _callback(provider), kept, request.GET.dict())
            if provider.kind == "oidc"
            else _brought(request, kept)
        )
        return signed_in(request, provider, external.sign_in_told(provider, told), kept)
    except SecGuardError as error:
        messages.error(request, error.detail)
        return redirect("login")


@never_cache
@csrf_exempt
@require_POST
def acs(request: HttpRequest, name: str) -> HttpResponse:
    """Where the provider has the browser post its signed answer.

    From another site, so without our session's cookie (SameSite): what was said waits under a ticket for a minute, and
    counts in the browser whose session began that very request.
    """
    provider = _of_saml(name)
    try:
        answer = saml.read(provider, _ours(provider), request.POST.get("SAMLResponse", ""), timezone.now())
        told = external.told_by_saml(provider, answer)
    except SecGuardError as error:
        messages.error(request, error.detail)
        return redirect("login")
    waiting = SessionStore()
    waiting.set_expiry(TICKET_SECONDS)
    waiting[TOLD] = {**asdict(told), "request_id": answer.request_id}
    waiting.save()
    ticket = urlencode({"ticket": waiting.session_key})
    return HttpResponseRedirect(f"{reverse('external-callback', args=[name])}?{ticket}", status=303)


def _brought(request: HttpRequest, kept: dict[str, Any]) -> external.Told:
    """What the provider said, once, to the browser that began the request it answers."""
    ticket = request.GET.get("ticket", "")
    waiting = SessionStore(ticket) if ticket.isalnum() and len(ticket) <= 40 else SessionStore()
    told = waiting.get(TOLD)
    if not isinstance(told, dict) or not kept.get("request_id") or told.pop("request_id") != kept["request_id"]:
        raise NotAllowed("You are not signed in: the answer belongs to no sign-in that began in this browser.")
    waiting.delete()
    return external.Told(**{**told, "groups": tuple(told["groups"])})


@require_safe
def metadata(request: HttpRequest, name: str) -> HttpResponse:
    """For the provider's administrator."""
    provider = _of_saml(name)
    return HttpResponse(saml.metadata(provider, _ours(provider)), content_type="application/samlmetadata+xml")


def _of_saml(name: str) -> Provider:
    provider = external.provider_named(name)
    if provider.kind != "saml":
        raise NotFound("There is no such way to sign in.")
    return provider


def _begun(provider: Provider) -> tuple[str, dict[str, str]]:
    if provider.kind == "oidc":
        return external.begin_oidc(provider, _callback(provider))
    address, request_id = saml.begin(provider, _ours(provider))
    return address, {"request_id": request_id}


def _ours(provider: Provider) -> saml.Ours:
    metadata, acs = (reverse(f"external-{word}", args=[provider.name]) for word in ("metadata", "acs"))
    return saml.Ours(settings.PUBLIC_URL, f"{settings.PUBLIC_URL}{metadata}", f"{settings.PUBLIC_URL}{acs}")


def taken(request: HttpRequest, provider: Provider) -> dict[str, Any]:
    """What was kept when this browser went there, at most ten minutes ago; empty where nothing was."""
    kept = request.session.pop(KEPT, None)
    is_ours = isinstance(kept, dict) and kept.get("provider") == provider.name
    return kept if is_ours and timezone.now().timestamp() - kept["at"] <= SECONDS else {}


def signed_in(request: HttpRequest, provider: Provider, user: User, kept: dict[str, Any]) -> HttpResponse:
    """In, with the second step where the provider's own is not to be relied on."""
    if provider.second_factor == THEIRS:
        sessions.start_session(request, user, way=provider.label, has_second_factor=True)
        return redirect(kept["to"])
    return passed_first(request, user, way=provider.label, to=kept["to"])


def _callback(provider: Provider) -> str:
    return f"{settings.PUBLIC_URL}{reverse('external-callback', args=[provider.name])}"
