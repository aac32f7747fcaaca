"""Make the sample organisation and let its ten weeks happen, day by day, through the product's own services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from secguard.accounts import services as accounts
from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.compliance import services as compliance
from secguard.dashboards import services as dashboards
from secguard.errors import Conflict
from secguard.images.models import Image, Repository
from secguard.notifications.services import silence
from secguard.policies.facts import Gate
from secguard.policies.services import judge
from secguard.sample.catalogue import START
from secguard.sample.generate import Push, history
from secguard.sample.organisation import APPLICATIONS, CLUSTERS, MOUNTS, PEOPLE, REGISTRY, TEAMS, reference
from secguard.sample.queries import Standing, open_job, standing
from secguard.sample.services.days import Cast, DayKeeper
from secguard.sample.services.deciding import Deciding
from secguard.sample.services.pushing import push
from secguard.sample.services.removing import clear
from secguard.workloads.models import Cluster, Volume, Workload
from secguard.workloads.volumes import Mount

Progress = Callable[[str, int, int], None]


def load(*, actor: User | None, progress: Progress, now: datetime | None = None) -> str:
    """Load the sample at once, in this process; returns a sentence about it.

    Raises ``NotAllowed`` without sample:load, ``Conflict`` where it is loaded already or a worker is at it.
    """
    require(actor, Permission.SAMPLE_LOAD)
    job = open_job()
    if job is not None:
        raise Conflict(f"A worker is at it just now (job {job.pk}, {job.progress_text}).", code="sample-busy")
    refuse_loaded()
    return build(actor, progress, now)


def refuse_loaded() -> None:
    if standing() is Standing.LOADED:
        raise Conflict(
            "The sample is loaded already. Remove it first to load it anew: secguard sample --remove",
            code="sample-loaded",
        )


def build(actor: User | None, progress: Progress, now: datetime | None) -> str:
    """Make everything; what a broken-off attempt left is cleared first, and a whole sample is left as it is.

    Nobody is told of any of it: it is a story, and most of it is ten weeks old.
    """
    with silence():
        return _build(actor, progress, now)


def _build(actor: User | None, progress: Progress, now: datetime | None) -> str:
    found = standing()
    if found is Standing.LOADED:
        return "The sample organisation is loaded."
    if found is Standing.PARTIAL:
        clear(actor)
    at = now or timezone.now()
    progress("making teams and people", 0, 0)
    cast = _make_people(actor, at + timedelta(days=START))
    pushes = history(at)
    images = _let_happen(cast, pushes, at, progress)
    progress("judging what stands", len(pushes), len(pushes))
    for image in Image.objects.filter(pk__in=Repository.objects.filter(pk__in=images).values("newest_image_id")):
        judge(image, list(Gate), at)
    DayKeeper(cast).keep_today(at)
    progress("measuring for frameworks", len(pushes), len(pushes))
    _measure(cast)
    return _finish(actor, at, len(pushes))


def _measure(cast: Cast) -> None:
    """How its applications stand with the frameworks that come along and at each stage, as the jobs would find soon."""
    ids, now = sorted(application.pk for application in cast.applications.values()), timezone.now()
    compliance.ensure_shipped()
    compliance.measure(ids, now)
    compliance.keep_days()
    dashboards.count_all(now, among=ids)


def _make_people(actor: User | None, since: datetime) -> Cast:
    with transaction.atomic():
        teams = {name: accounts.create_team(_free(Team, name), actor=actor) for name in TEAMS}
        users = {
            p.name: accounts.create_user(
                p.username,
                p.role,
                actor=actor,
                team=teams.get(p.team),
                display_name=p.display_name,
                email=f"{p.name}@{REGISTRY}",
                is_service=p.is_service,
            )
            for p in PEOPLE
        }
        applications = {
            a.name: accounts.create_application(
                _free(Application, a.name),
                team=teams[a.team],
                actor=actor,
                description=a.description,
                is_exposed=a.is_exposed,
                is_production=a.is_production,
            )
            for a in APPLICATIONS
        }
        for model, rows in ((Team, teams), (User, users), (Application, applications)):
            ids = [row.pk for row in rows.values()]
            model.objects.filter(pk__in=ids).update(is_sample=True, created_at=since)
    return Cast(teams, users, applications)


def _free(model: type[Team] | type[Application], name: str) -> str:
    """The name, or one beside it where a real team or application has it."""
    taken = model.objects.filter(name__iexact=name).exists()
    return f"{name} (sample)" if taken else name


def _let_happen(cast: Cast, pushes: list[Push], now: datetime, progress: Progress) -> set[int]:
    """Day by day: what was pushed, what was asked for and decided, and the figures of its evening."""
    deciding, keeper = Deciding(cast, now), DayKeeper(cast)
    waiting = list(pushes)
    repositories: set[int] = set()
    for day in range(START, 1):
        evening = min(now + timedelta(days=day), now)
        pushed: set[int] = set()
        while waiting and waiting[0].at <= evening:
            pushed.add(push(waiting.pop(0), cast))
            progress("telling ten weeks", len(pushes) - len(waiting), len(pushes))
        decided = deciding.live(day, evening, is_news=bool(pushed))
        repositories |= pushed
        keeper.keep(evening, decided, is_last=day == 0)
    return repositories


def _finish(actor: User | None, now: datetime, pushes: int) -> str:
    """The clusters come last: they say that the sample is whole."""
    with transaction.atomic():
        for site in CLUSTERS:
            cluster = Cluster.objects.create(name=_free_cluster(site.name), kind=site.kind, is_sample=True)
            for path in site.repositories:
                _run(cluster, path, now)
        words = f"{len(APPLICATIONS)} applications of {len(TEAMS)} teams, {pushes} images, {len(CLUSTERS)} clusters"
        audit.record(
            Action.SAMPLE_LOAD,
            actor=actor,
            subject_type="sample",
            subject_id="sample",
            subject="sample organisation",
            details={"images": pushes},
        )
    return f"The sample organisation is loaded: {words}. Remove it with: secguard sample --remove"


def _free_cluster(name: str) -> str:
    return f"{name}-2" if Cluster.objects.filter(name=name).exists() else name


def _run(cluster: Cluster, path: str, now: datetime) -> None:
    repository = Repository.objects.get(name=reference(path))
    if repository.newest_image_id is None:
        return
    workload = Workload.objects.create(
        cluster=cluster,
        namespace=path.partition("/")[0],
        name=path.rpartition("/")[2],
        application=repository.application,
        seen_at=now,
    )
    workload.images.set([repository.newest_image_id])
    own = (Mount("settings", "configMap", f"{workload.name}-settings", True), Mount("tmp", "emptyDir"))
    Volume.objects.bulk_create(
        Volume(workload=workload, name=m.name, kind=m.kind, source=m.source, read_only=m.read_only)
        for m in (*MOUNTS.get(path, ()), *own)
    )
