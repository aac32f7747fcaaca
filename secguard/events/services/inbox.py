"""What sensors were told is taken, until it has been worked on: nothing is lost or done twice by a process that dies.

``accept`` writes what was read (and masked) in one row, and the sensor is answered after its commit. ``work`` hands
batches to the app they are for, and deletes them in the transaction of what that app writes. Sensors take turns: one
that floods waits for itself alone, and is told to wait where too much of it waits already.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction
from django.db.models import Sum, Window
from django.db.models.functions import RowNumber

from secguard.errors import Unavailable
from secguard.events.models import Batch, Sensor
from secguard.events.services import recording
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 500_000
"""Documents of one sensor on one channel."""
AT_ONCE: Final = 20_000
"""Documents that are worked on in one transaction, about."""
AT_A_TIME: Final = timedelta(seconds=3)
_ENCODER: Final = msgspec.msgpack.Encoder()


_ODD: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def storable(documents: Sequence[Any], raw: bytes) -> Sequence[Any]:
    """Documents (structs) that ``raw`` told, with texts that every database keeps: without NUL, and without halves of
    surrogate pairs. Most bodies have none of either, and cost one look."""
    if not _ODD.search(raw):
        return documents
    return [msgspec.convert(recording.storable(msgspec.to_builtins(d)), type(d)) for d in documents]


class Delivered(NamedTuple):
    """One batch, as it is handed to who works on it; ``packed`` is read by ``documents``."""

    sensor: Sensor
    received_at: datetime
    packed: bytes

    def documents(self, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
        """What was accepted, by a decoder of a list of its type."""
        return decoder.decode(zlib.decompress(self.packed, bufsize=2**20))


Fold = Callable[[Sequence[Delivered], datetime], None]


_JOBS: Final[dict[str, str]] = {}


def register(channel: str, job: str) -> None:
    """Called once by the app that works on ``channel``, in its ``ready``: which job does."""
    _JOBS[channel] = job


def ask(channel: str) -> None:
    """Have what waits on a channel worked on. In the caller's transaction."""
    if channel in _JOBS:
        _ask(channel, _JOBS[channel])


def accept(
    channel: str, sensor: Sensor, documents: Sequence[Any], now: datetime, *, job: str, count: int | None = None
) -> None:
    """Keep documents (structs) until ``job`` has worked on them; once this returns and is committed, they are taken.

    ``count``: how many they stand for, where that is more than they are.
    Raises ``Unavailable`` where as much of this sensor waits as may wait: it sends them again later.
    """
    with transaction.atomic():
        waiting = Batch.objects.filter(channel=channel, sensor=sensor, failed_at=None).aggregate(n=Sum("count"))["n"]
        told = len(documents) if count is None else count
        if (waiting or 0) + told > MOST_WAITING:
            raise Unavailable(
                f"{waiting:,} documents of {sensor.name} wait to be worked on; at most {MOST_WAITING:,} may. Send "
                "these again later: nothing of them was taken.",
                code="sensor-backlog",
                retry_after=30,
            )
        body = zlib.compress(_ENCODER.encode(documents), 1)
        Batch.objects.create(channel=channel, sensor=sensor, received_at=now, count=told, body=body)
        _ask(channel, job)


def _ask(channel: str, job: str) -> None:
    """Interactive: an alert waits for no scan. What floods is worked on a few seconds at a time, others in between."""
    jobs.enqueue(job, {}, key=channel, queue=Queue.INTERACTIVE, again=True)


def work(channel: str, fold: Fold, now: Callable[[], datetime], *, job: str, most: timedelta = AT_A_TIME) -> int:
    """Work on what waits, the sensors in turns, until nothing does; returns how many documents that were.

    After about ``most`` it asks for ``job`` again and lets others have the worker. A batch that cannot be worked on is
    set aside with the reason, and the others go on.
    """
    done, ends_at = 0, now() + most
    while ids := _next(channel):
        if now() >= ends_at:
            with transaction.atomic():
                _ask(channel, job)
            break
        done += _tried(ids, fold, now())
    return done


def _tried(ids: Sequence[int], fold: Fold, now: datetime) -> int:
    try:
        return _fold(ids, fold, now)
    except (OperationalError, InterfaceError):  # the database's fault, and no batch's
        raise
    except Exception as error:  # noqa: BLE001 - what one sensor's words make a rule raise must not stop the others'
        if len(ids) > 1:
            log.warning("events.batches_alone", error=repr(error))
            return sum(_tried([pk], fold, now) for pk in ids)
        _set_aside(ids[0], error, now)
        return 0


def _set_aside(pk: int, error: Exception, now: datetime) -> None:
    log.error("events.batch_set_aside", batch=pk, exc_info=error)
    words = type(error).__name__ if isinstance(error, DatabaseError) else f"{type(error).__name__}: {error}"
    Batch.objects.filter(pk=pk).update(failed_at=now, failure=words.replace("\0", "")[:2_000])


def _next(channel: str) -> list[int]:
    """About ``AT_ONCE`` documents that wait: the oldest batch of each sensor, then the second of each, and so on."""
    waiting = Batch.objects.filter(channel=channel, failed_at=None)
    turn = Window(RowNumber(), partition_by="sensor", order_by="id")
    counts = waiting.annotate(turn=turn).order_by("turn", "id").values_list("pk", "count")
    return list(_up_to(counts[:500], AT_ONCE))


def _up_to(counts: Any, most: int) -> Iterator[int]:
    total = 0
    for pk, count in counts:
        if total and total + count > most:
            return
        total += count
        yield pk


def _fold(ids: Sequence[int], fold: Fold, now: datetime) -> int:
    with transaction.atomic():
        rows = Batch.objects.filter(pk__in=ids, failed_at=None).select_related("sensor").order_by("pk")
        if connection.vendor == "postgresql":
            rows = rows.select_for_update(of=("self",), skip_locked=True)
        found = list(rows)
        if found:
            fold([Delivered(b.sensor, b.received_at, bytes(b.body)) for b in found], now)
            Batch.objects.filter(pk__in=[b.pk for b in found]).delete()
    return sum(b.count for b in found)


def waiting(channel: str = "") -> int:
    """Documents that wait to be worked on."""
    rows = Batch.objects.filter(failed_at=None)
    return (rows.filter(channel=channel) if channel else rows).aggregate(n=Sum("count"))["n"] or 0
