"""A session that ended in the middle of the work: nothing goes unsaid, and signing in leads back to the same page."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.template.loader import render_to_string
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

Next = Callable[[HttpRequest], HttpResponse]
SAFE = ("GET", "HEAD", "OPTIONS")


class SignedOut:
    """Middleware: what sends to the sign-in page, as the one who asked can use it.

    HTMX would follow the redirect and put the sign-in page into a part of the page: what only reads goes to it as a
    whole page instead, and what was to change something is answered with words and a link. The way back is the page
    that was looked at; the address of a form that was sent may be none to look at.
    """

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        sent_to, _, words = response.get("Location", "").partition("?")
        if response.status_code not in (302, 303) or not words:
            return response
        login = resolve_url(settings.LOGIN_URL)
        # Below the sign-in page are the steps of signing in itself: what fails there begins anew, and leads nowhere.
        if sent_to != login or request.path.startswith(login) or request.user.is_authenticated:
            return response
        changes = request.method not in SAFE
        if not changes and "HX-Request" not in request.headers:
            return response
        url = f"{login}?{urlencode({'next': _looked_at(request)})}"
        if "HX-Request" not in request.headers:
            response["Location"] = url
            return response
        if not changes:
            return HttpResponse(status=401, headers={"HX-Redirect": url})
        body = render_to_string("web/_signed_out.html", {"url": url}, request)
        headers = {"HX-Retarget": "#flash", "HX-Reswap": "beforeend", "HX-Push-Url": "false"}
        return HttpResponse(body, status=401, headers=headers)


def _looked_at(request: HttpRequest) -> str:
    """The path of the page in the browser, as far as it is one of ours; else the home page."""
    said = request.headers.get("HX-Current-URL") or request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(said, {request.get_host()}):
        return "/"
    parts = urlsplit(said)
    return urlunsplit(("", "", parts.path, parts.query, "")) or "/"
