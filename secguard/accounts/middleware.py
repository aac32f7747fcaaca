"""For people who came through a browser: when they were last seen, and the second factor that their role asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from rest_framework.authentication import get_authorization_header
from rest_framework.request import Request

from secguard.accounts.services import devices, second_factors, sessions
from secguard.errors import NotAllowed
from secguard.web.problems import from_exception, is_program, respond

OPEN_TO_ALL = frozenset(
    {
        "accounts:security",
        "accounts:app-new",
        "accounts:passkey-new",
        "accounts:password",
        "login",
        "logout",
        "sign-in-link",
        "healthz",
        "readyz",
    }
)
"""Where somebody may go who still has to add a second factor."""


class BrowserSessions:
    """Stands after Django's own authentication; a request without our cookie passes untouched."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        devices.write(request, response)
        return response

    def process_view(self, request: HttpRequest, _view: Any, *_: object) -> HttpResponse | None:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        sessions.note_use(request)
        if not settings.REQUIRE_MFA or request.session.get(sessions.SECOND_FACTOR):
            return None
        # Split as the API itself does: words of text part at more signs than those of bytes.
        scheme = get_authorization_header(Request(request)).split()[:1]
        if request.path.startswith("/api/") and [word.lower() for word in scheme] == [b"bearer"]:
            # A token speaks for itself, and a wrong one for nobody; any other scheme leaves it to the session.
            return None
        name = request.resolver_match.view_name if request.resolver_match else ""
        if name in OPEN_TO_ALL or not second_factors.must_have_one(request.user):
            return None
        return _sent_to_add_one(request)


def _sent_to_add_one(request: HttpRequest) -> HttpResponse:
    words = "Your role asks for a second factor. Add one here to go on; then sign in with it the next time."
    if is_program(request):
        problem = from_exception(NotAllowed(words, code="second-factor-needed"))
        if problem is not None:
            return respond(request, problem)
    messages.warning(request, words)
    return redirect("accounts:security")
