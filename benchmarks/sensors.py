"""Events and flows posted at a steady rate (open loop), while pages are asked for; each is counted once.

What is acknowledged must be there in the end, and no more than that.
"""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from benchmarks.server import Server
from benchmarks.table import Measure

PART = "Events and flows"
SECONDS = 60
EVENTS_A_SECOND, FLOWS_A_SECOND = 5_000, 20_000
A_BATCH = {"events": 500, "flows": 5_000}
MARK = b"0000000000"
"""Replaced in each body, so that no two events are the same."""
PAGE_MS = 300
DRAIN_SECONDS = 600


@dataclass
class Sent:
    times: list[float] = field(default_factory=list)
    taken: int = 0
    errors: list[str] = field(default_factory=list)


def run(server: Server) -> list[Measure]:
    if not server.database_url.startswith("postgres"):
        return []
    token = _sensor(server)
    measures = _channel(server, token, "events", "/hooks/falco/", EVENTS_A_SECOND, _events())
    print(*(measure.row for measure in measures), sep="\n", flush=True)  # noqa: T201 - should the next part fail
    return measures + _channel(server, token, "flows", "/hooks/flows/", FLOWS_A_SECOND, _flows())


def _sensor(server: Server) -> str:
    body = {"name": "bench", "cluster": "bench", "takes_events": True, "takes_flows": True}
    answer = server.ask("/api/v1/sensors/", json.dumps(body).encode())
    return str(answer.document["token"])


def _channel(server: Server, token: str, what: str, path: str, rate: int, bodies: Sequence[bytes]) -> list[Measure]:
    before = server.peak_memory()
    pages: list[float] = []
    stop = threading.Event()
    asking = threading.Thread(target=_ask_pages, args=(server, pages, stop))
    asking.start()
    begin = time.monotonic()
    sent = _send(server, token, path, rate / A_BATCH[what], bodies)
    seconds = time.monotonic() - begin
    stop.set()
    asking.join()
    waiting = _waiting(server)
    drained = _until(lambda: not _waiting(server))
    after = server.peak_memory()
    if not sent.times:
        raise RuntimeError(f"no {what} were taken: {sent.errors[0]}")
    times = sorted(sent.times)
    note = f"{sent.taken:,} in {seconds:.0f} s, {A_BATCH[what]:,} a request; {len(sent.errors)} refused"
    note += f"; answered in {statistics.median(times) * 1000:.0f} ms (median), {times[-1] * 1000:.0f} ms at most"
    measures = [
        Measure(PART, f"{what} taken and kept durably", sent.taken / seconds, f"{what}/s", rate, True, note),
        Measure(
            PART, f"pages meanwhile: 95th percentile ({what})", _p95(pages), "ms", PAGE_MS, note=f"{len(pages)} asked"
        ),
        Measure(PART, f"{what} that wait at the end", waiting, "", note=f"worked on {drained:.1f} s later"),
    ]
    if what == "events":
        lost = sent.taken - _counted(server)
        measures.append(Measure(PART, "acknowledged and not counted exactly once", abs(lost), "", 0))
    grown = {role: after[role] - before.get(role, 0.0) for role in ("gunicorn", "celery") if role in after}
    notes = "; ".join(f"{role} {after[role]:.0f} MB, {size:+.0f}" for role, size in grown.items())
    measures.append(Measure(PART, f"memory: most a process grew ({what})", max(grown.values()), "MB", 150, note=notes))
    return measures


def _send(server: Server, token: str, path: str, rate: float, bodies: Sequence[bytes]) -> Sent:
    """``rate`` requests a second, each begun at its own time whether or not the ones before were answered."""
    sent, numbers, lock = Sent(), itertools.count(1), threading.Lock()
    begin = time.monotonic()

    def one(number: int) -> None:
        due = begin + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        body = bodies[number % len(bodies)].replace(MARK, b"%010d" % next(numbers))
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)  # an idle one the server would close
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            line.request("POST", path, body, headers)
            answer = line.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException) as error:
            with lock:
                sent.errors.append(repr(error))
            return
        finally:
            line.close()
        with lock:
            if answer.status == 200:
                sent.taken += json.loads(raw)["taken"]
                sent.times.append(time.monotonic() - due)
            else:
                sent.errors.append(f"{answer.status}: {raw[:200]!r}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(int(rate * SECONDS))))
    return sent


def _ask_pages(server: Server, pages: list[float], stop: threading.Event) -> None:
    paths = itertools.cycle(["/api/v1/images/", "/api/v1/events/stories/", "/api/v1/risks/", "/api/v1/decisions/"])
    while not stop.wait(0.5):
        pages.append(server.ask(next(paths)).seconds * 1000)


def _p95(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.95)] if times else 0.0


def _until(is_so: Callable[[], bool]) -> float:
    begin = time.monotonic()
    while not is_so() and time.monotonic() - begin < DRAIN_SECONDS:
        time.sleep(0.5)
    return time.monotonic() - begin


def _one(server: Server, sql: str) -> int:
    with psycopg.connect(server.database_url) as connection:
        found = connection.execute(sql).fetchone()
    return int(found[0]) if found and found[0] is not None else 0


def _waiting(server: Server) -> int:
    return _one(server, "SELECT sum(count) FROM events_batch WHERE failed_at IS NULL")


def _counted(server: Server) -> int:
    return _one(server, "SELECT sum(count) FROM events_tally WHERE source = 'falco'")


def _events() -> list[bytes]:
    """Alerts of 25 rules in 400 containers, as Falco writes them."""
    now = datetime.now(UTC).isoformat()
    size = A_BATCH["events"]
    return [b"\n".join(_event(batch * size + n, now) for n in range(size)) for batch in range(20)]


def _event(number: int, now: str) -> bytes:
    fields = {
        "container.id": f"{number % 400:012x}",
        "container.image.repository": "reg.example/shop/web",
        "k8s.ns.name": None,
        "k8s.pod.name": None,
        "proc.cmdline": f"sh -c run {MARK.decode()}",
        "proc.exepath": "/bin/sh",
        "proc.pid": number,
        "user.name": "root",
    }
    alert = {
        "time": now,
        "rule": f"Rule {number % 25}",
        "priority": "Notice",
        "source": "syscall",
        "output": f"A shell was spawned (pid {number})",
        "output_fields": fields,
    }
    return json.dumps(alert).encode()


def _flows() -> list[bytes]:
    """Flows between 1,000 workloads, as Hubble's exporter writes them."""
    size = A_BATCH["flows"]
    return [b"\n".join(_flow(batch * size + n) for n in range(size)) for batch in range(4)]


def _flow(number: int) -> bytes:
    at = datetime.now(UTC) - timedelta(seconds=number % 60)
    source, destination = number % 1_000, (number * 7) % 1_000
    flow = {
        "time": at.isoformat().replace("+00:00", "Z"),
        "uuid": f"{MARK.decode()}-{number}",
        "verdict": "FORWARDED",
        "IP": {"source": f"10.0.{source // 250}.{source % 250}", "destination": "10.1.0.1", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 30_000 + number % 20_000, "destination_port": 8080, "flags": {"SYN": True}}},
        "source": _peer(source),
        "destination": _peer(destination),
        "Type": "L3_L4",
        "node_name": f"node-{number % 20}",
        "traffic_direction": "EGRESS",
        "is_reply": False,
    }
    return json.dumps({"flow": flow, "node_name": flow["node_name"], "time": flow["time"]}).encode()


def _peer(number: int) -> dict[str, object]:
    return {
        "ID": number,
        "identity": 10_000 + number,
        "namespace": f"ns{number % 40}",
        "labels": [f"k8s:app=w{number}"],
        "pod_name": f"w{number}-5d7c9f8b4-x2x1z",
        "workloads": [{"name": f"w{number}", "kind": "Deployment"}],
    }
