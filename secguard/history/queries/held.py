"""Which judgement held at a gate at an instant, and whether its stored input gives it again (DESIGN rule 7)."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from secguard.accounts.models import User
from secguard.decisions.models import Decision
from secguard.errors import SecGuardError
from secguard.images.models import Image
from secguard.policies import replaying
from secguard.policies.facts import Gate
from secguard.policies.models import Evaluation, PolicyVersion
from secguard.policies.queries import shown_to
from secguard.policies.replaying import Replay
from secguard.policies.services import replay
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.signing.models import Recall


@dataclass(frozen=True, slots=True)
class Held:
    """What a gate had to say at an instant. Without an evaluation nobody had judged the image there yet."""

    stage: str
    at: datetime
    evaluation: Evaluation | None = None
    document: dict[str, Any] | None = None
    """The verdict document as it was answered; ``is_whole`` is false where other teams' part was left out."""
    is_whole: bool = True
    why_not: str = ""
    """Why the last judgement held no more; empty where it did."""
    replay: Replay = field(default_factory=Replay)

    @property
    def holds(self) -> bool:
        return self.evaluation is not None and not self.why_not


def held(image: Image, stage: Gate, at: datetime, user: User) -> Held:
    """The judgement that held at ``stage`` at ``at``, else the last one before it and why it no longer did.

    Nothing is judged anew: what is told is what was stored. A fixed number of queries.
    """
    rows = Evaluation.objects.filter(image=image, stage=stage, evaluated_at__lte=at)
    last = rows.select_related("policy_version__policy", "input").order_by("-pk").first()
    if last is None:
        return Held(stage, at, why_not="Nobody had asked at this gate yet.")
    document = _stored(last)
    if document is None:
        return Held(
            stage,
            at,
            last,
            is_whole=False,
            why_not=_why_over(image, last, at),
            replay=Replay(("the stored document cannot be read",)),
        )
    part = shown_to(user, last, document)
    return Held(stage, at, last, part, part == document, _why_over(image, last, at), check(last, document))


def check(evaluation: Evaluation, stored: dict[str, Any]) -> Replay:
    """Compute the verdict again from what was stored, and hold it against the stored document."""
    found = []
    version = evaluation.policy_version
    if hashlib.sha256(version.source.encode()).hexdigest() != version.sha256:
        found.append("the stored policy is not what its SHA-256 says")
    try:
        if hashlib.sha256(zlib.decompress(evaluation.input.body)).hexdigest() != evaluation.input.sha256:
            found.append("the stored input is not what its SHA-256 says")
        again: dict[str, Any] = json.loads(replay(evaluation))
    except (zlib.error, msgspec.MsgspecError, ValueError, KeyError, TypeError, SecGuardError) as error:
        return Replay((*found, f"it cannot be computed again from what is stored ({type(error).__name__})"))
    return Replay((*found, *replaying.differences(stored, again)))


def _stored(evaluation: Evaluation) -> dict[str, Any] | None:
    try:
        return evaluation.kept_document
    except (zlib.error, ValueError):
        return None


def _why_over(image: Image, last: Evaluation, at: datetime) -> str:
    """Why ``last`` held no more at ``at``, though nobody had asked again; empty where it did."""
    if last.valid_until <= at:
        return f"It held until {_said(last.valid_until)}, and nobody had asked again."
    since = {"gt": last.evaluated_at, "lte": at}
    ended = Decision.objects.filter(pk__in=last.decision_ids, **{f"ended_at__{k}": v for k, v in since.items()})
    if first := ended.order_by("ended_at").values_list("ended_at", flat=True).first():
        return f"A decision that it rests on ended at {_said(first)}, and nobody had asked again."
    known = max((int(scan["id"]) for scan in last.scans), default=0)
    looks = Scan.objects.filter(image=image, status=ScanStatus.FINISHED, pk__gt=known, finished_at__lte=at)
    if looked := looks.order_by("pk").values_list("finished_at", flat=True).first():
        return f"A later scan ended at {_said(looked)}, and nobody had asked again."
    recalls = Recall.objects.filter(digest=image.digest, **{f"recalled_at__{k}": v for k, v in since.items()})
    if recalled := recalls.values_list("recalled_at", flat=True).first():
        return f"The image was called back at {_said(recalled)}, and nobody had asked again."
    policies = PolicyVersion.objects.filter(**{f"activated_at__{k}": v for k, v in since.items()})
    if activated := policies.order_by("activated_at").values_list("activated_at", flat=True).first():
        return f"Another policy was put in force at {_said(activated)}, and nobody had asked again."
    return ""


def _said(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else ""
