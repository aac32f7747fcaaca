"""What follows from elsewhere: images that pass go by themselves where that is the rule, recalled ones stop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from django.utils import timezone

from secguard import patterns
from secguard.approvals import services as approvals
from secguard.errors import SecGuardError
from secguard.images.models import Image, IndexImage, Repository, Tag
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run
from secguard.jobs.services import cancel_if_open
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.promotion import queries, route
from secguard.promotion.lifecycle import PromotionEvent, PromotionStatus, sources
from secguard.promotion.models import Environment, Promotion
from secguard.promotion.services.asking import Ask, ask
from secguard.promotion.services.telling import tell_ended
from secguard.promotion.services.undoing import undo_later
from secguard.signing.models import Recall

OFFER = "promotion.offer"
MAX_OFFERED = 20
"""Tags of one image that go by themselves at once."""

log = structlog.get_logger("secguard.promotion")


def follow_verdicts(image: Image, verdicts: Mapping[Gate, Verdict]) -> None:
    """``policies.services.JUDGED``: what passes the gate of an environment that takes it by itself is offered to it."""
    passed = [gate.value for gate, verdict in verdicts.items() if verdict.verdict != "block"]
    if passed and Environment.objects.filter(is_automatic=True, gate__in=passed).exists():
        jobs.enqueue(OFFER, {"image": image.pk}, key=str(image.pk), queue=Queue.SCHEDULED, again=True)


def offer(run: Run) -> Mapping[str, Any]:
    """The job: ask for an image's promotions that are the rule. Safe to run twice: what stands there is not asked for
    again, and what was refused under the same verdict neither."""
    image = Image.objects.filter(pk=run.args["image"]).first()
    if image is None:
        return {}
    asked = 0
    for environment in Environment.objects.filter(is_automatic=True).select_related("registry").order_by("position"):
        for repository, tag, digest in list(_candidates(image, environment))[:MAX_OFFERED]:
            asked += _offered(repository, tag, digest, environment)
    return {"asked": asked}


def _candidates(image: Image, environment: Environment) -> Iterable[tuple[Repository, str, str]]:
    """(repository, tag, digest) of what lies where images of the environment before come from."""
    stops = queries.stops()
    before = max((s for s in stops if s.position < environment.position), key=lambda s: s.position, default=None)
    indexes = IndexImage.objects.filter(image=image).values("index_id")
    tags = Tag.objects.filter(image=image) | Tag.objects.filter(index_id__in=indexes)
    for tag in tags.select_related("repository__registry", "index", "image").distinct().order_by("pk"):
        place = tag.repository
        home = route.home_of(stops, place.registry.host, place.path)
        fits = not environment.automatic_for or patterns.matches(environment.automatic_for, place.name)
        if before is not None and home is not None and home.name == before.name and fits:
            yield place, tag.name, tag.index.digest if tag.index else tag.image.digest


def _offered(repository: Repository, tag: str, digest: str, environment: Environment) -> int:
    now = timezone.now()
    before = Promotion.objects.filter(environment=environment, source=repository, digest=digest).order_by("-pk")
    same = next((p for p in before[:50] if tag in p.tags), None)
    if same is not None and (same.is_open or same.status in (PromotionStatus.RECALLED, PromotionStatus.WITHDRAWN)):
        return 0
    if same is not None and digest in queries.standing_in([digest], environment.name, now):
        return 0
    try:
        ask(Ask(f"{repository.name}@{digest}", environment.name, [tag]), actor=None)
    except SecGuardError as refused:
        # Not promoted to the one before yet, or the same is on its way under another tag: its own end offers it again.
        log.info("an image is not offered", image=digest, environment=environment.name, why=refused.code)
        return 0
    return 1


def follow_recall(recall: Recall, image_ids: Sequence[int], at: datetime) -> None:
    """``signing.services.RECALLED``: promotions of the digest end, whether they are on their way or done."""
    if recall.lifted_at is not None:
        return
    digests = Recall.objects.standing().filter(asked_digest=recall.asked_digest).values("digest")
    rows = Promotion.objects.filter(digest__in=digests, status__in=sources(PromotionEvent.RECALL))
    for promotion in rows.select_for_update(of=("self",)).select_related(*queries.RELATED).order_by("pk"):
        was_done = promotion.status == PromotionStatus.PROMOTED
        promotion.status = PromotionStatus.RECALLED.value
        promotion.why = f"Called back: {recall.reason}"
        promotion.finished_at = promotion.finished_at if was_done else at
        promotion.save(update_fields=["status", "why", "finished_at"])
        if promotion.approval_id:
            approvals.close([promotion.approval_id], now=at)
        if not was_done:
            if promotion.job_id:
                cancel_if_open(promotion.job_id)
            undo_later(promotion)
        tell_ended(promotion, now=at)
