"""Workers killed, stopped and cut off at every step of a scan: it ends, once, with the same findings as undisturbed.

What is scanned is an index of two platforms in a real registry, asked for by its tag, so each run has three scans.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures_installations import Installation, Origin, StallingRegistry, own_database
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
def origin(stalling: StallingRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    folder = tmp_path_factory.mktemp("origin")
    server = os.environ.get("SECGUARD_DATABASE_URL", "")
    with ExitStack() as stack:
        url, name = f"sqlite:///{folder / 'db.sqlite3'}", ""
        if server.startswith("postgres"):
            url, name = stack.enter_context(own_database(server))
        first = Installation(folder, url, stalling)
        first.run('from django.core.management import call_command\ncall_command("migrate", verbosity=0)')
        first.run(ASK, host=stalling.host, images=[TAG])
        if first.is_sqlite:
            first.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield Origin(folder, name, stalling)


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
    _write("in the middle of the take-in", "findings_finding", "1 = 1", "INSERT"),
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
