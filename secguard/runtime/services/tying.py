"""Whose an event is: the workload, its application and the image, even where the sensor left fields null.

Looked up in what lists of pods and admissions told, never guessed from words alone: first the container's id, then the
pod, then the workload that is named or that the pod's name is made of. What two workloads could be meant by is tied to
neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from django.db.models import Q

from secguard import bulk
from secguard.images.models import Image
from secguard.images.reference import is_digest, try_parse
from secguard.runtime.event import Event
from secguard.workloads.models import Container, Workload


class Told(NamedTuple):
    """An event, and the cluster that its sensor speaks for ("": it does not say)."""

    event: Event
    cluster: str


class Tie(NamedTuple):
    """What an event belongs to; ``None``: not known. ``how`` says by what it was found."""

    cluster: str = ""
    namespace: str = ""
    workload: str = ""
    workload_id: int | None = None
    application_id: int | None = None
    team_id: int | None = None
    image_id: int | None = None
    digest: str = ""
    pod: str = ""
    how: str = ""


_POD_NAME: Final = re.compile(
    r"(?P<deployment>.+)-[0-9a-z]{6,10}-[0-9a-z]{5}|(?P<stateful>.+)-\d{1,5}|(?P<daemon>.+)-[0-9a-z]{5}"
)
"""Names that controllers give their pods: Deployment's template hash and suffix, StatefulSet's ordinal, DaemonSet's or
Job's suffix (Kubernetes, concepts/workloads)."""


def tie(told: Sequence[Told]) -> list[Tie]:
    """What each belongs to. A fixed number of statements, whatever their number."""
    containers = _containers(told)
    workloads = _workloads(told, containers)
    found = [_tied(one, containers, workloads) for one in told]
    return _with_images(told, found)


class _Row(NamedTuple):
    cluster: str
    namespace: str
    pod: str
    pod_uid: str
    container_id: str
    image_id: int | None
    digest: str
    workload_id: int
    workload: str
    application_id: int | None
    team_id: int | None
    is_gone: bool


class _Containers(NamedTuple):
    by_short_id: Mapping[str, Sequence[_Row]]
    by_uid: Mapping[str, Sequence[_Row]]
    by_pod: Mapping[tuple[str, str], Sequence[_Row]]


_OWNER: Final = ("workload__name", "workload__application_id", "workload__application__team_id")


def _containers(told: Sequence[Told]) -> _Containers:
    short = {_id(e)[:12] for e, _ in told if len(_id(e)) >= 12}
    uids = {e.pod_uid for e, _ in told if e.pod_uid}
    pods = {e.pod for e, _ in told if e.pod}
    rows = Container.objects.none()
    if short or uids or pods:
        rows = Container.objects.filter(
            Q(short_id__in=bulk.among(sorted(short)))
            | Q(pod_uid__in=bulk.among(sorted(uids)))
            | Q(pod__in=bulk.among(sorted(pods)))
        )
    names = ("cluster__name", "namespace", "pod", "pod_uid", "container_id", "image_id", "digest", "workload_id")
    found = [
        _Row._make((*row[:-1], row[-1] is not None))
        for row in rows.order_by("-seen_at", "-pk").values_list(*names, *_OWNER, "gone_at")
    ]
    by_short: dict[str, list[_Row]] = {}
    by_uid: dict[str, list[_Row]] = {}
    by_pod: dict[tuple[str, str], list[_Row]] = {}
    for row in found:
        by_short.setdefault(row.container_id[:12], []).append(row)
        by_uid.setdefault(row.pod_uid, []).append(row)
        by_pod.setdefault((row.namespace, row.pod), []).append(row)
    return _Containers(by_short, by_uid, by_pod)


class _Workload(NamedTuple):
    cluster: str
    namespace: str
    kind: str
    name: str
    pk: int
    application_id: int | None
    team_id: int | None


_Workloads = Mapping[tuple[str, str], Sequence[_Workload]]


def _workloads(told: Sequence[Told], containers: _Containers) -> _Workloads:
    """Running workloads by namespace and name, of those that could be meant by a name in an event."""
    names = {name for e, _ in told for name in _names(e)}
    if not names:
        return {}
    rows = Workload.objects.running().filter(name__in=bulk.among(sorted(names)))
    columns = ("cluster__name", "namespace", "kind", "name", "pk", "application_id", "application__team_id")
    found: dict[tuple[str, str], list[_Workload]] = {}
    for row in rows.values_list(*columns):
        one = _Workload(*row)
        found.setdefault((one.namespace, one.name), []).append(one)
    return found


def _names(event: Event) -> Iterable[str]:
    if event.workload:
        yield event.workload
    if event.pod:
        yield event.pod
        if made := _POD_NAME.fullmatch(event.pod):
            yield from (name for name in made.groups() if name)


def _id(event: Event) -> str:
    return (event.container_id or "").rpartition("//")[2].lower()


def _tied(told: Told, containers: _Containers, workloads: _Workloads) -> Tie:
    event, bound = told
    cluster, namespace = bound or event.cluster or "", event.namespace or ""
    plain = Tie(cluster, namespace, event.workload or "", digest=_told_digest(event), pod=event.pod or "")
    for how, rows in _candidates(event, containers):
        fitting = [r for r in rows if not cluster or r.cluster == cluster]
        alive = [r for r in fitting if not r.is_gone] or fitting
        if alive and len({r.workload_id for r in alive}) == 1:
            return _of_container(plain, alive, how)
    named = [w for w in _named(event, namespace, workloads) if not cluster or w.cluster == cluster]
    if len({w.pk for w in named}) == 1:
        w = named[0]
        return plain._replace(
            cluster=w.cluster,
            workload=w.name,
            workload_id=w.pk,
            application_id=w.application_id,
            team_id=w.team_id,
            how="workload",
        )
    return plain


def _candidates(event: Event, containers: _Containers) -> Iterable[tuple[str, Sequence[_Row]]]:
    if len(container_id := _id(event)) >= 12:
        same = containers.by_short_id.get(container_id[:12], ())
        yield (
            "container",
            [r for r in same if r.container_id.startswith(container_id) or container_id == r.container_id],
        )
    if event.pod_uid:
        yield "pod", containers.by_uid.get(event.pod_uid, ())
    if event.pod:
        yield "pod", containers.by_pod.get((event.namespace or "", event.pod), ())


def _of_container(plain: Tie, rows: Sequence[_Row], how: str) -> Tie:
    row = rows[0]
    images = {r.image_id for r in rows}
    digests = {r.digest for r in rows}
    return plain._replace(
        cluster=row.cluster,
        namespace=row.namespace,
        pod=row.pod,
        workload=row.workload,
        workload_id=row.workload_id,
        application_id=row.application_id,
        team_id=row.team_id,
        image_id=row.image_id if len(images) == 1 else None,
        digest=plain.digest or (row.digest if len(digests) == 1 else ""),
        how=how,
    )


def _named(event: Event, namespace: str, workloads: _Workloads) -> Sequence[_Workload]:
    """The workloads that the event names, or that its pod's name is made of: the first way that finds any."""
    if event.workload:
        return workloads.get((namespace, event.workload), ())
    if not event.pod:
        return ()
    made = _POD_NAME.fullmatch(event.pod)
    for name in (event.pod, *(filter(None, made.groups()) if made else ())):
        if found := workloads.get((namespace, name)):
            return found
    return ()


def _told_digest(event: Event) -> str:
    if event.digest and is_digest(event.digest):
        return event.digest
    reference = try_parse(event.image) if event.image else None
    return reference.digest or "" if reference else ""


def _with_images(told: Sequence[Told], ties: Sequence[Tie]) -> list[Tie]:
    """With the image of each: by its digest; else the one that the workload runs of the repository that is named, or
    the only one that it runs."""
    digests = {t.digest for t in ties if t.digest and t.image_id is None}
    by_digest = dict(Image.objects.filter(digest__in=bulk.among(sorted(digests))).values_list("digest", "pk"))
    lacking = {t.workload_id for t in ties if t.workload_id and t.image_id is None and not t.digest}
    runs = _runs(lacking)
    digest_of = {t.image_id for t in ties if t.image_id and not t.digest}
    known = dict(Image.objects.filter(pk__in=bulk.among(sorted(digest_of))).values_list("pk", "digest"))
    found = []
    for (event, _), t in zip(told, ties, strict=True):
        image_id, digest = t.image_id, t.digest
        if image_id is None and digest:
            image_id = by_digest.get(digest)
        elif image_id is None and t.workload_id:
            image_id, digest = _only(runs.get(t.workload_id, ()), event)
        found.append(t._replace(image_id=image_id, digest=digest or known.get(image_id or 0, "")))
    return found


def _runs(workload_ids: Iterable[Any]) -> dict[int, list[tuple[int, str, frozenset[str]]]]:
    rows = Workload.images.through.objects.filter(workload_id__in=bulk.among(sorted(workload_ids)))
    places: dict[tuple[int, int, str], set[str]] = {}
    columns = ("workload_id", "image_id", "image__digest", "image__places__repository__name")
    for workload_id, image_id, digest, place in rows.values_list(*columns):
        places.setdefault((workload_id, image_id, digest), set()).add(place or "")
    found: dict[int, list[tuple[int, str, frozenset[str]]]] = {}
    for (workload_id, image_id, digest), names in places.items():
        found.setdefault(workload_id, []).append((image_id, digest, frozenset(names)))
    return found


def _only(images: Sequence[tuple[int, str, frozenset[str]]], event: Event) -> tuple[int | None, str]:
    reference = try_parse(event.image) if event.image else None
    if reference is not None:
        images = [one for one in images if reference.repository in one[2]] or images
    return (images[0][0], images[0][1]) if len(images) == 1 else (None, "")
