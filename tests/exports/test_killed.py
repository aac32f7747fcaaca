"""The process that delivers is killed in the middle, for real: nothing is lost, at most a batch comes twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from secguard.exports.models import ExportTarget
from tests.exports.test_rsyslog import ids

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.enable_socket]

HERE = Path(__file__).parent
BATCH = 40


class Installation:
    """The test's database as another process sees it: on SQLite a copy of it, in a file."""

    def __init__(self, folder: Path) -> None:
        own = connection.settings_dict
        self.url = f"sqlite:///{folder / 'copy.sqlite3'}"
        if connection.vendor == "postgresql":
            self.url = f"postgres://{own['USER']}:{own['PASSWORD']}@{own['HOST']}:{own['PORT'] or 5432}/{own['NAME']}"
        else:
            connection.ensure_connection()
            with closing(sqlite3.connect(folder / "copy.sqlite3")) as copy:
                connection.connection.backup(copy)
        self.env = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "secguard.settings",
            "PYTHONPATH": str(HERE.parent.parent),
            "SECGUARD_DATABASE_URL": self.url,
            "SECGUARD_DATA_DIR": str(folder),
            "SECGUARD_SECRET_KEY": settings.SECRET_KEY,
            "SECGUARD_WEBHOOK_HOSTS": "127.0.0.1,localhost",
        }

    def begin(self, target: int) -> subprocess.Popen[str]:
        """Delivers in a process of its own; returns once it begins."""
        command = [sys.executable, str(HERE / "processes" / "deliver_once.py"), str(target), str(BATCH)]
        process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        with process.stdout as said:
            assert said.readline() == "begins\n"
        return process

    def sent(self) -> int:
        sql = "SELECT sent FROM exports_exporttarget"
        if self.url.startswith("sqlite"):
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as copy:
                return int(copy.execute(sql).fetchone()[0])
        with psycopg.connect(self.url) as copy:
            row = copy.execute(sql).fetchone()
            assert row
            return int(row[0])


@pytest.fixture
def installation(tmp_path: Path) -> Callable[[], Installation]:
    return lambda: Installation(tmp_path)


@pytest.mark.parametrize("at", [1, 3])
def test_killed_between_the_answer_and_the_position(tell, make_target, receiver, installation, at: int) -> None:
    """The receiver has a batch, and the position never heard of it."""
    told = tell(200)
    target = make_target(receiver.url)
    place = installation()
    begun = threading.Event()

    def kill(number: int) -> None:
        if number == at:
            begun.wait(20)
            process.kill()
            process.wait(20)

    receiver.before_answer = kill
    process = place.begin(target.pk)
    begun.set()
    assert process.wait(60) == -signal.SIGKILL
    assert place.sent() == (at - 1) * BATCH
    assert place.begin(target.pk).wait(60) == 0
    found = Counter(receiver.ids)
    assert set(found) == set(told)
    assert sorted(found.values()) == [1] * (200 - BATCH) + [2] * BATCH
    assert place.sent() == 200


def test_killed_again_and_again_while_it_writes_to_rsyslog(tell, make_target, rsyslog, authority, installation) -> None:
    told = tell(1_500)
    target = make_target(rsyslog.host, sink="syslog-tls", format="text", ca_certificate=authority.pem)
    place, kills = installation(), 0
    for _ in range(20):
        process = place.begin(target.pk)
        if kills < 4:
            time.sleep(0.05 + kills * 0.05)
            process.kill()
        kills += process.wait(60) == -signal.SIGKILL
        if process.returncode == 0:
            break
    assert kills
    found = Counter(ids(rsyslog.wait_for(len(told))))
    assert set(found) == set(told)
    assert sum(found.values()) <= len(told) + kills * BATCH
    assert ExportTarget.objects.count() == 1
