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

    Raises ``NotAllowed``, and ``NotFound`` for an application or image that the reporter may not see.
    """
    application = Application.objects.visible_to(actor).filter(slug=seen.application).first()
    if application is None:
        raise NotFound(f"There is no application {seen.application!r}.", where="application")
    require(actor, Permission.WORKLOAD_EDIT, team_id=application.team_id)
    images: Sequence[Image] = [find_image(actor, name) for name in seen.images]
    cluster, _ = Cluster.objects.get_or_create(name=seen.cluster)
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


@transaction.atomic
def forget(workload: Workload, *, actor: User) -> None:
    """Record that a workload runs no longer; what it ran stays known."""
    team = workload.application.team_id if workload.application else None
    require(actor, Permission.WORKLOAD_EDIT, team_id=team)
    Workload.objects.filter(pk=workload.pk, gone_at=None).update(gone_at=timezone.now())
