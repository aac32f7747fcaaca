"""Workers killed, stopped and cut off at every step of a scan: it ends, once, with the same findings as undisturbed.

What is scanned is an index of two platforms in a real registry, asked for by its tag, so each run has three scans.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures_installations import (
    Cluster,
    Installation,
    Origin,
    OwnRedis,
    Ready,
    SmallDisk,
    StallingRegistry,
)
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import compressed, image_of, index_of, sha256, tar_of

pytestmark = [pytest.mark.processes, pytest.mark.enable_socket]

STATUS = (
    b"Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u3\nArchitecture: amd64\nSource: glibc\n\n"
    b"Package: openssl\nStatus: install ok installed\nVersion: 3.0.11-1~deb12u2\nArchitecture: amd64\n\n"
)
RELEASE = b'ID=debian\nVERSION_ID="12"\n'
BASE = tar_of({"etc/os-release": RELEASE, "var/lib/dpkg/status": STATUS, "root/.env": b"TOKEN=ghp_" + b"q" * 36})
LARGE = tar_of({"opt/data": random.Random(1).randbytes(2**21)})
LARGE_BLOB = sha256(compressed(LARGE))
NPM = json.dumps({"name": "left-pad", "version": "1.3.0"}).encode()
KEY = b"-----BEGIN RSA PRIVATE KEY-----\n" + b"MIIEow" * 12
APPLICATION = tar_of({"app/node_modules/left-pad/package.json": NPM, "app/id_rsa": KEY})
TAG = "shop/web:multi"

ASK = """
from secguard.images.models import Registry
from django.utils import timezone
from secguard.scans.services.asking import ScanRequest, ask
Registry.objects.get_or_create(
    host=values["host"], defaults={"uses_plain_http": True, "configured_at": timezone.now()}
)
for image in values["images"]:
    ask(ScanRequest(image=values["host"] + "/" + image), actor=None)
"""


@pytest.fixture(scope="module")
def stalling(plain_registry: RunningRegistry) -> Iterator[StallingRegistry]:
    images = [image_of(BASE, LARGE, APPLICATION), image_of(BASE, APPLICATION, architecture="arm64")]
    plain_registry.push("shop/web", "multi", index_of(*images))
    plain_registry.push("shop/web", "amd64", images[0])
    proxy = StallingRegistry(plain_registry)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def origin(stalling: StallingRegistry, ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    folder = tmp_path_factory.mktemp("origin")
    with ready(folder) as (url, name):
        first = Installation(folder, url, stalling)
        first.run(ASK, host=stalling.host, images=[TAG])
        if first.is_sqlite:
            first.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield Origin(folder, url, name, stalling)


@pytest.fixture(scope="module")
def undisturbed(origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the scans come to where nothing goes wrong."""
    with origin.copied(tmp_path_factory.mktemp("undisturbed")) as quiet:
        quiet.worker()
        quiet.until(quiet.is_over)
        found = outcome(quiet)
    assert [status for _, _, status, _, _ in found["scans"]] == ["finished"] * 3
    assert {row[1] for row in found["findings"]} >= {"github-token", "private-key"}
    return found


@pytest.fixture
def installation(origin: Origin, tmp_path: Path) -> Iterator[Installation]:
    with origin.copied(tmp_path) as opened:
        yield opened


OUTCOME = {
    "scans": "SELECT named, platform, status, counts, problem FROM scans_scan",
    "findings": "SELECT i.digest, r.rule, f.path, f.layer, f.status FROM findings_finding f "
    "JOIN findings_risk r ON r.id = f.risk_id JOIN images_image i ON i.id = f.image_id",
    "components": "SELECT i.digest, c.purl, m.layer FROM images_imagecomponent m "
    "JOIN images_component c ON c.id = m.component_id JOIN images_image i ON i.id = m.image_id",
    "observations": "SELECT scanner, count(*) FROM findings_observation GROUP BY scanner",
    "reports": "SELECT sha256 FROM scans_report",
    "tags": "SELECT t.name, i.digest FROM images_tag t JOIN images_image i ON i.id = t.image_id",
    "verdicts": "SELECT i.digest, v.stage, v.verdict FROM policies_verdict v JOIN images_image i ON i.id = v.image_id",
}


def outcome(installation: Installation) -> dict[str, Any]:
    """All that a scan leaves, in one order."""
    return {name: sorted(map(_plain, installation.rows(sql)), key=repr) for name, sql in OUTCOME.items()}


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """JSON is text on SQLite and parsed on PostgreSQL."""
    return tuple(json.loads(v) if isinstance(v, str) and v.startswith(("{", "[")) else v for v in row)


def ends_undisturbed(installation: Installation, expected: dict[str, Any]) -> None:
    """The scans end, with the findings that they have where nothing goes wrong, and nothing lies about."""
    installation.until(installation.is_over, 90)
    assert outcome(installation) == expected
    assert installation.leftovers() == []
    assert [path for path in (installation.data / "layers").rglob("*") if path.is_file() and is_held(path)] == []


def is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


# --- killed ---

IsThere = Callable[[], Any]


@dataclass(frozen=True)
class Step:
    """A point of a scan at which a worker can be held: ``reach`` sees to it and returns what says that it is there."""

    name: str
    reach: Callable[[Installation], IsThere]
    table: str = ""
    """Whose write is halted, where it is one."""


def _resolving(at: Installation) -> IsThere:
    at.registry.stall("/manifests/multi")
    return at.registry.stalled.is_set


def _pulling(at: Installation) -> IsThere:
    at.registry.stall(f"/blobs/{LARGE_BLOB}")
    partial = at.data / "layers" / "partial"
    return lambda: at.registry.stalled.is_set() and any(p.stat().st_size for p in partial.glob("*"))


def _listing(at: Installation) -> IsThere:
    return lambda: at.children(at.workers[-1])


def _write(name: str, table: str, when: str, event: str = "UPDATE") -> Step:
    def halt(at: Installation) -> IsThere:
        at.halt(table, when, event)
        return at.is_halted

    return Step(name, halt, table)


RESOLVING = Step("resolving", _resolving)
PULLING = Step("pulling", _pulling)
LISTING = Step("listing packages", _listing)
TAKING_IN = _write("in the middle of the take-in", "findings_finding", "1 = 1", "INSERT")
TO_THE_REPORT = [
    RESOLVING,
    _write("divided into platforms", "jobs_job", "NEW.status = 'succeeded' AND OLD.kind = 'scans.look'"),
    PULLING,
    _write(
        "looking into a layer",
        "scans_layerresult",
        f"NEW.diff_id = '{sha256(APPLICATION)}' AND NEW.analyser LIKE 'look-%'",
        "INSERT",
    ),
    LISTING,
    _write("keeping the report", "scans_report", "1 = 1", "INSERT"),
]
FROM_THE_REPORT = [
    _write("report kept", "scans_scan", "OLD.report_id IS NOT NULL AND NEW.started_at <> OLD.started_at"),
    TAKING_IN,
    _write("at the end of the take-in", "scans_scan", "NEW.status = 'finished' AND OLD.parent_id IS NOT NULL"),
    _write("taken in, the index not", "scans_scan", "NEW.status = 'finished' AND OLD.parent_id IS NULL"),
    _write("all but the job's end", "jobs_job", "NEW.status = 'succeeded' AND OLD.kind = 'scans.look'"),
]


@pytest.mark.parametrize("steps", [TO_THE_REPORT, FROM_THE_REPORT], ids=["to the report", "from the report"])
def test_workers_killed_at_one_step_after_the_other_cost_time_alone(installation, undisturbed, steps):
    for step in steps:
        is_there = step.reach(installation)
        worker = installation.worker()
        installation.until(is_there)
        installation.kill(worker)
        if step.table:
            installation.go_on(step.table)
        installation.registry.go_on()
        assert not installation.is_over(), step.name
    installation.worker()
    ends_undisturbed(installation, undisturbed)
    assert bool(installation.registry.ranges) == (PULLING in steps), "the transfer went on where it had stopped"


def test_a_killed_worker_takes_syft_with_it(installation):
    worker = installation.worker()
    installation.until(lambda: installation.children(worker))
    installation.kill(worker)
    installation.until(lambda: not [left for left in installation.leftovers() if left.startswith("process")], 5)


def test_who_waited_for_a_digest_ends_although_the_worker_that_led_was_killed(installation, undisturbed):
    installation.run(ASK, host=installation.registry.host, images=["shop/web:amd64"])
    installation.registry.stall("/blobs/")
    leader = installation.worker()
    installation.until(installation.registry.stalled.is_set)
    installation.worker()
    installation.until(lambda: installation.rows("SELECT 1 FROM scans_scan WHERE same_as_id IS NOT NULL"), 30)
    installation.halt("scans_scan", "NEW.is_renamed <> OLD.is_renamed")
    installation.registry.go_on()
    installation.until(installation.is_halted)
    installation.kill(leader)
    installation.go_on("scans_scan")
    installation.until(installation.is_over, 90)
    found = outcome(installation)
    assert [status for _, _, status, _, _ in found["scans"]] == ["finished"] * 4
    for name in ("findings", "components", "observations", "verdicts"):
        assert found[name] == undisturbed[name]
    assert installation.leftovers() == []


# --- stopped, and back after its lease ---


@pytest.mark.parametrize("step", [PULLING, LISTING], ids=lambda step: step.name)
def test_a_worker_that_comes_back_after_its_lease_counts_for_nothing(installation, undisturbed, step):
    is_there = step.reach(installation)
    late = installation.worker()
    installation.until(is_there)
    late.send_signal(signal.SIGSTOP)
    (job,) = installation.rows("SELECT id FROM jobs_job WHERE status = 'running' AND kind = 'scans.look'")[0]
    # As half a minute later.
    installation.execute(f"UPDATE jobs_job SET lease_until = '2020-01-01 00:00:00' WHERE id = {job}")
    installation.registry.go_on()
    other = installation.worker()
    if step is PULLING:
        # The one that is stopped holds the transfer: the other has the job, waits for it, and says so.
        installation.until(lambda: installation.rows(f"SELECT 1 FROM jobs_job WHERE id = {job} AND attempts = 2"))
        installation.until(lambda: "pulling" in installation.progress())
        assert not installation.is_over()
        late.send_signal(signal.SIGCONT)
    installation.until(installation.is_over, 90)
    late.send_signal(signal.SIGCONT)
    # Whichever does the same job once more now, it changes nothing; and it is the one that was late.
    installation.kill(other)
    installation.execute(
        "UPDATE jobs_job SET status = 'queued', attempts = 0, finished_at = NULL, run_after = created_at "
        f"WHERE id = {job}"
    )
    ends_undisturbed(installation, undisturbed)
    assert late.poll() is None, "it goes on working"


# --- the broker forgets ---


class Spool:
    """The embedded broker."""

    def __init__(self, at: Installation) -> None:
        self._messages = at.data / "spool" / "messages"

    def flush(self) -> None:
        for path in self._messages.glob("*"):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        return


@pytest.fixture(params=["redis", "embedded"])
def broker(request: pytest.FixtureRequest, installation: Installation, tmp_path: Path) -> Iterator[OwnRedis | Spool]:
    opened = OwnRedis(tmp_path) if request.param == "redis" else Spool(installation)
    if isinstance(opened, OwnRedis):
        installation.settings["SECGUARD_BROKER_URL"] = opened.url
    yield opened
    installation.close()
    opened.close()


def test_a_broker_that_forgets_everything_costs_time_alone(installation, undisturbed, broker):
    """The scan that is there at the beginning has no message at all: it was asked for before there was this broker."""
    for step in (RESOLVING, PULLING):  # while scans run, and others wait
        is_there = step.reach(installation)
        if not installation.workers:
            installation.worker()
        installation.until(is_there)
        broker.flush()
        installation.registry.go_on()
    ends_undisturbed(installation, undisturbed)
    broker.flush()  # while the worker has nothing to do, and waits for a message
    installation.execute(
        "UPDATE jobs_job SET status = 'queued', attempts = 0, finished_at = NULL, run_after = created_at "
        "WHERE kind = 'scans.look'"
    )
    ends_undisturbed(installation, undisturbed)


# --- the database is away ---


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if not os.environ.get("SECGUARD_DATABASE_URL", "").startswith("postgres"):
        pytest.skip("SECGUARD_DATABASE_URL names no PostgreSQL: this run is on SQLite")
    opened = Cluster(tmp_path)
    yield opened
    opened.close()


def test_a_database_that_is_restarted_costs_time_alone(origin, undisturbed, cluster, tmp_path):
    (tmp_path / "data").mkdir()
    cluster.copy(origin.url, "faults")
    installation = Installation(tmp_path, cluster.url("faults"), origin.registry)
    try:
        installation.worker()
        for step in (RESOLVING, PULLING, LISTING, TAKING_IN):
            is_there = step.reach(installation)
            installation.until(is_there)
            cluster.stop()
            installation.registry.go_on()
            time.sleep(2)  # the server is away for some seconds
            cluster.start()
            if step.table:
                installation.go_on(step.table)
        ends_undisturbed(installation, undisturbed)
        (attempts,) = installation.rows("SELECT max(attempts) FROM jobs_job WHERE kind = 'scans.look'")[0]
        assert attempts <= 3, "a transfer does not begin again because its progress could not be written"
    finally:
        installation.close()


def test_a_database_that_is_locked_for_longer_than_writers_wait_costs_time_alone(installation, undisturbed):
    if not installation.is_sqlite:
        pytest.skip("SQLite alone is locked as a whole")
    hasty = "from secguard.settings import *\nDATABASES['default']['OPTIONS']['timeout'] = 1"
    (installation.folder / "hasty.py").write_text(hasty)
    installation.settings |= {
        "DJANGO_SETTINGS_MODULE": "hasty",
        "PYTHONPATH": f"{installation.env['PYTHONPATH']}{os.pathsep}{installation.folder}",
    }
    is_there = PULLING.reach(installation)
    installation.worker()
    installation.until(is_there)
    log = installation.folder / "worker-0.log"
    with installation.connected() as connection:
        connection.execute("BEGIN IMMEDIATE")
        installation.registry.go_on()
        installation.until(lambda: "outcome could not be written" in log.read_text())
    ends_undisturbed(installation, undisturbed)


# --- the disk is full ---


@pytest.fixture
def disk(installation: Installation) -> Iterator[SmallDisk]:
    opened = SmallDisk(installation.data, 2**24)
    for path in ("spool/messages", "spool/control"):
        (installation.data / path).mkdir(parents=True)
    yield opened
    installation.close()
    opened.close()


@pytest.mark.parametrize(
    ("stalled", "leave", "expected"),
    [
        pytest.param(LARGE_BLOB, 2**20, "The disk under the store of layers", id="in the pull"),
        # It still has room for the last blob, which is small, but not to unpack the layers.
        pytest.param(sha256(compressed(APPLICATION)), 2**13, "No space left on device. Give the disk", id="unpacking"),
    ],
)
def test_a_full_disk_is_said_and_the_scan_ends_once_there_is_room(
    installation, undisturbed, disk, stalled, leave, expected
):
    installation.registry.stall(f"/blobs/{stalled}")
    installation.worker()
    installation.until(installation.registry.stalled.is_set)
    disk.fill(leave)
    installation.registry.go_on()
    installation.until(lambda: said(installation))
    for words, is_later in said(installation):
        assert expected in words
        assert is_later, "it is tried again, and not at once"
    installation.until(lambda: not installation.rows("SELECT 1 FROM jobs_job WHERE status = 'running'"))
    assert not installation.is_over()
    assert not list((installation.data / "work").glob("*")), "nothing half-written stays"
    disk.make_room()
    installation.execute("UPDATE jobs_job SET run_after = created_at WHERE error <> ''")
    ends_undisturbed(installation, undisturbed)


def said(installation: Installation) -> list[tuple[str, bool]]:
    """What jobs that wait to be tried again say, and whether they wait."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    rows = f"SELECT error, run_after > '{now}' FROM jobs_job WHERE status = 'queued' AND error <> ''"
    return [(words, bool(is_later)) for words, is_later in installation.rows(rows)]


def test_a_full_disk_under_the_database_costs_time_alone(origin, undisturbed, tmp_path):
    if origin.name:
        pytest.skip("PostgreSQL's disk is its own")
    with origin.copied(tmp_path) as installation, ExitStack() as stack:
        stack.callback(installation.close)
        place = tmp_path / "small"
        disk = SmallDisk(place, 2**24)
        stack.callback(disk.close)
        stack.callback(installation.close)
        shutil.move(tmp_path / "db.sqlite3", place)
        installation.database_url = f"sqlite:///{place / 'db.sqlite3'}"
        installation.registry.stall(f"/blobs/{LARGE_BLOB}")
        installation.worker()
        installation.until(installation.registry.stalled.is_set)
        disk.fill(0)
        installation.registry.go_on()
        log = installation.folder / "worker-0.log"
        installation.until(lambda: "disk is full" in log.read_text())
        installation.until(lambda: "outcome could not be written" in log.read_text())
        disk.make_room()
        ends_undisturbed(installation, undisturbed)
