"""What registries on either side of a promotion refuse, lose and lie about, who forged what, and clocks that differ."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import enumerate as enumerate_threads
from typing import Any

import httpx
import pytest

from secguard.errors import Conflict
from secguard.images.adapters.exchange import Exchange
from secguard.images.models import Registry
from secguard.images.services import RegistryEdit, edit_registry
from secguard.jobs.services.running import JobRun
from secguard.promotion import services
from secguard.promotion.lifecycle import Step
from secguard.promotion.models import Promotion
from secguard.promotion.services import carrying, undoing
from secguard.signing.models import Attestation
from secguard.signing.services import NewKey, create_key
from tests.fixtures_installations import SmallDisk
from tests.fixtures_registries import CertificateAuthority, RunningRegistry
from tests.imagebuilding import BuiltImage, image_of, tar_of
from tests.promotion.between import Between, Lie
from tests.promotion.conftest import Estate, set_up
from tests.promotion.test_carrying import shown

pytestmark = [pytest.mark.django_db, pytest.mark.processes, pytest.mark.enable_socket]
HEX = "sha256-[0-9a-f]{64}"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that falters is asked again at once, and what was signed in vain is taken away at once."""
    monkeypatch.setattr(Exchange, "_pause", lambda *_: None)
    monkeypatch.setattr(undoing, "UNDO_AFTER", undoing.timedelta(0))


@pytest.fixture
def lay(db: None, post: Any, application: Any) -> Callable[[Any, Any], Estate]:
    """Sets up a way from one registry to another, with the environments build and staging."""

    def make(build: Any, staging: Any) -> Estate:
        for registry in (build, staging):
            set_up(registry)
        create_key("release", NewKey(), actor=None)
        edits = {
            "build": services.EnvironmentEdit(registry=build.host),
            "staging": services.EnvironmentEdit(registry=staging.host, path_prefix="staging", key_name="release"),
        }
        for name, edit in edits.items():
            services.add_environment(name, edit, actor=None)
        return Estate(build, staging, staging, post, application)

    return make


def new() -> BuiltImage:
    return image_of(tar_of({"etc/id": os.urandom(8)}))


def why(promotion: Promotion, operator: Any) -> str:
    """Why it does not go on, as whoever asked reads it: what ended it, or what made the last attempt fail."""
    document = operator.api.get(f"/api/v1/promotions/{promotion.pk}/").json()
    assert document["status"] in ("running", "failed"), document
    return str(document["why"] or document["progress"]["error"])


def came_to_nothing(promotion: Promotion) -> bool:
    stands = Attestation.objects.filter(digest=promotion.digest, withdrawn_at=None)
    return promotion.status != "promoted" and not stands.exists()


def ends_promoted(promotion: Promotion, operator: Any, run_jobs: Callable[[], int]) -> None:
    services.retry(promotion.pk, actor=operator)
    run_jobs()
    promotion.refresh_from_db()
    assert (promotion.status, promotion.why) == ("promoted", "")


# --- refused ---


@dataclass
class Trouble:
    """A registry at one end that does not do what it is asked to once it ``begins``, until it is ``mended``."""

    side: str
    registry: Any
    words: str
    mend: Callable[[], None]
    begin: Callable[[], None] = lambda: None


Start = Callable[..., RunningRegistry]


@pytest.fixture
def full(start_registry: Start, tmp_path: Path) -> Iterator[Trouble]:
    disk = SmallDisk(tmp_path / "disk", 2**21)
    running = start_registry(folder=tmp_path / "disk")

    def mend() -> None:
        disk.make_room()
        for leftover in (tmp_path / "disk").rglob("_uploads/*/data"):
            leftover.unlink()  # what its own purge does after a week

    yield Trouble("destination", running, "no room left.*Free some of its disk", mend, lambda: disk.fill(2**13))
    running.process.kill()
    disk.close()


def again(start: Start, running: RunningRegistry, **more: Any) -> None:
    """The same registry, set up otherwise."""
    running.process.kill()
    running.process.wait()
    start(folder=running.folder, port=int(running.host.rpartition(":")[2]), **more)


@pytest.fixture
def read_only(start_registry: Start) -> Trouble:
    running = start_registry(storage={"maintenance": {"readonly": {"enabled": True}}})
    words = "it is read-only.*Push again when it is not"
    return Trouble("destination", running, words, lambda: again(start_registry, running))


@pytest.fixture
def expired(start_registry: Start, authority: CertificateAuthority, tmp_path: Path) -> Trouble:
    running = start_registry(tls=authority.write(tmp_path, is_expired=True), ca=authority.pem)

    def mend() -> None:
        again(start_registry, running, tls=authority.write(tmp_path), ca=authority.pem)

    return Trouble("destination", running, "has expired.*Renew it", mend)


@pytest.fixture
def refusing(token_registry: RunningRegistry) -> Trouble:
    """Its token server does not take the password."""

    def edit(password: str) -> None:
        edit_registry(Registry.objects.get(host=token_registry.host).pk, RegistryEdit(password=password), actor=None)

    right = token_registry.access.password
    words = "refuses the user 'robot'.*Check the password"
    return Trouble("source", token_registry, words, lambda: edit(right), lambda: edit("another"))


@pytest.fixture
def away(start_registry: Start) -> Iterator[Trouble]:
    """It is killed when the first blob arrives."""
    running = start_registry()
    between = Between(running)

    def kill(what: str, answer: httpx.Response) -> None:
        if what.startswith("POST"):
            running.process.kill()
            running.process.wait()

    def mend() -> None:
        between.lies.clear()
        again(start_registry, running)

    yield Trouble("destination", between, "hung up|broke|No connection", mend, lambda: between.lies.append(kill))
    between.close()


@pytest.mark.parametrize("cause", ["full", "read_only", "expired", "refusing", "away"])
def test_what_a_registry_refuses_is_told_with_its_side_and_ends_once_it_is_mended(
    request, lay, plain_registry, promote, operator, run_jobs, cause
):
    trouble: Trouble = request.getfixturevalue(cause)
    is_source = trouble.side == "source"
    estate = lay(*((trouble.registry, plain_registry) if is_source else (plain_registry, trouble.registry)))
    built = estate.scanned()
    trouble.begin()
    made = promote(f"{estate.name}:1.4")
    said = why(made, operator)
    assert f"At the {trouble.side}, {trouble.registry.host}/" in said
    assert re.search(trouble.words, said), said
    assert came_to_nothing(made)
    trouble.mend()
    assert estate.points(estate.staged, "1.4") == ""
    ends_promoted(made, operator, run_jobs)
    assert estate.points(estate.staged, "1.4") == built.digest


def test_one_that_failed_is_not_tried_again_beside_another_of_the_same(
    lay, plain_registry, refusing, promote, operator
):
    estate = lay(refusing.registry, plain_registry)
    estate.scanned()
    refusing.begin()
    failed = promote(f"{estate.name}:1.4")
    assert failed.status == "failed"
    promote(f"{estate.name}:1.4", jobs=False)
    with pytest.raises(Conflict, match="was asked for again"):
        services.retry(failed.pk, actor=operator)


# --- lies ---


@dataclass
class Doubtful:
    """A way between two registries that tell the truth until a test says otherwise."""

    estate: Estate
    source: Between
    destination: Between
    built: BuiltImage
    before: BuiltImage
    """What the tag names at the destination."""

    @property
    def there(self) -> str:
        return f"staging/{self.estate.path}"

    def points(self) -> str:
        return self.destination.points(self.there, "1.4")


@pytest.fixture
def doubtful(lay: Callable[..., Estate], plain_registry: RunningRegistry) -> Iterator[Doubtful]:
    source, destination = (Between(plain_registry, f"t{secrets.token_hex(4)}") for _ in range(2))
    estate, before = lay(source, destination), new()
    destination.push(f"staging/{estate.path}", "1.4", before)
    yield Doubtful(estate, source, destination, estate.scanned(), before)
    source.close()
    destination.close()


@pytest.mark.parametrize("by_digest", [False, True], ids=["asked for by its tag", "asked for by its digest"])
def test_a_tag_that_is_swapped_in_the_middle(doubtful, promote, run_jobs, by_digest):
    other, estate = new(), doubtful.estate

    def swap(what: str, answer: httpx.Response) -> None:
        if re.search(rf"PUT .*/manifests/{HEX}\.att", what):
            doubtful.source.push(estate.path, "1.4", other)

    doubtful.destination.lies.append(swap)
    image = f"{estate.name}@{doubtful.built.digest}" if by_digest else f"{estate.name}:1.4"
    made = promote(image, tags=["1.4"])
    if by_digest:
        assert made.status == "promoted", made.why
        assert doubtful.points() == doubtful.built.digest
        return
    assert made.status == "refused"
    assert f"points to {other.digest} now; asked for was" in made.why
    assert came_to_nothing(made)
    assert doubtful.points() == doubtful.before.digest
    assert shown(estate.staged, made.digest) == set(), "what was signed is taken away again"


def missing(pattern: str) -> Lie:
    """It has no such thing."""

    def lie(what: str, answer: httpx.Response) -> httpx.Response | None:
        return httpx.Response(404) if re.search(f"(GET|HEAD) .*{pattern}", what) else None

    return lie


def altered(pattern: str) -> Lie:
    """It answers with other bytes, and calls them by the right name."""

    def lie(what: str, answer: httpx.Response) -> httpx.Response | None:
        if not re.search(f"GET .*{pattern}", what) or answer.status_code != 200:
            return None
        kept = {n: v for n, v in answer.headers.items() if n in ("content-type", "docker-content-digest")}
        return httpx.Response(200, content=answer.content.replace(b"{", b"{ ", 1), headers=kept)

    return lie


def unmoved(pattern: str) -> Lie:
    """It takes what a tag is to name, and names something else."""
    other = new()

    def lie(what: str, answer: httpx.Response) -> httpx.Response | None:
        told = {"content-type": other.media_type, "docker-content-digest": other.digest}
        is_asked = re.search(f"(GET|HEAD) .*{pattern}", what)
        return httpx.Response(200, content=other.raw, headers=told) if is_asked else None

    return lie


LIES = {
    "another manifest": (altered("/manifests/sha256:"), False, "altered or cut off"),
    "another manifest later": (altered("/manifests/sha256:"), True, "altered or cut off"),
    "no manifest later": (missing("/manifests/sha256:"), True, "was copied and is not there any more"),
    "no signature": (missing(r"\.sig$"), False, r"does not show .*\(the signature under its tag\)"),
    "no signature later": (missing(r"\.sig$"), True, r"does not show .*\(the signature under its tag\)"),
    "no statements later": (missing(r"\.att$"), True, "Promotion, under the tag of attestations"),
    "no bundles": (missing(f"/manifests/{HEX}$"), False, "the signature's bundle; .*Promotion, as a bundle"),
    "no bundles later": (missing(f"/manifests/{HEX}$"), True, "the signature's bundle; .*Promotion, as a bundle"),
    "another image under the tag": (unmoved("/manifests/1.4$"), False, "somebody else moved it"),
}


@pytest.mark.parametrize(("lie", "is_later", "words"), LIES.values(), ids=LIES)
def test_a_destination_that_lies_is_found_out(
    doubtful, promote, operator, run_jobs, monkeypatch, lie: Lie, is_later: bool, words: str
):
    """At once, or once all was written: when it is read back."""
    estate, read_back = doubtful.estate, carrying.read_back

    def later(*args: Any) -> Any:
        doubtful.destination.lies.append(lie)
        return read_back(*args)

    if is_later:
        monkeypatch.setattr(carrying, "read_back", later)
    else:
        doubtful.destination.lies.append(lie)
    made = promote(f"{estate.name}:1.4")
    said = why(made, operator)
    assert made.status == "failed"
    assert f"At the destination, {doubtful.destination.host}/{doubtful.there}" in said
    assert re.search(words, said), said
    assert came_to_nothing(made)
    if "tag" not in made.steps:
        assert doubtful.points() == doubtful.before.digest
    monkeypatch.setattr(carrying, "read_back", read_back)
    doubtful.destination.lies.clear()
    ends_promoted(made, operator, run_jobs)
    assert doubtful.points() == made.digest
    assert {standing for standing, _ in shown(estate.staged, made.digest)} == {"trusted"}


def test_a_source_that_has_other_bytes_for_the_digest_is_found_out(doubtful, promote, operator, run_jobs):
    doubtful.source.lies.append(altered("/manifests/sha256:"))
    made = promote(f"{doubtful.estate.name}:1.4")
    assert made.status == "failed"
    assert f"At the source, {doubtful.source.host}/{doubtful.estate.path}: " in made.why
    assert "altered or cut off" in made.why
    doubtful.source.lies.clear()
    ends_promoted(made, operator, run_jobs)


def test_what_ends_a_promotion_stops_its_copy(doubtful, promote, operator, run_jobs, monkeypatch):
    destination, plain = doubtful.destination, JobRun.progress
    layer = max(doubtful.built.blobs, key=lambda digest: len(doubtful.built.blobs[digest]))
    destination.stall(f"HEAD .*/blobs/{layer}", "before")  # and nobody lets it go on

    def progress(self: JobRun, text: str, *far: int) -> None:
        if text == Step.COPY and destination.stalled.is_set():
            raise Conflict("Somebody ended it.", code="ended")
        plain(self, text, *far)

    with monkeypatch.context() as patched:
        patched.setattr(JobRun, "progress", progress)
        made = promote(f"{doubtful.estate.name}:1.4")
    assert "Somebody ended it." in why(made, operator)
    assert came_to_nothing(made)
    assert not [thread for thread in enumerate_threads() if thread.name.startswith("blob-")]
    destination.go_on()
    ends_promoted(made, operator, run_jobs)
    assert doubtful.points() == made.digest


def test_what_cannot_be_signed_is_not_copied(doubtful, promote, operator, run_jobs, monkeypatch):
    destination = doubtful.destination
    destination.stall("PUT .*/uploads/", "before")  # a blob, and nobody lets it go on

    def sign(*args: Any) -> Any:
        raise Conflict("The key signs no more.", code="key-signs-no-more")

    with monkeypatch.context() as patched:
        patched.setattr(carrying, "sign", sign)
        made = promote(f"{doubtful.estate.name}:1.4")
    assert "The key signs no more." in why(made, operator)
    assert came_to_nothing(made)
    assert not destination.stalled.is_set()
    destination.go_on()
    ends_promoted(made, operator, run_jobs)
    assert doubtful.points() == made.digest
