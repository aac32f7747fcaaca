"""Which function does which kind of job: the list that upper apps register themselves in (DESIGN section 4).

Pure: it knows no job and no clock. An app calls ``register`` (and ``every``) once, in its ``AppConfig.ready``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from secguard.errors import NotFound
from secguard.jobs.lifecycle import Queue


class Run(Protocol):
    """What a handler gets: its arguments, and a place to say how far it is."""

    @property
    def job_id(self) -> int: ...

    @property
    def args(self) -> Mapping[str, Any]: ...

    @property
    def attempt(self) -> int: ...

    def progress(self, text: str, done: int = 0, total: int = 0) -> None:
        """Cheap, at most about four writes a second; stops the handler where the job is no longer its own."""

    def require_lease(self) -> None:
        """Stops the handler where another one may have the job: for just before a change elsewhere that would undo
        that one's work. Asks no database, and may be called in any thread."""


Work = Callable[[Run], Mapping[str, Any] | None]
Failed = Callable[[Mapping[str, Any], str, str], None]


@dataclass(frozen=True)
class Handler:
    """``work`` does the job and may be run twice; ``failed(args, code, words)`` is called when it is given up."""

    kind: str
    work: Work
    max_attempts: int
    failed: Failed | None = None


@dataclass(frozen=True)
class Periodic:
    kind: str
    interval: timedelta
    queue: Queue


_handlers: dict[str, Handler] = {}
_periodic: dict[str, Periodic] = {}


def register(kind: str, work: Work, *, max_attempts: int = 5, failed: Failed | None = None) -> None:
    """Registers ``work`` as the handler of ``kind``; ``ValueError`` where another one is registered already.

    ``work`` returns a small JSON object or nothing. A ``SecGuardError`` it raises is final and its words are kept
    (``Unavailable`` is tried again after its ``retry_after``); anything else is tried again with growing delays.
    ``failed`` is called inside the transaction that marks the job as failed.
    """
    handler = Handler(kind, work, max_attempts, failed)
    found = _handlers.setdefault(kind, handler)
    if found.work is not work:
        raise ValueError(f"The job kind {kind!r} belongs to {found.work!r}; choose another name for {work!r}.")


def every(interval: timedelta, kind: str, *, queue: Queue = Queue.SCHEDULED) -> None:
    """Has the registered ``kind`` enqueued once in each interval (without arguments); a day at the longest.

    ``ValueError`` for a longer one: the rows that say when it last ran are pruned after a week.
    """
    if not timedelta(seconds=1) <= interval <= timedelta(days=1):
        raise ValueError(f"The interval of {kind!r} is {interval}; expected: one second to one day.")
    _periodic[kind] = Periodic(kind, interval, queue)


def handler(kind: str) -> Handler:
    """The handler of a kind; ``NotFound`` naming the known ones."""
    try:
        return _handlers[kind]
    except KeyError as error:
        known = ", ".join(sorted(_handlers)) or "none"
        raise NotFound(f"No handler does jobs of kind {kind!r}; known: {known}.", code="job-kind") from error


def periodic() -> Iterator[Periodic]:
    """Every periodic job, in the order of registration."""
    yield from _periodic.values()


def forget(kind: str) -> None:
    """Takes a kind out again: for tests that register their own."""
    _handlers.pop(kind, None)
    _periodic.pop(kind, None)
