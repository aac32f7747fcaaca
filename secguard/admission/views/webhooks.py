"""Where clusters ask: plain views that answer as the protocols of Kubernetes and Gatekeeper say."""

from __future__ import annotations

import base64
import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from secguard.admission import services
from secguard.admission.answer import Answer, Outcome
from secguard.admission.models import ClusterGate
from secguard.admission.review import (
    ADMISSION,
    EXTERNAL_DATA,
    IMAGE_POLICY,
    Review,
    Subject,
    read_admission,
    read_image_review,
    read_provider_request,
)
from secguard.errors import Invalid
from secguard.workloads.podspec import ImageUse

_BEARER = "bearer "


@csrf_exempt
@require_POST
def validate(request: HttpRequest) -> JsonResponse:
    """``/admission/v1/validate``: may this be created or changed."""
    gate = _gate(request)
    made = services.admit(read_admission(_body(request), gate.paths, max_bytes=settings.MAX_REVIEW_BYTES), gate)
    response: dict[str, Any] = {"uid": made.subject.uid, "allowed": made.allowed}
    if not made.allowed:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": made.message}
    if made.warnings:
        response["warnings"] = list(made.warnings)
    response["auditAnnotations"] = _annotations(made)
    return _review(response)


@csrf_exempt
@require_POST
def mutate(request: HttpRequest) -> JsonResponse:
    """``/admission/v1/mutate``: tags become the digests that are known and not blocked here; it refuses nothing."""
    gate = _gate(request)
    review = read_admission(_body(request), gate.paths, max_bytes=settings.MAX_REVIEW_BYTES)
    patch = services.pins(review, gate)
    response: dict[str, Any] = {"uid": review.subject.uid, "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
    return _review(response)


@csrf_exempt
@require_POST
def image_review(request: HttpRequest) -> JsonResponse:
    """``/admission/v1/imagereview``: the API server's own ImagePolicyWebhook, which tells only images."""
    gate = _gate(request)
    made = services.admit(read_image_review(_body(request), max_bytes=settings.MAX_REVIEW_BYTES), gate)
    status: dict[str, Any] = {"allowed": made.allowed, "auditAnnotations": _annotations(made)}
    if not made.allowed:
        status["reason"] = made.message
    return JsonResponse({"apiVersion": IMAGE_POLICY, "kind": "ImageReview", "status": status})


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
    made = services.admit(review, gate, keep=False)
    items = [{"key": j.image, "value": services.pinned_name(j.image, j.known), "error": _error(j)} for j in made.images]
    response = {"idempotent": True, "items": items, "systemError": ""}
    return JsonResponse({"apiVersion": EXTERNAL_DATA, "kind": "ProviderResponse", "response": response})


def _error(judged: Any) -> str:
    return " ".join((*judged.blocks, *judged.ways)) if judged.outcome is Outcome.DENIED else ""


def _review(response: dict[str, Any]) -> JsonResponse:
    return JsonResponse({"apiVersion": ADMISSION, "kind": "AdmissionReview", "response": response})


def _annotations(made: Answer) -> dict[str, str]:
    """For the cluster's own audit log: what was answered, by which verdicts."""
    found = {"outcome": made.outcome.value, "mode": made.mode.value}
    evaluations = sorted({j.known.evaluation_id for j in made.images if j.known.evaluation_id is not None})
    if evaluations:
        found["evaluations"] = ",".join(map(str, evaluations))
    digests = sorted({j.known.image_digest for j in made.images if j.known.image_digest})
    if digests:
        found["digests"] = ",".join(digests[:20])
    return found


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
