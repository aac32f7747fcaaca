"""Workers as real processes, killed at awkward moments: what was asked for is done in the end (DESIGN rule 9).

They run on SQLite and the embedded broker; where SECGUARD_DATABASE_URL names PostgreSQL, on a database of their own
there; where SECGUARD_BROKER_URL names Redis, on that, in a numbered database of their own.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis

from secguard import environment
from tests.fixtures_installations import Ready

pytestmark = [pytest.mark.processes, pytest.mark.enable_socket]

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
# Processes of the suite that run beside each other do not empty each other's broker.
REDIS_DATABASE = f"/{8 + int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0')[2:]) % 8}"


def flush(broker_url: str) -> None:
    with redis.Redis.from_url(broker_url) as broker:
        broker.flushdb()


class Installation:
    """A data folder, a database and a broker, and the workers that a test starts on them."""

    def __init__(self, folder: Path, database_url: str, broker_url: str) -> None:
        self.folder, self.database_url, self.broker_url = folder, database_url, broker_url
        self.workers: list[subprocess.Popen[bytes]] = []
        self.notes_path = folder / "notes"
        self.env = {
            **os.environ,
            "PYTHONPATH": f"{HERE / 'processes'}:{CHECKOUT}",
            "DJANGO_SETTINGS_MODULE": "process_settings",
            "SECGUARD_DATA_DIR": str(folder),
            "SECGUARD_DATABASE_URL": database_url,
            "SECGUARD_BROKER_URL": broker_url,
            "SECGUARD_SECRET_KEY": secrets.token_urlsafe(48),
            "SLOWWORK_NOTES": str(self.notes_path),
        }
        for path in ("spool/messages", "spool/control"):
            (folder / path).mkdir(parents=True)
        self.run("-m", "django", "migrate", "-v", "0")

    def run(self, *command: str) -> None:
        subprocess.run([sys.executable, *command], env=self.env, cwd=self.folder, check=True, timeout=60)

    def ask(self, count: int, seconds: float, queue: str = "interactive") -> None:
        self.run("-m", "slowwork.ask", str(count), str(seconds), queue)

    def worker(self, queue: str = "interactive") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "secguard.celery", "worker", "-P", "solo", "-Q", queue]
        command += ["-l", "warning", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        command += ["-n", f"{queue}-{len(self.workers)}@%h"]
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            worker = subprocess.Popen(command, env=self.env, cwd=self.folder, stdout=log, stderr=log)
        self.workers.append(worker)
        return worker

    def lose_all_messages(self) -> None:
        if self.broker_url:
            flush(self.broker_url)
        for message in (self.folder / "spool" / "messages").iterdir():
            message.unlink()

    def rows(self, sql: str) -> list[tuple]:
        if self.database_url.startswith("sqlite"):
            with closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"), timeout=30)) as connection:
                return connection.execute(sql).fetchall()
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(sql).fetchall()

    def statuses(self) -> list[str]:
        return [status for (status,) in self.rows("SELECT status FROM jobs_job WHERE kind = 'slow' ORDER BY id")]

    def notes(self) -> list[str]:
        return self.notes_path.read_text().splitlines() if self.notes_path.exists() else []

    def until(self, what, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                logs = "\n".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))
                pytest.fail(f"not within {seconds} s; jobs: {self.statuses()}; notes: {self.notes()}\n{logs}")
            time.sleep(0.02)

    def all_succeeded(self) -> bool:
        return set(self.statuses()) == {"succeeded"}

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()


@pytest.fixture
def database(tmp_path: Path, ready: Ready) -> Iterator[str]:
    """The URL of a database of the test's own, gone after it however it ends."""
    with ready(tmp_path) as (url, _):
        yield url


@pytest.fixture
def installation(tmp_path: Path, database: str) -> Iterator[Installation]:
    broker = environment.broker(os.environ, "SECGUARD_BROKER_URL")
    if broker:
        broker = urlunsplit(urlsplit(broker)._replace(path=REDIS_DATABASE))
        flush(broker)
    opened = Installation(tmp_path, database, broker)
    yield opened
    opened.close()


def test_each_job_is_done_once_by_several_workers(installation):
    installation.worker(), installation.worker()
    installation.ask(40, 0.01)
    installation.until(installation.all_succeeded)
    assert sorted(installation.notes()) == sorted(f"{what} {n}" for n in range(40) for what in ("begin", "done"))


def test_a_broker_that_forgets_everything_delays_and_loses_nothing(installation):
    installation.ask(5, 0.01)
    installation.lose_all_messages()
    installation.worker()
    installation.until(installation.all_succeeded)
    assert len(installation.statuses()) == 5


def test_a_killed_workers_job_is_done_by_the_next_one(installation):
    worker = installation.worker()
    installation.ask(1, 1.0)
    installation.until(lambda: "begin 0" in installation.notes())
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert installation.statuses() == ["running"]
    installation.worker()
    # Well below the lease's thirty seconds: a process that is gone needs no waiting for.
    installation.until(installation.all_succeeded, 20)
    assert installation.notes() == ["begin 0", "begin 0", "done 0"]
    assert installation.rows("SELECT attempts FROM jobs_job WHERE kind = 'slow'") == [(2,)]


def test_workers_killed_again_and_again_lose_no_job(installation):
    chance = random.Random(2)
    installation.ask(30, 0.1)
    for _ in range(5):
        worker = installation.worker()
        count = len(installation.notes())
        installation.until(lambda count=count: len(installation.notes()) > count)
        time.sleep(chance.uniform(0, 0.3))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        installation.lose_all_messages()
    installation.worker()
    installation.until(installation.all_succeeded, 90)
    assert {f"done {n}" for n in range(30)} <= set(installation.notes())
    assert len(installation.statuses()) == 30


def test_a_worker_told_to_stop_finishes_its_job_and_begins_no_other(installation):
    worker = installation.worker()
    installation.ask(3, 1.0)
    installation.until(lambda: "begin 0" in installation.notes())
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=20) == 0
    assert installation.statuses() == ["succeeded", "queued", "queued"]
    assert installation.notes() == ["begin 0", "done 0"]


def test_interactive_work_does_not_wait_behind_scheduled_work(installation):
    installation.ask(3, 5.0, "scheduled")
    installation.worker("scheduled"), installation.worker("interactive")
    installation.until(lambda: "begin 0" in installation.notes())
    before = time.monotonic()
    installation.ask(1, 0.0)
    installation.until(lambda: "succeeded" in installation.statuses())
    assert time.monotonic() - before < 5.0
    assert installation.statuses().count("succeeded") == 1


@pytest.mark.parametrize("key", ["", "short", "change-me-change-me-change-me-change-me-change-me"])
def test_a_worker_without_a_secret_of_its_own_refuses_to_start(installation, key):
    installation.env["SECGUARD_SECRET_KEY"] = key
    worker = installation.worker()
    assert worker.wait(timeout=30) != 0
    log = (installation.folder / "worker-0.log").read_text()
    assert "SECGUARD_SECRET_KEY is" in log
    assert "token_urlsafe" in log, "it says how to make one"
