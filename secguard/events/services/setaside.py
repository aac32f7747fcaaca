"""Batches that could not be worked on: kept with the reason, until somebody has them tried again or lets them go."""

from __future__ import annotations

from django.db import transaction

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, NotFound
from secguard.events.models import Batch, Sensor
from secguard.events.services import inbox


@transaction.atomic
def drop(sensor_id: int, *, actor: User | None) -> int:
    """Let go of what was set aside of a sensor; returns how many documents that were. Needs sensor:edit.

    Raises ``NotFound``, and ``Conflict`` where nothing is set aside.
    """
    sensor, found = _aside(sensor_id, actor)
    Batch.objects.filter(pk__in=found).delete()
    return _record(sensor, "dropped", sum(found.values()), actor)


@transaction.atomic
def retry(sensor_id: int, *, actor: User | None) -> int:
    """Have what was set aside of a sensor worked on again; returns how many documents that are. Needs sensor:edit.

    Nothing of it was counted when it failed, so it counts once now. What fails again is set aside again. Raises
    ``NotFound``, and ``Conflict`` where nothing is set aside.
    """
    sensor, found = _aside(sensor_id, actor)
    rows = Batch.objects.filter(pk__in=found)
    channels = set(rows.values_list("channel", flat=True))
    rows.update(failed_at=None, failure="")
    for channel in sorted(channels):
        inbox.ask(channel)
    return _record(sensor, "retried", sum(found.values()), actor)


def _aside(sensor_id: int, actor: User | None) -> tuple[Sensor, dict[int, int]]:
    """The sensor, and its batches (locked) with how many documents each has."""
    require(actor, Permission.SENSOR_EDIT)
    sensor = Sensor.objects.filter(pk=sensor_id).first()
    if sensor is None:
        raise NotFound(f"There is no sensor {sensor_id}.")
    aside = Batch.objects.filter(sensor=sensor, failed_at__isnull=False).select_for_update()
    found = dict(aside.values_list("pk", "count"))
    if not found:
        raise Conflict(f"Nothing of {sensor.name} is set aside.")
    return sensor, found


def _record(sensor: Sensor, what: str, documents: int, actor: User | None) -> int:
    record(
        Action.SENSOR_EDIT,
        actor=actor,
        subject_type="sensor",
        subject_id=sensor.pk,
        subject=sensor.name,
        details={what: documents},
    )
    return documents
