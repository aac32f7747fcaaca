"""The store of blobs: shared by processes, within its budget, and right whoever was killed when."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from secguard.errors import Invalid, TooLarge, Unavailable
from secguard.images.adapters.blobs import BlobStore, Fetch
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.manifest import Descriptor
from tests.imagebuilding import sha256

CONTENT = bytes(range(256)) * 1000


def described(content: bytes) -> Descriptor:
    return Descriptor("", sha256(content), len(content))


def fetch(content: bytes) -> Fetch:
    """Brings what is missing of the content."""

    def bring(into: VerifiedFile) -> None:
        into.write(content[into.size :])

    return bring


def never(_: VerifiedFile) -> None:
    raise AssertionError("it is here already")


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "store", 1_000_000)


def numbered(i: int, size: int = 300_000) -> bytes:
    return bytes([i]) * size


def test_a_blob_is_fetched_once(store: BlobStore) -> None:
    blob = described(CONTENT)
    assert not store.has(blob.digest)
    with store.hold(blob, fetch(CONTENT)) as path:
        assert path.read_bytes() == CONTENT
    with store.hold(blob, never) as path:
        assert path.read_bytes() == CONTENT
    assert store.has(blob.digest)
    assert store.used_bytes() == len(CONTENT)


def test_an_interrupted_transfer_is_gone_on_with(store: BlobStore) -> None:
    def half(into: VerifiedFile) -> None:
        into.write(CONTENT[:1000])
        raise Unavailable("broke off")

    with pytest.raises(Unavailable, match="broke off"), store.hold(described(CONTENT), half):
        pass
    assert not store.has(sha256(CONTENT))
    sizes: list[int] = []

    def rest(into: VerifiedFile) -> None:
        sizes.append(into.size)
        into.write(CONTENT[into.size :])

    with store.hold(described(CONTENT), rest) as path:
        assert path.read_bytes() == CONTENT
    assert sizes == [1000]


@pytest.mark.parametrize("content", [b"x" * len(CONTENT), CONTENT[:-1], CONTENT + b"x", b""])
def test_what_is_not_the_blob_never_gets_its_name(store: BlobStore, content: bytes) -> None:
    with pytest.raises(Invalid), store.hold(described(CONTENT), lambda into: into.write(content)):
        pass
    assert not store.has(sha256(CONTENT))
    with store.hold(described(CONTENT), fetch(CONTENT)) as path:
        assert path.read_bytes() == CONTENT


def test_the_longest_unused_makes_room(tmp_path: Path) -> None:
    now = [1000.0]
    store = BlobStore(tmp_path, 1_000_000, clock=lambda: now[0])
    for i in (1, 2, 3, 1, 4):  # 1 is used again before 4 needs room
        now[0] += 1
        with store.hold(described(numbered(i)), fetch(numbered(i))):
            pass
    assert [store.has(sha256(numbered(i))) for i in (1, 2, 3, 4)] == [True, False, True, True]
    assert store.used_bytes() <= 1_000_000


def test_what_is_held_is_not_evicted_and_no_room_is_said(store: BlobStore) -> None:
    with ExitStack() as scans:
        paths = [scans.enter_context(store.hold(described(numbered(i)), fetch(numbered(i)))) for i in (1, 2, 3)]
        with pytest.raises(Unavailable, match="scans that run now hold"):
            scans.enter_context(store.hold(described(numbered(4)), never))
        assert all(path.exists() for path in paths)
    with store.hold(described(numbered(4)), fetch(numbered(4))):
        pass


def test_a_blob_over_the_whole_budget_is_refused(store: BlobStore) -> None:
    with pytest.raises(TooLarge, match="1,000,000 in all"), store.hold(Descriptor("", sha256(b""), 1_000_001), never):
        pass


def test_a_full_disk_is_said_and_given_back(store: BlobStore) -> None:
    with store.hold(described(numbered(1)), fetch(numbered(1))):
        pass

    def full(into: VerifiedFile) -> None:
        into.write(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="is full"), store.hold(described(CONTENT), full):
        pass
    assert store.used_bytes() == 0, "what nobody holds was given back"


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """/dev/full refuses each write; the partial file is made to be it."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    store = BlobStore(tmp_path, 10**9)

    def bring(into: VerifiedFile) -> None:
        with open("/dev/full", "wb", buffering=0) as full:
            os.dup2(full.fileno(), into._file.fileno())
        into.write(CONTENT)

    with pytest.raises(Unavailable, match="disk under the store of layers"), store.hold(described(CONTENT), bring):
        pass
    assert not store.has(sha256(CONTENT))


def test_old_beginnings_are_cleared_away(tmp_path: Path) -> None:
    now = [time.time()]
    store = BlobStore(tmp_path, 10**6, clock=lambda: now[0])

    def half(into: VerifiedFile) -> None:
        into.write(CONTENT[:1000])
        raise Unavailable("broke off")

    with pytest.raises(Unavailable), store.hold(described(CONTENT), half):
        pass
    assert store.trim() == 0
    now[0] += 2 * 24 * 3600
    assert store.trim() == len(CONTENT)
    assert store.used_bytes() == 0


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "sha256:", "", "md5:" + "0" * 32, "sha256:" + "A" * 64])
def test_an_odd_digest_reaches_no_file(store: BlobStore, digest: str) -> None:
    with pytest.raises(Invalid, match="not a digest"):
        store.has(digest)


def _work(folder: Path, results: Any, number: int) -> None:
    store = BlobStore(folder, 1_200_000)
    fetched = 0

    def bring(into: VerifiedFile) -> None:
        nonlocal fetched
        fetched += 1
        content = numbered(into.descriptor.size - 300_000, into.descriptor.size)
        for at in range(into.size, len(content), 50_000):
            into.write(content[at : at + 50_000])
            time.sleep(0.001)

    for i in range(40):
        which = (i * (number + 1)) % 5
        content = numbered(which, 300_000 + which)
        with store.hold(described(content), bring) as path:
            assert path.read_bytes() == content
    results.put(fetched)


@pytest.mark.processes
def test_processes_share_it_under_eviction_and_sigkill(tmp_path: Path) -> None:
    """Five blobs where four fit in, three processes, and one after the other is killed in the middle."""
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    workers = [fork.Process(target=_work, args=(tmp_path, results, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(5):
        doomed = fork.Process(target=_work, args=(tmp_path, results, 3))
        doomed.start()
        time.sleep(0.05)
        if doomed.pid:
            os.kill(doomed.pid, signal.SIGKILL)
        doomed.join()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    store = BlobStore(tmp_path, 1_200_000)
    for which in range(5):
        content = numbered(which, 300_000 + which)
        if store.has(sha256(content)):
            with store.hold(described(content), never) as path:
                assert path.read_bytes() == content
    assert store.used_bytes() <= 1_200_000 + 2 * 300_005, "no more than partial files beside the budget"


def test_one_fetches_and_the_others_wait(store: BlobStore) -> None:
    begun, go = threading.Event(), threading.Event()

    def slowly(into: VerifiedFile) -> None:
        begun.set()
        go.wait(10)
        into.write(CONTENT)

    def first() -> None:
        with store.hold(described(CONTENT), slowly):
            pass

    thread = threading.Thread(target=first)
    thread.start()
    begun.wait(10)
    waited: list[int] = []

    def waiting() -> None:
        waited.append(1)
        go.set()

    with store.hold(described(CONTENT), never, waiting) as path:
        assert path.read_bytes() == CONTENT
    thread.join()
    assert waited


def test_waiting_can_be_cancelled(store: BlobStore) -> None:
    class Cancelled(Exception):
        pass

    def cancel() -> None:
        raise Cancelled

    def nested(_: VerifiedFile) -> Iterator[None]:
        with pytest.raises(Cancelled), store.hold(described(CONTENT), never, cancel):
            pass
        raise Unavailable("ends here")

    with pytest.raises(Unavailable, match="ends here"), store.hold(described(CONTENT), nested):  # type: ignore[arg-type]
        pass
