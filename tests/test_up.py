"""``secguard up`` as a newcomer runs it: one command, real processes, a real server."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from secguard.environment import BadEnvironment
from secguard.up import log_level_for, plan

CHECKOUT = Path(__file__).parent.parent
SECGUARD = [sys.executable, "-m", "secguard.cli"]

pytestmark = pytest.mark.once
processes = pytest.mark.processes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A ``secguard up`` on a data folder of its own: SQLite and the embedded broker, whatever the suite runs on."""

    def __init__(self, folder: Path, **env: str) -> None:
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("SECGUARD_", "DJANGO_")) and n != "PORT"}
        self.port = int(env.pop("PORT", "0")) or free_port()
        self.url = f"http://localhost:{self.port}"
        self.folder = folder
        self.env = {**clean, "SECGUARD_DATA_DIR": str(folder / "data"), "PORT": str(self.port), **env}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [*SECGUARD, "up"], env=self.env, cwd=CHECKOUT, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def until(self, pattern: str, seconds: float = 300.0) -> re.Match[str]:
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output())):
            assert self.process is not None
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < end, self.output()
            time.sleep(0.05)
        return found

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SECGUARD, *command], env={**self.env, **env}, cwd=CHECKOUT, capture_output=True, text=True, timeout=300
        )

    def children(self) -> dict[str, int]:
        """The command lines of the direct children, with their process ids."""
        assert self.process is not None
        found = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(path.read_text().rpartition(")")[2].split()[1])
                line = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if parent == self.process.pid:
                found[line] = int(path.parent.name)
        return found


@pytest.fixture
def first(tmp_path):
    """On a data folder that has nothing in it."""
    yield from running(tmp_path)


def have_tables(folder: Path, migrated_file: Path) -> None:
    """Give a ``Server`` in ``folder`` a database that needs no migration any more."""
    (folder / "data").mkdir()
    shutil.copy(migrated_file, folder / "data" / "secguard.sqlite3")


@pytest.fixture
def server(tmp_path, migrated_file):
    have_tables(tmp_path, migrated_file)
    yield from running(tmp_path)


def running(folder):
    made = Server(folder)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


@processes
def test_a_first_run_serves_and_a_second_one_keeps_everything(first):
    server = first
    server.start()
    link = server.until(r"Sign in as the owner.*(http://localhost:\d+/\S+)")[1]
    assert link.startswith(server.url)
    server.until(r"SecGuard runs on")
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert httpx.get(f"{server.url}/api/v1/images/").status_code == 401
    made = server.run("token", "create", "--role", "developer", "--user", "ci", "--print")
    token = made.stdout.strip()
    assert made.stdout == f"{token}\n", "the token alone, for a script"
    signed = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{server.url}/api/v1/images/", headers=signed).json()["results"] == []
    # A second terminal, in which nobody has set PORT.
    elsewhere = server.run("user", "create", "ann", "--role", "viewer", PORT="")
    assert elsewhere.stdout.startswith(f"{server.url}/sign-in/link/"), elsewhere.stderr
    key = (server.folder / "data" / "secret-key").read_text()

    assert server.stop(signal.SIGINT) == 0
    assert server.output().rstrip().endswith("Stopped.")
    server.start()
    server.until(r"(?s)Stopped\..*SecGuard runs on")
    assert (server.folder / "data" / "secret-key").read_text() == key
    assert httpx.get(f"{server.url}/api/v1/images/", headers=signed).status_code == 200, "the token is still good"
    assert server.stop(signal.SIGTERM) == 0


@processes
def test_a_report_is_judged_by_the_workers_and_the_gate_answers(server):
    server.start()
    server.until(r"SecGuard runs on")
    token = server.run("token", "create", "--role", "developer", "--print").stdout.strip()
    report = server.folder / "report.json"
    report.write_text(
        '{"SchemaVersion": 2, "ArtifactName": "registry.example.org/app:1", "ArtifactType": "container_image",'
        ' "Metadata": {"OS": {"Family": "debian", "Name": "12"},'
        ' "RepoDigests": ["registry.example.org/app@sha256:' + "ab" * 32 + '"]},'
        ' "Results": [{"Target": "debian", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": []}]}'
    )
    env = {"SECGUARD_TOKEN": token, "SECGUARD_URL": server.url}
    gate = server.run("gate", "registry.example.org/app:1", "--report", str(report), "--wait", "60", **env)
    assert gate.returncode == 0, gate.stdout + gate.stderr + server.output()
    assert gate.stdout.startswith("PASS: ")
    again = server.run("gate", f"registry.example.org/app@sha256:{'ab' * 32}", "--format", "json", **env)
    assert again.returncode == 0, again.stderr
    assert token not in gate.stdout + gate.stderr + server.output()


@processes
@pytest.mark.skipif(sys.platform != "linux", reason="reads the process table")
def test_a_process_that_dies_is_started_again(server):
    server.start()
    server.until(r"SecGuard runs on")
    worker = next(pid for line, pid in server.children().items() if "--queues interactive" in line)
    os.kill(worker, signal.SIGKILL)
    server.until(r"worker-1: stopped unexpectedly \(signal SIGKILL\); starting it again in 0.5 s\.")
    end = time.monotonic() + 120
    while not any("--queues interactive" in line and pid != worker for line, pid in server.children().items()):
        assert time.monotonic() < end, server.output()
        time.sleep(0.05)
    assert server.stop() == 0


@processes
def test_a_port_that_is_taken_is_named(first):
    server = first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen(1)
        refused = server.run("up")
    assert refused.returncode == 2
    assert f"Port {server.port} on 127.0.0.1 is in use by another program" in refused.stderr
    assert "PORT=" in refused.stderr
    assert "Traceback" not in refused.stderr


@processes
@pytest.mark.parametrize("command", [["up"], ["migrate"], ["audit", "verify"]])
@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"SECGUARD_DATABASE_URL": "postgres://u:hunter2@127.0.0.1:1/d"}, "The database cannot be opened: .*refused"),
        ({"SECGUARD_DATABASE_URL": "sqlite:////nonexistent/x.db"}, "The database at /nonexistent/x.db cannot be open"),
        ({"SECGUARD_BROKER_URL": "amqp://u:hunter2@h"}, "SECGUARD_BROKER_URL is a URL of kind 'amqp'"),
        ({"SECGUARD_DATA_DIR": __file__}, f"SECGUARD_DATA_DIR is {__file__}, which cannot be used"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(first, command, env, words):
    refused = first.run(*command, **env)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert re.search(words, line)
    assert "hunter2" not in refused.stdout + refused.stderr


@processes
def test_two_servers_do_not_share_a_data_folder(server):
    server.start()
    server.until(r"SecGuard runs on")
    refused = server.run("up", PORT=str(free_port()))
    assert refused.returncode == 2
    assert f"already runs on the data folder {server.folder / 'data'} (process {server.process.pid})" in refused.stderr
    assert server.stop() == 0


def test_the_plan_follows_the_database():
    assert plan({}).workers == 1
    several = plan({"SECGUARD_DATABASE_URL": "postgres://h/d"})
    assert (several.workers, several.web_processes) == (2, 2)
    assert plan({"SECGUARD_DATABASE_URL": "postgres://h/d", "SECGUARD_WORKERS": "5"}).workers == 5


@pytest.mark.parametrize(
    ("given", "is_terminal", "level"),
    [
        ({}, True, "warning"),
        ({"SECGUARD_LOG_LEVEL": ""}, True, "warning"),
        ({"SECGUARD_LOG_LEVEL": "info"}, True, "info"),
        ({}, False, None),
    ],
)
def test_a_terminal_is_not_flooded_with_requests_unless_asked(given, is_terminal, level):
    assert log_level_for(given, is_terminal=is_terminal).get("SECGUARD_LOG_LEVEL") == level


@pytest.mark.parametrize("name", ["PORT", "SECGUARD_WORKERS", "SECGUARD_WEB_THREADS", "SECGUARD_WEB_PROCESSES"])
def test_the_plan_refuses_odd_numbers(name):
    with pytest.raises(BadEnvironment, match=f"{name} is 0"):
        plan({name: "0"})
