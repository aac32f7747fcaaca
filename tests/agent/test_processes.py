"""The agent as a process, beside a server that comes and goes: it passes on, answers itself, and tells of it once."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from secguard.signing import ecdsa
from tests.admission.conftest import pod, review
from tests.agent.conftest import BAD, GOOD, TOKEN, UNKNOWN, WEB, envelope
from tests.fixtures_reports import digest, flaw, report
from tests.test_up import (
    CHECKOUT,
    SECGUARD,
    Server,
    free_port,
    have_tables,
)

pytestmark = [pytest.mark.processes, pytest.mark.once]


class Agent:
    """``secguard admission agent`` on a folder of its own; without ``server`` it is for one that is nowhere."""

    def __init__(self, folder: Path, server: str = "", token: str = TOKEN, **options: str) -> None:
        self.folder, self.port = folder, free_port()
        self.server = server or f"http://127.0.0.1:{free_port()}"
        (folder / "token").write_text(token)
        self.options = {"listen": f"127.0.0.1:{self.port}", "refresh": "1s", "state": str(folder / "state")} | options
        self.process: subprocess.Popen[bytes] | None = None
        self.verify: Any = False
        self.scheme = "https" if "tls_cert" in options else "http"

    def start(self) -> Agent:
        words = [f"--{name.replace('_', '-')}={value}" for name, value in self.options.items()]
        command = [*SECGUARD, "admission", "agent", "--server", self.server, "--token-file", str(self.folder / "token")]
        command += ["--key", str(self.folder / "key.pem"), *words]
        env = {n: v for n, v in os.environ.items() if not n.startswith(("SECGUARD_", "DJANGO_")) and n != "PORT"}
        said = len(self.output())  # by one before it, which served at the same place
        with (self.folder / "agent-output").open("ab") as output:
            self.process = subprocess.Popen(command, env=env, cwd=CHECKOUT, stdout=output, stderr=output)
        self.until(rf"Serving on 127\.0\.0\.1:{self.port}", since=said)
        return self

    def output(self) -> str:
        path = self.folder / "agent-output"
        return path.read_text(errors="replace") if path.exists() else ""

    def until(self, pattern: str, seconds: float = 120.0, *, since: int = 0) -> str:
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.output()[since:])):
            assert self.process is not None
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < end, f"{pattern} is not in:\n{self.output()}"
            time.sleep(0.05)
        return found[0]

    def ask(self, *images: str, **changed: Any) -> dict[str, Any]:
        """The response to a pod of these images, as a cluster's API server asks for it."""
        answer = self.post("/admission/v1/validate?timeout=5s", review(pod(*images), **changed))
        assert answer.status_code == 200, answer.text
        response: dict[str, Any] = answer.json()["response"]
        return response

    def post(self, path: str, body: Any) -> httpx.Response:
        return httpx.post(f"{self.scheme}://localhost:{self.port}{path}", json=body, timeout=10, verify=self.verify)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.scheme}://localhost:{self.port}{path}", timeout=10, verify=self.verify)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)


Made = Callable[..., Agent]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Made]:
    """Makes agents, and ends what is left of them."""
    made: list[Agent] = []

    def make(server: str = "", **options: str) -> Agent:
        made.append(Agent(tmp_path, server, **options))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def held(tmp_path: Path, key: ecdsa.PrivateKey) -> Callable[..., None]:
    """Puts a snapshot into the state folder, as an earlier agent kept it: made 12 minutes ago, unless it is said."""
    (tmp_path / "key.pem").write_text(key.public.pem)
    (tmp_path / "state").mkdir()

    def put(ago: timedelta = timedelta(minutes=12), signer: ecdsa.PrivateKey = key, **changed: Any) -> None:
        raw = envelope(signer, datetime.now(UTC) - ago, **changed)
        (tmp_path / "state" / "snapshot.json").write_bytes(raw)

    return put


# --- beside a real server ---


class Estate:
    """A ``secguard up`` with a cluster that asks, an image that passes and one that does not, and a key."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.start()
        server.until(r"SecGuard runs on")
        made = server.run("token", "create", "--role", "administrator", "--user", "root", "--print")
        self.api = httpx.Client(
            base_url=server.url, headers={"Authorization": f"Bearer {made.stdout.strip()}"}, timeout=60
        )
        malware = {
            "kind": "malware", "id": "Eicar-Test", "sha256": "0" * 64, "path": "/bin/x", "severity": "critical",
            "title": "Eicar-Test",
        }  # fmt: skip
        bad = {"reference": f"{WEB}:2", "digest": digest(2)}
        for raw in (
            report(flaw("CVE-2026-1", severity="low")),
            report(malware, image=bad, covers=["vulnerability", "malware"]),
        ):
            self.api.post("/api/v1/reports/?wait=60", content=raw).raise_for_status()
        gate = self.api.post("/api/v1/clusters/", json={"name": "prod"}).raise_for_status().json()["id"]
        self.token = self.api.post(f"/api/v1/clusters/{gate}/token/").raise_for_status().json()["token"]

    def make_key(self) -> str:
        made = self.api.post("/api/v1/signing-keys/", json={"name": "snapshots"}).raise_for_status().json()
        return str(made["public_pem"])

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.api.get("/api/v1/admission-decisions/").raise_for_status().json()["results"]
        return rows


@pytest.fixture
def estate(tmp_path: Path, migrated_file: Path) -> Iterator[Estate]:
    have_tables(tmp_path, migrated_file)
    server = Server(tmp_path)
    try:
        made = Estate(server)
        yield made
        made.api.close()
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()


def test_a_cluster_is_answered_whether_the_server_is_there_or_not(estate: Estate, agent: Made, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(ecdsa.generate().public.pem)
    asking = agent(estate.server.url, token=estate.token).start()
    # The server is up: it answers itself. It has no key that signs, which is told in words.
    assert "warnings" not in asking.ask(GOOD)
    assert not asking.ask(BAD)["allowed"]
    asking.until(r"SecGuard refuses \(409\): There is no key that signs.*secguard keys create snapshots")
    assert asking.get("/readyz").status_code == 200, "it passes on"
    public = estate.make_key()
    asking.until("signed by none of the keys", 90)
    asking.stop()
    (tmp_path / "key.pem").write_text(public)
    asking.start()
    asking.until(r"The first snapshot is here: cluster prod, 2 images of 2\.", 90)
    assert asking.get("/readyz").status_code == 200
    before = len(estate.rows())

    # It goes away, without a word.
    assert estate.server.stop(signal.SIGTERM) == 0
    began = time.monotonic()
    good, bad = asking.ask(GOOD), asking.ask(BAD, uid="u-away", userInfo={"username": "ben"})
    assert time.monotonic() - began < 5, "within an API server's patience"
    note = r"Answered from a snapshot of \d{4}-\d\d-\d\d \d\d:\d\d UTC, \d+ (seconds?|minutes) old: SecGuard is away\."
    assert good["allowed"]
    assert re.fullmatch(note, good["warnings"][0])
    assert re.search(rf"1 malware finding: Eicar-Test\.(.|\n)*{note}$", bad["status"]["message"])
    asking.until(r"SecGuard is away \(")
    assert not asking.ask(UNKNOWN, uid="u-unknown")["allowed"]

    # Another agent takes its place.
    assert asking.stop(signal.SIGKILL) == -signal.SIGKILL
    asking.start()
    asking.until(r"is taken up; 2 images")
    assert not asking.ask(BAD, uid="u-again")["allowed"]
    assert asking.ask(GOOD, uid="u-good")["allowed"]

    # It is back: it answers itself again, and is told what was answered without it, once.
    estate.server.start()
    asking.until(r"5 answers that were given while SecGuard was away were told to it", 120)
    asking.until("SecGuard answers again")
    assert "warnings" not in asking.ask(GOOD)
    time.sleep(2.5)
    told = [row for row in estate.rows() if row["answered_by"] == "agent"]
    assert {(r["outcome"], r["count"]) for r in told} == {("denied", 2), ("denied", 1), ("allowed", 2)}
    assert all(row["snapshot_at"] for row in told)
    assert len(estate.rows()) == before + len(told)
    assert asking.stop() == 0


def test_a_change_counts_in_every_web_process_within_five_seconds(tmp_path: Path, migrated_file: Path) -> None:
    have_tables(tmp_path, migrated_file)
    server = Server(tmp_path, SECGUARD_WEB_PROCESSES="2", SECGUARD_WEB_THREADS="2")
    try:
        estate = Estate(server)
        headers = {"Authorization": f"Bearer {estate.token}"}

        def allowed(times: int) -> set[bool]:
            """What is answered, over a connection of its own each time: whichever process takes it."""
            found = set()
            for _ in range(times):
                answer = httpx.post(f"{server.url}/admission/v1/validate", json=review(pod(GOOD)), headers=headers)
                found.add(answer.json()["response"]["allowed"])
            return found

        assert allowed(40) == {True}, "both processes remember it now"
        (registry,) = estate.api.get("/api/v1/registries/").json()["results"]
        estate.api.patch(f"/api/v1/registries/{registry['id']}/", json={"is_preferred": False}).raise_for_status()
        began = time.monotonic()
        while allowed(20) != {False}:
            assert time.monotonic() - began < 5
        estate.api.close()
    finally:
        server.stop()


# --- without one ---


def test_a_snapshot_from_earlier_answers_and_says_how_old_it_is(agent: Made, held: Any) -> None:
    held()
    asking = agent().start()
    assert asking.ask(GOOD)["warnings"][0].endswith("12 minutes old: SecGuard is away.")
    assert not asking.ask(BAD)["allowed"]
    assert asking.get("/readyz").status_code == 200
    lines = (asking.folder / "state" / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["parts"][0]["outcome"] for line in lines] == ["allowed", "denied"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"signer": ecdsa.generate()}, "signed by none of the keys"),
        ({"token": "sgk_another"}, "for the cluster 'prod' and another token"),
        ({"ago": -timedelta(minutes=10)}, "one of the two clocks is wrong"),
    ],
)
def test_what_is_forged_swapped_or_of_the_future_answers_nothing(
    agent: Made, held: Any, changed: Any, words: str
) -> None:
    held(**changed)
    asking = agent().start()
    assert words in asking.output()
    response = asking.ask(GOOD)
    assert not response["allowed"]
    assert "there is no snapshot to answer from" in response["status"]["message"]
    assert asking.get("/readyz").status_code == 503


def test_an_altered_file_answers_nothing(agent: Made, held: Any, tmp_path: Path) -> None:
    held()
    path = tmp_path / "state" / "snapshot.json"
    found = json.loads(path.read_text())
    found["payload"] = found["payload"][:-8] + "AAAA" + found["payload"][-4:]
    path.write_text(json.dumps(found))
    asking = agent().start()
    assert "is not used" in asking.output()
    assert not asking.ask(GOOD)["allowed"]


@pytest.mark.parametrize(("mode", "allowed"), [("enforce", False), ("warn", True), ("observe", True)])
def test_too_old_a_snapshot_tells_the_modes_alone(agent: Made, held: Any, mode: str, allowed: bool) -> None:
    held(ago=timedelta(hours=3), namespaces={"shop": mode})
    response = agent(max_age="2h").start().ask(GOOD)
    assert response["allowed"] is allowed
    said = response["warnings"][0] if allowed else response["status"]["message"]
    assert "is 3 hours old: at most 2 hours count" in said


def test_it_serves_tls_and_takes_up_a_renewed_certificate(agent: Made, held: Any, tmp_path: Path) -> None:
    held()
    for name in ("first", "second"):
        certificate(tmp_path, name)
    cert, private = tmp_path / "tls.crt", tmp_path / "tls.key"

    def use(name: str) -> None:
        private.write_bytes((tmp_path / f"{name}.key").read_bytes())
        cert.write_bytes((tmp_path / f"{name}.crt").read_bytes())

    use("first")
    asking = agent(tls_cert=str(cert), tls_key=str(private)).start()
    asking.verify = ssl.create_default_context(cafile=str(tmp_path / "first.crt"))
    assert asking.ask(GOOD)["allowed"]
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://localhost:{asking.port}/healthz")
    use("second")
    asking.until("The certificate was renewed")
    asking.verify = ssl.create_default_context(cafile=str(tmp_path / "second.crt"))
    assert asking.ask(GOOD)["allowed"]


def certificate(folder: Path, name: str) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(folder / f"{name}.key"),
         "-out", str(folder / f"{name}.crt")],
        check=True, capture_output=True,
    )  # fmt: skip


def test_it_ends_when_what_was_asked_is_answered(agent: Made, held: Any) -> None:
    held()
    asking = agent().start()
    with httpx.Client(base_url=f"http://localhost:{asking.port}") as kept:
        assert kept.get("/healthz").status_code == 200
        began = time.monotonic()
        assert asking.stop() == 0, "an idle connection keeps nobody"
        assert time.monotonic() - began < 5
    assert asking.output().rstrip().endswith("Stopped.")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /admission/v1/validate HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", b"404"),
        (b"POST /admission/v1/validate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /admission/v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"411"),
        (b"POST /admission/v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST /admission/v1/validate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]", b"422"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
    ],
)
def test_what_is_no_question_is_refused_and_harms_nothing(agent: Made, held: Any, raw: bytes, status: bytes) -> None:
    import socket

    held()
    asking = agent().start()
    with socket.create_connection(("127.0.0.1", asking.port), 10) as line:
        line.sendall(raw)
        assert status in line.recv(4096).partition(b"\r\n")[0]
    assert asking.ask(GOOD)["allowed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"listen": "0.0.0.0:8443"}, "Without --tls-cert and --tls-key the agent serves on this machine alone"),
        ({"key": "/none.pem"}, "The public keys in /none.pem cannot be read"),
        ({"max_age": "8d"}, "expected a time from"),
        ({"state": "/proc/none"}, "name one with --state"),
        ({"tls_cert": "/none.crt"}, "Name both --tls-cert and --tls-key"),
    ],
)
def test_what_cannot_be_used_is_told_at_the_start(tmp_path: Path, held: Any, options: Any, words: str) -> None:
    (tmp_path / "token").write_text(TOKEN)
    given = {"key": str(tmp_path / "key.pem"), "state": str(tmp_path / "state"), "listen": "127.0.0.1:0"} | options
    command = [*SECGUARD, "admission", "agent", "--server=http://127.0.0.1:1", f"--token-file={tmp_path / 'token'}"]
    command += [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_it_needs_neither_django_nor_a_database() -> None:
    """Imported, with everything that it imports, where Django cannot be."""
    code = (
        "import sys; sys.modules['django'] = None; sys.modules['psycopg'] = None; sys.modules['celery'] = None\n"
        "from secguard import cli; from secguard.agent import running\n"
        "words = ['admission', 'agent', '--server', 'http://x', '--token-file', 't', '--key', 'k']\n"
        "print(cli.parser().parse_args(words).listen)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.stdout.strip() == "('127.0.0.1', 8443)", done.stderr
