"""A server of our own: database, data folder, ``secguard up``, a token; and what its processes take of memory."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
import redis

NAME = "secguard_bench"
READY_SECONDS = 120


@dataclass
class Answer:
    status: int
    body: bytes
    seconds: float

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    port: int
    token: str
    process: subprocess.Popen[bytes]
    database_url: str

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def ask(
        self, path: str, body: bytes | None = None, *, connection: http.client.HTTPConnection | None = None
    ) -> Answer:
        """One request, as the command asks, unpacked in the time that is told; raises ``RuntimeError`` with the answer
        where it is an error."""
        line = connection or self.connection()
        begin = time.perf_counter()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers["Accept-Encoding"] = "deflate"
        line.request("GET" if body is None else "POST", path, body, headers)
        response = line.getresponse()
        raw = response.read()
        raw = zlib.decompress(raw) if response.getheader("Content-Encoding") == "deflate" else raw
        answer = Answer(response.status, raw, time.perf_counter() - begin)
        if connection is None:
            line.close()
        if answer.status >= 400:
            raise RuntimeError(f"{path} answered {answer.status}: {answer.body[:500]!r}")
        return answer

    def post(self, raw: bytes, name: str = "", *, wait: int = 120) -> Answer:
        """Post a report; the time ends when the verdict is stored and here."""
        answer = self.ask(f"/api/v1/reports/?wait={wait}&image={quote(name)}", raw)
        if answer.document.get("verdict") is None and wait:
            raise RuntimeError(f"There is no verdict: {answer.body[:500]!r}")
        return answer

    def peak_memory(self) -> dict[str, float]:
        """Megabytes that each process had resident at most, by its command."""
        peaks: dict[str, float] = {}
        for pid in _descendants(self.process.pid):
            status = _read(f"/proc/{pid}/status")
            words = _read(f"/proc/{pid}/cmdline").replace("\0", " ")
            peak = re.search(r"VmHWM:\s*(\d+)", status)
            role = next((r for r in ("gunicorn", "celery") if r in words), "other")
            if peak:
                peaks[role] = max(peaks.get(role, 0.0), int(peak[1]) / 1024)
        return peaks


def _descendants(pid: int) -> Iterator[int]:
    children = _read(f"/proc/{pid}/task/{pid}/children").split()
    for child in map(int, children):
        yield child
        yield from _descendants(child)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def fresh_database(folder: Path) -> tuple[str, str]:
    """(URL, what it is): an empty PostgreSQL database, or SQLite where no server answers."""
    url = os.environ.get("SECGUARD_BENCH_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=3) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {NAME}")
            version = connection.info.server_version
    except psycopg.OperationalError:
        from benchmarks.table import sqlite_version  # noqa: PLC0415 - only where it is needed

        return f"sqlite:///{folder / 'bench.sqlite3'}", f"{sqlite_version()} (no PostgreSQL answered)"
    parts = urlsplit(url)
    return parts._replace(path=f"/{NAME}").geturl(), f"PostgreSQL {version // 10000}.{version % 10000}"


def broker(database_url: str) -> str:
    """The broker's URL: that of production, PostgreSQL and Redis, where a Redis answers; else "", the embedded one."""
    url = os.environ.get("SECGUARD_BENCH_BROKER_URL", "redis://127.0.0.1:6379/15")
    if not database_url.startswith("postgres"):
        return ""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3) as client:
            client.ping()
    except redis.RedisError:
        return ""
    return url


@contextmanager
def serving(folder: Path, database_url: str) -> Iterator[Server]:
    """``secguard up`` on a free port, as an administrator's token sees it; stopped at the end."""
    port = _free_port()
    os.environ.update(
        SECGUARD_DATABASE_URL=database_url,
        SECGUARD_BROKER_URL=broker(database_url),
        SECGUARD_DATA_DIR=str(folder),
        DJANGO_SETTINGS_MODULE="benchmarks.settings",
        PORT=str(port),
        SECGUARD_BIND="127.0.0.1",
        SECGUARD_PUBLIC_URL=f"http://localhost:{port}",
        SECGUARD_LOG_LEVEL="warning",
        SECGUARD_MAX_REPORT_BYTES=str(256 * 2**20),
    )
    log = (folder / "up.log").open("wb")
    process = subprocess.Popen([sys.executable, "-m", "secguard.cli", "up"], stdout=log, stderr=log)
    try:
        _wait_until_ready(port, process, folder / "up.log")
        yield Server(port, _token(), process, database_url)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=90)
        log.close()


def _token() -> str:
    command = [sys.executable, "-m", "secguard.cli", "token", "create", "--role", "administrator", "--print"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            line.request("GET", "/readyz")
            if line.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.2)
        finally:
            line.close()
    raise RuntimeError(f"The server did not start:\n{log.read_text()[-3000:]}")
