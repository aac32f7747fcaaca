"""What was taken is worked on once, the sensors in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
import pytest
from django.utils import timezone

from secguard.errors import Unavailable
from secguard.events.models import Batch, Sensor
from secguard.events.services import inbox
from secguard.events.services.inbox import Delivered
from secguard.jobs import registry
from secguard.jobs.models import Job

pytestmark = pytest.mark.django_db
DECODER = msgspec.msgpack.Decoder(list[int])


@pytest.fixture(autouse=True)
def job() -> Iterator[None]:
    registry.register("events.test", _work)
    yield
    registry.forget("events.test")


def _work(_run: object) -> None: ...


@pytest.fixture
def other() -> Sensor:
    return Sensor.objects.create(name="another", token_hash="1" * 64)


def accept(sensor: Sensor, documents: list[int], now: datetime) -> None:
    inbox.accept("test", sensor, documents, now, job="events.test")


class Folded:
    """Keeps what it was handed; raises at documents that are ``bad``."""

    def __init__(self, bad: frozenset[int] = frozenset()) -> None:
        self.rounds: list[list[tuple[str, list[int]]]] = []
        self.bad = bad

    def __call__(self, batches: Sequence[Delivered], now: datetime) -> None:
        found = [(b.sensor.name, b.documents(DECODER)) for b in batches]
        if self.bad & {n for _, several in found for n in several}:
            raise ValueError("a bad one")
        self.rounds.append(found)

    @property
    def all(self) -> list[int]:
        return [n for several in self.rounds for _, numbers in several for n in numbers]


def test_what_was_accepted_is_worked_on_once(sensor: Sensor, now: datetime) -> None:
    accept(sensor, [1, 2, 3], now)
    accept(sensor, [4], now)
    folded = Folded()
    assert inbox.work("test", folded, timezone.now, job="events.test") == 4
    assert folded.all == [1, 2, 3, 4]
    assert inbox.work("test", folded, timezone.now, job="events.test") == 0
    assert not Batch.objects.exists()


def test_a_flood_waits_for_itself_alone(
    sensor: Sensor, other: Sensor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "AT_ONCE", 3)
    for n in range(50):
        accept(sensor, [n], now)
    for n in (1_000, 1_001):
        accept(other, [n], now)
    folded = Folded()
    inbox.work("test", folded, timezone.now, job="events.test")
    assert folded.rounds[0] == [("falco-prod", [0]), ("falco-prod", [1]), ("another", [1_000])]
    assert ("another", [1_001]) in folded.rounds[1]
    assert folded.all.index(1_001) < 6


def test_too_much_is_refused_whole(
    sensor: Sensor, other: Sensor, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MOST_WAITING", 5)
    accept(sensor, [1, 2, 3], now)
    with pytest.raises(Unavailable, match="3 documents of falco-prod wait") as refused:
        accept(sensor, [4, 5, 6], now)
    assert refused.value.retry_after > 0
    accept(other, [7, 8, 9], now)
    assert inbox.waiting("test") == 6


def test_a_bad_batch_is_set_aside_and_stops_no_other(sensor: Sensor, other: Sensor, now: datetime) -> None:
    accept(sensor, [1], now)
    accept(other, [2], now)
    accept(sensor, [3], now)
    folded = Folded(bad=frozenset({1}))
    assert inbox.work("test", folded, timezone.now, job="events.test") == 2
    assert folded.all == [2, 3]
    kept = Batch.objects.get()
    assert kept.failure == "ValueError: a bad one"
    assert kept.failed_at is not None
    assert inbox.waiting("test") == 0


def test_a_fold_that_fails_writes_nothing(sensor: Sensor, now: datetime) -> None:
    def fold(batches: Sequence[Delivered], now: datetime) -> None:
        Sensor.objects.create(name="half", token_hash="2" * 64)
        raise ValueError("in the middle")

    accept(sensor, [1], now)
    inbox.work("test", fold, timezone.now, job="events.test")
    assert not Sensor.objects.filter(name="half").exists()


def test_one_job_is_asked_for(sensor: Sensor, now: datetime) -> None:
    for n in range(3):
        accept(sensor, [n], now)
    assert Job.objects.filter(kind="events.test").count() == 1


def test_a_flood_lets_others_have_the_worker(sensor: Sensor, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "AT_ONCE", 1)
    for n in range(5):
        accept(sensor, [n], now)
    before = Job.objects.get(kind="events.test").requests
    seconds = iter(range(100))
    folded = Folded()

    def clock() -> datetime:
        return now + timedelta(seconds=next(seconds))

    assert 0 < inbox.work("test", folded, clock, job="events.test", most=timedelta(seconds=5)) < 5
    assert Job.objects.get(kind="events.test").requests > before
    inbox.work("test", folded, timezone.now, job="events.test")
    assert folded.all == list(range(5))
