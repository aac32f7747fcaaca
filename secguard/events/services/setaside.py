"""Batches that could not be worked on: kept with the reason, until somebody lets them go."""

from __future__ import annotations

from django.db import transaction

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, NotFound
from secguard.events.models import Batch, Sensor


@transaction.atomic
def drop(sensor_id: int, *, actor: User | None) -> int:
    """Let go of what was set aside of a sensor; returns how many documents that were. Needs sensor:edit.

    Raises ``NotFound``, and ``Conflict`` where nothing is set aside.
    """
    require(actor, Permission.SENSOR_EDIT)
    sensor = Sensor.objects.filter(pk=sensor_id).first()
    if sensor is None:
        raise NotFound(f"There is no sensor {sensor_id}.")
    aside = Batch.objects.filter(sensor=sensor, failed_at__isnull=False).select_for_update()
    found = dict(aside.values_list("pk", "count"))
    if not found:
        raise Conflict(f"Nothing of {sensor.name} is set aside.")
    Batch.objects.filter(pk__in=found).delete()
    documents = sum(found.values())
    record(
        Action.SENSOR_EDIT,
        actor=actor,
        subject_type="sensor",
        subject_id=sensor.pk,
        subject=sensor.name,
        details={"dropped": documents},
    )
    return documents
