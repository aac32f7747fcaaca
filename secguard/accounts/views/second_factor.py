"""The second step of signing in, and signing in by a passkey alone."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from secguard.accounts.authentication import client_address
from secguard.accounts.forms import CodeForm
from secguard.accounts.models import FactorKind, User
from secguard.accounts.services import devices, second_factors, sessions
from secguard.accounts.views.sign_in import passed_second, pending, where_next
from secguard.errors import NotAllowed, Unavailable

STATE = "passkey-state"
"""In the session: what the browser was asked, until it answers; one answer a question."""


@never_cache
@sensitive_post_parameters("current", "credential")
@require_http_methods(["GET", "HEAD", "POST"])
def check(request: HttpRequest) -> HttpResponse:
    found = pending(request)
    if found is None:
        return redirect("login")
    user, kept = found
    form, status, headers = CodeForm(request.POST if request.method == "POST" else None), 200, {}
    if request.method == "POST" and form.is_valid():
        try:
            _show(request, user, form.cleaned_data["current"])
            return passed_second(request, user, kept)
        except NotAllowed as error:
            form.add_error(None, error.detail)
            status = 422
        except Unavailable as error:
            form.add_error(None, error.detail)
            status, headers = 429, {"Retry-After": str(error.retry_after)}
    has_passkey = user.second_factors.filter(kind=FactorKind.PASSKEY).exists()
    context = {"form": form, "options": _asked(request, user) if has_passkey else ""}
    answer = render(request, "accounts/second_factor.html", context, status=status)
    for name, value in headers.items():
        answer[name] = value
    return answer


def _show(request: HttpRequest, user: User, code: str) -> None:
    """The second factor that was sent; raises what the services raise for a wrong one."""
    if answer := request.POST.get("credential", ""):
        second_factors.check_passkey(answer, request.session.pop(STATE, {}), user)
    else:
        device = devices.known(request, user, by_both_steps=True)
        second_factors.check_code(user, code, address=client_address(request), device=device)


@never_cache
@require_POST
@sensitive_post_parameters("credential")
def passkey(request: HttpRequest) -> HttpResponse:
    """The first POST asks the browser for a passkey of anybody's; the second has its answer."""
    problem, status = "", 200
    if answer := request.POST.get("credential", ""):
        try:
            user = second_factors.check_passkey(answer, request.session.pop(STATE, {}), None)
        except NotAllowed as error:
            problem, status = error.detail, 422
        else:
            # A device that asked who you are is both steps: what you have, and what you know or are.
            sessions.start_session(request, user, way="passkey", has_second_factor=True)
            return redirect(where_next(request))
    context = {"options": _asked(request, None), "problem": problem, "next": where_next(request)}
    return render(request, "accounts/passkey.html", context, status=status)


def _asked(request: HttpRequest, user: User | None) -> str:
    options, request.session[STATE] = second_factors.begin_check(user)
    return options
