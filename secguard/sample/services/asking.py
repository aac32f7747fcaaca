"""Loading and removing as jobs: a page or the API asks, a worker does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Conflict
from secguard.jobs import services as job_services
from secguard.jobs.models import Job
from secguard.jobs.registry import Run
from secguard.sample.queries import LOAD, REMOVE, Standing, open_job, standing
from secguard.sample.services.loading import build, refuse_loaded
from secguard.sample.services.removing import clear

KEY = "sample"


def ask_to_load(*, actor: User) -> Job:
    """Let a worker load the sample. Raises ``NotAllowed``, and ``Conflict`` where it is loaded or removed already."""
    require(actor, Permission.SAMPLE_LOAD)
    _refuse_other(REMOVE)
    refuse_loaded()
    return _ask(LOAD, actor)


def ask_to_remove(*, actor: User) -> Job:
    """Let a worker remove everything that is sample. Raises ``NotAllowed``; ``Conflict`` where there is nothing."""
    require(actor, Permission.SAMPLE_LOAD)
    _refuse_other(LOAD)
    if standing() is Standing.ABSENT:
        raise Conflict("The sample is not loaded, so there is nothing to remove.", code="sample-absent")
    return _ask(REMOVE, actor)


def _ask(kind: str, actor: User) -> Job:
    with transaction.atomic():
        return job_services.enqueue(kind, {"actor": actor.pk}, key=KEY)


def _refuse_other(kind: str) -> None:
    job = open_job()
    if job is not None and job.kind == kind:
        doing = "loaded" if kind == LOAD else "removed"
        raise Conflict(f"The sample is being {doing} just now (job {job.pk}). Wait for its end.", code="sample-busy")


def do_load(run: Run) -> Mapping[str, Any]:
    """The job. What an earlier attempt left half-done is cleared away first."""
    actor = User.objects.filter(pk=run.args["actor"]).first()
    require(actor or User(username="unknown"), Permission.SAMPLE_LOAD)
    return {"message": build(actor, run.progress, None)}


def do_remove(run: Run) -> Mapping[str, Any]:
    """The job. Safe to run twice."""
    actor = User.objects.filter(pk=run.args["actor"]).first()
    require(actor or User(username="unknown"), Permission.SAMPLE_LOAD)
    run.progress("removing the sample", 0, 0)
    return {"message": clear(actor)}
