"""Ways in and out: the sign-in page, the one-time link, the password."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from secguard.accounts import credentials, services
from secguard.accounts.authentication import person_of
from secguard.accounts.forms import PasswordForm, SignInForm
from secguard.errors import NotAllowed, NotFound, Unavailable

BACKEND = "django.contrib.auth.backends.ModelBackend"
BY_LINK = "came-by-link"
"""In the session: whoever came by a one-time link sets a password without knowing one."""


def client_address(request: HttpRequest) -> str:
    """Where the request came from. Behind our own proxy it is what that one appended; else nobody's word counts."""
    forwarded = request.headers.get("X-Forwarded-For", "") if settings.BEHIND_PROXY else ""
    return forwarded.rpartition(",")[2].strip()[:45] or str(request.META.get("REMOTE_ADDR", ""))


def _next(request: HttpRequest) -> str:
    """Where to go after signing in: a page of this server, or home."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours else settings.LOGIN_REDIRECT_URL


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        if request.user.is_authenticated:
            return redirect(_next(request))
        return render(request, "registration/login.html", {"form": SignInForm(), "next": _next(request)})
    form, status = SignInForm(request.POST), 422
    headers: dict[str, str] = {}
    if form.is_valid():
        try:
            user = services.sign_in(request, **form.cleaned_data, address=client_address(request))
            login(request, user)
            return redirect(_next(request))
        except NotAllowed as error:
            form.add_error(None, error.detail)
        except Unavailable as error:
            form.add_error(None, error.detail)
            status, headers = 429, {"Retry-After": str(error.retry_after)}
    page = render(request, "registration/login.html", {"form": form, "next": _next(request)}, status=status)
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
    logout(request)
    login(request, user, backend=BACKEND)
    request.session[BY_LINK] = True
    return redirect("accounts:password")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
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
            update_session_auth_hash(request, changed)
            messages.success(request, "Your password is set. Every other session of yours has ended.")
            return redirect(settings.LOGIN_REDIRECT_URL if by_link else "accounts:profile")
    status = 422 if form.errors else 200
    return render(request, "accounts/password.html", {"form": form, "by_link": by_link}, status=status)
