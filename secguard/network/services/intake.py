"""Taking flows in: read at once, kept durably, then folded into edges in batches."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from django.db import transaction
from django.utils import timezone

from secguard.errors import Invalid
from secguard.events.models import Sensor
from secguard.events.record import fitted, moment
from secguard.events.services import inbox, sensors
from secguard.jobs.registry import Run
from secguard.network import edges, grouping, readers
from secguard.network.flow import Flow, Lost
from secguard.network.grouping import Group
from secguard.network.models import Loss, Print
from secguard.network.readers import Delivery
from secguard.network.services.keeping import save
from secguard.network.services.tying import resolver

CHANNEL: Final = "flows"
FOLD: Final = "network.fold"
REMEMBERED: Final = timedelta(minutes=30)
"""So long a flow that is sent again is known: who gets no answer sends again within minutes."""
MOST_REMEMBERED: Final = 1_000_000
"""Flows of one sensor."""
_ROWS: Final = 16
_DECODER: Final = msgspec.msgpack.Decoder(list[Group])
_FLOWS: Final = msgspec.msgpack.Decoder(list[Flow])

FOLLOWERS: Final[list[Callable[[Iterable[int], datetime], None]]] = []
"""Called inside the transaction that records a batch, with the ids of its edges."""


def take(raw: bytes, sensor: Sensor, now: datetime) -> Delivery:
    """Read one request (unpacked), and keep what it tells until it is folded: once this returns, it is taken.

    A broken document is refused by itself. Raises ``Invalid`` where not one could be taken, and ``Unavailable`` where
    too much of this sensor waits.
    """
    try:
        delivery = readers.read(raw)
    except Invalid as error:
        sensors.note_heard(sensor, taken=0, refused=1, refusal=f"{error.where}: {error.detail}", now=now)
        raise
    with transaction.atomic():
        if delivery.flows:
            flows = inbox.storable(delivery.flows, raw)
            groups = grouping.grouped(flows, now).groups
            inbox.accept(CHANNEL, sensor, groups, now, job=FOLD, count=len(flows))
        if delivery.lost:
            _keep_losses(delivery.lost, sensor, now)
    first = next(iter(delivery.refused), None)
    sensors.note_heard(
        sensor,
        taken=len(delivery.flows),
        refused=delivery.refused_count,
        refusal=f"{first.where}: {first.detail}" if first else "",
        now=now,
    )
    return delivery


def _keep_losses(lost: Sequence[Lost], sensor: Sensor, now: datetime) -> None:
    rows = []
    for one in lost:
        began, _ = moment(one.observed or one.ended, now)
        ended, _ = moment(one.ended or one.observed, now)
        rows.append(
            Loss(
                sensor=sensor,
                cluster=fitted(sensor.cluster or one.cluster or "", 100),
                node=fitted(one.node or "", 253),
                reason=fitted(one.reason or "", 253),
                count=one.count,
                began_at=min(began, ended),
                ended_at=max(began, ended),
                fingerprint=f"{sensor.pk}:{one.fingerprint}"[:64],
            )
        )
    Loss.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)


def fold(_run: Run) -> Mapping[str, Any]:
    """The job: everything that waits, the sensors in turns."""
    return {"flows": inbox.work(CHANNEL, _fold, timezone.now, job=FOLD)}


def _fold(batches: Sequence[inbox.Delivered], now: datetime) -> None:
    fresh = [(batch, _unheard(batch.sensor, _groups(batch), now)) for batch in batches]
    resolve = resolver(end for _, groups in fresh for group in groups for end in (group.source, group.destination))
    folded = edges.Folded()
    for batch, groups in fresh:
        edges.fold(groups, cluster=batch.sensor.cluster, resolve=resolve, into=folded)
    ids = save(folded, now)
    if ids:
        for follow in FOLLOWERS:
            follow(ids, now)


def _groups(batch: inbox.Delivered) -> list[Group]:
    """What a batch holds; one that was taken before flows were grouped holds each of them."""
    try:
        return batch.documents(_DECODER)  # type: ignore[no-any-return]
    except msgspec.ValidationError:
        return grouping.grouped(batch.documents(_FLOWS), batch.received_at).groups


def _unheard(sensor: Sensor, groups: Sequence[Group], now: datetime) -> list[Group]:
    """The flows that this sensor has not told of a short while ago; what a batch says twice counts once."""
    left, prints = grouping.fresh(groups, _recent(sensor, now))
    if prints:
        Print.objects.create(sensor=sensor, received_at=now, prints=prints.tobytes())
    return left


def _recent(sensor: Sensor, now: datetime) -> Iterator[array[int]]:
    """Fingerprints that the sensor told lately, the last first: some bytes each, and one row at a time."""
    recent = Print.objects.filter(sensor=sensor, received_at__gte=now - REMEMBERED).order_by("-received_at", "-pk")
    told = 0
    for prints in recent.values_list("prints", flat=True).iterator(chunk_size=_ROWS):
        found = array("Q")
        found.frombytes(bytes(prints))
        yield found
        told += len(found)
        if told >= MOST_REMEMBERED:
            return
