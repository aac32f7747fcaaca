"""Answer clusters, keep what was answered, and keep how each is to be answered."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.admission import queries, responses
from secguard.admission.answer import (
    KEPT,
    Answer,
    Judged,
    Knowledge,
    Mode,
    Outcome,
    answer,
    check_effects,
    check_namespaces,
)
from secguard.admission.models import AdmissionDecision, ClusterGate
from secguard.admission.queries import Named, Stored
from secguard.admission.review import Review
from secguard.admission.services import glass, quick
from secguard.admission.services.counting import COUNTS
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.images.models import Image
from secguard.policies.facts import Gate
from secguard.policies.queries import gating_policy
from secguard.policies.services import document_of, rules_in_force, simulate, verdict_of
from secguard.signing.queries import signer_names
from secguard.signing.services import known_environments
from secguard.workloads.models import CLUSTER_KINDS, Cluster
from secguard.workloads.podspec import check_paths
from secguard.workloads.services import note_admitted
from secguard.workloads.volumes import Mount

TOKEN_PREFIX = "sgk_"  # noqa: S105 - the public part of every cluster's token
HEARD_EVERY = timedelta(minutes=1)
LASTING = frozenset(
    {"Deployment", "StatefulSet", "DaemonSet", "CronJob", "Rollout", "ReplicaSet", "ReplicationController",
     "DeploymentConfig", "CloneSet", "AdvancedCronJob"}
)  # fmt: skip
"""Kinds of workloads whose names stay. Pods and jobs are called anew each time: their answers are counted together."""
_ORDER = {"pass": 0, "warn": 1, "block": 2}

log = structlog.get_logger("secguard.admission")


# --- who asks ---


def gate_of(token: str) -> ClusterGate:
    """The settings of the cluster whose token this is, of a second ago at most; raises ``NotAllowed`` for nobody's."""
    digest = hashlib.sha256(token.encode()).hexdigest()
    if (remembered := quick.GATES.get(digest)) is not None:
        return remembered
    gate = ClusterGate.objects.select_related("cluster").filter(token_hash=digest).first() if token else None
    if gate is None or not constant_time_compare(gate.token_hash or "", digest):
        raise NotAllowed(
            "The cluster's token is none that is known here. A cluster's page under Settings makes one; its webhooks "
            "send it as Authorization: Bearer sgk_….",
            code="cluster-token",
        )
    quick.GATES.put(digest, gate)
    return gate


def note_heard(gate: ClusterGate, now: datetime) -> None:
    """The cluster asks: noted once a minute, and never the reason for a failed answer."""
    if gate.heard_at is not None and gate.heard_at > now - HEARD_EVERY:
        return
    due = Q(heard_at=None) | Q(heard_at__lte=now - HEARD_EVERY)
    try:
        with transaction.atomic():
            ClusterGate.objects.filter(due, pk=gate.pk).update(heard_at=now)
        gate.heard_at = now
    except DatabaseError:
        log.warning("a cluster's last request cannot be noted", cluster=gate.cluster.name)


# --- the answer ---


def admit(review: Review, gate: ClusterGate, *, keep: bool = True) -> Answer:
    """May this start: answered from what is stored, and kept; of a dry run nothing is written anywhere."""
    now = timezone.now()
    knowledge = quick.known_of(review, gate, now) or known_of(review, gate, now)
    made = answer(review, knowledge, gate.rules, now, settings.PUBLIC_URL)
    if made.allowed and made.used and made.subject.is_pod and not made.subject.dry_run and not glass.use(made, now):
        # Somebody else used it up in this instant.
        knowledge = {image: replace(k, break_glass=None) for image, k in knowledge.items()}
        made = answer(review, knowledge, gate.rules, now, settings.PUBLIC_URL)
    if not review.subject.dry_run:
        note_heard(gate, now)
        if keep:
            _keep(made, gate, now, review.mounts)
    return made


def known_of(review: Review, gate: ClusterGate, now: datetime) -> dict[str, Knowledge]:
    """What is known of every image in the review. No network; a fixed number of queries while verdicts hold."""
    images = tuple(dict.fromkeys(use.image for use in review.images))
    if not images:
        return {}
    named = queries.name(images)
    verdicts = _verdicts(named.image_ids, now, dry=review.subject.dry_run)
    hosts = {r.host for r in named.references.values()}
    preferred = queries.preferred_hosts(hosts)
    runs = queries.running_in(gate.cluster_id, review.subject.namespace, named.image_ids) if verdicts else set()
    known = {image: _knowledge(image, named, verdicts, preferred, runs) for image in images}
    known = _stands(known, named, gate, now)
    ended = queries.ended_decisions(known.values(), now)
    # By the digest that the image itself names: under a tag a node may pull something else.
    told = {image: r.digest for image, r in named.references.items() if r.digest}
    usable = queries.usable_glass(gate.cluster_id, review.subject.namespace, set(told.values()), now) if told else {}
    return {
        image: replace(k, ended=ended.get(k.image_id or 0, ()), break_glass=usable.get(told.get(image, "")))
        for image, k in known.items()
    }


def _verdicts(image_ids: set[int], now: datetime, *, dry: bool) -> dict[int, Stored]:
    """Stored answers; what has none that holds is judged now, whoever of several reviews comes first doing it once."""
    if not image_ids:
        return {}
    found = queries.stored_verdicts(image_ids, now)
    if len(found) == len(image_ids):
        return found
    for image in Image.objects.filter(pk__in=image_ids - found.keys()).order_by("pk"):
        judged = _simulated(image, now) if dry else _judged(image)
        if judged is not None:
            found[image.pk] = judged
    return found


@transaction.atomic
def _judged(image: Image) -> Stored:
    """Behind the image's lock: a hundred replicas that wait for it find what the first one judged."""
    locked = Image.objects.select_for_update(no_key=True).get(pk=image.pk)
    verdict = verdict_of(locked, Gate.ADMIT)
    return Stored(document_of(verdict), verdict.evaluation_id)


def _simulated(image: Image, now: datetime) -> Stored | None:
    """The same, with nothing kept."""
    policy = gating_policy()
    if policy is None or policy.active_version is None:
        return None
    return Stored(simulate(rules_in_force(policy.active_version), image, Gate.ADMIT, now), None)


def _knowledge(
    image: str, named: Named, verdicts: Mapping[int, Stored], preferred: set[str], runs: set[int]
) -> Knowledge:
    reference = named.references.get(image)
    if reference is None:
        return Knowledge()
    likes = reference.host in preferred
    members = named.images_of(image)
    judged = [(pk, digest, verdicts[pk]) for pk, digest in members if pk in verdicts]
    if not judged or len(judged) < len(members):
        return Knowledge(digest=named.digests.get(image, ""), is_preferred=likes)
    # Which platform a node takes is not told: the worst of an index's counts.
    pk, digest, stored = max(judged, key=lambda found: _ORDER[found[2].document["verdict"]])
    return Knowledge(
        digest=named.digests[image],
        image_digest=digest,
        image_id=pk,
        evaluation_id=stored.evaluation_id,
        document=stored.document,
        is_preferred=likes,
        runs_here=pk in runs,
    )


def _stands(known: dict[str, Knowledge], named: Named, gate: ClusterGate, now: datetime) -> dict[str, Knowledge]:
    """With what was stated and signed of the digests, as far as the cluster asks for it: a query each."""
    digests = {k.digest for k in known.values() if k.digest}
    if not digests or not (gate.environment or gate.signers):
        return known
    promoted = queries.promoted_to(digests, now) if gate.environment else {}
    signed = queries.signed_by(digests, now) if gate.signers else {}
    found = {}
    for image, k in known.items():
        place = named.references[image].repository if image in named.references else ""
        found[image] = replace(k, promoted_to=promoted.get(k.digest, ()), signed_by=signed.get((place, k.digest), ()))
    return found


def pins(review: Review, gate: ClusterGate) -> list[dict[str, str]]:
    """``responses.patch`` by what is known now; nothing is asked where every image is named by digest already."""
    if all("@" in use.image or use.image in review.standing for use in review.images):
        return []
    return responses.patch(review, known_of(review, gate, timezone.now()), gate.rules)


# --- what was answered ---


def _keep(made: Answer, gate: ClusterGate, now: datetime, mounts: Sequence[Mount]) -> None:
    """Add what is new, in three statements at most, and count the rest. A full disk fails no answer."""
    keys = _keys(made, gate)
    if not keys:
        return
    if COUNTS.knows(keys):
        again = {key: part for key, part in keys.items() if part.outcome in KEPT}
        COUNTS.add(made, now, again, partial(_row, made=made, gate=gate, now=now))
        return
    try:
        known = set(AdmissionDecision.objects.filter(key__in=keys).values_list("key", flat=True))
        fresh = [_row(key, part, made, gate, now) for key, part in keys.items() if key not in known]
        if fresh:
            with transaction.atomic():
                _add(fresh)
                _note_running(made, gate, mounts)
        COUNTS.learn(keys)
    except DatabaseError:
        log.error("an admission decision cannot be kept", cluster=gate.cluster.name, uid=made.subject.uid)
        return
    again = {key: keys[key] for key in known if keys[key].outcome in KEPT}
    if again:
        COUNTS.add(made, now, again, partial(_row, made=made, gate=gate, now=now))


def _note_running(made: Answer, gate: ClusterGate, mounts: Sequence[Mount]) -> None:
    """A pod that may start belongs to the inventory, where its workload's name stays."""
    about = made.subject
    images = [j.known.image_id for j in made.images if j.known.image_id is not None]
    if made.allowed and about.is_pod and about.owner[0] in LASTING and images:
        note_admitted(gate.cluster, (about.namespace[:100], *about.owner), images, mounts)


def _add(fresh: Sequence[AdmissionDecision]) -> None:
    """What was answered for the first time."""
    places = queries.repositories(row.reference for row in fresh)
    for row in fresh:
        row.repository_id = places.get(row.reference)
    # Another process may add the same in this instant: one of the two rows stays, and counts one too few.
    AdmissionDecision.objects.bulk_create(fresh, ignore_conflicts=True)


def _keys(made: Answer, gate: ClusterGate) -> dict[str, Judged]:
    """The answer's parts that are kept, each by what makes two answers the same."""
    about = made.subject
    kind, owner = about.owner
    owner = owner if kind in LASTING else ""
    keys = {}
    for part in made.parts:
        known, outcome = part.known, part.outcome
        if outcome is not Outcome.ALLOWED:
            more: tuple[Any, ...] = (made.mode.value, known.evaluation_id, part.reason)
        elif about.is_pod:
            more = ()
        else:
            continue
        same = (gate.cluster_id, about.namespace, part.image, known.digest, outcome.value, kind, owner, *more)
        keys[_digest_of(same)] = part
    return keys


@lru_cache(maxsize=20_000)
def _digest_of(same: tuple[Any, ...]) -> str:
    return hashlib.sha256(repr(list(same)).encode()).hexdigest()


def _row(key: str, part: Judged, made: Answer, gate: ClusterGate, now: datetime) -> AdmissionDecision:
    about, known = made.subject, part.known
    kind, owner = about.owner
    return AdmissionDecision(
        key=key,
        cluster_id=gate.cluster_id,
        namespace=about.namespace[:253],
        workload_kind=kind[:63],
        workload_name=owner[:253],
        reference=part.image[:700],
        digest=known.digest,
        image_id=known.image_id,
        outcome=part.outcome.value,
        mode=made.mode.value,
        reason=part.reason,
        grace_until=part.until,
        evaluation_id=known.evaluation_id,
        requested_by=about.user,
        uid=about.uid[:200],
        first_at=now,
        last_at=now,
    )


# --- how a cluster is to be answered ---


@dataclass(frozen=True, slots=True)
class GateEdit:
    """A cluster's settings. ``None`` leaves one as it is."""

    kind: str | None = None
    mode: str | None = None
    namespaces: Mapping[str, Any] | None = None
    effects: Mapping[str, Any] | None = None
    paths: Mapping[str, Any] | None = None
    requires_digest: bool | None = None
    environment: str | None = None
    signers: Sequence[str] | None = None

    def checked(self) -> dict[str, Any]:
        """The gate's fields to set; raises ``Invalid`` with the place of the fault."""
        fields: dict[str, Any] = {}
        if self.mode is not None:
            if self.mode not in set(Mode):
                raise Invalid(f"{self.mode[:40]!r} is no mode; expected one of {', '.join(Mode)}.", where="mode")
            fields["mode"] = self.mode
        for name, check in (("namespaces", check_namespaces), ("effects", check_effects), ("paths", check_paths)):
            if (value := getattr(self, name)) is not None:
                fields[name] = check(value)
        if self.requires_digest is not None:
            fields["requires_digest"] = self.requires_digest
        if self.environment is not None:
            fields["environment"] = _environment(self.environment)
        if self.signers is not None:
            fields["signers"] = _signers(self.signers)
        return fields


def _environment(name: str) -> str:
    known = known_environments()
    if name and name not in known:
        raise Invalid(
            f"There is no environment {name[:80]!r} that images are promoted to; known: {', '.join(known) or 'none'}.",
            where="environment",
        )
    return name


def _signers(names: Sequence[str]) -> list[str]:
    known = signer_names(timezone.now())
    for name in names:
        if name not in known:
            raise Invalid(
                f"No key {str(name)[:80]!r} counts here; known: {', '.join(known) or 'none'}. Make it, or trust it.",
                where="signers",
            )
    return list(dict.fromkeys(names))


@transaction.atomic
def add_gate(name: str, edit: GateEdit, *, actor: User | None) -> ClusterGate:
    """Let a cluster ask; its name may be known already, from workloads that were reported.

    Needs cluster:edit in the whole organisation. Raises ``Conflict`` where it may ask already, and ``Invalid``.
    """
    require(actor, Permission.CLUSTER_EDIT)
    text, fields = name.strip(), edit.checked()
    if not text or len(text) > 100 or not text.isprintable():
        raise Invalid("A cluster's name has 1 to 100 printable characters.", where="name")
    cluster, _ = Cluster.objects.get_or_create(name=text)
    _set_kind(cluster, edit)
    gate, is_new = ClusterGate.objects.get_or_create(cluster=cluster, defaults=fields)
    if not is_new:
        raise Conflict(f"{text} is set up already; edit it.", code="cluster-exists", where="name")
    _record(Action.CLUSTER_CREATE, gate, actor, fields)
    return gate


@transaction.atomic
def edit_gate(gate_id: int, edit: GateEdit, *, actor: User | None) -> ClusterGate:
    """Change how a cluster is answered, from the next request on. Raises ``NotAllowed``, ``NotFound``, ``Invalid``."""
    require(actor, Permission.CLUSTER_EDIT)
    gate, fields = _gate(gate_id), edit.checked()
    _set_kind(gate.cluster, edit)
    for name, value in fields.items():
        setattr(gate, name, value)
    if fields:
        gate.save(update_fields=list(fields))
        quick.GATES.clear()
    if fields or edit.kind is not None:
        _record(Action.CLUSTER_EDIT, gate, actor, fields | ({"kind": edit.kind} if edit.kind else {}))
    return gate


def _set_kind(cluster: Cluster, edit: GateEdit) -> None:
    if edit.kind is None:
        return
    kinds = [value for value, _ in CLUSTER_KINDS]
    if edit.kind not in kinds:
        raise Invalid(f"{edit.kind[:40]!r} is no kind of cluster; expected one of {', '.join(kinds)}.", where="kind")
    cluster.kind = edit.kind
    cluster.save(update_fields=["kind"])


@transaction.atomic
def renew_token(gate_id: int, *, actor: User | None) -> tuple[ClusterGate, str]:
    """A new token for the cluster's webhooks, told this once; the former one ends within a second."""
    require(actor, Permission.CLUSTER_EDIT)
    gate, token = _gate(gate_id), TOKEN_PREFIX + secrets.token_urlsafe(32)
    gate.token_hash = hashlib.sha256(token.encode()).hexdigest()
    gate.token_made_at = timezone.now()
    gate.save(update_fields=["token_hash", "token_made_at"])
    quick.GATES.clear()
    _record(Action.CLUSTER_EDIT, gate, actor, {"token": "renewed"})
    return gate, token


def _gate(gate_id: int) -> ClusterGate:
    # Of the two tables only the gate's row: the cluster's is written by whoever reports workloads.
    rows = ClusterGate.objects.select_for_update(of=("self",)).select_related("cluster")
    found = rows.filter(pk=gate_id).first()
    if found is None:
        raise NotFound(f"There is no cluster {gate_id}.")
    return found


def _record(action: Action, gate: ClusterGate, actor: User | None, details: Mapping[str, Any]) -> None:
    record(
        action,
        actor=actor,
        subject_type="cluster",
        subject_id=gate.cluster_id,
        subject=gate.cluster.name,
        details=details,
    )
