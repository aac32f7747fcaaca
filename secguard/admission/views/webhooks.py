"""Where clusters ask: plain views that answer as the protocols of Kubernetes and Gatekeeper say."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from secguard.admission import responses, services
from secguard.admission.models import ClusterGate
from secguard.admission.review import Review, Subject, read_admission, read_image_review, read_provider_request
from secguard.errors import Invalid
from secguard.workloads.podspec import ImageUse

_BEARER = "bearer "


@csrf_exempt
@require_POST
def validate(request: HttpRequest) -> JsonResponse:
    """``/admission/v1/validate``: may this be created or changed."""
    gate = _gate(request)
    made = services.admit(read_admission(_body(request), gate.paths, max_bytes=settings.MAX_REVIEW_BYTES), gate)
    return JsonResponse(responses.admission(made, responses.audit_annotations(made)))


@csrf_exempt
@require_POST
def mutate(request: HttpRequest) -> JsonResponse:
    """``/admission/v1/mutate``: tags become the digests that are known and not blocked here; it refuses nothing."""
    gate = _gate(request)
    review = read_admission(_body(request), gate.paths, max_bytes=settings.MAX_REVIEW_BYTES)
    return JsonResponse(responses.mutation(review.subject.uid, services.pins(review, gate)))


@csrf_exempt
@require_POST
def image_review(request: HttpRequest) -> JsonResponse:
    """``/admission/v1/imagereview``: the API server's own ImagePolicyWebhook, which tells only images."""
    gate = _gate(request)
    made = services.admit(read_image_review(_body(request), max_bytes=settings.MAX_REVIEW_BYTES), gate)
    return JsonResponse(responses.image_review(made, responses.audit_annotations(made)))


@csrf_exempt
@require_POST
def external_data(request: HttpRequest) -> JsonResponse:
    """``/admission/v1/external-data``: each key (an image) to its name by digest, or to an error that says why not.

    Gatekeeper asks about images and not for a pod, and asks again as it likes: the cluster's own mode counts, and
    nothing is kept.
    """
    gate = _gate(request)
    keys = read_provider_request(_body(request), max_bytes=settings.MAX_REVIEW_BYTES)
    review = Review(Subject(), tuple(ImageUse("", key, "container") for key in keys))
    return JsonResponse(responses.provider(services.admit(review, gate, keep=False)))


def _gate(request: HttpRequest) -> ClusterGate:
    """The cluster that asks, by its token; before its body is read."""
    value = request.headers.get("Authorization", "").strip()
    return services.gate_of(value[len(_BEARER) :].strip() if value.lower().startswith(_BEARER) else "")


def _body(request: HttpRequest) -> bytes:
    """The whole body, whose length the middleware has bounded (``MAX_REVIEW_BYTES``)."""
    kind = request.content_type or ""
    if kind not in ("application/json", ""):
        raise Invalid(
            f"The body is {kind[:80]!r}; expected application/json.",
            code="not-json",
            where="Content-Type",
        )
    return bytes(request.read())
