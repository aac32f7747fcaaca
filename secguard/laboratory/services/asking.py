"""Ask for a draft to be tried, call that off, and remove what is old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.decisions.appetite import parse_appetite
from secguard.errors import Conflict, Invalid
from secguard.jobs import services as job_services
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run
from secguard.laboratory import queries
from secguard.laboratory.lifecycle import Event, Status, target
from secguard.laboratory.models import Simulation
from secguard.policies.language import parse_policy

SIMULATE: Final = "laboratory.simulate"
FORGET: Final = "laboratory.forget"
KEPT_FOR: Final = timedelta(days=14)
MAX_PERIOD: Final = timedelta(days=366)
MAX_WAITING: Final = 2
"""Simulations of one person that are not finished."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is tried; ``since`` None: only over the estate as it is."""

    kind: Literal["policy", "appetite"]
    source: str
    since: datetime | None = None
    until: datetime | None = None


@transaction.atomic
def ask(draft: Draft, *, actor: User) -> Simulation:
    """Try ``draft`` over everything that ``actor`` sees: a job, of which the simulation shows how far it is.

    Raises ``NotAllowed``, ``PolicyError`` or ``AppetiteError`` with every fault's place, ``Invalid`` for the period,
    and ``Conflict`` where too many of this person's are not finished.
    """
    require(actor, Permission.POLICY_READ, anywhere=True)
    now = timezone.now()
    since, until = _period(draft, now)
    source = draft.source.replace("\r\n", "\n")
    name = parse_policy(source).name if draft.kind == "policy" else parse_appetite(source).name
    _check_waiting(actor)
    simulation = Simulation.objects.create(
        kind=draft.kind,
        name=name,
        source=source,
        since=since,
        until=until,
        is_for_everything=actor.sees_everything,
        asked_by=actor,
        asked_at=now,
        expires_at=now + KEPT_FOR,
    )
    if not actor.sees_everything:
        simulation.teams.set(actor.team_ids)
    job = job_services.enqueue(SIMULATE, {"simulation": simulation.pk}, key=str(simulation.pk), queue=Queue.SCHEDULED)
    simulation.job_id = job.pk
    simulation.save(update_fields=["job_id"])
    return simulation


def _period(draft: Draft, now: datetime) -> tuple[datetime | None, datetime]:
    until = min(draft.until or now, now)
    if draft.since is None:
        return None, until
    if not timedelta(0) < until - draft.since <= MAX_PERIOD:
        raise Invalid(
            f"The period begins {draft.since:%Y-%m-%d %H:%M} and ends {until:%Y-%m-%d %H:%M} UTC; expected a begin "
            f"before its end, at most {MAX_PERIOD.days} days of the past.",
            code="simulation-period",
            where="since",
        )
    return draft.since, until


def _check_waiting(actor: User) -> None:
    User.objects.select_for_update().get(pk=actor.pk)  # two requests at once count one after the other
    waiting = Simulation.objects.filter(asked_by=actor, status=Status.WAITING).order_by("pk")
    numbers = [str(pk) for pk in waiting.values_list("pk", flat=True)]
    if len(numbers) >= MAX_WAITING:
        raise Conflict(
            f"Simulations {', '.join(numbers)} of yours are not finished; wait for one, or call it off.",
            code="simulations-waiting",
        )


def cancel(simulation_id: int, *, actor: User) -> Simulation:
    """Call off one's own simulation (or, with policy:edit for the organisation, anybody's) that is not finished.

    Raises ``NotFound``, ``NotAllowed``, and ``Conflict`` where it has ended.
    """
    found = queries.simulation_for(actor, simulation_id)
    if found.asked_by_id != actor.pk:
        require(actor, Permission.POLICY_EDIT)
    end(simulation_id, Event.CANCEL)
    if found.job_id is not None:
        job_services.cancel_if_open(found.job_id)
    found.refresh_from_db()
    return found


@transaction.atomic
def end(simulation_id: int, event: Event, **columns: Any) -> None:
    """One step of its life, with what it leaves; raises ``Conflict`` where another one was first."""
    simulation = Simulation.objects.select_for_update().get(pk=simulation_id)
    simulation.status = target(Status(simulation.status), event)
    simulation.finished_at = timezone.now()
    for name, value in columns.items():
        setattr(simulation, name, value)
    simulation.save(update_fields=["status", "finished_at", *columns])


def give_up(args: Mapping[str, Any], code: str, words: str) -> None:
    """The job failed for good: say so where people look."""
    Simulation.objects.filter(pk=args["simulation"], status=Status.WAITING).update(
        status=target(Status.WAITING, Event.FAIL), problem=words[:2000], finished_at=timezone.now()
    )


def forget_expired(run: Run) -> Mapping[str, Any]:
    """The job: remove simulations past their end, a few at a time."""
    gone = 0
    while ids := list(Simulation.objects.filter(expires_at__lte=timezone.now()).values_list("pk", flat=True)[:10]):
        Simulation.objects.filter(pk__in=ids).delete()
        gone += len(ids)
        run.progress("removing old simulations", gone)
    return {"simulations": gone}
