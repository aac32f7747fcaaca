"""What may be done to contain an attack: the document of each means, and what it touches, in words. Pure.

NetworkPolicy: Kubernetes, "Network Policies"; Cilium, "Layer 3 Policies", "Deny policies" (deny rules come before all
that allow). Nothing here is sent to a cluster: a person applies it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml

from secguard.errors import Invalid

MAX_LABELS: Final = 10
_PREFIX: Final = r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?"
_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_LABEL: Final = re.compile(rf"({_PREFIX}{_NAME})=({_NAME})?")
"""Kubernetes, "Labels and Selectors", syntax and character set."""
_RESOURCE: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")

SCALED: Final = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "Rollout"})
SUSPENDED: Final = frozenset({"CronJob", "Job"})
HELD: Final = "secguard.io/held"
"""No node has this label: a DaemonSet that wants it runs nowhere."""


class Form(StrEnum):
    KUBERNETES = "kubernetes"
    CILIUM = "cilium"


@dataclass(frozen=True, slots=True)
class Target:
    """The workload, by plain names; ``kind`` as Kubernetes calls it."""

    cluster: str
    namespace: str
    kind: str
    name: str

    @property
    def words(self) -> str:
        return f"{self.kind} {self.name} in namespace {self.namespace or 'default'} of {self.cluster or 'its cluster'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """``document``: what a person applies, as text; ``touches``: what that changes, in words."""

    document: str
    touches: tuple[str, ...]


def labels_of(text: str) -> dict[str, str]:
    """``app=web, tier=front`` as pairs. Raises ``Invalid`` for none, for too many, and for what is no label."""
    words = [word for word in re.split(r"[\s,]+", text.strip()) if word]
    if not words:
        raise Invalid(
            "The labels of its pods are not known here; give those that select exactly them, like app=web,tier=front "
            "(kubectl get pods --show-labels).",
            where="labels",
            code="labels-unknown",
        )
    if len(words) > MAX_LABELS:
        raise Invalid(f"{len(words)} labels were given; at most {MAX_LABELS} are needed.", where="labels")
    found = {}
    for word in words:
        match = _LABEL.fullmatch(word)
        if match is None:
            raise Invalid(f"{word[:80]!r} is no label; expected name=value, like app=web.", where="labels")
        found[match[1]] = match[2] or ""
    return found


def can_name(target: Target) -> bool:
    """Whether a document can name the workload at all."""
    return bool(_RESOURCE.fullmatch(target.name) and (not target.namespace or _RESOURCE.fullmatch(target.namespace)))


def can_scale(target: Target) -> bool:
    return can_name(target) and (target.kind in SCALED | SUSPENDED or target.kind == "DaemonSet")


def deny(target: Target, incident_id: int, labels: Mapping[str, str], form: Form = Form.KUBERNETES) -> Plan:
    """A policy that lets the workload's pods speak to nobody, and nobody to them.

    Without ``labels`` there is no document yet: who approves it gives them.
    """
    touches = [
        f"The pods of {target.words} lose every connection, in and out, also name resolution.",
        "Probes of the node (kubelet) go on: the pods stay as they are, for whoever looks into them.",
    ]
    if not labels:
        touches.append("The labels of its pods are not known here: whoever approves it gives those that select them.")
        return Plan("", tuple(touches))
    chosen = ", ".join(f"{k}={v}" for k, v in sorted(labels.items()))
    touches.append(
        f"Every pod in namespace {target.namespace or 'default'} with {chosen} is cut off, whatever it is of."
    )
    if form is Form.KUBERNETES:
        touches.append(
            "NetworkPolicies add up: what another policy of the namespace lets through for these pods still passes. "
            "Take those away, or choose Cilium's form, which denies before anything allows."
        )
    return Plan(_yaml([_policy(target, incident_id, labels, form)]), tuple(touches))


def _policy(target: Target, incident_id: int, labels: Mapping[str, str], form: Form) -> dict[str, Any]:
    meta = {
        "name": f"secguard-incident-{incident_id}",
        "namespace": target.namespace or "default",
        "labels": {"app.kubernetes.io/managed-by": "secguard"},
    }
    chosen = {"matchLabels": dict(sorted(labels.items()))}
    if form is Form.CILIUM:
        return {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": meta,
            "spec": {
                "endpointSelector": chosen,
                "ingressDeny": [{"fromEntities": ["all"]}],
                "egressDeny": [{"toEntities": ["all"]}],
            },
        }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": meta,
        "spec": {"podSelector": chosen, "policyTypes": ["Ingress", "Egress"]},
    }


def scale(target: Target) -> Plan:
    """How to stop the workload: the command, and the same as a patch. Raises ``Invalid`` for a kind that cannot be."""
    if not can_scale(target):
        raise Invalid(f"A {target.kind} is not scaled; stop {target.words} by hand.", where="kind", code="not-scaled")
    resource = f"{target.kind.lower()}/{target.name}"
    place = f"--namespace {target.namespace or 'default'}"
    patch = _stopping(target.kind)
    merge = yaml.safe_dump(patch, default_flow_style=True, width=10_000).strip()
    by_patch = f"kubectl patch {resource} {place} --type merge --patch '{merge}'"
    command = f"kubectl scale {resource} {place} --replicas=0" if target.kind in SCALED else by_patch
    document = (
        f"# {command}\n# or apply this as a patch: kubectl patch {resource} {place} --type merge --patch-file FILE\n"
    )
    return Plan(f"{document}{yaml.safe_dump(patch, sort_keys=False)}", tuple(_stops(target)))


def _stopping(kind: str) -> dict[str, Any]:
    if kind in SUSPENDED:
        return {"spec": {"suspend": True}}
    if kind == "DaemonSet":
        return {"spec": {"template": {"spec": {"nodeSelector": {HELD: "true"}}}}}
    return {"spec": {"replicas": 0}}


def _stops(target: Target) -> Sequence[str]:
    if target.kind == "CronJob":
        first = f"{target.words} starts no new job; jobs of it that run now go on, and are deleted by hand."
    elif target.kind == "DaemonSet":
        first = f"Every pod of {target.words} ends on every node: no node has the label {HELD}."
    else:
        first = f"Every pod of {target.words} ends, and none starts until somebody scales it up again."
    return (
        first,
        "What it serves is down meanwhile. What is in the memory of its pods, and in volumes that live as long as they "
        "do, is lost: save what has to be looked into before.",
        "An autoscaler, an operator or a deployment from git may start it again; hold those as well.",
    )


def recall(digest: str, runs: Sequence[str], more: int = 0) -> Plan:
    """Calling the digest back. ``runs``: the workloads that run it, in words; ``more`` of them are not named."""
    rest = f" and {more:,} more" if more else ""
    where = (
        f"It runs in {', '.join(runs)}{rest}: that goes on until it is started anew." if runs else "It runs nowhere."
    )
    return Plan(
        "",
        (
            f"Every gate refuses {digest} from then on: it cannot be promoted, and no cluster that asks starts it.",
            "What was signed of it here counts no more, and is taken away where the registries let it.",
            where,
        ),
    )


def _yaml(documents: Sequence[Mapping[str, Any]]) -> str:
    return str(yaml.safe_dump_all(list(documents), sort_keys=False, explicit_start=True))
