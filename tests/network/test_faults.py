"""Processes killed in the middle of folding: what a source was told is taken is not lost, and nothing counts twice."""

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
FLOWS, BATCHES, EDGES = 40, 3, 4
TAKE = """
from django.utils import timezone
from secguard.events.models import Sensor
from secguard.network.services import intake
sensor, _ = Sensor.objects.get_or_create(name="mesh", cluster="prod", defaults={"token_hash": "0" * 64})
for batch in values["batches"]:
    intake.take(json.dumps(batch).encode(), sensor, timezone.now())
"""


def batch(number: int) -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    flows = [
        {
            "time": now,
            "id": f"{number}/{n}",
            "verdict": "forwarded",
            "source": {"namespace": "shop", "workload": f"web-{n % EDGES}", "workload_kind": "Deployment"},
            "destination": {"namespace": "shop", "workload": "db", "workload_kind": "StatefulSet"},
            "protocol": "tcp",
            "port": 5432,
        }
        for n in range(FLOWS)
    ]
    return {"schema": "secguard-flows/v1", "source": "mesh", "flows": flows, "lost": [{"time": now, "count": 17}]}


@pytest.fixture(scope="module")
def installed(ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("flows")
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
    tables = ("events_batch", "network_print", "network_loss", "network_hour", "network_edge", "network_peer")
    for table in (*tables, "network_heard", "jobs_job"):
        installed.execute(f"DELETE FROM {table}")


def is_done(at: Installation) -> bool:
    return not at.rows("SELECT 1 FROM events_batch")


def counted(at: Installation) -> tuple[int, int, int]:
    """Flows by edges and by hours, and what was said to be lost."""
    sql = "SELECT coalesce(sum(count), 0) FROM {}"
    edges, hours, lost = (int(at.rows(sql.format(f"network_{t}"))[0][0]) for t in ("edge", "hour", "loss"))
    return edges, hours, lost


@pytest.mark.parametrize(
    ("table", "event", "when"),
    [
        ("network_edge", "INSERT", "NEW.count > 0"),
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
    assert counted(installation)[:2] == (0, 0)
    installation.worker()
    # The source that got no answer in time sends all of it again, while the first is worked on.
    installation.run(TAKE, batches=batches)
    installation.until(lambda: is_done(installation))
    everything = BATCHES * FLOWS
    assert counted(installation) == (everything, everything, BATCHES * 17)
    assert len(installation.rows("SELECT 1 FROM network_edge")) == EDGES


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
    assert counted(installation) == (FLOWS, FLOWS, 17)
