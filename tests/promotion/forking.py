"""Workers that are there at once: forked from a process that has everything loaded. Each is a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.fixtures_installations import Installation
from tests.promotion.between import until

FORKS = """
import datetime, django, json, os, pathlib, signal, sys, time
django.setup()
import secguard.celery
from django.conf import settings
from django.db import connection
from secguard.jobs import services
from secguard.jobs.services import doing, running
from secguard.promotion.services import tagging

def work(wanted):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    output = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    connection.settings_dict["NAME"] = wanted["database"]
    settings.DATA_DIR = pathlib.Path(wanted["data"])
    doing.LEASE = running.LEASE = datetime.timedelta(seconds=wanted["lease"])
    running.RENEW_EVERY = running.LEASE / 4
    tagging.WAIT_SECONDS = wanted["patience"]
    while True:
        services.sweep()
        services.work("interactive")
        time.sleep(0.1)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        work(json.loads(line))
    print(pid, flush=True)
"""


class Forked:
    """As much of ``subprocess.Popen`` as tests need of a worker."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return -signal.SIGKILL
        return None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self) -> None:
        until(lambda: self.poll() is not None)


class Nursery:
    """The process that they are forked from."""

    def __init__(self, origin: Installation) -> None:
        command = [sys.executable, "-W", "ignore", "-c", FORKS]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process = subprocess.Popen(command, env=origin.env, cwd=origin.folder, text=True, **pipes)  # type: ignore[call-overload]

    def fork(self, **wanted: Any) -> Forked:
        self._process.stdin.write(f"{json.dumps(wanted)}\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=30)


class Forking(Installation):
    """An installation whose workers cost next to nothing to start."""

    nursery: Nursery
    lease = 30.0
    """Seconds that a job is held for without a sign of life."""
    patience = 5.0
    """Seconds that a promotion waits for another one before it gives its worker back."""

    def worker(self) -> Any:
        where = self.database_url.removeprefix("sqlite:///") if self.is_sqlite else urlsplit(self.database_url).path[1:]
        made: Any = self.nursery.fork(
            database=where,
            data=str(self.data),
            log=str(self.folder / f"worker-{len(self.workers)}.log"),
            lease=self.lease,
            patience=self.patience,
        )
        self.workers.append(made)
        return made


@contextmanager
def forking(opened: Installation, nursery: Nursery) -> Iterator[Forking]:
    """The same installation with such workers."""
    made = Forking(opened.folder, opened.database_url, opened.registry)
    made.nursery = nursery
    try:
        yield made
    finally:
        made.close()
