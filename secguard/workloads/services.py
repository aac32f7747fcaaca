"""Keep what runs where, as clusters and pipelines report it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Invalid, NotFound
from secguard.images.models import Image, ImageRepository, IndexImage, Repository, Tag
from secguard.images.queries import find_image
from secguard.workloads import podlist
from secguard.workloads.models import Cluster, Container, Volume, Workload
from secguard.workloads.volumes import MAX_MOUNTS, Mount, merged


@dataclass(frozen=True, slots=True)
class Seen:
    """One workload as reported; ``images`` by digest or reference. ``volumes``: ``None`` leaves them as they are."""

    cluster: str
    namespace: str
    kind: str
    name: str
    application: str
    images: tuple[str, ...]
    volumes: tuple[Mount, ...] | None = None


@transaction.atomic
def note(seen: Seen, *, actor: User) -> Workload:
    """Record that a workload runs these images now.

    Raises ``NotAllowed``, also for a workload that stands there as an application's of which the reporter is no
    operator, and ``NotFound`` for an application or image that the reporter may not see.
    """
    application = Application.objects.visible_to(actor).filter(slug=seen.application).first()
    if application is None:
        raise NotFound(f"There is no application {seen.application!r}.", where="application")
    require(actor, Permission.WORKLOAD_EDIT, team_id=application.team_id)
    images: Sequence[Image] = [find_image(actor, name) for name in seen.images]
    cluster, _ = Cluster.objects.get_or_create(name=seen.cluster)
    _check_own(cluster, seen, application, actor)
    workload, _ = Workload.objects.update_or_create(
        cluster=cluster,
        namespace=seen.namespace,
        kind=seen.kind,
        name=seen.name,
        gone_at=None,
        defaults={"application": application, "seen_at": timezone.now()},
    )
    workload.images.set(images)
    if seen.volumes is not None:
        _mount({workload.pk: merged(seen.volumes)})
    return workload


def _check_own(cluster: Cluster, seen: Seen, application: Application, actor: User) -> None:
    """Nobody takes another team's workload over by reporting one of the same name."""
    same = Workload.objects.filter(
        cluster=cluster, namespace=seen.namespace, kind=seen.kind, name=seen.name, gone_at=None
    )
    standing = same.select_related("application").select_for_update(of=("self",)).first()
    if standing is not None and standing.application_id != application.pk:
        owner = standing.application.team_id if standing.application else None
        require(actor, Permission.WORKLOAD_EDIT, team_id=owner)


@transaction.atomic
def forget(workload: Workload, *, actor: User) -> None:
    """Record that a workload runs no longer; what it ran stays known."""
    team = workload.application.team_id if workload.application else None
    require(actor, Permission.WORKLOAD_EDIT, team_id=team)
    Workload.objects.filter(pk=workload.pk, gone_at=None).update(gone_at=timezone.now())


@dataclass(frozen=True, slots=True)
class Synced:
    """What a list of pods changed: workloads that run now, those of them that are new, and those that are gone."""

    running: int
    new: int
    gone: int
    unknown: tuple[str, ...]
    """Images that run and that nobody knows here; the first ``MAX_UNKNOWN``."""


MAX_UNKNOWN = 100


@transaction.atomic
def sync(cluster_name: str, pods: Any, *, namespace: str = "", actor: User | None) -> Synced:
    """Bring a cluster's workloads (of one namespace, or all) up to date with its list of pods.

    What is not in the list runs no longer. A workload belongs to the application of the first repository among its
    images that has one, unless somebody said otherwise before. Needs workload:edit in the whole organisation; raises
    ``Invalid`` for what is no list of pods, and for an empty one, which is a command without rights more often than a
    cluster without pods. A fixed number of queries, whatever the list holds.
    """
    require(actor, Permission.WORKLOAD_EDIT)
    runs = [r for r in podlist.read(pods) if not namespace or r.namespace == namespace]
    name = cluster_name.strip()
    if not name or len(name) > 100:
        raise Invalid("A cluster's name has 1 to 100 characters.", where="cluster")
    if not runs:
        raise Invalid(
            "The list holds no running pod"
            + (f" in namespace {namespace}" if namespace else "")
            + ", so nothing was changed. Delete single workloads where they are gone indeed.",
            code="no-pods",
            where="items",
        )
    cluster, _ = Cluster.objects.get_or_create(name=name)
    Cluster.objects.select_for_update().get(pk=cluster.pk)  # two lists of one cluster stand in line
    return _written(cluster, namespace, runs)


def _written(cluster: Cluster, namespace: str, runs: Sequence[podlist.Runs]) -> Synced:
    now = timezone.now()
    known = Workload.objects.running().filter(cluster=cluster)
    known = known.filter(namespace=namespace) if namespace else known
    standing = {(w.namespace, w.kind, w.name): w for w in known}
    wanted = {(r.namespace, r.kind, r.name): r for r in runs}
    gone = [w.pk for at, w in standing.items() if at not in wanted]
    Workload.objects.filter(pk__in=gone).update(gone_at=now)
    owners = _owners(runs)
    fresh = [
        Workload(
            cluster=cluster,
            namespace=r.namespace,
            kind=r.kind,
            name=r.name,
            application_id=owners.get(at),
            restrictions=list(r.restrictions),
            listed_at=now,
            seen_at=now,
        )
        for at, r in wanted.items()
        if at not in standing
    ]
    Workload.objects.bulk_create(fresh, batch_size=500)
    stay = [w for at, w in standing.items() if at in wanted]
    for w in stay:
        w.seen_at, w.application_id = now, w.application_id or owners.get((w.namespace, w.kind, w.name))
        w.restrictions, w.listed_at = list(wanted[w.namespace, w.kind, w.name].restrictions), now
    Workload.objects.bulk_update(stay, ["seen_at", "application", "restrictions", "listed_at"], batch_size=500)
    unknown = _tie([*stay, *fresh], wanted)
    _mount({w.pk: wanted[w.namespace, w.kind, w.name].mounts for w in (*stay, *fresh)})
    _hold(cluster, namespace, {w.pk: wanted[w.namespace, w.kind, w.name] for w in (*stay, *fresh)}, now)
    return Synced(len(wanted), len(fresh), len(gone), unknown)


def _owners(runs: Sequence[podlist.Runs]) -> dict[tuple[str, str, str], int]:
    """Workload to the application of the first of its repositories that has one."""
    places = {place for r in runs for place in podlist.repositories_of(r)}
    rows = Repository.objects.filter(name__in=places, application__isnull=False)
    applications = dict(rows.values_list("name", "application_id"))
    found = {}
    for r in runs:
        owner = next((applications[p] for p in podlist.repositories_of(r) if p in applications), None)
        if owner is not None:
            found[r.namespace, r.kind, r.name] = owner
    return found


def _tie(workloads: Sequence[Workload], wanted: Mapping[tuple[str, str, str], podlist.Runs]) -> tuple[str, ...]:
    """Give every workload the images that it runs; returns those that nobody knows."""
    digests = {d for r in wanted.values() for d in podlist.digests_of(r)}
    tags = {pair for r in wanted.values() for pair in podlist.names_of(r)}
    by_digest = dict(Image.objects.filter(digest__in=digests).values_list("digest", "pk"))
    members: dict[str, list[int]] = {}
    for digest, pk in IndexImage.objects.filter(index__digest__in=digests).values_list("index__digest", "image_id"):
        members.setdefault(digest, []).append(pk)
    pointed = Tag.objects.filter(repository__name__in={p for p, _ in tags}, name__in={t for _, t in tags})
    by_tag = {(p, t): pk for p, t, pk in pointed.values_list("repository__name", "name", "image_id")}
    unknown: dict[str, None] = {}
    links: set[tuple[int, int]] = set()
    for w in workloads:
        runs = wanted[w.namespace, w.kind, w.name]
        told = {d: [by_digest[d]] if d in by_digest else members.get(d, []) for d in podlist.digests_of(runs)}
        found = {pk for several in told.values() for pk in several}
        # What a node told is what runs; a tag only says what it may have been.
        if not runs.digests:
            found |= {by_tag[pair] for pair in podlist.names_of(runs) if pair in by_tag}
        if not found or any(not several for several in told.values()):
            unknown.update(dict.fromkeys(runs.references))
        links |= {(w.pk, pk) for pk in found}
    through = Workload.images.through
    ids = [w.pk for w in workloads]
    have = {(link.workload_id, link.image_id): link.pk for link in through.objects.filter(workload_id__in=ids)}
    through.objects.filter(pk__in=[pk for at, pk in have.items() if at not in links]).delete()
    new = [through(workload_id=w, image_id=i) for w, i in sorted(links - have.keys())]
    through.objects.bulk_create(new, batch_size=1000, ignore_conflicts=True)
    return tuple(sorted(unknown)[:MAX_UNKNOWN])


def _mount(wanted: Mapping[int, Sequence[Mount]]) -> None:
    """Give every workload, by its id, the volumes that it mounts, and no others."""
    rows = Volume.objects.filter(workload_id__in=bulk.among(wanted)).order_by("pk")
    have = {(v.workload_id, v.name, v.kind, v.source): v for v in rows}
    want = {(pk, m.name, m.kind, m.source): m for pk, several in wanted.items() for m in several}
    Volume.objects.filter(pk__in=bulk.among([v.pk for at, v in have.items() if at not in want])).delete()
    changed = [v for at, v in have.items() if at in want and v.read_only != want[at].read_only]
    for volume in changed:
        volume.read_only = not volume.read_only
    Volume.objects.bulk_update(changed, ["read_only"], batch_size=500)
    Volume.objects.bulk_create([_volume(at[0], m) for at, m in want.items() if at not in have], batch_size=500)


def _volume(workload_id: int, mount: Mount) -> Volume:
    return Volume(
        workload_id=workload_id, name=mount.name, kind=mount.kind, source=mount.source, read_only=mount.read_only
    )


_HELD = ("workload_id", "image_id", "pod_uid", "pod_ip", "digest")
_REMEMBERED = timedelta(days=8)
"""For how long it is known whose container one was that is gone: sensors tell late."""


def _hold(cluster: Cluster, namespace: str, wanted: Mapping[int, podlist.Runs], now: datetime) -> None:
    """Bring the containers of a cluster (of one namespace, or all) up to date; what is gone stays known for a while."""
    rows = Container.objects.filter(cluster=cluster).order_by("pk")
    rows = rows.filter(namespace=namespace) if namespace else rows
    rows.filter(gone_at__lt=now - _REMEMBERED).delete()
    have = {(c.namespace, c.pod, c.name, c.container_id): c for c in rows}
    digests = {held.digest for runs in wanted.values() for held in runs.containers if held.digest}
    images = _images_of(digests)
    want = {
        (runs.namespace, held.pod, held.name, held.container_id): (pk, images.get(held.digest), held)
        for pk, runs in wanted.items()
        for held in runs.containers
    }
    gone = [c.pk for at, c in have.items() if at not in want and c.gone_at is None]
    Container.objects.filter(pk__in=bulk.among(gone)).update(gone_at=now)
    changed = []
    for at, (workload_id, image_id, held) in want.items():
        values = (workload_id, image_id, held.pod_uid, held.pod_ip, held.digest)
        stands = have.get(at)
        if stands is not None and (stands.gone_at is not None or values != tuple(getattr(stands, n) for n in _HELD)):
            stands.workload_id, stands.image_id, stands.pod_uid, stands.pod_ip, stands.digest = values
            stands.gone_at, stands.seen_at = None, now
            changed.append(stands)
    Container.objects.bulk_update(changed, [*_HELD, "gone_at", "seen_at"], batch_size=500)
    new = ((at, want[at]) for at in sorted(want.keys() - have.keys()))
    bulk.insert(
        Container,
        ("cluster_id", "namespace", "pod", "name", "container_id", "short_id", *_HELD, "seen_at"),
        [
            (cluster.pk, *at, at[3][:12], pk, image, held.pod_uid, held.pod_ip, held.digest, now)
            for at, (pk, image, held) in new
        ],
    )


def _images_of(digests: Set[str]) -> dict[str, int]:
    """Digest of a manifest, or of an index of which one member is known, to the image."""
    found = dict(Image.objects.filter(digest__in=bulk.among(digests)).values_list("digest", "pk"))
    members: dict[str, list[int]] = {}
    rows = IndexImage.objects.filter(index__digest__in=bulk.among(digests))
    for digest, pk in rows.values_list("index__digest", "image_id"):
        members.setdefault(digest, []).append(pk)
    return {d: several[0] for d, several in members.items() if len(several) == 1} | found


@transaction.atomic
def note_admitted(
    cluster: Cluster, at: tuple[str, str, str], image_ids: Sequence[int], mounts: Sequence[Mount] = ()
) -> None:
    """A cluster was answered that this workload (namespace, kind, name) may start these images: it runs them now, with
    these volumes.

    Nothing is taken away: during an update the former image runs beside the new one. ``sync`` tells what is gone.
    """
    namespace, kind, name = at
    place = ImageRepository.objects.filter(image_id__in=image_ids, repository__application__isnull=False)
    owner = place.order_by("repository__name").values_list("repository__application_id", flat=True).first()
    now = timezone.now()
    workload, is_new = Workload.objects.get_or_create(
        cluster=cluster,
        namespace=namespace,
        kind=kind,
        name=name,
        gone_at=None,
        defaults={"application_id": owner, "seen_at": now},
    )
    if not is_new:
        Workload.objects.filter(pk=workload.pk).update(seen_at=now)
    workload.images.add(*image_ids)
    if mounts and (room := MAX_MOUNTS - workload.volumes.count()) > 0:
        Volume.objects.bulk_create(
            [_volume(workload.pk, mount) for mount in mounts[:room]],
            update_conflicts=True,
            unique_fields=["workload", "name", "kind", "source"],
            update_fields=["read_only"],
        )
