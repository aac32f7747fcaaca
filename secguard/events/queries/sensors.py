"""Sensors, with what waits of each."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.events.models import Batch, Sensor


def sensors(user: User) -> QuerySet[Sensor]:
    """All of them, with the documents that wait (``waiting``) and batches that were set aside (``aside``).

    Needs sensor:edit in the whole organisation; raises ``NotAllowed``.
    """
    require(user, Permission.SENSOR_EDIT)
    return Sensor.objects.annotate(
        waiting=_of_batches(Sum("count"), failed_at=None), aside=_of_batches(Count("pk"), failed_at__isnull=False)
    )


def _of_batches(figure: Any, **which: Any) -> Coalesce:
    rows = Batch.objects.filter(sensor=OuterRef("pk"), **which).order_by().values("sensor").annotate(n=figure)
    return Coalesce(Subquery(rows.values("n"), output_field=IntegerField()), Value(0))


def find_sensor(user: User, pk: int) -> Sensor:
    found = sensors(user).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no sensor {pk}.")
    return found


def set_aside(sensor: Sensor) -> QuerySet[Batch]:
    """What could not be worked on, newest first, without its body."""
    return Batch.objects.filter(sensor=sensor, failed_at__isnull=False).defer("body").order_by("-pk")
