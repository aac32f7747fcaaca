"""What goes wrong on either side of a copy: damage, lies, refusals, a stop, and a process that is killed."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, Unavailable
from secguard.images.adapters import transfers
from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.copying import Place, copy, verify
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import digest_of
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from tests.fixtures_installations import CHECKOUT, SmallDisk, StallingRegistry
from tests.fixtures_registries import CertificateAuthority, RunningRegistry
from tests.imagebuilding import as_json, compressed, index_of, sha256, tar_of
from tests.images.pushed import Two, copied, described, fresh, has_nothing, image, is_whole, largest, part, place
from tests.images.test_pushing import Fake

pytestmark = pytest.mark.enable_socket

# The source is wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [lambda raw: b"!" + raw[1:], lambda raw: raw[:-1], lambda raw: raw + b"more"])
def test_a_damaged_blob_never_becomes_whole_at_the_destination(pair: Two, damage: Callable[[bytes], bytes]) -> None:
    built = image(2_000_000, 10)
    pair[0].push("from/one", "latest", built)
    file, to = pair[0].blob_file(largest(built)), fresh()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(Invalid, match=f"At the source, {pair[0].host}/from/one: .*{largest(built)}"):
        copy(place(pair[0], "from/one"), place(pair[1], to), built.digest)
    assert has_nothing(pair[1], to, built)
    assert not pair[1].blob_file(largest(built)).exists()


def test_a_swapped_manifest_is_found_out(pair: Two) -> None:
    built, other = image(), image()
    for one in (built, other):
        pair[0].push("from/one", "latest", one)
    pair[0].blob_file(built.digest).write_bytes(other.raw)
    to = fresh()
    with pytest.raises(Invalid, match=f"At the source.*{other.digest}; expected {built.digest}"):
        copy(place(pair[0], "from/one"), place(pair[1], to), built.digest)
    assert has_nothing(pair[1], to, built)


def test_an_index_whose_platform_is_gone_is_told(plain_registry: RunningRegistry, plain: PushingClient) -> None:
    built, path = index_of(image(), image(architecture="arm64")), fresh("from")
    plain_registry.push(path, "latest", built)
    assert plain.delete_manifest(path, built.children[1].digest)
    with pytest.raises(NotFound, match=r"At the source.*for linux/arm64, which is not there"):
        copy(place(plain_registry, path), place(plain_registry, fresh()), built.digest)
    with pytest.raises(NotFound, match="At the source"):
        copy(place(plain_registry, path), place(plain_registry, fresh()), sha256(b"nothing"))


class Cutting(StallingRegistry):
    """Ends answers that match early: ``cuts`` times, after ``after`` bytes."""

    cuts = after = 0

    def cut(self, pattern: str, cuts: int, after: int) -> None:
        self.stall(pattern)
        self.cuts, self.after = cuts, after

    def _send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if request.command == "GET" and self._pattern.search(request.path) and self.cuts:
            self.cuts -= 1
            request.wfile.write(body[: self.after])
        elif request.command == "GET":
            request.wfile.write(body)


@pytest.fixture
def cutting(plain_registry: RunningRegistry) -> Iterator[Cutting]:
    proxy = Cutting(plain_registry)
    proxy.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever asked has hung up
    yield proxy
    proxy.close()


def through(proxy: StallingRegistry, path: str, **more: Any) -> Place:
    access = RegistryAccess(proxy.host, uses_plain_http=True)
    return Place(lambda: PushingClient(access, **({"sleep": lambda _: None} | more)), path)


def test_a_source_that_breaks_off_is_gone_on_with(
    plain_registry: RunningRegistry, secure_registry: RunningRegistry, cutting: Cutting
) -> None:
    built, path, to = image(5_000_000), fresh("from"), fresh()
    plain_registry.push(path, "latest", built)
    cutting.cut(f"/blobs/{largest(built)}", cuts=3, after=1_100_000)
    done = copy(through(cutting, path), place(secure_registry, to), built.digest)
    assert is_whole(secure_registry, to, built)
    assert done.bytes == sum(map(len, built.blobs.values()))
    starts = [int(span.removeprefix("bytes=").rstrip("-")) for span in cutting.ranges]
    assert starts == sorted(set(starts))
    assert len(starts) == 3, "each attempt began where the former ended"


def test_a_source_that_always_breaks_off_is_given_up_in_words(
    plain_registry: RunningRegistry, secure_registry: RunningRegistry, cutting: Cutting
) -> None:
    built, path, to = image(3_000_000), fresh("from"), fresh()
    plain_registry.push(path, "latest", built)
    cutting.cut(f"/blobs/{largest(built)}", cuts=1000, after=1000)
    with pytest.raises(Unavailable, match=f"At the source, {cutting.host}.*broke"):
        copy(through(cutting, path), place(secure_registry, to), built.digest)
    assert cutting.cuts == 1000 - 4, "asked four times, and not again for the destination's sake"
    assert has_nothing(secure_registry, to, built)


def test_who_may_not_read_or_write_is_told_on_which_side(pair: Two) -> None:
    built = image()
    pair[0].push("from/one", "latest", built)
    for side, number in (("source", 0), ("destination", 1)):
        places = [place(pair[0], "from/one"), place(pair[1], fresh())]
        wrong = replace(pair[number].access, password="wrong")
        places[number] = Place(lambda wrong=wrong: PushingClient(wrong), places[number].path)  # type: ignore[misc]
        with pytest.raises(NotAllowed, match=f"At the {side}, {pair[number].host}.*refuses the user"):
            copy(*places, built.digest)


# The destination is wrong ---------------------------------------------------------------------------------------------


def test_a_read_only_destination_says_so(plain_registry: RunningRegistry, start_registry: Any) -> None:
    closed = start_registry(storage={"maintenance": {"readonly": {"enabled": True}}})
    built = image()
    plain_registry.push("from/one", "latest", built)
    with pytest.raises(Invalid, match=f"At the destination, {closed.host}.*405.*it is read-only") as caught:
        copy(place(plain_registry, "from/one"), place(closed, "to/one"), built.digest)
    assert (caught.value.code, caught.value.extra["side"]) == ("registry-read-only", "destination")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    opened = SmallDisk(tmp_path / "disk", 2**22)
    yield opened
    opened.close()


def test_a_full_destination_says_so_and_the_copy_ends_once_there_is_room(
    plain_registry: RunningRegistry, start_registry: Any, disk: SmallDisk, tmp_path: Path
) -> None:
    narrow = start_registry(folder=tmp_path / "disk")
    built = image(2_500_000, 100)
    plain_registry.push("from/one", "latest", built)
    disk.fill(1_000_000)
    with pytest.raises(Unavailable, match=f"At the destination, {narrow.host}.*no room left") as caught:
        copy(place(plain_registry, "from/one"), place(narrow, "to/one"), built.digest)
    assert caught.value.code == "registry-full"
    assert has_nothing(narrow, "to/one", built)
    disk.make_room()
    for leftover in (tmp_path / "disk").rglob("_uploads/*/data"):
        leftover.unlink()  # what its own purge does after a week
    copy(place(plain_registry, "from/one"), place(narrow, "to/one"), built.digest)
    assert is_whole(narrow, "to/one", built)
    narrow.process.kill()


def test_what_a_full_disk_left_without_content_is_written_once_more(
    plain_registry: RunningRegistry, start_registry: Any, tmp_path: Path
) -> None:
    """docker-registry makes the file before it fills it: a link that stayed empty is answered with 500 for ever."""
    (tmp_path / "other").mkdir()
    other = start_registry(folder=tmp_path / "other")
    built = image(100_000, 100)
    plain_registry.push("from/one", "latest", built)
    copy(place(plain_registry, "from/one"), place(other, "to/one"), built.digest)
    links = [*(tmp_path / "other").rglob("_layers/*/*/link"), *(tmp_path / "other").rglob("_manifests/*/*/*/link")]
    assert len(links) == len(built.blobs) + 1
    for link in links:
        link.write_bytes(b"")
    assert not is_whole(other, "to/one", built)
    assert copy(place(plain_registry, "from/one"), place(other, "to/one"), built.digest).blobs == len(built.blobs)
    assert is_whole(other, "to/one", built)
    other.process.kill()


def test_an_expired_certificate_at_the_destination_is_told(
    plain_registry: RunningRegistry, start_registry: Any, authority: CertificateAuthority, tmp_path: Path
) -> None:
    late = start_registry(tls=authority.write(tmp_path, is_expired=True), ca=authority.pem)
    built = image()
    plain_registry.push("from/one", "latest", built)
    with pytest.raises(Unavailable, match=f"At the destination, {late.host}.*has expired.*Renew it") as caught:
        copy(place(plain_registry, "from/one"), place(late, "to/one"), built.digest)
    assert caught.value.code == "registry-certificate"


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_a_destination_that_takes_and_loses_is_found_out(plain_registry: RunningRegistry, fake: Fake) -> None:
    built = image(10)
    plain_registry.push("from/one", "latest", built)
    source, lying = place(plain_registry, "from/one"), Place(lambda: fake.client, "a")
    fake.answers["POST /v2/a/blobs/uploads/"] = (202, {"Location": "/up"}, b"")
    fake.answers["PUT /up"] = (201, {}, b"")
    with pytest.raises(Invalid, match=f"At the destination, {fake.host}/a: .*took the blob .* does not have it"):
        copy(source, lying, built.digest)
    for digest, raw in built.blobs.items():
        lost, there = (404, {}, b""), (200, {"Content-Length": str(len(raw))}, raw)
        fake.answers[f"HEAD /v2/a/blobs/{digest}"] = [lost, there]
        fake.answers[f"GET /v2/a/blobs/{digest}"] = there
    fake.answers[f"PUT /v2/a/manifests/{built.digest}"] = (201, {}, b"")
    with pytest.raises(Invalid, match=r"At the destination.*took the manifest .* does not have it"):
        copy(source, lying, built.digest)
    # It shows all of it once, and not when it is read back.
    shown = (200, {"Content-Type": OCI_MANIFEST}, built.raw)
    fake.answers[f"GET /v2/a/manifests/{built.digest}"] = [(404, {}, b""), shown, (404, {}, b"")]
    done = copy(source, lying, built.digest)
    with fake.client as client, pytest.raises(Invalid, match=r"was copied and is not there any more"):
        verify(client, "a", done.digests)
    fake.answers[f"GET /v2/a/manifests/{built.digest}"] = shown
    with fake.client as client:
        verify(client, "a", done.digests)
        config = json.loads(built.raw)["config"]["digest"]
        fake.answers[f"GET /v2/a/blobs/{config}"] = (200, {}, built.blobs[config][:-1] + b"!")
        with pytest.raises(Invalid, match="bytes whose digest is"):
            verify(client, "a", done.digests)


def test_reading_back_finds_what_was_damaged_afterwards(pair: Two) -> None:
    built = index_of(image(2_000_000))
    done, to = copied(*pair, built)
    file = pair[1].blob_file(largest(built.children[0]))
    with place(pair[1], to).client() as client:
        raw = file.read_bytes()
        file.write_bytes(raw[:-1])
        with pytest.raises(Invalid, match=f"At the destination.*{largest(built.children[0])}; expected"):
            verify(client, to, done.digests)
        file.unlink()
        with pytest.raises(Invalid, match="was copied and is not there any more"):
            verify(client, to, [built.digest])
        file.write_bytes(raw)
        verify(client, to, done.digests)
        assert client.delete_manifest(to, built.children[0].digest)
        with pytest.raises(Invalid, match=r"The manifest .* is not there any more"):
            verify(client, to, [built.digest])


def test_a_registry_that_does_not_mount_is_sent_the_blob(plain_registry: RunningRegistry, fake: Fake) -> None:
    """Whoever may write here may not read there: docker-registry then asks for another token, others say 403."""
    raw = b"a layer"
    blob = described(raw, "text/plain")
    there = (200, {"Content-Length": str(len(raw))}, raw)
    fake.answers[f"HEAD /v2/a/blobs/{blob.digest}"] = [(404, {}, b""), (404, {}, b""), there]
    for where in ("a", "b"):
        fake.answers[f"GET /v2/{where}/blobs/{blob.digest}"] = there
    fake.answers["POST /v2/a/blobs/uploads/"] = [(403, {}, b""), (202, {"Location": "/up"}, b"")]
    fake.answers["PUT /up"] = (201, {}, b"")
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part(raw, "text/plain"), "layers": []}
    manifest = (200, {"Content-Type": OCI_MANIFEST}, as_json(document))
    fake.answers[f"GET /v2/b/manifests/{sha256(manifest[2])}"] = manifest
    fake.answers[f"GET /v2/a/manifests/{sha256(manifest[2])}"] = manifest
    done = copy(Place(lambda: fake.client, "b"), Place(lambda: fake.client, "a"), sha256(manifest[2]))
    assert (done.blobs, done.mounted) == (1, 0)
    assert raw in fake.bodies


# Stopped and killed ---------------------------------------------------------------------------------------------------


@pytest.fixture
def stalling(plain_registry: RunningRegistry) -> Iterator[StallingRegistry]:
    proxy = StallingRegistry(plain_registry)
    proxy.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever asked has hung up
    yield proxy
    proxy.close()


class Enough(Exception):
    pass


def test_progress_is_told_in_the_calling_thread_and_ends_at_the_whole(pair: Two) -> None:
    built = image(3_000_000, 2_000_000, 1000)
    pair[0].push("from/one", "latest", built)
    told: list[tuple[int, int, int]] = []
    copy(
        place(pair[0], "from/one"),
        place(pair[1], fresh()),
        built.digest,
        progress=lambda done, total: told.append((done, total, threading.get_ident())),
    )
    size = sum(map(len, built.blobs.values()))
    assert {who for _, _, who in told} == {threading.get_ident()}
    assert (size, size) in {(done, total) for done, total, _ in told}
    assert all(done <= total for done, total, _ in told)


def test_what_progress_raises_stops_it_at_once_whoever_waits_for_a_peer(
    plain_registry: RunningRegistry, secure_registry: RunningRegistry, stalling: StallingRegistry
) -> None:
    built, path, to = image(2_000_000, 3_000_000, 1_000_000), fresh("from"), fresh()
    plain_registry.push(path, "latest", built)
    stalling.stall("/blobs/")
    at = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal at
        if stalling.stalled.is_set() and done:
            at = time.monotonic()
            raise Enough

    with pytest.raises(Enough):
        copy(through(stalling, path, sleep=None), place(secure_registry, to), built.digest, progress=progress)
    assert time.monotonic() - at < 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("blob-")]
    assert has_nothing(secure_registry, to, built)
    stalling.go_on()
    copy(through(stalling, path), place(secure_registry, to), built.digest)
    assert is_whole(secure_registry, to, built)


def test_a_stop_does_not_wait_for_the_next_attempt(plain_registry: RunningRegistry, fake: Fake) -> None:
    built = image()
    plain_registry.push("from/one", "latest", built)
    fake.answers["POST /v2/a/blobs/uploads/"] = (503, {"Retry-After": "600"}, b"")
    lazy = Place(lambda: PushingClient(RegistryAccess(fake.host, uses_plain_http=True)), "a")
    begun = time.monotonic()

    def progress(done: int, total: int) -> None:
        if any(line.startswith("POST") for line in fake.asked):
            raise Enough

    with pytest.raises(Enough):
        copy(place(plain_registry, "from/one"), lazy, built.digest, progress=progress)
    assert time.monotonic() - begun < 5


def test_what_progress_raises_comes_out_as_it_is(plain_registry: RunningRegistry) -> None:
    built, path = image(), fresh("from")
    plain_registry.push(path, "latest", built)
    for at in range(3):  # while it gathers, while blobs go over, and while manifests do
        refusal, calls = Conflict("The verdict changed."), iter(range(100))

        def progress(done: int, total: int) -> None:
            if next(calls) == at:  # noqa: B023
                raise refusal  # noqa: B023

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transfers, "_TICK", 0.0)
            with pytest.raises(Conflict, match=r"^The verdict changed\.$") as caught:
                copy(place(plain_registry, path), place(plain_registry, fresh()), built.digest, progress=progress)
        assert caught.value is refusal
        assert not refusal.extra


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_client_that_is_cut_off_waits_for_nobody(
    authority: CertificateAuthority, tmp_path: Path, is_tls: bool
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.write(tmp_path))
    asked = threading.Event()

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with context.wrap_socket(connection, server_side=True) if is_tls else connection as talking:
            talking.recv(1000)
            asked.set()
            with suppress(OSError):
                talking.recv(1000)  # nothing is ever answered

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve, args=(listening,))
        server.start()
        access = RegistryAccess(f"127.0.0.1:{listening.getsockname()[1]}", not is_tls, ca_certificate=authority.pem)
        with RegistryClient(access) as client:
            cutter = threading.Thread(target=lambda: asked.wait(10) and client.cut())
            cutter.start()
            begun = time.monotonic()
            with pytest.raises(Unavailable):
                client.resolve("a/b", "latest")
            with pytest.raises(Unavailable):
                client.resolve("a/b", "latest")
            assert time.monotonic() - begun < 5
            cutter.join()
        server.join(10)
        assert not server.is_alive()


COPY = """
import json, sys
from secguard.images.adapters import transfers
from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.copying import Place, copy, verify
from secguard.images.adapters.pushing import PushingClient
def place(host, path):
    return Place(lambda: PushingClient(RegistryAccess(host, uses_plain_http=True)), path)
source, from_path, destination, to_path, digest = sys.argv[1:]
done = copy(place(source, from_path), place(destination, to_path), digest)
with place(destination, to_path).client() as client:
    verify(client, to_path, done.digests)
print(json.dumps([done.blobs, done.present]))
"""


@pytest.mark.processes
def test_killed_in_the_middle_and_begun_again(
    plain_registry: RunningRegistry, start_registry: Any, stalling: StallingRegistry
) -> None:
    destination = start_registry()
    built = index_of(image(2_000_000, 1_500_000), image(1_000_000, architecture="arm64"))
    path, to = fresh("from"), fresh()
    plain_registry.push(path, "latest", built)
    halted = largest(built.children[0])
    stalling.stall(f"/blobs/{halted}")
    command = [sys.executable, "-c", COPY, stalling.host, path, destination.host, to, built.digest]
    process = subprocess.Popen(command, cwd=CHECKOUT)
    others = [digest for child in built.children for digest in child.blobs if digest != halted]
    until = time.monotonic() + 30
    while not (stalling.stalled.is_set() and all(destination.blob_file(d).exists() for d in others)):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not destination.blob_file(halted).exists()
    assert has_nothing(destination, to, built)
    stalling.go_on()
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [1, len(others)], "what had come over was not sent again"
    assert is_whole(destination, to, built)


# Streams --------------------------------------------------------------------------------------------------------------


def test_neither_side_leads_to_where_it_may_not(plain_registry: RunningRegistry, fake: Fake) -> None:
    built = image(10)
    plain_registry.push("from/one", "latest", built)
    inside = "http://169.254.169.254/latest/meta-data/"
    fake.answers["POST /v2/a/blobs/uploads/"] = (202, {"Location": inside}, b"")
    with pytest.raises(NotAllowed, match=r"At the destination.*169\.254\.169\.254.*not named in its configuration"):
        copy(place(plain_registry, "from/one"), Place(lambda: fake.client, "a"), built.digest)
    shown = (200, {"Content-Type": OCI_MANIFEST}, built.raw)
    fake.answers[f"GET /v2/a/manifests/{built.digest}"] = shown
    for digest in built.blobs:
        fake.answers[f"GET /v2/a/blobs/{digest}"] = (307, {"Location": inside}, b"")
    with pytest.raises(NotAllowed, match=r"At the source.*169\.254\.169\.254.*not named in its configuration"):
        copy(Place(lambda: fake.client, "a"), place(plain_registry, fresh()), built.digest)


def test_one_blob_with_two_sizes_is_refused(plain_registry: RunningRegistry, fake: Fake) -> None:
    layer = part(b"x") | {"size": 5}
    raw = as_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part(b"x"), "layers": [layer]})
    fake.answers[f"GET /v2/a/manifests/{sha256(raw)}"] = (200, {"Content-Type": OCI_MANIFEST}, raw)
    with pytest.raises(Invalid, match="with 5 bytes; another place names 1"):
        copy(Place(lambda: fake.client, "a"), place(plain_registry, fresh()), sha256(raw))


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_stream_hands_the_end_on_only_once_all_is_proven(fake: Fake, algorithm: str) -> None:
    raw = random.Random(5).randbytes(1_500_000)
    blob = Descriptor("", digest_of(raw, algorithm), len(raw))
    at = f"GET /v2/a/blobs/{blob.digest}"
    with fake.client as client:
        fake.answers[at] = (200, {}, raw)
        assert b"".join(client.stream_blob("a", blob)) == raw
        fake.answers[at] = (200, {}, raw[:-1] + bytes([raw[-1] ^ 1]))
        received: list[bytes] = []
        with pytest.raises(Invalid, match="exactly that digest"):
            received.extend(client.stream_blob("a", blob))
        assert 0 < sum(map(len, received)) < len(raw)
        fake.answers[at] = (200, {}, raw[:-1])
        with pytest.raises(Invalid, match="offers 1,499,999 bytes"):
            list(client.stream_blob("a", blob))


def test_a_source_that_cannot_go_on_begins_again_and_nothing_is_handed_on_twice(
    plain_registry: RunningRegistry, cutting: Cutting
) -> None:
    raw = compressed(tar_of({"a": os.urandom(2_000_000)}))
    with PushingClient(plain_registry.access) as client:
        blob = client.push_bytes("from/streams", raw, "text/plain")
    cutting.cut("/blobs/", cuts=2, after=700_000)
    before = cutting._client.request
    # It knows no ranges: whoever asks for the rest gets all.
    cutting._client.request = lambda method, path, headers: before(method, path)  # type: ignore[method-assign, assignment, misc]
    access = RegistryAccess(cutting.host, uses_plain_http=True)
    with RegistryClient(access, sleep=lambda _: None) as reading:
        pieces = list(reading.stream_blob("from/streams", blob))
    assert b"".join(pieces) == raw
    assert len(cutting.ranges) == 2
