"""What runs in a cluster, from its list of pods (``kubectl get pods -A -o json``). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from secguard.errors import Invalid
from secguard.images.reference import is_digest, try_parse
from secguard.workloads.podspec import images_of, owner_of
from secguard.workloads.restrictions import RESTRICTIONS, restrictions_of
from secguard.workloads.volumes import Mount, merged, mounts_of

ENDED: Final = frozenset({"Succeeded", "Failed"})
MAX_PODS: Final = 200_000
_CONTAINER_ID: Final = re.compile(r"[0-9a-f]{12,64}")
STATUSES: Final = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


class Held(NamedTuple):
    """One container of a pod; empty where the list does not tell."""

    pod: str
    name: str
    container_id: str = ""
    digest: str = ""
    pod_uid: str = ""
    pod_ip: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Runs:
    """One workload: where it is, the images that its pods run, as references and as digests that nodes told, what they
    mount, what all of them are kept from, and its containers."""

    namespace: str
    kind: str
    name: str
    references: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    restrictions: tuple[str, ...] = ()
    containers: tuple[Held, ...] = ()


@dataclass(slots=True)
class _Gathered:
    """What the pods of one workload have told so far."""

    references: dict[str, None] = field(default_factory=dict)
    digests: dict[str, None] = field(default_factory=dict)
    mounts: dict[Mount, None] = field(default_factory=dict)
    restrictions: frozenset[str] = frozenset(RESTRICTIONS)
    containers: dict[tuple[str, str, str], Held] = field(default_factory=dict)


_Found = dict[tuple[str, str, str], _Gathered]


def read(body: Any) -> tuple[Runs, ...]:
    """The workloads behind a list of pods, sorted; pods that have ended run nothing.

    Raises ``Invalid``, with the place, for what is no list of pods.
    """
    items = body.get("items") if isinstance(body, Mapping) else None
    if not isinstance(items, list) or body.get("kind") not in ("List", "PodList"):
        raise Invalid(
            "The body is no list of pods; expected what `kubectl get pods -A -o json` prints.",
            code="no-pod-list",
            where="body",
        )
    if len(items) > MAX_PODS:
        raise Invalid(f"The list has {len(items):,} pods; at most {MAX_PODS:,} are read.", where="items")
    found: _Found = {}
    for index, pod in enumerate(items):
        _take(pod, f"items[{index}]", found)
    return tuple(
        sorted(
            Runs(
                *at,
                tuple(g.references),
                tuple(g.digests),
                merged(g.mounts),
                tuple(sorted(g.restrictions)),
                tuple(g.containers.values()),
            )
            for at, g in found.items()
        )
    )


def _take(pod: Any, where: str, found: _Found) -> None:
    if not isinstance(pod, Mapping) or pod.get("kind", "Pod") != "Pod":
        raise Invalid(f"At {where} there is no pod; expected pods alone.", code="no-pod-list", where=where)
    try:
        uses = images_of(pod, "", "Pod", {})
        kind, name = owner_of(pod)
    except Invalid as refused:
        raise Invalid(f"In {where}: {refused.detail}", code="no-pod-list", where=where) from refused
    status = pod.get("status")
    if not isinstance(status, Mapping):
        status = {}
    if status.get("phase") in ENDED:
        return
    meta = pod.get("metadata") or {}
    namespace = str(meta.get("namespace") or "")[:100]
    if not f"{namespace}{kind}{name}".isprintable():
        raise Invalid(f"In {where} a name has characters that no name has.", code="no-pod-list", where=where)
    gathered = found.setdefault((namespace, kind[:50], name), _Gathered())
    gathered.references.update(dict.fromkeys(use.image[:700] for use in uses))
    gathered.digests.update(dict.fromkeys(_told(status)))
    gathered.mounts.update(dict.fromkeys(mounts_of(pod, "", "Pod", {})))
    gathered.restrictions &= restrictions_of(pod)
    for held in _containers(meta, status):
        gathered.containers.setdefault((held.pod, held.name, held.container_id), held)


def _told(status: Mapping[str, Any]) -> list[str]:
    """Digests of what nodes pulled: ``imageID`` is ``repository@sha256:…``, behind a scheme with some runtimes."""
    found = []
    for name in STATUSES:
        entries = status.get(name)
        for entry in entries if isinstance(entries, list) else ():
            text = entry.get("imageID") if isinstance(entry, Mapping) else None
            if isinstance(text, str):
                digest = text.rpartition("@")[2]
                found += [digest] if is_digest(digest) else []
    return found


def _containers(meta: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Held]:
    """What the pod's status tells of each; ``containerID`` is ``containerd://…`` (Kubernetes API, ContainerStatus)."""
    pod, uid, ip = (_name(told, 253) for told in (meta.get("name"), meta.get("uid"), status.get("podIP")))
    if not pod:
        return
    for group in STATUSES:
        entries = status.get(group)
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, Mapping) or not (name := _name(entry.get("name"), 253)):
                continue
            container_id = _name(entry.get("containerID"), 300).rpartition("//")[2].lower()
            digest = _name(entry.get("imageID"), 1_000).rpartition("@")[2]
            yield Held(
                pod,
                name,
                container_id if _CONTAINER_ID.fullmatch(container_id) else "",
                digest if is_digest(digest) else "",
                uid[:64],
                ip[:45],
            )


def _name(told: Any, most: int) -> str:
    return told if isinstance(told, str) and len(told) <= most and told.isprintable() else ""


def names_of(runs: Runs) -> list[tuple[str, str]]:
    """(repository, tag) of the references that name no digest."""
    parsed = [try_parse(text) for text in runs.references]
    return [(r.repository, r.tag or "latest") for r in parsed if r is not None and not r.digest]


def digests_of(runs: Runs) -> set[str]:
    """Every digest that the workload's pods were told to run, or that their nodes told."""
    parsed = [try_parse(text) for text in runs.references]
    return {r.digest for r in parsed if r is not None and r.digest} | set(runs.digests)


def repositories_of(runs: Runs) -> list[str]:
    parsed = [try_parse(text) for text in runs.references]
    return [r.repository for r in parsed if r is not None]
