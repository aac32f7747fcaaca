"""Installations for tests of faults: a database, a broker, a data folder, real workers, and a registry that can stall.

On SQLite and the embedded broker; where SECGUARD_DATABASE_URL names PostgreSQL, on databases of their own there. What
they start from (an installation that is set up, with a scan asked for) is made once a session and copied.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.fixtures_registries import RunningRegistry, free_port

CHECKOUT = Path(__file__).parent.parent
STALLED = 1 / 2
"""Of a blob, how much comes before a registry stalls."""
_OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"
_HALTED = "wait_event = 'PgSleep'"


class StallingRegistry:
    """In front of a real registry: passes all on, but stalls where a test says so, in the middle of what it sends."""

    def __init__(self, behind: RunningRegistry) -> None:
        self._client = httpx.Client(base_url=behind.access.api, trust_env=False, timeout=60)
        self._pattern = re.compile("(?!)")
        self._go_on = Event()
        self.stalled = Event()
        self.ranges: list[str] = []
        """The Range headers that came."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_GET(self) -> None:
                proxy.answer(self)

            do_HEAD = do_GET

            def log_message(self, *args: Any) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False  # closing waits for them, and so for their sockets
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.go_on()
        self.http.shutdown()
        self.http.server_close()
        self._client.close()

    def stall(self, pattern: str) -> None:
        """From now on, at paths that match."""
        self._go_on, self.stalled, self._pattern = Event(), Event(), re.compile(pattern)

    def go_on(self) -> None:
        """Everything that stalls goes on, and nothing stalls any more."""
        self._pattern = re.compile("(?!)")
        self._go_on.set()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        kept = {n: v for n in ("Accept", "Range") if (v := request.headers.get(n))}
        if "Range" in kept:
            self.ranges.append(kept["Range"])
        answer = self._client.request(request.command, request.path, headers=kept)
        request.send_response(answer.status_code)
        for name in ("Content-Type", "Content-Length", "Content-Range", "Docker-Content-Digest"):
            if name in answer.headers:
                request.send_header(name, answer.headers[name])
        request.end_headers()
        with suppress(OSError):  # whoever asked was killed
            self._send(request, answer.content)
        request.close_connection = True

    def _send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if request.command == "HEAD":
            return
        before = int(len(body) * STALLED)
        if self._pattern.search(request.path):
            go_on = self._go_on
            request.wfile.write(body[:before])
            request.wfile.flush()
            self.stalled.set()
            go_on.wait(120)
            request.wfile.write(body[before:])
        else:
            request.wfile.write(body)


@dataclass
class Installation:
    """A data folder, a database and a broker, and the workers that a test starts on them."""

    folder: Path
    database_url: str
    registry: Any = None
    """Where its images are: a ``StallingRegistry``, if any."""
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    """More of the environment."""

    def __post_init__(self) -> None:
        for path in ("spool/messages", "spool/control"):
            (self.data / path).mkdir(parents=True, exist_ok=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def is_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite")

    @property
    def env(self) -> dict[str, str]:
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("SECGUARD_", "DJANGO_"))}
        return {
            **clean,
            "PYTHONPATH": str(CHECKOUT),
            "DJANGO_SETTINGS_MODULE": "secguard.settings",
            "SECGUARD_DATA_DIR": str(self.data),
            "SECGUARD_DATABASE_URL": self.database_url,
            "SECGUARD_SECRET_KEY": os.environ["SECGUARD_SECRET_KEY"],
            **self.settings,
        }

    def run(self, code: str, **values: Any) -> None:
        """Python in a process of its own, with Django set up and ``values`` at hand."""
        whole = f"import django, json\ndjango.setup()\nvalues = json.loads({json.dumps(values)!r})\n{code}"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", whole],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            timeout=600,
            check=False,
        )
        assert not done.returncode, done.stderr.decode()

    def worker(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", "secguard.celery", "worker", "-P", "solo"]
        command += ["-Q", "interactive", "-l", "warning", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        command += ["-n", f"faults-{len(self.workers)}@%h"]
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            worker = subprocess.Popen(command, env=self.env, cwd=self.folder, stdout=log, stderr=log)
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        if not self.is_sqlite:  # a server that works for a client notices only later that it is gone
            self.rows(f"SELECT pg_terminate_backend(pid, 9000) FROM pg_stat_activity WHERE {_OTHERS} AND {_HALTED}")
        # The back-off after a second loss is tested with jobs; here nobody waits for it.
        self.execute("UPDATE jobs_job SET attempts = 1 WHERE status = 'running'")

    # --- what is in the database ---

    @contextmanager
    def connected(self, seconds: float = 30.0) -> Iterator[Any]:
        if self.is_sqlite:
            path = self.database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, timeout=seconds, isolation_level=None)) as connection:
                yield connection
        else:
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                yield connection

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connected() as connection:
            return list(connection.execute(sql).fetchall())

    def execute(self, *statements: str) -> None:
        with self.connected() as connection:
            for statement in statements:
                connection.execute(statement)

    def progress(self) -> str:
        return " | ".join(text for (text,) in self.rows("SELECT progress_text FROM jobs_job WHERE status = 'running'"))

    def is_over(self) -> bool:
        """No scan and no look is open."""
        (scans,) = self.rows("SELECT count(*) FROM scans_scan WHERE status IN ('queued', 'running')")[0]
        (jobs,) = self.rows(
            "SELECT count(*) FROM jobs_job WHERE kind LIKE 'scans.look%' AND status IN ('queued', 'running')"
        )[0]
        return not scans and not jobs

    def until(self, what: Callable[[], Any], seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                jobs = self.rows("SELECT kind, status, attempts, progress_text, error FROM jobs_job ORDER BY id")
                scans = self.rows("SELECT id, named, status, problem FROM scans_scan ORDER BY id")
                logs = "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob("worker-*.log")))
                pytest.fail(f"not within {seconds} s; jobs: {jobs}; scans: {scans}\n{logs}")
            time.sleep(0.02)

    # --- stopping in the middle of a write ---

    def halt(self, table: str, when: str, event: str = "UPDATE") -> None:
        """Whoever writes such a row (``when`` speaks of OLD and NEW) gets no further, until ``go_on``."""
        if self.is_sqlite:
            endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) AS n FROM c"
            self.execute(
                f"CREATE VIEW endless AS {endless}",
                f"CREATE TRIGGER halt BEFORE {event} ON {table} WHEN {when} BEGIN SELECT n FROM endless; END",
            )
            return
        body = "BEGIN PERFORM pg_sleep(600); RETURN NEW; END"
        self.execute(
            f"CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS '{body}'",
            f"CREATE TRIGGER halt BEFORE {event} ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION halt()",
        )

    def is_halted(self) -> bool:
        if not self.is_sqlite:
            return bool(self.rows(f"SELECT 1 FROM pg_stat_activity WHERE {_OTHERS} AND {_HALTED}"))
        return all(self._is_written() for _ in range(10))

    def _is_written(self) -> bool:
        time.sleep(0.05)
        try:
            with self.connected(seconds=0) as connection:
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        return False

    def go_on(self, table: str) -> None:
        """Take the halt away."""
        if self.is_sqlite:
            self.execute("DROP TRIGGER halt", "DROP VIEW endless")
        else:
            self.execute(f"DROP TRIGGER halt ON {table}", "DROP FUNCTION halt")

    def cut_connections(self) -> int:
        """PostgreSQL: end every other session on the database; returns how many."""
        return len(self.rows(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}"))

    # --- what is left ---

    def children(self, worker: subprocess.Popen[bytes]) -> list[int]:
        """Processes that work in the data folder, children of ``worker``: syft."""
        return [pid for pid, parent in self._busy() if parent == worker.pid]

    def leftovers(self) -> list[str]:
        """Files that should be gone, and processes that work in the data folder and have no worker."""
        alive = {w.pid for w in self.workers if w.poll() is None}
        files = [str(p) for p in (self.data / "work").glob("*")] + [
            str(p) for p in (self.data / "layers/partial").glob("*")
        ]
        return files + [f"process {pid}" for pid, parent in self._busy() if parent not in alive]

    def _busy(self) -> list[tuple[int, int]]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                place = os.readlink(path / "cwd")
                parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if place.startswith(str(self.data)):
                found.append((int(path.name), parent))
        return found

    def close(self) -> None:
        if self.registry is not None:
            self.registry.go_on()
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()


@dataclass(frozen=True)
class Origin:
    """An installation that is set up, to be copied; and what its scans come to where nothing disturbs them."""

    folder: Path
    url: str
    name: str
    """Of the database, where it is PostgreSQL's."""
    registry: StallingRegistry

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Installation]:
        (folder / "data").mkdir()
        self.registry.ranges.clear()
        with _database(folder, self) as url:
            opened = Installation(folder, url, self.registry)
            try:
                yield opened
            finally:
                opened.close()


@contextmanager
def _database(folder: Path, origin: Origin) -> Iterator[str]:
    server = os.environ.get("SECGUARD_DATABASE_URL", "")
    if not server.startswith("postgres"):
        shutil.copy(origin.folder / "db.sqlite3", folder / "db.sqlite3")
        yield f"sqlite:///{folder / 'db.sqlite3'}"
        return
    with own_database(server, f"TEMPLATE {origin.name}") as (url, _):
        yield url


@contextmanager
def own_database(server: str, more: str = "") -> Iterator[tuple[str, str]]:
    """A new database on a PostgreSQL server, as URL and name; gone afterwards."""
    name = f"secguard_faults_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {more}")
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}")), name
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# --- databases that have their tables: migrations take longer than most of what is done with them ---

_MIGRATE = "from django.core.management import call_command\ncall_command('migrate', verbosity=0)"
Ready = Callable[[Path], AbstractContextManager[tuple[str, str]]]
"""A folder to (URL, name on its server) of a new database with its tables, where it is SQLite in that folder."""


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with its tables: made once, by whichever process of the suite asks first."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if os.environ.get("PYTEST_XDIST_WORKER") else shared
    found = shared / "migrated.sqlite3"
    with (shared / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            folder = tmp_path_factory.mktemp("migrating")
            made = Installation(folder, f"sqlite:///{folder / 'db.sqlite3'}")
            made.run(_MIGRATE)
            made.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            shutil.copy(folder / "db.sqlite3", found)
    return found


@pytest.fixture(scope="session")
def ready(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """Makes databases with their tables, of the kind that the suite runs on; each is gone after its context."""
    server = os.environ.get("SECGUARD_DATABASE_URL", "")
    if not server.startswith("postgres"):
        yield partial(_copied, request.getfixturevalue("migrated_file"))
        return
    with own_database(server) as (url, name):
        Installation(tmp_path_factory.mktemp("migrating"), url).run(_MIGRATE)
        yield lambda folder: own_database(server, f"TEMPLATE {name}")


@contextmanager
def _copied(file: Path, folder: Path) -> Iterator[tuple[str, str]]:
    shutil.copy(file, folder / "db.sqlite3")
    yield f"sqlite:///{folder / 'db.sqlite3'}", ""


# --- servers of the test's own, which it may stop ---


class OwnRedis:
    """A Redis server that nobody else uses. Skips the test where there is no ``redis-server``."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("needs redis-server (Debian's package of that name)")
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._client = redis.Redis.from_url(self.url, retry=Retry(ConstantBackoff(0.05), 100))
        self._client.ping()

    def flush(self) -> None:
        self._client.flushall()

    def close(self) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()


class Cluster:
    """A PostgreSQL server that nobody else uses. Skips the test where there is no ``pg_ctl``, or it may not run."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[4]))
        program = str(found[-1]) if found else shutil.which("pg_ctl")
        if program is None:
            pytest.skip("needs PostgreSQL's own programs (pg_ctl), to have a server that may be stopped")
        self._bin = Path(program).parent
        self._as: list[str] = []
        self._place = Path(tempfile.mkdtemp(prefix="secguard-cluster-"))  # a socket's path must be short
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            if subprocess.run(["runuser", "-u", "postgres", "--", "true"], check=False).returncode:
                pytest.skip("runs as root without a user postgres: PostgreSQL refuses that")
            shutil.chown(self._place, "postgres")
            self._as = ["runuser", "-u", "postgres", "--"]
        self._port = free_port()
        self._call("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()

    @property
    def _data(self) -> str:
        return str(self._place / "data")

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._bin / program), *arguments]
        done = subprocess.run(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=False
        )
        assert not done.returncode, done.stderr.decode()

    def url(self, database: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        options = f"-p {self._port} -k {self._place} -c fsync=off -c listen_addresses=127.0.0.1"
        self._call("pg_ctl", "-D", self._data, "-l", str(self._place / "log"), "-w", "-o", options, "start")

    def stop(self) -> None:
        """At once, as after a power failure: connections are cut, and what was not committed is gone."""
        self._call("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def copy(self, origin: str, name: str) -> None:
        """A database with all that the one at the URL ``origin`` has."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        dump = subprocess.run([self._bin / "pg_dump", "-d", origin], capture_output=True, timeout=60, check=True)
        command = [self._bin / "psql", "-q", "-d", self.url(name), "-v", "ON_ERROR_STOP=1"]
        subprocess.run(command, input=dump.stdout, stdout=subprocess.DEVNULL, timeout=60, check=True)

    def close(self) -> None:
        with suppress(AssertionError):  # it may be stopped already
            self.stop()
        shutil.rmtree(self._place, ignore_errors=True)


# --- a disk of the test's own, which it may fill ---


class SmallDisk:
    """A disk in memory, mounted at a folder. Skips the test where nothing may be mounted."""

    def __init__(self, place: Path, size: int) -> None:
        place.mkdir(parents=True, exist_ok=True)
        mount = shutil.which("mount")
        options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
            pytest.skip("needs to mount a small disk, which only root may")
        self._place = place

    def fill(self, leave: int) -> None:
        """Take all room but about ``leave`` bytes (whole pages)."""
        status = os.statvfs(self._place)
        size = status.f_bavail * status.f_frsize - leave
        with (self._place / "ballast").open("wb") as ballast:
            while size > 0:  # others take some of it meanwhile
                with suppress(OSError):
                    os.posix_fallocate(ballast.fileno(), 0, size)
                    break
                size -= 2**12

    def make_room(self) -> None:
        (self._place / "ballast").unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self._place)], capture_output=True, check=True)
