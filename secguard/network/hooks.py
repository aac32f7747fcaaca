"""Where sources of flows post what they see."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from secguard.events import hooks
from secguard.network import readers
from secguard.network.services import intake


@csrf_exempt
@require_POST
def flows(request: HttpRequest) -> JsonResponse:
    """``/hooks/flows/``: flows of any known format. Answers once they are kept durably; a broken one is refused by
    itself, with its place."""
    sensor = hooks.sensor_of(request, sends="flows")
    raw = hooks.body_of(request, readers.MAX_BYTES, what="The flows")
    taken = intake.take(raw, sensor, timezone.now())
    return JsonResponse(
        {
            "taken": len(taken.flows),
            "lost": len(taken.lost),
            "formats": list(taken.formats),
            "passed_over": dict(taken.passed),
            "refused_count": taken.refused_count,
            "refused": [r._asdict() for r in taken.refused],
        }
    )
