"""What a cluster would be answered if something asked now: for pages. Nothing is kept of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from django.conf import settings

from secguard.admission.answer import Judged, answer
from secguard.admission.models import ClusterGate
from secguard.admission.review import Review, Subject
from secguard.admission.services.answering import known_of
from secguard.workloads.podspec import ImageUse


def preview(gate: ClusterGate, namespace: str, images: Iterable[str], now: datetime) -> dict[str, Judged]:
    """Each image, as it is written, with its answer if a pod with it started in the namespace now.

    By the same rules and the same knowledge as the answer to the cluster. A fixed number of queries while verdicts
    hold. No break-glass is used up, and none counts: it is for one pod.
    """
    uses = tuple(ImageUse("", image, "container") for image in dict.fromkeys(images))
    review = Review(Subject(kind="Pod", namespace=namespace, dry_run=True), uses)
    known = {image: replace(k, break_glass=None) for image, k in known_of(review, gate, now).items()}
    made = answer(review, known, gate.rules, now, settings.PUBLIC_URL)
    return {judged.image: judged for judged in made.images}
