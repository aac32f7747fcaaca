"""Workers killed, stopped and cut off at every step of a promotion: it ends, once, as if nothing had disturbed it.

What is promoted is an index of two platforms between two real registries, asked for by its tag and approved.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.pushing import PushingClient
from secguard.signing import ecdsa, statements
from secguard.signing.adapters import attached
from secguard.signing.verification import Party, Standing, judge
from tests.fixtures_installations import Cluster, Installation, Origin, OwnRedis, own_database
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import BuiltImage, compressed, image_of, index_of, sha256, tar_of
from tests.images.pushed import is_whole
from tests.promotion.between import Between
from tests.promotion.forking import Forking, Nursery, forking

pytestmark = [pytest.mark.processes, pytest.mark.enable_socket]

LARGE = tar_of({"opt/data": os.urandom(2**20)})
FIRST = index_of(image_of(LARGE), image_of(tar_of({"etc/id": b"arm"}), architecture="arm64"))
SECOND = image_of(tar_of({"etc/id": b"another"}))
THIRD = image_of(tar_of({"etc/id": b"a third"}))
BEFORE = image_of(tar_of({"etc/id": b"what stood there"}))
PATH, THERE, TAG = "shop/web", "staging/shop/web", "1.4"
FIRST_PK, SECOND_PK = 1, 2
LATER = "2999-01-01 00:00:00"
CARRYING = "jobs_job WHERE kind = 'promotion.carry'"

SET_UP = """
from secguard.accounts.models import Application, Membership, Team, User
from secguard.images.models import Image, Index, IndexImage, Repository, Tag
from secguard.images.services import RegistryEdit, add_registry
from secguard.promotion import services
from secguard.scans import services as scans
from secguard.signing.services import NewKey, create_key

roles = ("administrator", "operator", "security-reviewer")
people = {role: User.objects.create(username=role, email=role + "@example.org") for role in roles}
for role, user in people.items():
    Membership.objects.create(user=user, role=role)
Application.objects.create(name="Shop", slug="shop", team=Team.objects.create(name="Payments", slug="payments"))
source, destination = values["hosts"]
for host in values["hosts"]:
    add_registry(host, RegistryEdit(uses_plain_http=True), actor=None)
create_key("release", NewKey(), actor=None)
Edit = services.EnvironmentEdit
services.add_environment("build", Edit(registry=source), actor=None)
seats = {"security-reviewer": 1}
staging = Edit(registry=destination, path_prefix="staging", key_name="release", approvers=seats)
services.add_environment("staging", staging, actor=None)
for report in values["reports"]:
    taken = scans.Submission(json.dumps(report).encode(), application="shop")
    scan, _ = scans.submit(taken, actor=people["administrator"], max_bytes=10**8)
    scans.take_in(scan.pk, progress=lambda *_: None)
index = Index.objects.create(digest=values["index"])
for digest, platform in values["platforms"]:
    IndexImage.objects.create(index=index, image=Image.objects.get(digest=digest), platform=platform)
name = source + "/shop/web"
Tag.objects.filter(repository=Repository.objects.get(name=name), name="1.4").update(index=index)
for image in (name + ":1.4", name + "@" + values["second"]):
    asked = services.ask(services.Ask(image, "staging", ["1.4"]), actor=people["operator"])
    services.approve(asked.pk, actor=people["security-reviewer"])
"""


def reports(host: str) -> list[dict[str, Any]]:
    """A pipeline's, on every image."""
    return [
        {
            "schema": "secguard-report/v1",
            "scanner": {"name": "trivy"},
            "image": {"reference": f"{host}/{PATH}:{tag}", "digest": built.digest},
            "covers": ["vulnerability", "malware"],
            "components": [{"purl": f"pkg:deb/debian/openssl@3.0.{number}"}],
        }
        for number, (tag, built) in enumerate([("2", SECOND), ("3", THIRD), *((TAG, one) for one in FIRST.children)])
    ]


@dataclass
class Two:
    """The registries: what images come from, and where they go."""

    source: Between
    destination: Between

    @property
    def ranges(self) -> list[str]:
        return self.source.ranges

    def go_on(self) -> None:
        self.source.go_on()
        self.destination.go_on()


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
def origin(registries: Two, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Origin]:
    folder = tmp_path_factory.mktemp("origin")
    server = os.environ.get("SECGUARD_DATABASE_URL", "")
    hosts = [registries.source.host, registries.destination.host]
    platforms = [(c.digest, f"linux/{c.platform['architecture']}") for c in FIRST.children]
    with ExitStack() as stack:
        url, name = f"sqlite:///{folder / 'db.sqlite3'}", ""
        if server.startswith("postgres"):
            url, name = stack.enter_context(own_database(server))
        first = Installation(folder, url)
        first.run(
            f"from django.core.management import call_command\ncall_command('migrate', verbosity=0)\n{SET_UP}",
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


# --- what is expected ---

ATTESTED = (statements.VERIFICATION_SUMMARY, statements.PROMOTION)
FORMS = ("attestation-tag", "bundle")


def expected_beside(built: BuiltImage) -> Counter[tuple[str, str]]:
    """One signature of each form, and one statement of each kind in each."""
    kinds = ATTESTED if built.children else (*ATTESTED, statements.OPENVEX, statements.CYCLONEDX)
    signed = {("tag", ""): 1, ("bundle", statements.COSIGN_SIGNATURE): 1}
    return Counter(signed | {(form, kind): 1 for form in FORMS for kind in kinds})


def beside(installation: Installation, digest: str) -> Counter[tuple[str, str]]:
    """What our key signed beside a digest at the destination, by form and kind; nothing else may lie there."""
    pems = [pem for (pem,) in installation.rows("SELECT public_pem FROM signing_signingkey")]
    parties = [Party("release", ecdsa.load_public(pem), signing_key_id=1) for pem in pems]
    access = RegistryAccess(installation.registry.destination.host, uses_plain_http=True)
    with PushingClient(access) as client:
        found = [judge(seen, digest, parties) for seen in attached.read(client, THERE, digest)]
    assert {one.standing for one in found} <= {Standing.TRUSTED}, found
    return Counter((one.seen.form.value, one.seen.predicate_type) for one in found)


def status(installation: Installation, pk: int = FIRST_PK) -> str:
    ((found, why),) = installation.rows(f"SELECT status, why FROM promotion_promotion WHERE id = {pk}")
    assert found in ("running", "promoted"), why
    return str(found)


def count(installation: Installation, what: str) -> int:
    ((found,),) = installation.rows(f"SELECT count(*) FROM {what}")
    return int(found)


def ends_promoted(installation: Installation, built: BuiltImage = FIRST, pk: int = FIRST_PK) -> None:
    installation.until(lambda: status(installation, pk) == "promoted", 90)
    is_promoted_once(installation, built, pk)


def is_promoted_once(installation: Installation, built: BuiltImage = FIRST, pk: int = FIRST_PK) -> None:
    """Its bytes, signatures and statements lie there, once each; and all that the database says of it, too."""
    for one in (built, *built.children):
        assert beside(installation, one.digest) == expected_beside(one)
        stated = f"signing_attestation WHERE digest = '{one.digest}' AND withdrawn_at IS NULL"
        assert count(installation, stated) == count(installation, stated.partition(" AND")[0]) == 1
        seen = installation.rows(f"SELECT gone_at FROM signing_signature WHERE digest = '{one.digest}'")
        assert seen == [(None,)] * expected_beside(one).total()
    ended = f"audit_auditentry WHERE subject_type = 'promotion' AND subject_id = '{pk}' AND action = 'promotion:"
    assert [count(installation, f"{ended}{what}'") for what in ("finish", "end")] == [1, 0]
    ((digest, kept),) = installation.rows(f"SELECT digest, steps FROM promotion_promotion WHERE id = {pk}")
    assert digest == built.digest
    assert len(json.loads(kept) if isinstance(kept, str) else kept) == 8


def points(installation: Installation) -> tuple[str, str]:
    """What the tag names: at the destination, and here."""
    place = f"{installation.registry.destination.host}/{THERE}"
    known = installation.rows(
        "SELECT COALESCE(x.digest, i.digest) FROM images_tag t JOIN images_image i ON i.id = t.image_id "
        "JOIN images_repository r ON r.id = t.repository_id LEFT JOIN images_index x ON x.id = t.index_id "
        f"WHERE r.name = '{place}' AND t.name = '{TAG}'"
    )
    return installation.registry.destination.points(THERE, TAG), known[0][0] if known else ""


def has_ended(installation: Installation, pk: int = FIRST_PK) -> bool:
    """The job that carries it out."""
    return count(installation, f"{CARRYING} AND key = '{pk}' AND status = 'succeeded'") == 1


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
READ_BACK = at_destination("reading back", f"HEAD .*/blobs/{LARGE_BLOB}", "after", skip=2)


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
