"""Workers killed, stopped and cut off at every step of a promotion: it ends, once, as if nothing had disturbed it."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures_installations import Cluster, Installation, Origin, OwnRedis, Ready
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import compressed, sha256
from tests.images.pushed import is_whole
from tests.promotion.between import Between
from tests.promotion.forking import Forking, Nursery, forking
from tests.promotion.installed import (
    BEFORE,
    CARRYING,
    FIRST,
    FIRST_PK,
    LARGE,
    LATER,
    PATH,
    SECOND,
    SECOND_PK,
    SET_UP,
    TAG,
    THERE,
    THIRD,
    Two,
    count,
    ends_promoted,
    has_ended,
    is_promoted_once,
    points,
    reports,
    status,
)

pytestmark = [pytest.mark.processes, pytest.mark.enable_socket]


@pytest.fixture(scope="module")
def registries(plain_registry: RunningRegistry) -> Iterator[Two]:
    for tag, built in (("2", SECOND), ("3", THIRD), (TAG, FIRST)):
        plain_registry.push(f"build/{PATH}", tag, built)
    opened = Two(Between(plain_registry), Between(plain_registry))
    opened.source.space = "build"
    yield opened
    opened.source.close()
    opened.destination.close()


@pytest.fixture(scope="module")
def origin(registries: Two, ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    folder = tmp_path_factory.mktemp("origin")
    hosts = [registries.source.host, registries.destination.host]
    platforms = [(c.digest, f"linux/{c.platform['architecture']}") for c in FIRST.children]
    with ready(folder) as (url, name):
        first = Installation(folder, url)
        first.run(
            SET_UP,
            hosts=hosts,
            reports=reports(hosts[0]),
            index=FIRST.digest,
            platforms=platforms,
            second=SECOND.digest,
        )
        # The second one waits until a test wants it.
        first.execute(f"UPDATE jobs_job SET run_after = '{LATER}' WHERE key = '{SECOND_PK}'")
        if first.is_sqlite:
            first.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield Origin(folder, url, name, registries)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def nursery(origin: Origin) -> Iterator[Nursery]:
    made = Nursery(Installation(origin.folder, origin.url))
    yield made
    made.close()


@pytest.fixture
def space(registries: Two, plain_registry: RunningRegistry) -> str:
    """The test's own folder at the destination, where another image stands under the tag."""
    made = f"t{secrets.token_hex(4)}"
    registries.destination.reset(made)
    plain_registry.push(f"{made}/{THERE}", TAG, BEFORE)
    return made


@pytest.fixture
def installation(origin: Origin, nursery: Nursery, space: str, tmp_path: Path) -> Iterator[Forking]:
    with origin.copied(tmp_path) as opened, forking(opened, nursery) as made:
        yield made


# --- killed ---

IsThere = Callable[[], Any]


@dataclass(frozen=True)
class Point:
    """Where a worker can be held: ``reach`` sees to it and returns what says that it is there."""

    name: str
    reach: Callable[[Installation], IsThere]
    table: str = ""
    """Whose write is halted, where it is one."""
    is_tagged: bool = False


def release(installation: Installation, pk: int) -> None:
    """Let a job be due now, whatever became of it."""
    installation.execute(
        "UPDATE jobs_job SET status = 'queued', attempts = 0, finished_at = NULL, run_after = created_at "
        f"WHERE kind = 'promotion.carry' AND key = '{pk}'"
    )


def at_source(name: str, pattern: str) -> Point:
    def stall(at: Installation) -> IsThere:
        at.registry.source.stall(pattern)
        return lambda: at.registry.source.stalled.is_set()

    return Point(name, stall)


def at_destination(name: str, pattern: str, when: str = "before", *, skip: int = 0, is_tagged: bool = False) -> Point:
    def stall(at: Installation) -> IsThere:
        at.registry.destination.stall(pattern, when, skip)
        return lambda: at.registry.destination.stalled.is_set()

    return Point(name, stall, is_tagged=is_tagged)


def in_database(name: str, table: str, when: str, *, is_tagged: bool = False) -> Point:
    def halt(at: Installation) -> IsThere:
        at.halt(table, when)
        return at.is_halted

    return Point(name, halt, table, is_tagged)


def begins(step: str, name: str) -> Point:
    """Where a step is about to be begun for the first time: the one before it is done."""
    new, old = (f"CAST({row}.steps AS text)" for row in ("NEW", "OLD"))
    return in_database(name, "promotion_promotion", f"{new} LIKE '%\"{step}\"%' AND {old} NOT LIKE '%\"{step}\"%'")


LARGE_BLOB = sha256(compressed(LARGE))
HEX = "sha256-[0-9a-f]{64}"
COPYING = at_source("in the middle of a blob", f"GET .*/blobs/{LARGE_BLOB}")
READING = begins("tag", "read back")
TO_THE_SIGNATURE = [
    begins("approvals", "judged"),
    begins("copy", "approvals counted"),
    COPYING,
    at_destination("blobs there, no manifest", "PUT .*/manifests/sha256:"),
    at_destination("the signature's blob there", rf"PUT .*/manifests/{HEX}\.sig"),
    at_destination("one form of the signature there", rf"PUT .*/manifests/{HEX}\.sig", "after"),
    at_destination("the other form there, and not listed", f"PUT .*/manifests/{HEX}$"),
]
FROM_THE_SIGNATURE = [
    begins("attest", "signed"),
    at_destination("one form of the statements there", rf"PUT .*/manifests/{HEX}\.att", "after"),
    at_destination("statements there, and not listed", f"PUT .*/manifests/{HEX}$"),
    begins("read-back", "attested"),
    READING,
    at_destination("before the tag is moved", f"PUT .*/manifests/{TAG}$"),
    at_destination("right after the tag was moved", f"PUT .*/manifests/{TAG}$", "after", is_tagged=True),
    in_database("recording", "promotion_promotion", "NEW.status = 'promoted'", is_tagged=True),
]


@pytest.mark.parametrize(
    "reached", [TO_THE_SIGNATURE, FROM_THE_SIGNATURE], ids=["to the signature", "from the signature"]
)
def test_workers_killed_at_one_step_after_the_other_cost_time_alone(
    installation, space, plain_registry, reached: list[Point]
):
    with installation.registry.destination.looked_at(THERE, TAG) as seen:
        for point in reached:
            is_there = point.reach(installation)
            worker = installation.worker()
            installation.until(is_there)
            installation.kill(worker)
            if point.table:
                installation.go_on(point.table)
            installation.registry.go_on()
            assert status(installation) == "running", point.name
            there, known = points(installation)
            assert there == (FIRST if point.is_tagged else BEFORE).digest, point.name
            assert known == "", point.name
        installation.worker()
        ends_promoted(installation)
    assert seen == [BEFORE.digest, FIRST.digest], "it was moved once"
    assert points(installation) == (FIRST.digest, FIRST.digest)
    assert is_whole(plain_registry, f"{space}/{THERE}", FIRST)


def test_killed_with_all_but_the_jobs_end_done_nothing_is_done_again(installation):
    point = in_database("the job's end", "jobs_job", "NEW.status = 'succeeded' AND OLD.kind = 'promotion.carry'")
    is_there = point.reach(installation)
    worker = installation.worker()
    installation.until(is_there)
    installation.kill(worker)
    installation.go_on(point.table)
    installation.registry.destination.asked.clear()
    installation.worker()
    installation.until(lambda: has_ended(installation))
    assert installation.registry.destination.asked == []
    is_promoted_once(installation)


# --- stopped, and back after its lease ---


def all_there(between: Between) -> dict[str, str]:
    """What all that several workers write points to: the tag, the signatures, the statements, the lists of them."""
    tags = [f"{one.digest.replace(':', '-')}{end}" for one in (FIRST, *FIRST.children) for end in ("", ".sig", ".att")]
    return {tag: between.points(THERE, tag) for tag in (TAG, *tags)}


READ_TO_SIGN = at_destination("nothing is signed, it read", rf"GET .*/manifests/{HEX}\.sig", "after")
READ_TO_STATE = at_destination("nothing is stated, it read", rf"GET .*/manifests/{HEX}\.att", "after", skip=3)
READ_BACK = at_destination("reading back", f"HEAD .*/blobs/{LARGE_BLOB}", "after", skip=1)


@pytest.mark.parametrize("point", [COPYING, READ_TO_SIGN, READ_TO_STATE, READ_BACK], ids=lambda point: point.name)
def test_a_worker_that_comes_back_after_its_lease_changes_nothing(installation, point: Point):
    """What it read was true when it read it, and what it would write now would undo what the other one has done."""
    installation.lease = 2.0
    destination = installation.registry.destination
    is_there = point.reach(installation)
    late = installation.worker()
    installation.until(is_there)
    late.send_signal(signal.SIGSTOP)
    other = installation.worker()
    ends_promoted(installation)
    release(installation, SECOND_PK)
    ends_promoted(installation, SECOND, SECOND_PK)
    before = all_there(destination)
    assert before[TAG] == SECOND.digest
    installation.kill(other)
    with destination.looked_at(THERE, TAG) as seen:
        installation.registry.go_on()
        late.send_signal(signal.SIGCONT)
        # It is done with it once it has done the same job once more, and found it promoted.
        release(installation, FIRST_PK)
        installation.until(lambda: has_ended(installation))
    assert seen == [SECOND.digest]
    assert all_there(destination) == before
    is_promoted_once(installation)
    assert late.poll() is None, "it goes on working"


# --- two at once ---

POST = """
import pathlib, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from django.db import connection
from secguard.accounts.models import User
from secguard.errors import Conflict
from secguard.promotion import services
from tests.fixtures_people import api_client

people = [api_client(User.objects.get(username="operator"), "operator") for _ in range(10)]
reviewer = User.objects.get(username="security-reviewer")

def post(client):
    try:
        wanted = {"image": values["image"], "to": "staging"}
        answer = client.post("/api/v1/promotions/", wanted, headers={"host": "localhost"})
        assert answer.status_code == 201, answer.content
        return answer.json()["id"]
    finally:
        connection.close()

with ThreadPoolExecutor(10) as threads:
    pathlib.Path(f"ready-{values['number']}").touch()
    while len(list(pathlib.Path().glob("ready-*"))) < 2:
        time.sleep(0.001)
    found = list(threads.map(post, people))
assert len(set(found)) == 1, found
with suppress(Conflict):  # the other one was faster
    services.approve(found[0], actor=reviewer)
"""


def test_twenty_who_ask_for_one_digest_at_once_have_one_promotion(installation):
    image = f"{installation.registry.source.host}/{PATH}:3"
    with ThreadPoolExecutor(2) as processes:
        for done in [processes.submit(installation.run, POST, image=image, number=number) for number in range(2)]:
            done.result()
    ((pk,),) = installation.rows(f"SELECT id FROM promotion_promotion WHERE digest = '{THIRD.digest}'")
    noted = f"audit_auditentry WHERE subject_type = 'promotion' AND subject_id = '{pk}' AND action = 'promotion:"
    assert [count(installation, f"{noted}{what}'") for what in ("request", "vote")] == [1, 1]
    assert count(installation, "approvals_approvalrequest") == 3
    installation.worker()
    ends_promoted(installation, THIRD, pk)
    assert installation.registry.destination.points(THERE, "3") == THIRD.digest


def progress(installation: Installation, pk: int) -> str:
    ((text,),) = installation.rows(f"SELECT progress_text FROM {CARRYING} AND key = '{pk}'")
    return str(text)


@pytest.mark.parametrize("is_killed", [False, True], ids=["goes on", "is killed"])
def test_of_two_to_one_tag_the_later_one_waits_for_the_earlier_one(installation, is_killed: bool):
    installation.patience = 1.0
    installation.registry.destination.stall(f"PUT .*/manifests/{TAG}$", "before")
    with installation.registry.destination.looked_at(THERE, TAG) as seen:
        first = installation.worker()
        installation.until(installation.registry.destination.stalled.is_set)
        release(installation, SECOND_PK)
        installation.worker()
        installation.until(lambda: "waiting" in progress(installation, SECOND_PK))
        if is_killed:
            first.kill()
        installation.registry.go_on()
        for pk, built in ((FIRST_PK, FIRST), (SECOND_PK, SECOND)):
            ends_promoted(installation, built, pk)
    assert seen == [BEFORE.digest, FIRST.digest, SECOND.digest]
    assert points(installation) == (SECOND.digest, SECOND.digest)


def test_of_two_to_one_tag_the_earlier_one_leaves_it_to_the_later_one(installation):
    installation.registry.source.stall(f"GET .*/blobs/{LARGE_BLOB}")
    installation.registry.destination.stall(f"PUT .*/manifests/{TAG}$", "before")
    with installation.registry.destination.looked_at(THERE, TAG) as seen:
        installation.worker()
        installation.until(installation.registry.source.stalled.is_set)
        release(installation, SECOND_PK)
        installation.worker()
        installation.until(installation.registry.destination.stalled.is_set)
        installation.registry.source.go_on()
        ends_promoted(installation)
        assert points(installation) == (BEFORE.digest, "")
        installation.registry.destination.go_on()
        ends_promoted(installation, SECOND, SECOND_PK)
    assert seen == [BEFORE.digest, SECOND.digest]
    assert points(installation) == (SECOND.digest, SECOND.digest)


# --- the broker forgets, the database is away ---


def test_a_broker_that_forgets_everything_costs_time_alone(origin, space, tmp_path):
    """Neither job has a message: they were asked for before there was this broker."""
    with origin.copied(tmp_path) as installation, ExitStack() as stack:
        broker = OwnRedis(tmp_path)
        stack.callback(broker.close)
        stack.callback(installation.close)
        installation.settings["SECGUARD_BROKER_URL"] = broker.url
        is_there = COPYING.reach(installation)
        installation.worker()
        installation.until(is_there)
        broker.flush()
        installation.registry.go_on()
        ends_promoted(installation)
        broker.flush()  # while the worker has nothing to do, and waits for a message
        release(installation, SECOND_PK)
        ends_promoted(installation, SECOND, SECOND_PK)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    if not os.environ.get("SECGUARD_DATABASE_URL", "").startswith("postgres"):
        pytest.skip("SECGUARD_DATABASE_URL names no PostgreSQL: this run is on SQLite")
    opened = Cluster(tmp_path)
    yield opened
    opened.close()


def test_a_database_that_is_restarted_costs_time_alone(origin, space, cluster, tmp_path):
    (tmp_path / "data").mkdir()
    cluster.copy(origin.url, "faults")
    installation = Installation(tmp_path, cluster.url("faults"), origin.registry)
    try:
        installation.worker()
        for point in (COPYING, at_destination("tagging", f"PUT .*/manifests/{TAG}$", "after")):
            is_there = point.reach(installation)
            installation.until(is_there)
            cluster.stop()
            installation.registry.go_on()
            time.sleep(2)  # the server is away for some seconds
            cluster.start()
        ends_promoted(installation)
        assert points(installation) == (FIRST.digest, FIRST.digest)
    finally:
        installation.close()
