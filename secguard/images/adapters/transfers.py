"""Blobs from one registry to another, several at once, through memory and never over a disk.

Each thread has clients of its own. Whoever asked waits in the calling thread, is told how far it is, and can stop it
by raising: then the connections are cut, so that no thread waits for a peer any longer.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread

from secguard.errors import Invalid, NotAllowed, NotFound, SecGuardError
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.manifest import Descriptor

MAX_THREADS = 6
_TICK = 0.25
_END_SECONDS = 10.0
"""How long threads are waited for once their connections are cut."""


@dataclass(frozen=True)
class Place:
    """A repository, and what makes a new client of its registry: one for each thread, closed by whoever made it.

    ``client`` is called in threads, so it asks no database.
    """

    client: Callable[[], PushingClient]
    path: str


Progress = Callable[[int, int], None]
"""Called with the bytes that are settled and those there are in all; what it raises ends everything."""


@contextmanager
def told(side: str, client: RegistryClient, path: str, meter: Meter | None = None) -> Iterator[None]:
    """Errors say on which side it was; once, by whoever was nearest. Those that ``meter`` let through are not its."""
    try:
        yield
    except SecGuardError as error:
        if "side" not in error.extra and not (meter and meter.raised is error):
            error.extra["side"] = side
            error.detail = f"At the {side}, {client.access.host}/{path}: {error.detail}"
            error.args = (error.detail,)
        raise


class Meter:
    """Calls ``progress`` about four times a second, from the thread that ticks."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._next = 0.0
        self.done = 0
        self.total = 0
        self.raised: BaseException | None = None

    def tick(self, *, now: bool = False) -> None:
        """What ``progress`` raises goes on."""
        at = time.monotonic()
        if self._progress is not None and (now or at >= self._next):
            self._next = at + _TICK
            try:
                self._progress(self.done, self.total)
            except BaseException as error:
                self.raised = error
                raise


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob that is to be at the destination. Without one that ``is_required`` nothing else makes sense."""

    blob: Descriptor
    is_required: bool


@dataclass
class Moved:
    """What became of the blobs: how many came over, with how many bytes; ``missing`` says in words what could not."""

    blobs: int = 0
    bytes: int = 0
    mounted: int = 0
    present: int = 0
    missing: dict[str, str] = field(default_factory=dict)


class _SourceFailed(Exception):
    """Not to be taken for a failure of the destination, which would be asked again."""

    def __init__(self, error: SecGuardError) -> None:
        super().__init__(error.detail)
        self.error = error


class _Stopped(Exception):
    """Somebody else failed, or the caller wants no more."""


@contextmanager
def moving(source: Place, destination: Place) -> Iterator[Crew]:
    """Bring blobs to the destination: those it has are left, those of the same registry mounted, the others streamed.

    Each is hashed on the way: one that is damaged or cut off is refused before the destination has all of it. All
    threads have ended when this ends, however it does.
    """
    crew = Crew(source, destination)
    try:
        yield crew
    finally:
        crew.end()


class Crew:
    """Threads that take blobs from one list, largest first."""

    def __init__(self, source: Place, destination: Place) -> None:
        self._source, self._destination = source, destination
        self._left: deque[Wanted] = deque()
        self._total = self._done = 0
        self._lock = Lock()
        self._stop, self._changed = Event(), Event()
        self._failure: BaseException | None = None
        self._clients: list[PushingClient] = []
        self._threads: list[Thread] = []
        self.moved = Moved()

    def take(self, wanted: Iterable[Wanted]) -> None:
        """These too; it is begun at once."""
        more = sorted(wanted, key=lambda one: -one.blob.size)
        self._total += sum(one.blob.size for one in more)
        self._left.extend(more)
        busy = sum(thread.is_alive() for thread in self._threads)
        for _ in range(min(MAX_THREADS - busy, len(more))):
            thread = Thread(target=self._work, name=f"blob-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self, meter: Meter) -> None:
        """Until all is done; raises what is wrong at the destination, with a required blob, or what the meter's caller
        raises."""
        meter.total = self._total
        while any(thread.is_alive() for thread in self._threads) and self._failure is None:
            self._changed.wait(_TICK)
            self._changed.clear()
            meter.done = self._done
            meter.tick()
        if self._failure is not None:
            raise self._failure
        meter.done = self._total
        meter.tick(now=True)

    def end(self) -> None:
        """No thread is left, or only one that ends by itself: it waits for a connection to be made."""
        self._stop.set()
        with self._lock:
            for client in self._clients:
                client.cut()
        until = time.monotonic() + _END_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    # In the threads ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with self._made(self._source) as source, self._made(self._destination) as destination:
                while not self._stop.is_set():
                    try:
                        wanted = self._left.popleft()
                    except IndexError:
                        break
                    self._bring(source, destination, wanted)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            with self._lock:
                if self._failure is None and not self._stop.is_set():
                    self._failure = error
        finally:
            self._changed.set()

    @contextmanager
    def _made(self, place: Place) -> Iterator[PushingClient]:
        with place.client() as client:
            with self._lock:
                if self._stop.is_set():
                    raise _Stopped
                self._clients.append(client)
            yield client

    def _bring(self, source: PushingClient, destination: PushingClient, wanted: Wanted) -> None:
        try:
            self._settle(source, destination, wanted.blob)
        except _SourceFailed as failed:
            if wanted.is_required or not isinstance(failed.error, NotFound | Invalid):
                raise failed.error from None
            with self._lock:
                self.moved.missing[wanted.blob.digest] = failed.error.detail

    def _settle(self, source: PushingClient, destination: PushingClient, blob: Descriptor) -> None:
        path = self._destination.path
        with told("destination", destination, path):
            if source.access.api == destination.access.api and self._is_taken_over(destination, blob):
                return
            sending = _Sending(self, source, self._source.path, blob)
            destination.push_blob(path, blob, sending.chunks)
        with self._lock:
            self._done += blob.size - sending.sent
            if sending.is_begun:
                self.moved.blobs += 1
                self.moved.bytes += blob.size
            else:
                self.moved.present += 1

    def _is_taken_over(self, destination: PushingClient, blob: Descriptor) -> bool:
        """Within one registry: whether the blob is there without being sent."""
        is_present = destination.has_blob(self._destination.path, blob)
        if not is_present and not self._is_mounted(destination, blob):
            return False
        with self._lock:
            self._done += blob.size
            self.moved.present += is_present
            self.moved.mounted += not is_present
        return True

    def _is_mounted(self, destination: PushingClient, blob: Descriptor) -> bool:
        with suppress(NotAllowed, NotFound):  # to read the one repository while writing to the other: then it is sent
            return destination.mount(self._destination.path, blob, self._source.path)
        return False

    def passed(self, size: int) -> None:
        """So many bytes more were handed on, or so many less count. Raises where all is stopped."""
        if self._stop.is_set():
            raise _Stopped
        with self._lock:
            self._done += size


class _Sending:
    """One blob on its way. It may begin anew, when the destination breaks off."""

    def __init__(self, crew: Crew, source: PushingClient, path: str, blob: Descriptor) -> None:
        self._crew, self._source, self._path, self._blob = crew, source, path, blob
        self.is_begun = False
        self.sent = 0

    def chunks(self) -> Iterator[bytes]:
        """The blob in pieces, counted."""
        self._crew.passed(-self.sent)
        self.is_begun, self.sent = True, 0
        try:
            blocks = self._source.stream_blob(self._path, self._blob)
            with told("source", self._source, self._path), closing(blocks):
                for block in blocks:
                    self._crew.passed(len(block))
                    self.sent += len(block)
                    yield block
        except SecGuardError as error:
            raise _SourceFailed(error) from error
