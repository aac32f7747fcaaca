"""Answers that were given before are counted together: every few seconds in each process, not one by one.

A hundred replicas of one digest would else wait for one row in turn. What is new is written at once, by ``answering``;
what a killed process had not written yet is a few seconds of counts.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from threading import Lock, Timer

import structlog
from django.db import DatabaseError, connection, transaction

from secguard.admission.answer import Answer, Judged
from secguard.admission.models import AdmissionDecision
from secguard.admission.services.quick import Remembered
from secguard.bulk import among, update

SECONDS = 4.0
"""Between an answer and its count; 0: at once, in the request."""
MAX_KEYS = 50_000

log = structlog.get_logger("secguard.admission")


RowOf = Callable[[str, Judged], AdmissionDecision]


@dataclass(slots=True)
class Again:
    """How often an answer was given again, the last review's words, and how its row is made should that be gone."""

    make: Callable[[], AdmissionDecision]
    at: datetime
    uid: str = ""
    user: str = ""
    times: int = 0


class Counts:
    """Of one process, for all its threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: Remembered[str, bool] = Remembered(MAX_KEYS)
        self._waiting: dict[str, Again] = {}
        self._timer: Timer | None = None

    def knows(self, keys: Collection[str]) -> bool:
        """Whether each of them was answered before, so that its row is there."""
        return self._known.has(keys)

    def learn(self, keys: Collection[str]) -> None:
        self._known.put(dict.fromkeys(keys, True))

    def add(self, made: Answer, now: datetime, parts: Mapping[str, Judged], row_of: RowOf) -> None:
        """Count each of them once more, as given to this review; ``row_of`` makes the row of one that is gone."""
        uid, user = made.subject.uid[:200], made.subject.user
        with self._lock:
            for key, part in parts.items():
                again = self._waiting.get(key)
                if again is None:
                    again = self._waiting[key] = Again(partial(row_of, key, part), now)
                again.uid, again.user, again.at, again.times = uid, user, now, again.times + 1
            if SECONDS and self._timer is None and self._waiting:
                self._timer = Timer(SECONDS, self._flush_apart)
                self._timer.daemon = True
                self._timer.start()
        if not SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, in three statements; what cannot be written fails no answer."""
        with self._lock:
            waiting, self._waiting, self._timer = self._waiting, {}, None
        if not waiting:
            return
        try:
            _write(waiting)
        except DatabaseError as error:
            log.error(
                "admission decisions cannot be counted",
                answers=sum(a.times for a in waiting.values()),
                error=str(error)[:300],
            )

    def _flush_apart(self) -> None:
        """In the timer's own thread, whose connection nobody else uses."""
        try:
            self.flush()
        finally:
            connection.close()

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()
        self._known.clear()


COUNTS = Counts()
atexit.register(COUNTS.flush)


@transaction.atomic
def _write(waiting: Mapping[str, Again]) -> None:
    rows = AdmissionDecision.objects.select_for_update(no_key=True).filter(key__in=among(waiting)).order_by("key")
    there = list(rows.values_list("pk", "key", "count"))  # locked in one order: two processes never wait both ways
    told = ((pk, count, waiting[key]) for pk, key, count in there)
    update(
        AdmissionDecision,
        ("count", "last_at", "uid", "requested_by"),
        [(pk, count + again.times, again.at, again.uid, again.user) for pk, count, again in told],
    )
    gone = []
    for key in sorted(waiting.keys() - {key for _, key, _ in there}):
        row = waiting[key].make()  # removed meanwhile: it is answered for the first time again
        row.count = waiting[key].times
        gone.append(row)
    AdmissionDecision.objects.bulk_create(gone, ignore_conflicts=True)
