"""What agents answered while this server was away, taken into the log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.utils import timezone

from secguard.admission import queries
from secguard.admission.answer import Mode, Outcome
from secguard.admission.models import AdmissionDecision, AnsweredBy, ClusterGate, SnapshotAnswer
from secguard.admission.services.answering import LASTING
from secguard.admission.snapshot import MAX_SKEW
from secguard.errors import Invalid
from secguard.images.models import Image
from secguard.images.reference import is_digest
from secguard.policies.models import Evaluation
from secguard.workloads.services import note_admitted

MAX_ANSWERS = 200
REMEMBERED = timedelta(days=30)
"""How long a review's uid is kept; what is older when it comes is too late to be told apart."""
FROM_SNAPSHOTS = tuple(o.value for o in Outcome if o is not Outcome.BROKEN_GLASS)
MODES = tuple(m.value for m in Mode)


@dataclass(frozen=True, slots=True)
class GivenPart:
    """One image's answer, or (``image`` empty) the one about what the pod asks for."""

    image: str
    digest: str
    image_digest: str
    evaluation: int | None
    outcome: str
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Given:
    uid: str
    at: datetime
    snapshot_at: datetime | None
    namespace: str
    kind: str
    name: str
    owner_kind: str
    owner_name: str
    user: str
    mode: str
    allowed: bool
    parts: tuple[GivenPart, ...]


@transaction.atomic
def take_answers(gate: ClusterGate, given: Sequence[Given]) -> int:
    """Count what the cluster's agent answered; returns how many answers were new, by their reviews' uids.

    Raises ``Invalid`` for an answer of the future or about what is no digest; nothing is kept then.
    """
    now = timezone.now()
    for number, answer in enumerate(given):
        _check(answer, now, f"answers[{number}]")
    ClusterGate.objects.select_for_update(of=("self",)).get(pk=gate.pk)  # two deliveries stand in line
    fresh = _fresh(gate, given, now)
    known = _Known(fresh)
    rows = [row for answer in fresh for part in answer.parts if (row := _row(gate, answer, part, known)) is not None]
    _count(rows)
    for answer in fresh:
        _note_running(gate, answer, known)
    return len(fresh)


def _check(answer: Given, now: datetime, where: str) -> None:
    if answer.at > now + MAX_SKEW:
        raise Invalid(
            f"It was given at {answer.at:%Y-%m-%d %H:%M} UTC, which is in the future; is the agent's clock right?",
            where=f"{where}.at",
        )
    for number, part in enumerate(answer.parts):
        for name in ("digest", "image_digest"):
            if (text := getattr(part, name)) and not is_digest(text):
                raise Invalid(f"{text[:80]!r} is no digest.", where=f"{where}.parts[{number}].{name}")


def _fresh(gate: ClusterGate, given: Sequence[Given], now: datetime) -> list[Given]:
    """Those that were not told before; from now on they were."""
    SnapshotAnswer.objects.filter(cluster_id=gate.cluster_id, answered_at__lt=now - REMEMBERED).delete()
    by_uid = {a.uid: a for a in given if a.at > now - REMEMBERED}
    told = SnapshotAnswer.objects.filter(cluster_id=gate.cluster_id, uid__in=by_uid)
    for uid in told.values_list("uid", flat=True):
        del by_uid[uid]
    SnapshotAnswer.objects.bulk_create(
        SnapshotAnswer(cluster_id=gate.cluster_id, uid=a.uid, answered_at=a.at) for a in by_uid.values()
    )
    return list(by_uid.values())


class _Known:
    """What the answers' digests, evaluations and references are here, in three queries."""

    def __init__(self, given: Sequence[Given]) -> None:
        parts = [part for answer in given for part in answer.parts]
        digests = {part.image_digest for part in parts if part.image_digest}
        self.images: Mapping[str, int] = dict(Image.objects.filter(digest__in=digests).values_list("digest", "pk"))
        ids = {part.evaluation for part in parts if part.evaluation is not None}
        self._evaluations = dict(Evaluation.objects.filter(pk__in=ids).values_list("pk", "image_id"))
        self.repositories = queries.repositories({part.image[:700] for part in parts if part.image})

    def evaluation(self, part: GivenPart) -> int | None:
        """The evaluation that the answer names, if it is one of that image."""
        image = self.images.get(part.image_digest)
        mine = part.evaluation is not None and image is not None and self._evaluations.get(part.evaluation) == image
        return part.evaluation if mine else None


def _row(gate: ClusterGate, answer: Given, part: GivenPart, known: _Known) -> AdmissionDecision | None:
    """As ``answering`` counts answers, but that none given from a snapshot is ever the same as one given here."""
    simply = part.outcome == Outcome.ALLOWED
    if simply and answer.kind != "Pod":
        return None
    owner = answer.owner_name if answer.owner_kind in LASTING else ""
    same = ["snapshot", gate.cluster_id, answer.namespace, part.image, part.digest, part.outcome]
    same += [answer.owner_kind, owner, answer.mode, part.evaluation, part.reason]
    return AdmissionDecision(
        key=hashlib.sha256(repr(same).encode()).hexdigest(),
        cluster_id=gate.cluster_id,
        namespace=answer.namespace,
        workload_kind=answer.owner_kind,
        workload_name=answer.owner_name,
        reference=part.image[:700],
        digest=part.digest,
        image_id=known.images.get(part.image_digest),
        repository_id=known.repositories.get(part.image[:700]),
        outcome=part.outcome,
        mode=answer.mode,
        reason=part.reason,
        grace_until=part.until,
        evaluation_id=known.evaluation(part),
        requested_by=answer.user,
        uid=answer.uid,
        snapshot_at=answer.snapshot_at,
        answered_by=AnsweredBy.AGENT,
        first_at=answer.at,
        last_at=answer.at,
    )


def _count(rows: Sequence[AdmissionDecision]) -> None:
    """Each answer counts; one that was given before counts again. A statement for each that is not new."""
    counted: dict[str, AdmissionDecision] = {}
    for row in rows:
        first = counted.setdefault(row.key, row)
        if first is not row:
            first.count += 1
            first.first_at = min(first.first_at, row.first_at)
            if row.last_at > first.last_at:
                first.last_at, first.uid, first.snapshot_at = row.last_at, row.uid, row.snapshot_at
    same = set(AdmissionDecision.objects.filter(key__in=counted).values_list("key", flat=True))
    for key in sorted(same):
        row = counted.pop(key)
        AdmissionDecision.objects.filter(key=key).update(
            count=F("count") + row.count,
            last_at=Greatest("last_at", row.last_at),
            uid=row.uid,
            requested_by=row.requested_by,
            snapshot_at=row.snapshot_at,
        )
    AdmissionDecision.objects.bulk_create(counted.values())


def _note_running(gate: ClusterGate, answer: Given, known: _Known) -> None:
    """A pod that was let through belongs to the inventory, where its workload's name stays."""
    images = [known.images[p.image_digest] for p in answer.parts if p.image_digest in known.images]
    if answer.allowed and answer.kind == "Pod" and answer.owner_kind in LASTING and images:
        note_admitted(gate.cluster, (answer.namespace[:100], answer.owner_kind, answer.owner_name), images)
