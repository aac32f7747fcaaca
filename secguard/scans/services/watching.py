"""Repositories that workers look at by themselves: the newest image on a schedule, and tags that appear or move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Invalid, NotFound, SecGuardError
from secguard.images import services as image_services
from secguard.images.models import Repository, Tag
from secguard.jobs import services as job_services
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run
from secguard.scans.models import Watch
from secguard.scans.services.asking import ScanRequest, ask

DUE, ONE = "scans.watches", "scans.watch"
EVERY = timedelta(minutes=1)
LOOK_EVERY = timedelta(minutes=5)
MOST_HOURS = 24 * 90
MOST_GLOBS, MOST_TAGS = 20, 200
"""Tags that one look may ask to be scanned: what is left comes with the next look."""


@dataclass(frozen=True, slots=True)
class WatchEdit:
    every_hours: int | None
    tags: str

    def checked(self) -> dict[str, Any]:
        if self.every_hours is not None and not 1 <= self.every_hours <= MOST_HOURS:
            raise Invalid(f"Every {self.every_hours} hours; expected 1 to {MOST_HOURS}, or none.", where="every_hours")
        globs = [g.strip() for g in self.tags.split(",") if g.strip()]
        if len(globs) > MOST_GLOBS or sum(map(len, globs)) > 180:
            raise Invalid(f"At most {MOST_GLOBS} patterns of 180 characters in all are taken.", where="tags")
        return {"every_hours": self.every_hours, "tags": ", ".join(globs)}


@transaction.atomic
def watch(repository_id: int, edit: WatchEdit, *, actor: User, now: datetime | None = None) -> Watch | None:
    """Let workers look at a repository by themselves; ``None`` where nothing is left to look for.

    Needs scan:request for the repository's team. Raises ``NotFound``, ``NotAllowed``, ``Invalid``.
    """
    repository = Repository.objects.visible_to(actor).filter(pk=repository_id).select_related("application").first()
    if repository is None:
        raise NotFound(f"There is no repository {repository_id} that you may see.")
    team = repository.application.team_id if repository.application else None
    require(actor, Permission.SCAN_REQUEST, team_id=team)
    fields, at = edit.checked(), now or timezone.now()
    _record(repository, fields, actor)
    if fields["every_hours"] is None and not fields["tags"]:
        Watch.objects.filter(repository=repository).delete()
        return None
    times = {"next_scan_at": at if fields["every_hours"] else None, "next_look_at": at if fields["tags"] else None}
    made, _ = Watch.objects.update_or_create(
        repository=repository, defaults=fields | times | {"created_by": actor, "problem": ""}
    )
    return made


def _record(repository: Repository, fields: Mapping[str, Any], actor: User) -> None:
    record(
        Action.SCAN_REQUEST,
        actor=actor,
        subject_type="repository",
        subject_id=repository.pk,
        subject=repository.name,
        team_id=repository.application.team_id if repository.application else None,
        details={"watch": dict(fields)},
    )


def due(run: Run) -> Mapping[str, Any]:
    """The periodic job: a job of its own for each watch whose time has come."""
    now = timezone.now()
    rows = Watch.objects.filter(Q(next_scan_at__lte=now) | Q(next_look_at__lte=now)).values_list("pk", flat=True)
    ids = list(rows[:1000])
    for pk in ids:
        job_services.enqueue(ONE, {"watch": pk}, key=str(pk), queue=Queue.SCHEDULED)
    return {"due": len(ids)}


def one(run: Run) -> Mapping[str, Any]:
    """Look after one watch. What goes wrong stands on it, and does not stop the next look."""
    found = Watch.objects.select_related("repository__registry", "repository__newest_image").filter(
        pk=run.args["watch"]
    )
    watch = found.first()
    if watch is None:
        return {}
    now, problem, asked = timezone.now(), "", 0
    try:
        if watch.next_scan_at is not None and watch.next_scan_at <= now:
            asked += _scan_newest(watch, now)
        if watch.next_look_at is not None and watch.next_look_at <= now:
            asked += _look_at_tags(watch, now)
    except SecGuardError as error:
        problem = error.detail[:500]
    # A watch that was changed meanwhile keeps what it was changed to.
    changed = {"next_scan_at": watch.next_scan_at, "next_look_at": watch.next_look_at, "problem": problem}
    Watch.objects.filter(pk=watch.pk, every_hours=watch.every_hours, tags=watch.tags).update(**changed)
    return {"asked": asked, "problem": problem}


def _scan_newest(watch: Watch, now: datetime) -> int:
    watch.next_scan_at = now + timedelta(hours=watch.every_hours or MOST_HOURS)
    newest = watch.repository.newest_image
    if newest is None or not newest.is_digest_asserted:
        return 0
    ask(ScanRequest(image=f"{watch.repository.name}@{newest.digest}", trigger="schedule"), actor=None)
    return 1


def _look_at_tags(watch: Watch, now: datetime) -> int:
    watch.next_look_at = now + LOOK_EVERY
    repository = watch.repository
    globs = [g.strip() for g in watch.tags.split(",")]
    known = dict(Tag.objects.filter(repository=repository).values_list("name", "image__digest"))
    indexes = dict(Tag.objects.filter(repository=repository, index__isnull=False).values_list("name", "index__digest"))
    asked = 0
    with image_services.client_of(repository.registry) as client:
        for tag in client.tags(repository.path):
            if asked >= MOST_TAGS or not any(fnmatchcase(tag, glob) for glob in globs):
                continue
            if client.peek(repository.path, tag) not in (known.get(tag), indexes.get(tag)):
                ask(ScanRequest(image=f"{repository.name}:{tag}", trigger="watch"), actor=None)
                asked += 1
    return asked
