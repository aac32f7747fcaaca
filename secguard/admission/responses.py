"""Answers as the protocols of Kubernetes and Gatekeeper want them, and the names by digest. Pure.

Responses: kubernetes/api ``admission/v1`` and ``imagepolicy/v1alpha1``, and Gatekeeper's ``externaldata/v1beta1``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from secguard.admission.answer import Answer, Judged, Knowledge, Outcome, Rules
from secguard.admission.review import ADMISSION, EXTERNAL_DATA, IMAGE_POLICY, Review


def admission(made: Answer, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The AdmissionReview that answers ``validate``."""
    response: dict[str, Any] = {"uid": made.subject.uid, "allowed": made.allowed}
    if not made.allowed:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": made.message}
    if made.warnings:
        response["warnings"] = list(made.warnings)
    response["auditAnnotations"] = dict(annotations)
    return _review(response)


def mutation(uid: str, patch: list[dict[str, str]]) -> dict[str, Any]:
    """The AdmissionReview that answers ``mutate``: it refuses nothing."""
    response: dict[str, Any] = {"uid": uid, "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
    return _review(response)


def image_review(made: Answer, annotations: Mapping[str, str]) -> dict[str, Any]:
    """The ImageReview that answers the API server's own ImagePolicyWebhook."""
    status: dict[str, Any] = {"allowed": made.allowed, "auditAnnotations": dict(annotations)}
    if not made.allowed:
        status["reason"] = made.message
    return {"apiVersion": IMAGE_POLICY, "kind": "ImageReview", "status": status}


def provider(made: Answer) -> dict[str, Any]:
    """Gatekeeper's ProviderResponse: each key (an image) to its name by digest, or to an error that says why not."""
    items = [{"key": j.image, "value": pinned_name(j.image, j.known), "error": _error(j)} for j in made.images]
    response = {"idempotent": True, "items": items, "systemError": ""}
    return {"apiVersion": EXTERNAL_DATA, "kind": "ProviderResponse", "response": response}


def audit_annotations(made: Answer) -> dict[str, str]:
    """For the cluster's own audit log: what was answered, by which verdicts."""
    found = {"outcome": made.outcome.value, "mode": made.mode.value}
    evaluations = sorted({j.known.evaluation_id for j in made.images if j.known.evaluation_id is not None})
    if evaluations:
        found["evaluations"] = ",".join(map(str, evaluations))
    digests = sorted({j.known.image_digest for j in made.images if j.known.image_digest})
    if digests:
        found["digests"] = ",".join(digests[:20])
    return found


def patch(review: Review, known: Mapping[str, Knowledge], rules: Rules) -> list[dict[str, str]]:
    """The JSONPatch (RFC 6902) that names by digest what the review names by tag, where that is known and not blocked.

    What stood there before an update is left alone: another name for the same image would restart what runs.
    """
    found = []
    for use in review.images:
        about = known[use.image]
        if use.image in review.standing or about.document is None or about.document["verdict"] == "block":
            continue
        if rules.environment and rules.environment not in about.promoted_to:
            continue
        if about.is_preferred and (pinned := pinned_name(use.image, about)) != use.image:
            found.append({"op": "replace", "path": use.pointer, "value": pinned})
    return found


def pinned_name(image: str, known: Knowledge) -> str:
    """``repository@digest`` of an image that is known; one that names its digest already stays as it is."""
    return image if "@" in image or not known.digest else f"{image_repository(image)}@{known.digest}"


def image_repository(image: str) -> str:
    """The reference without its tag, written as it was: a node reads it by its own rules."""
    head, slash, last = image.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _error(judged: Judged) -> str:
    return " ".join((*judged.blocks, *judged.ways)) if judged.outcome is Outcome.DENIED else ""


def _review(response: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": ADMISSION, "kind": "AdmissionReview", "response": response}
