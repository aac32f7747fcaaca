"""Read on while what was read before is written: the database works meanwhile, and so may this process."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Final, TypeVar

Item = TypeVar("Item")

CHUNK: Final = 50
"""Items that go from one thread to the other at once: one by one costs more than reading them."""
AHEAD: Final = 8
"""Chunks that are read and wait, at most: what stays in memory is bounded whatever the file."""
PATIENCE: Final = 0.2
"""Seconds after which a reader that is not taken from looks whether it is over."""


@contextmanager
def reading_ahead(items: Generator[Item, None, None]) -> Iterator[Iterator[Item]]:
    """The same items in the same order, read by a thread of their own, which ends with the block.

    ``items`` must touch nothing that belongs to this thread, such as the database's connection. What it raises is
    raised here, after all that came before it.
    """
    waiting: Queue[Any] = Queue(AHEAD)
    is_over = Event()
    reader = Thread(target=_read, args=(items, waiting, is_over), name="reading-ahead", daemon=True)
    reader.start()
    try:
        yield _taken(waiting)
    finally:
        is_over.set()
        reader.join()


def _read(items: Generator[Any, None, None], waiting: Queue[Any], is_over: Event) -> None:
    chunk: list[Any] = []
    last: BaseException | None = None
    try:
        with closing(items):
            for item in items:
                chunk.append(item)
                if len(chunk) == CHUNK:
                    _put(chunk, waiting, is_over)
                    chunk = []
                    if is_over.is_set():
                        return
    except BaseException as error:  # noqa: BLE001 - raised again where the items are taken
        last = error
    _put(chunk, waiting, is_over)
    _put(last, waiting, is_over)


def _put(what: object, waiting: Queue[Any], is_over: Event) -> None:
    while not is_over.is_set():
        try:
            waiting.put(what, timeout=PATIENCE)
        except Full:
            continue
        return


def _taken(waiting: Queue[Any]) -> Iterator[Any]:
    while isinstance(chunk := waiting.get(), list):
        yield from chunk
    if chunk is not None:
        raise chunk
