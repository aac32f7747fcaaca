"""Answers without the server: from a snapshot, by the same rule; where there is none, as the cluster's mode says. Pure.

What is said names the snapshot's age, so that nobody takes an old answer for today's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from secguard.admission import responses
from secguard.admission.answer import (
    MAX_MESSAGE,
    MAX_WARNINGS,
    Answer,
    Judged,
    Knowledge,
    Rules,
    answer,
)
from secguard.admission.review import (
    MAX_NAME,
    Review,
    Subject,
    read_admission,
    read_image_review,
    read_provider_request,
)
from secguard.admission.snapshot import RETURN, Snapshot, blocked
from secguard.workloads.podspec import ImageUse, Paths

MAX_BYTES: Final = 8 * 2**20
"""Of a question; the server's own default (SECGUARD_MAX_REVIEW_BYTES)."""
MAX_REASON: Final = 20_000


@dataclass(frozen=True, slots=True)
class Basis:
    """What there is to answer from at one instant."""

    now: datetime
    note: str
    """One line: that SecGuard is away, and from what is answered."""
    snapshot: Snapshot | None = None
    """``None`` where there is none that counts."""
    ends_at: datetime | None = None
    rules: Rules = field(default_factory=Rules)
    paths: Paths = field(default_factory=dict)
    site: str = ""

    @property
    def annotations(self) -> dict[str, str]:
        found = {"answered-by": "agent", "snapshot": "none"}
        if self.snapshot is not None:
            age = max(0, int((self.now - self.snapshot.head.made_at).total_seconds()))
            found |= {"snapshot": self.snapshot.head.made_at.isoformat(), "snapshot-age-seconds": str(age)}
        return found


def basis(held: Snapshot | None, now: datetime, max_age: timedelta) -> Basis:
    """From what is answered at ``now``. Past ``max_age`` a snapshot still tells the cluster's modes, nothing else."""
    if held is None:
        return Basis(now, "SecGuard is away, and there is no snapshot to answer from.")
    head, ends = held.head, held.head.made_at + max_age
    at, age = f"{head.made_at:%Y-%m-%d %H:%M} UTC", age_words(now - head.made_at)
    if now >= ends:
        note = f"SecGuard is away, and the snapshot of {at} is {age} old: at most {age_words(max_age)} count."
        modes = Rules(head.rules.mode, head.rules.namespaces, head.rules.effects)
        return Basis(now, note, None, None, modes, head.paths, head.site)
    note = f"Answered from a snapshot of {at}, {age} old: SecGuard is away."
    return Basis(now, note, held, ends, head.rules, head.paths, head.site)


@dataclass(frozen=True, slots=True)
class Answered:
    document: dict[str, Any]
    record: dict[str, Any] | None = None
    """What the server is told of it later; ``None`` where it keeps nothing of such answers."""


def validate(raw: bytes, at: Basis) -> Answered:
    review = read_admission(raw, at.paths, max_bytes=MAX_BYTES)
    made = _answer(review, at)
    document = responses.admission(made, responses.audit_annotations(made) | at.annotations)
    return Answered(document, _record(made, at, made.subject.uid))


def mutate(raw: bytes, at: Basis) -> Answered:
    review = read_admission(raw, at.paths, max_bytes=MAX_BYTES)
    known = _known(review, at)
    return Answered(responses.mutation(review.subject.uid, responses.patch(review, known, at.rules)))


def image_review(raw: bytes, at: Basis, uid: str = "") -> Answered:
    """``uid`` stands for the review's own, which an ImageReview has none of."""
    made = _answer(read_image_review(raw, max_bytes=MAX_BYTES), at)
    document = responses.image_review(made, responses.audit_annotations(made) | at.annotations)
    return Answered(document, _record(made, at, uid))


def external_data(raw: bytes, at: Basis) -> Answered:
    keys = read_provider_request(raw, max_bytes=MAX_BYTES)
    made = _answer(Review(Subject(), tuple(ImageUse("", key, "container") for key in keys)), at)
    document = responses.provider(made)
    for item in document["response"]["items"]:
        item["error"] = item["error"] and f"{item['error']} {at.note}"
    return Answered(document)


KINDS: Final[Mapping[str, Callable[[bytes, Basis], Answered]]] = {
    "/admission/v1/validate": validate,
    "/admission/v1/mutate": mutate,
    "/admission/v1/imagereview": image_review,
    "/admission/v1/external-data": external_data,
}


def _answer(review: Review, at: Basis) -> Answer:
    made = answer(review, _known(review, at), at.rules, at.now, at.site)
    if not made.parts:
        return made  # nothing starts: no answer was needed
    message = made.message
    if message and at.snapshot is not None:
        message = f"{message[: MAX_MESSAGE - len(at.note) - 1]}\n{at.note}"
    warnings = (at.note, *made.warnings)[:MAX_WARNINGS] if made.allowed or at.snapshot is not None else made.warnings
    return replace(made, message=message, warnings=warnings)


def _known(review: Review, at: Basis) -> dict[str, Knowledge]:
    images = dict.fromkeys(use.image for use in review.images)
    if at.snapshot is None or at.ends_at is None:
        return {image: Knowledge(document=blocked(at.note, RETURN)) for image in images}
    where = review.subject.namespace
    return {image: at.snapshot.knowledge(image, where, at.now, at.ends_at) for image in images}


def _record(made: Answer, at: Basis, uid: str) -> dict[str, Any] | None:
    """As ``POST /api/v1/clusters/{id}/answers/`` takes it. Nothing is kept of a dry run."""
    about = made.subject
    if about.dry_run or not made.parts:
        return None
    return {
        "uid": uid[:200],
        "at": at.now.isoformat(),
        "snapshot_at": at.snapshot.head.made_at.isoformat() if at.snapshot else None,
        "namespace": about.namespace[:MAX_NAME],
        "kind": about.kind[:63],
        "name": about.name[:MAX_NAME],
        "owner_kind": about.owner[0][:63],
        "owner_name": about.owner[1][:MAX_NAME],
        "user": about.user[:200],
        "mode": made.mode.value,
        "allowed": made.allowed,
        "parts": [_part(judged) for judged in made.parts],
    }


def _part(judged: Judged) -> dict[str, Any]:
    known = judged.known
    return {
        "image": judged.image[:4096],
        "digest": known.digest,
        "image_digest": known.image_digest,
        "evaluation": known.evaluation_id,
        "outcome": judged.outcome.value,
        "reason": judged.reason[:MAX_REASON],
        "until": judged.until.isoformat() if judged.until else None,
    }


def age_words(age: timedelta) -> str:
    """``12 minutes``, ``3 hours``, ``2 days``: rounded down."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("day", 172_800), ("hour", 7_200), ("minute", 120)):
        if seconds >= size:
            step = {"day": 86_400, "hour": 3_600, "minute": 60}[unit]
            return f"{seconds // step} {unit}s"
    return f"{seconds} second{'s' if seconds != 1 else ''}"
