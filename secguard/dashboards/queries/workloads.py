"""What runs where, and whether it may start again. Each function: a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Case, CharField, Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from secguard.accounts.models import Application, User
from secguard.admission.models import AdmissionDecision, ClusterGate
from secguard.admission.queries import decisions
from secguard.images.models import Image
from secguard.images.queries import with_places
from secguard.images.reference import try_parse
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.workloads.models import CLUSTER_KINDS, Volume, Workload

MAX_IMAGES = 50
"""Images of one workload that its page shows."""
MAX_ANSWERS = 20


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


def images_of_workload(workload: Workload, user: User) -> list[Image]:
    """What the workload runs, each with ``is_seen``: whether ``user`` may see it. Places and tags come along."""
    seen = Image.objects.visible_to(user).filter(pk=OuterRef("pk"))
    rows = Image.objects.filter(workloads=workload).annotate(is_seen=Exists(seen))
    return list(with_places(rows, user).order_by("-pk")[:MAX_IMAGES])


def references_of(images: Iterable[Image], answers: Iterable[AdmissionDecision]) -> dict[int, str]:
    """{image id: repository@digest}: in the repository from which the cluster took it last, else in one where it lies.

    By its digest, whatever tag the pods name: a tag may mean another image now.
    """
    named = {a.image_id: r.repository for a in reversed(list(answers)) if (r := try_parse(a.reference)) is not None}
    found = {}
    for image in images:
        places: list[Any] = getattr(image, "seen_places", [])
        place = named.get(image.pk) or (places[0].repository.name if places else "")
        if place:
            found[image.pk] = f"{place}@{image.digest}"
    return found


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


def gate_of(workload: Workload) -> ClusterGate | None:
    """How its cluster is answered; ``None`` where it does not ask."""
    return (
        ClusterGate.objects.select_related("cluster")
        .filter(cluster=workload.cluster_id, token_hash__isnull=False)
        .first()
    )


def clusters_of(application: Application, user: User) -> list[dict[str, Any]]:
    """Where the application's workloads run: clusters, each with ``kind`` in words and ``n``, how many run there."""
    rows = Workload.objects.running().visible_to(user).filter(application=application)
    named: Any = rows.order_by("cluster__name").values("cluster__name", "cluster__kind")
    words = dict(CLUSTER_KINDS)
    return [row | {"kind": words[row["cluster__kind"]]} for row in named.annotate(n=Count("pk"))]
