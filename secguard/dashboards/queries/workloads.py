"""What runs where, and whether it may start again. Each function: a fixed number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, CharField, Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from secguard.accounts.models import Application, User
from secguard.admission.answer import grace_of
from secguard.admission.models import AdmissionDecision, ClusterGate
from secguard.admission.queries import Stored, decisions
from secguard.dashboards.queries.standing import name_of
from secguard.images.models import Image
from secguard.images.queries import with_places
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.workloads.models import CLUSTER_KINDS, Volume, Workload

MAX_IMAGES = 50
"""Images of one workload that its page shows."""
MAX_ANSWERS = 20
_ORDER = ("block", "", "warn", "pass")


def workload_rows(user: User) -> QuerySet[Workload]:
    """What runs, with ``image_count`` and ``may_start``: the worst stored verdict of its images at the gate ``admit``;
    empty where one of them was not judged yet, or nobody knows what it runs."""
    rows = Workload.objects.running().visible_to(user).select_related("cluster", "application")
    images = Workload.images.through.objects.filter(workload=OuterRef("pk"))
    verdicts = Verdict.objects.filter(stage=Gate.ADMIT, image=OuterRef("image"))
    blocked, warned = (Exists(images.filter(Exists(verdicts.filter(verdict=word)))) for word in ("block", "warn"))
    unjudged = Q(Exists(images.filter(~Exists(verdicts)))) | ~Q(Exists(images))
    word = Case(
        When(blocked, then=Value("block")),
        When(unjudged, then=Value("")),
        When(warned, then=Value("warn")),
        default=Value("pass"),
        output_field=CharField(),
    )
    counted: Any = images.order_by().values("workload").annotate(n=Count("pk"))
    return rows.annotate(
        may_start=word, image_count=Coalesce(Subquery(counted.values("n"), output_field=IntegerField()), Value(0))
    ).prefetch_related("volumes")


@dataclass(frozen=True, slots=True)
class Runs:
    """One image that a workload runs. What is in it is told to who may see the image itself."""

    image: Image
    name: str
    is_seen: bool
    verdict: str = ""
    blocking: tuple[str, ...] = ()
    warning: tuple[str, ...] = ()
    grace_until: datetime | None = None
    """Until when it may restart here in spite of the verdict."""


def images_of_workload(workload: Workload, user: User) -> list[Image]:
    """What the workload runs, each with ``is_seen``: whether ``user`` may see it. Places and tags come along."""
    seen = Image.objects.visible_to(user).filter(pk=OuterRef("pk"))
    rows = Image.objects.filter(workloads=workload).annotate(is_seen=Exists(seen))
    return list(with_places(rows, user).order_by("-pk")[:MAX_IMAGES])


def runs(images: Sequence[Image], verdicts: dict[int, Stored], now: datetime) -> list[Runs]:
    """Each image with its verdict at the gate ``admit``, as far as ``verdicts`` has one; what may not start first."""
    return sorted((_run(image, verdicts.get(image.pk), now) for image in images), key=lambda r: _ORDER.index(r.verdict))


def _run(image: Any, stored: Stored | None, now: datetime) -> Runs:
    if not image.is_seen:
        return Runs(image, image.digest[:19], False)
    if stored is None:
        return Runs(image, name_of(image), True)
    document = stored.document
    said = {
        effect: tuple(_first_line(r["message"]) for r in document["reasons"] if r["effect"] == effect)
        for effect in ("block", "warn")
    }
    until = grace_of(document, now) if document["verdict"] == "block" else None
    return Runs(image, name_of(image), True, document["verdict"], said["block"], said["warn"], until)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def volumes_of(workload: Workload) -> list[Volume]:
    """What holds data first, then the node's folders, then the rest."""
    return sorted(workload.volumes.all(), key=lambda v: (not v.holds_data, not v.is_of_node, v.name, v.source))


def answers_about(workload: Workload, user: User) -> list[AdmissionDecision]:
    """What the cluster was answered about this workload, the last first."""
    rows = decisions(user).filter(
        cluster=workload.cluster_id,
        namespace=workload.namespace,
        workload_kind=workload.kind,
        workload_name=workload.name,
    )
    return list(rows.order_by("-last_at", "-pk")[:MAX_ANSWERS])


def mode_of(workload: Workload) -> str:
    """What a refusal does where the workload runs; empty where the cluster does not ask."""
    gate = ClusterGate.objects.filter(cluster=workload.cluster_id, token_hash__isnull=False).first()
    return gate.rules.mode_in(workload.namespace).value if gate else ""


def clusters_of(application: Application, user: User) -> list[dict[str, Any]]:
    """Where the application's workloads run: clusters, each with ``kind`` in words and ``n``, how many run there."""
    rows = Workload.objects.running().visible_to(user).filter(application=application)
    named: Any = rows.order_by("cluster__name").values("cluster__name", "cluster__kind")
    words = dict(CLUSTER_KINDS)
    return [row | {"kind": words[row["cluster__kind"]]} for row in named.annotate(n=Count("pk"))]
