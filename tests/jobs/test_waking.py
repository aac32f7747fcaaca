from __future__ import annotations

import pytest
from kombu.exceptions import OperationalError

from secguard.celery import app
from secguard.jobs.adapters import waking


@pytest.fixture(autouse=True)
def real_wake(monkeypatch):
    """The suite's own fixture keeps wake-ups from the broker; here the function itself is looked at."""
    monkeypatch.undo()
    monkeypatch.setattr(waking, "_quiet_until", 0.0)


def test_each_queue_is_reached_alone():
    names = ("interactive", "scheduled")
    routes = {name: (queue.exchange.name, queue.routing_key) for name, queue in app.amqp.queues.items()}
    assert routes == {name: (name, name) for name in names}


def test_a_wake_up_names_its_queue_and_ends_by_itself(monkeypatch):
    sent = []
    monkeypatch.setattr(app, "send_task", lambda name, **options: sent.append((name, options)))
    assert waking.wake("scheduled") is True
    ((name, options),) = sent
    assert name == "secguard.jobs.work"
    assert (options["args"], options["queue"], options["retry"]) == (["scheduled"], "scheduled", False)
    assert options["expires"] > 0


@pytest.mark.parametrize("error", [OperationalError("down"), ConnectionRefusedError(), PermissionError("spool")])
def test_a_broker_that_is_down_costs_one_attempt_and_then_none_for_a_while(monkeypatch, error):
    attempts = []

    def broken(*_args, **_options):
        attempts.append(1)
        raise error

    monkeypatch.setattr(app, "send_task", broken)
    assert [waking.wake("interactive") for _ in range(5)] == [False] * 5
    assert len(attempts) == 1
