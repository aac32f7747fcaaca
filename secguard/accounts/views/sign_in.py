"""Ways in and out: the sign-in page, the one-time link, the password."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from secguard.accounts import credentials, services
from secguard.accounts.authentication import client_address, person_of
from secguard.accounts.forms import PasswordForm, SignInForm
from secguard.accounts.models import User
from secguard.accounts.services import devices, second_factors, sessions
from secguard.errors import NotAllowed, NotFound, Unavailable

PENDING = "first-step-done"
PENDING_SECONDS = 600
BY_LINK = "came-by-link"
"""In the session: whoever came by a one-time link sets a password without knowing one."""


def where_next(request: HttpRequest) -> str:
    """Where to go after signing in: a page of this server, or home."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else settings.LOGIN_REDIRECT_URL


def _context(request: HttpRequest, form: SignInForm) -> dict[str, Any]:
    return {"form": form, "next": where_next(request), "providers": settings.SIGN_IN_PROVIDERS}


def passed_first(request: HttpRequest, user: User, *, way: str, to: str, by_link: bool = False) -> HttpResponse:
    """The first step is done: straight in, or to the second one for whoever has a second factor."""
    if not second_factors.needs_second_factor(user):
        sessions.start_session(request, user, way=way)
        if by_link:
            request.session[BY_LINK] = True
        return redirect(to)
    before = request.session.session_key
    request.session.cycle_key()
    # Whoever is signed in here still is: the list of their sessions has to know this one, or nobody can end it.
    sessions.moved_session(before, request.session.session_key)
    request.session[PENDING] = {
        "user": user.pk,
        "at": timezone.now().timestamp(),
        "way": way,
        "to": to,
        "by_link": by_link,
        "stamp": user.get_session_auth_hash(),
    }
    return redirect("second-factor")


def pending(request: HttpRequest) -> tuple[User, dict[str, Any]] | None:
    """Who has done the first step here, within the last ten minutes and with the password that still holds."""
    kept = request.session.get(PENDING)
    if not isinstance(kept, dict) or timezone.now().timestamp() - kept["at"] > PENDING_SECONDS:
        return None
    user = User.objects.filter(pk=kept["user"], is_active=True).first()
    if user is None or not constant_time_compare(user.get_session_auth_hash(), kept["stamp"]):
        return None
    return user, kept


def passed_second(request: HttpRequest, user: User, kept: dict[str, Any]) -> HttpResponse:
    """Both steps are done."""
    request.session.pop(PENDING, None)
    sessions.start_session(request, user, way=kept["way"], has_second_factor=True)
    if kept.get("by_link"):
        request.session[BY_LINK] = True
    return redirect(kept["to"])


def _sign_out_here(request: HttpRequest) -> None:
    sessions.forget_session(request.session.session_key)
    logout(request)


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        if request.user.is_authenticated:
            return redirect(where_next(request))
        return render(request, "registration/login.html", _context(request, SignInForm()))
    form, status = SignInForm(request.POST), 422
    headers: dict[str, str] = {}
    if form.is_valid():
        try:
            device = devices.known_to(request, form.cleaned_data["username"])
            user = services.sign_in(request, **form.cleaned_data, address=client_address(request), device=device)
            return passed_first(request, user, way="password", to=where_next(request))
        except NotAllowed as error:
            form.add_error(None, error.detail)
        except Unavailable as error:
            form.add_error(None, error.detail)
            status, headers = 429, {"Retry-After": str(error.retry_after)}
    page = render(request, "registration/login.html", _context(request, form), status=status)
    for name, value in headers.items():
        page[name] = value
    return page


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in_link(request: HttpRequest) -> HttpResponse:
    """GET only shows a button: mail programs and chats that look at a link must not use it up."""
    secret = (request.POST if request.method == "POST" else request.GET).get("key", "")
    if not credentials.is_secret(secret):
        raise NotFound("This sign-in link is not complete; copy it again, whole.")
    if request.method != "POST":
        return render(request, "accounts/sign_in_link.html", {"secret": secret})
    user = services.use_sign_in_link(secret)
    _sign_out_here(request)
    return passed_first(request, user, way="sign-in link", to=reverse("accounts:password"), by_link=True)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    _sign_out_here(request)
    messages.success(request, "You are signed out.")
    return redirect("login")


@never_cache
@login_required
@sensitive_post_parameters("current", "password", "again")
def password(request: HttpRequest) -> HttpResponse:
    user = person_of(request)
    by_link = bool(request.session.get(BY_LINK))
    form = PasswordForm(request.POST or None, ask_current=not by_link)
    if request.method == "POST":
        changed = form.run(
            lambda entered: services.set_password(user.pk, entered["password"], current=entered.get("current"))
        )
        if changed is not None:
            request.session.pop(BY_LINK, None)
            before = request.session.session_key
            update_session_auth_hash(request, changed)
            sessions.moved_session(before, request.session.session_key)
            # Every other browser is a stranger from now on; this one is theirs.
            has_second_factor = bool(request.session.get(sessions.SECOND_FACTOR))
            devices.remember(request, changed, has_second_factor=has_second_factor)
            services.end_sessions(user.pk, actor=user, but=request.session.session_key)
            messages.success(request, "Your password is set. Every other session of yours has ended.")
            return redirect(settings.LOGIN_REDIRECT_URL if by_link else "accounts:profile")
    status = 422 if form.errors else 200
    return render(request, "accounts/password.html", {"form": form, "by_link": by_link}, status=status)
