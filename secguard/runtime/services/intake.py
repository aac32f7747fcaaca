"""Taking in what sensors see: read and masked at once, kept durably, then tied, recorded and handed on in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from django.utils import timezone

from secguard.errors import Invalid
from secguard.events.models import Sensor
from secguard.events.record import Kind, Line, fingerprint_of, moment
from secguard.events.services import inbox, recording, sensors
from secguard.jobs.registry import Run
from secguard.runtime import readers, story
from secguard.runtime.event import Event
from secguard.runtime.readers import Delivery
from secguard.runtime.services.tying import Tie, Told, tie

CHANNEL: Final = "events"
FOLD: Final = "runtime.fold"
MAX_BODY: Final = 16 * 2**20
_DECODER: Final = msgspec.msgpack.Decoder(list[Event])


class Seen(NamedTuple):
    """One event that was not heard before: as it was told, what it belongs to, and as it was recorded."""

    event: Event
    tie: Tie
    line: Line


Follow = Callable[[Sequence[Seen], datetime], None]
FOLLOWERS: Final[list[Follow]] = []
"""Called inside the transaction that records a batch, in this order: each sees every new event once."""


def take(raw: bytes, sensor: Sensor, now: datetime) -> Delivery:
    """Read one request (unpacked), and keep what it tells until it is worked on: once this returns, it is taken.

    A broken document is refused by itself. Raises ``Invalid`` where not one could be taken, and ``Unavailable`` where
    too much of this sensor waits.
    """
    try:
        delivery = readers.read(raw)
    except Invalid as error:
        sensors.note_heard(sensor, taken=0, refused=1, refusal=f"{error.where}: {error.detail}", now=now)
        raise
    if delivery.events:
        inbox.accept(CHANNEL, sensor, inbox.storable(delivery.events, raw), now, job=FOLD)
    first = next(iter(delivery.refused), None)
    sensors.note_heard(
        sensor,
        taken=len(delivery.events),
        refused=delivery.refused_count,
        refusal=f"{first.where}: {first.detail}" if first else "",
        now=now,
    )
    return delivery


def fold(_run: Run) -> Mapping[str, Any]:
    """The job: everything that waits, the sensors in turns."""
    return {"events": inbox.work(CHANNEL, _fold, timezone.now, job=FOLD)}


def _fold(batches: Sequence[inbox.Delivered], now: datetime) -> None:
    told: list[tuple[Sensor, datetime, Event]] = []
    for batch in batches:
        told += [(batch.sensor, batch.received_at, event) for event in batch.documents(_DECODER)]
    ties = tie([Told(event, sensor.cluster) for sensor, _, event in told])
    seen = {}
    lines = []
    for (sensor, received, event), tied in zip(told, ties, strict=True):
        line = line_of(event, tied, sensor, received)
        lines.append(line)
        seen[id(line)] = Seen(event, tied, line)
    fresh = [seen[id(line)] for line in recording.record(lines, now)]
    if fresh:
        for follow in FOLLOWERS:
            follow(fresh, now)


def line_of(event: Event, tied: Tie, sensor: Sensor, received: datetime) -> Line:
    """An event as the store keeps it."""
    at, doubt = moment(event.observed, received)
    place = str(tied.workload_id) if tied.workload_id else f"{tied.cluster}/{tied.namespace}/{tied.pod or event.host}"
    return Line(
        kind=Kind(event.kind.value),
        source=event.tool,
        title=story.title_of(event),
        at=at,
        story=story.story(event, place, tied.digest),
        rule=event.rule,
        severity=story.severity_of(event),
        outcome=event.outcome.value,
        sensor_id=sensor.pk,
        cluster=tied.cluster,
        namespace=tied.namespace,
        workload=tied.workload,
        host=event.host or "",
        workload_id=tied.workload_id,
        application_id=tied.application_id,
        team_id=tied.team_id,
        digest=tied.digest,
        actor=(event.request.user or "") if event.request else (event.process.user or "") if event.process else "",
        # A sensor must not be able to make another one's event unheard by telling the like of it first.
        fingerprint=fingerprint_of(sensor.pk, event.fingerprint),
        detail=_detail(event, tied, doubt),
        count=event.count,
    )


def _detail(event: Event, tied: Tie, doubt: str) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(event)
    for name in ("kind", "tool", "rule", "fingerprint", "severity", "outcome", "host", "namespace", "cluster", "count"):
        told.pop(name, None)
    told["tied_by"] = tied.how or None
    if tied.pod and not event.pod:
        told["pod"] = tied.pod
    if doubt:
        told["clock"] = doubt
    return told
