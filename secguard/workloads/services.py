"""Keep what runs where, as clusters and pipelines report it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.images.models import Image
from secguard.images.queries import find_image
from secguard.workloads.models import Cluster, Workload


@dataclass(frozen=True, slots=True)
class Seen:
    """One workload as reported; ``images`` by digest or reference."""

    cluster: str
    namespace: str
    kind: str
    name: str
    application: str
    images: tuple[str, ...]


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
