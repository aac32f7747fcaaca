"""Where registries' webhooks arrive."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from secguard.scans.services import hearing


@csrf_exempt
@require_POST
def registry_hook(request: HttpRequest) -> JsonResponse:
    """``/hooks/registry/``: scans what was pushed. The token says which registry speaks; anything else is refused.

    Answers 202 at once: registries try again, and stop telling of anything else, where they get no answer.
    """
    registry = hearing.registry_of(_token(request))
    heard = hearing.hear(request.body, request.headers, registry=registry)
    return JsonResponse({"scans": [scan.pk for scan in heard.scans], "ignored": heard.ignored}, status=202)


def _token(request: HttpRequest) -> str:
    """``Authorization: Bearer …``, or the token alone as Harbor sends its auth header."""
    value = request.headers.get("Authorization", "").strip()
    for prefix in hearing.PREFIXES:
        if value.lower().startswith(prefix):
            return value[len(prefix) :].strip()
    return value
