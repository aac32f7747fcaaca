"""What is known here of the images that a review names, in a fixed number of queries however many they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Case, Exists, F, IntegerField, OuterRef, Q, QuerySet, Value, When

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.admission.answer import Knowledge, Outcome
from secguard.admission.breakglass import OPEN, GlassStatus
from secguard.admission.models import AdmissionDecision, BreakGlass
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.errors import Invalid
from secguard.images.models import Image, ImageRepository, IndexImage, Registry, Repository, Tag
from secguard.images.reference import Reference, parse, try_parse
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.signing.models import Attestation, Signature
from secguard.signing.statements import COSIGN_SIGNATURE, PROMOTION
from secguard.signing.verification import Standing
from secguard.workloads.models import Workload

MAX_ENDED = 5
"""Ended decisions that an answer names."""


@dataclass
class Named:
    """What the references of one review name here."""

    references: dict[str, Reference] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """The digest that each image, as it is written, names; nothing for a tag that nobody knows."""
    members: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    """(id, digest) of the images behind each digest: one, or an index's platforms."""

    def images_of(self, image: str) -> list[tuple[int, str]]:
        return self.members.get(self.digests.get(image, ""), [])

    @property
    def image_ids(self) -> set[int]:
        return {pk for several in self.members.values() for pk, _ in several}


def name(images: Iterable[str]) -> Named:
    """Three queries: tags, images, indexes."""
    found = Named()
    for image in images:
        try:
            found.references[image] = parse(image)
        except Invalid:
            continue
    found.digests = _digests(found.references)
    wanted = set(found.digests.values())
    if wanted:
        for digest, pk in Image.objects.filter(digest__in=wanted).values_list("digest", "pk"):
            found.members[digest] = [(pk, digest)]
        rows = IndexImage.objects.filter(index__digest__in=wanted).order_by("image_id")
        for index, pk, digest in rows.values_list("index__digest", "image_id", "image__digest").distinct():
            found.members.setdefault(index, []).append((pk, digest))
    return found


def _digests(references: Mapping[str, Reference]) -> dict[str, str]:
    """A digest names itself, whatever tag stands beside it; a tag names what it points to here."""
    found = {image: r.digest for image, r in references.items() if r.digest}
    tagged = {image: (r.repository, r.tag or "latest") for image, r in references.items() if not r.digest}
    if tagged:
        places, names = {p for p, _ in tagged.values()}, {n for _, n in tagged.values()}
        rows = Tag.objects.filter(repository__name__in=places, name__in=names)
        columns = rows.values_list("repository__name", "name", "index__digest", "image__digest")
        pointed = {(place, tag): index or image for place, tag, index, image in columns}
        found |= {image: pointed[at] for image, at in tagged.items() if at in pointed}
    return found


@dataclass(frozen=True, slots=True)
class Stored:
    """A verdict of the gate ``admit``: its document, and the evaluation that holds what it was made from."""

    document: Mapping[str, Any]
    evaluation_id: int | None


def stored_verdicts(image_ids: Collection[int], now: datetime) -> dict[int, Stored]:
    """The answers that hold at ``now``, given by the policy that gates. One query."""
    rows = Verdict.objects.filter(
        image_id__in=image_ids,
        stage=Gate.ADMIT,
        valid_until__gt=now,
        evaluation__policy_version__policy__is_gating=True,
        evaluation__policy_version__policy__active_version=F("evaluation__policy_version"),
    ).select_related("evaluation")
    return {v.image_id: Stored(v.evaluation.kept_document, v.evaluation_id) for v in rows}


def preferred_hosts(hosts: Collection[str]) -> set[str]:
    return set(Registry.objects.filter(host__in=hosts, is_preferred=True).values_list("host", flat=True))


def repositories(references: Iterable[str]) -> dict[str, int]:
    """The repositories that references name, those of them that are known here. One query."""
    named = {text: found.repository for text in references if (found := try_parse(text)) is not None}
    known = dict(Repository.objects.filter(name__in=named.values()).values_list("name", "pk"))
    return {text: known[place] for text, place in named.items() if place in known}


def promoted_to(digests: Collection[str], now: datetime) -> dict[str, tuple[str, ...]]:
    """Digest to the environments that it was promoted to, by statements that count at ``now``. One query."""
    rows = Attestation.objects.standing(now).filter(digest__in=digests, predicate_type=PROMOTION)
    found: dict[str, tuple[str, ...]] = {}
    for digest, environment in rows.order_by("environment").values_list("digest", "environment").distinct():
        found[digest] = (*found.get(digest, ()), environment)
    return found


def signed_by(digests: Collection[str], now: datetime) -> dict[tuple[str, str], tuple[str, ...]]:
    """(repository, digest) to whose signatures, that count at ``now``, were seen there. One query."""
    rows = Signature.objects.filter(digest__in=digests, gone_at__isnull=True, predicate_type__in=("", COSIGN_SIGNATURE))
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows.select_related("repository").with_standing():
        if row.standing_at(now) is Standing.TRUSTED:
            found.setdefault((row.repository.name, row.digest), set()).add(row.by)
    return {at: tuple(sorted(names)) for at, names in found.items()}


def usable_glass(cluster_id: int, namespace: str, digests: Collection[str], now: datetime) -> dict[str, int]:
    """Digest to the break-glass that lets it start here once. One query."""
    rows = BreakGlass.objects.filter(
        cluster_id=cluster_id,
        namespace=namespace,
        status=GlassStatus.GRANTED,
        digest__in=digests,
        expires_at__gt=now,
    )
    return dict(rows.order_by("-pk").values_list("digest", "pk"))


def running_in(cluster_id: int, namespace: str, image_ids: Collection[int]) -> set[int]:
    """Those of the images that run in the namespace now, as the inventory says. One query."""
    rows = Workload.objects.running().filter(cluster_id=cluster_id, namespace=namespace, images__in=image_ids)
    return set(rows.values_list("images", flat=True))


def ended_decisions(knowledge: Iterable[Knowledge], now: datetime) -> dict[int, tuple[str, ...]]:
    """Image id to the decisions, in words, that let what blocks it now pass and ended. Two queries."""
    risks = {
        k.image_id: {f["risk"] for r in k.document["reasons"] if r["effect"] == "block" for f in r["findings"]}
        for k in knowledge
        if k.image_id is not None and k.document is not None and k.document["verdict"] == "block"
    }
    wanted = set().union(*risks.values()) if risks else set()
    if not wanted:
        return {}
    places: dict[int, set[int]] = {}
    owners: dict[int, set[int | None]] = {}
    rows = ImageRepository.objects.filter(image_id__in=risks)
    for image, place, owner in rows.values_list("image_id", "repository_id", "repository__application_id"):
        places.setdefault(image, set()).add(place)
        owners.setdefault(image, set()).add(owner)
    over = Q(status=DecisionStatus.APPROVED) & (Q(expires_at__lte=now) | Q(controls_until__lte=now))
    over |= Q(status__in=(DecisionStatus.ENDED, DecisionStatus.REVOKED), decided_at__isnull=False)
    ended = list(Decision.objects.filter(over, risk_id__in=wanted).order_by("-id")[:500])
    return {
        image: tuple(_ended_words(d) for d in ended if d.risk_id in about and _covers(d, image, places, owners))[
            :MAX_ENDED
        ]
        for image, about in risks.items()
    }


def _covers(d: Decision, image: int, places: Mapping[int, set[int]], owners: Mapping[int, set[int | None]]) -> bool:
    if d.scope_kind == "image":
        return d.image_id == image
    if d.scope_kind == "repository":
        return d.repository_id in places.get(image, ())
    return d.scope_kind == "organisation" or d.application_id in owners.get(image, ())


def _ended_words(d: Decision) -> str:
    when = d.ended_at or d.counts_until
    why = f": {d.end_reason.rstrip('.')}" if d.end_reason else ""
    return f"Decision {d.pk} ({d.kind.replace('_', ' ')}) let it pass until {when:%Y-%m-%d %H:%M} UTC{why}."


def decisions(user: User) -> QuerySet[AdmissionDecision]:
    return AdmissionDecision.objects.visible_to(user).select_related("cluster", "image")


def in_grace(rows: QuerySet[AdmissionDecision], now: datetime) -> QuerySet[AdmissionDecision]:
    """Those whose grace still runs: the last answer about its place, of an image that runs there and is refused else.

    By the same rule as the answer itself: what no longer runs in the namespace, or passes now, is in no grace.
    """
    place = {name: OuterRef(name) for name in ("image", "cluster", "namespace", "workload_kind", "workload_name")}
    later = Q(last_at__gt=OuterRef("last_at")) | Q(last_at=OuterRef("last_at"), pk__gt=OuterRef("pk"))
    newer = AdmissionDecision.objects.filter(later, outcome=Outcome.GRACE, **place)
    runs = Workload.objects.running().filter(
        cluster=OuterRef("cluster"), namespace=OuterRef("namespace"), images=OuterRef("image")
    )
    refused = Verdict.objects.filter(stage=Gate.ADMIT, verdict="block", image=OuterRef("image"))
    found = rows.filter(outcome=Outcome.GRACE, grace_until__gt=now)
    return found.filter(Exists(refused), Exists(runs), ~Exists(newer))


def glass(user: User) -> QuerySet[BreakGlass]:
    """Every break-glass, to who may ask for one; raises ``NotAllowed`` for everybody else."""
    require(user, Permission.BREAK_GLASS_REQUEST)
    return BreakGlass.objects.select_related("cluster", "requested_by", "decided_by", "reviewed_by")


def waiting_glass() -> int:
    """How many wait for an answer or a review."""
    return BreakGlass.objects.filter(status__in=OPEN).count()


def sees_glass(user: User) -> bool:
    """Whether break-glass is shown to ``user`` at all."""
    return user.teams_with(Permission.BREAK_GLASS_REQUEST) is None


def open_glass(user: User, now: datetime) -> QuerySet[BreakGlass]:
    """What waits for somebody or may be used, with its place in ``step``: asked for, granted (the first to end before
    others), used and not reviewed yet. Raises ``NotAllowed`` as ``glass`` does."""
    usable = Q(status=GlassStatus.GRANTED, expires_at__gt=now)
    steps = ((GlassStatus.REQUESTED, 0), (GlassStatus.GRANTED, 1), (GlassStatus.USED, 2))
    step = Case(*(When(status=s, then=Value(n)) for s, n in steps), output_field=IntegerField())
    return glass(user).filter(usable | Q(status__in=OPEN)).annotate(step=step).order_by("step", "expires_at", "pk")
