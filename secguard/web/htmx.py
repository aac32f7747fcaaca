"""One view for the page and its fragment (DESIGN section 4, HTMX): which of the two is wanted, and the answers."""

from __future__ import annotations

from typing import Any

from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers


def wants_fragment(request: HttpRequest) -> bool:
    """True for an HTMX request that replaces a part; not for a boosted link or a step back in history."""
    htmx = getattr(request, "htmx", None)
    return htmx is not None and bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def render(
    request: HttpRequest,
    page: str,
    fragment: str,
    context: dict[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """Renders template ``page``, or for HTMX ``fragment`` with any waiting messages beside it (out of band)."""
    if wants_fragment(request):
        body = render_to_string(fragment, context, request)
        if get_messages(request):
            body += render_to_string("web/_flash_oob.html", {}, request)
    else:
        body = render_to_string(page, context, request)
    response = HttpResponse(body, status=status)
    patch_vary_headers(response, ["HX-Request"])
    return response


def redirect(request: HttpRequest, url: str) -> HttpResponse:
    """A redirect that HTMX follows as a whole page (204 with ``HX-Redirect``); 303 for everyone else, after a POST."""
    if getattr(request, "htmx", None):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response
