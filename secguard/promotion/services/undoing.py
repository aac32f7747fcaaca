"""Taking back what was signed for a promotion that did not come about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from django.db.models import QuerySet

from secguard.errors import NotFound, SecGuardError, Unavailable
from secguard.images.models import Repository
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Status
from secguard.jobs.models import Job
from secguard.jobs.registry import Run
from secguard.promotion import queries
from secguard.promotion.lifecycle import PromotionStatus, Step
from secguard.promotion.models import Promotion
from secguard.promotion.services.way import Found, Way
from secguard.signing.models import Attestation, Recall
from secguard.signing.services import TAKE_AWAY, withdraw_signatures

UNDO = "promotion.undo"
UNDO_AFTER = timedelta(seconds=45)
"""Past a lease: whoever carried it out has stopped by then."""

log = structlog.get_logger("secguard.promotion")


def undo_later(promotion: Promotion) -> None:
    """What was signed for a promotion that did not come about is taken away again."""
    now = Promotion.objects.only("status", "steps").get(pk=promotion.pk)
    if _did_not_come_about(now) and Step.SIGN in now.steps:
        jobs.enqueue(UNDO, {"promotion": promotion.pk}, key=str(promotion.pk), after=UNDO_AFTER)


def undo(run: Run) -> Mapping[str, Any]:
    """The job: take our signatures from a destination that the promotion did not reach, unless another one did, or is
    about to."""
    promotion = Promotion.objects.select_related("environment").get(pk=run.args["promotion"])
    place = Repository.objects.select_related("registry").filter(name=promotion.destination_name).first()
    if place is None or not _did_not_come_about(promotion):
        return {}
    kept = _kept(promotion, place)
    try:
        removed, left = withdraw_signatures(place, [d for d in _digests(promotion) if d not in kept], run.require_lease)
    except NotFound:
        return {"removed": 0, "left": 0}
    except SecGuardError:
        log.warning("signatures of an ended promotion stay", promotion=promotion.pk, exc_info=True)
        raise
    return {"removed": removed, "left": left}


def _kept(promotion: Promotion, place: Repository) -> set[str]:
    """Those of its digests that stand there, or that another promotion signs there now and sees to itself."""
    stands = Attestation.objects.filter(digest__in=_digests(promotion), repository=place, withdrawn_at__isnull=True)
    others = _to(place.name).filter(status=PromotionStatus.RUNNING, steps__has_key=Step.SIGN.value)
    return {*stands.values_list("digest", flat=True), *(d for other in others for d in _digests(other))}


def wait_for_taking_away(way: Way, found: Found) -> None:
    """Raises ``Unavailable`` while signatures are taken away beside these digests: ours would go with them.

    Asked once it is noted that this promotion signs, and ``undo`` looks for that once it runs: one of the two sees the
    other.
    """
    running = Job.objects.filter(kind__in=(UNDO, TAKE_AWAY), status=Status.RUNNING).values_list("kind", "args")
    pks: dict[str, list[int]] = {UNDO: [], TAKE_AWAY: []}
    for kind, args in running:
        pks[kind] += args.values()
    recalls = Recall.objects.filter(pk__in=pks[TAKE_AWAY]).values("asked_digest")
    if (
        _to(way.destination.name).filter(pk__in=pks[UNDO]).exists()
        or Recall.objects.filter(asked_digest__in=recalls, digest__in=found.digests).exists()
    ):
        raise Unavailable(
            f"Signatures that were withdrawn are being taken away beside {way.promotion.digest} in "
            f"{way.destination.name}; it is signed once that is done.",
            code="taken-away-now",
        )


def _did_not_come_about(promotion: Promotion) -> bool:
    return promotion.status not in (PromotionStatus.RUNNING, PromotionStatus.PROMOTED)


def _digests(promotion: Promotion) -> list[str]:
    return list(dict.fromkeys([promotion.digest, *(image.digest for image in queries.images_of(promotion.digest))]))


def _to(place: str) -> QuerySet[Promotion]:
    return Promotion.objects.filter(destination_name=place)
