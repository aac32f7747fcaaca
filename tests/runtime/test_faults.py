"""Processes killed in the middle of a batch: what a sensor was told is taken is not lost, and nothing counts twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.fixtures_installations import Installation, Ready

pytestmark = [pytest.mark.processes, pytest.mark.enable_socket]
EVENTS = 40
BATCHES = 3
TAKE = """
from django.utils import timezone
from secguard.events.models import Sensor
from secguard.runtime.services import intake
sensor, _ = Sensor.objects.get_or_create(name="falco", defaults={"token_hash": "0" * 64})
for batch in values["batches"]:
    intake.take("\\n".join(json.dumps(event) for event in batch).encode(), sensor, timezone.now())
"""


def batch(number: int) -> list[dict[str, object]]:
    now = datetime.now(UTC).isoformat()
    return [
        {
            "time": now,
            "rule": f"Rule {n % 4}",
            "priority": "Notice",
            "source": "syscall",
            "output": f"{number}/{n}",
            "output_fields": {"proc.exepath": "/bin/sh", "container.id": None},
        }
        for n in range(EVENTS)
    ]


@pytest.fixture(scope="module")
def installed(ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("events")
    with ready(folder) as (url, _):
        made = Installation(folder, url)
        yield made
        made.close()


@pytest.fixture
def installation(installed: Installation) -> Iterator[Installation]:
    yield installed
    for worker in installed.workers:
        if worker.poll() is None:
            installed.kill(worker)
    for table in ("events_batch", "events_heard", "events_tally", "events_event", "jobs_job"):
        installed.execute(f"DELETE FROM {table}")


def is_done(at: Installation) -> bool:
    return not at.rows("SELECT 1 FROM events_batch")


def counted(at: Installation) -> int:
    return int(at.rows("SELECT coalesce(sum(count), 0) FROM events_tally WHERE source = 'falco'")[0][0])


@pytest.mark.parametrize(
    ("table", "event", "when"),
    [
        ("events_heard", "INSERT", "NEW.day IS NOT NULL"),
        ("events_tally", "INSERT", "NEW.count > 0"),
        ("events_batch", "DELETE", "OLD.count > 0"),
    ],
)
def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    installation: Installation, table: str, event: str, when: str
) -> None:
    batches = [batch(n) for n in range(BATCHES)]
    installation.run(TAKE, batches=batches)
    installation.halt(table, when, event)
    worker = installation.worker()
    installation.until(installation.is_halted)
    installation.kill(worker)
    installation.go_on(table)
    assert counted(installation) == 0
    installation.worker()
    # The sensor that got no answer in time sends all of it again, while the first is worked on.
    installation.run(TAKE, batches=batches)
    installation.until(lambda: is_done(installation))
    assert counted(installation) == BATCHES * EVENTS


def test_a_server_killed_before_it_answers_has_taken_nothing(installation: Installation) -> None:
    installation.halt("events_batch", "NEW.count > 0", "INSERT")
    code = f"import django, json\ndjango.setup()\nvalues = json.loads({json.dumps({'batches': [batch(0)]})!r})\n{TAKE}"
    server = subprocess.Popen([sys.executable, "-c", code], env=installation.env, cwd=Path(installation.folder))
    installation.until(installation.is_halted)
    installation.kill(server)
    installation.go_on("events_batch")
    assert not installation.rows("SELECT 1 FROM events_batch")
    installation.run(TAKE, batches=[batch(0)])
    installation.worker()
    installation.until(lambda: is_done(installation))
    assert counted(installation) == EVENTS
