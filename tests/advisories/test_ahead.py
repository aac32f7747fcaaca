"""Reading ahead: the same items in order, faults where they were, and a reader that ends with its block."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.advisories.services.ahead import AHEAD, CHUNK, reading_ahead


def counted(n: int, seen: list[int], *, breaks: bool = False) -> Generator[int, None, None]:
    try:
        for i in range(n):
            seen.append(i)
            yield i
        if breaks:
            raise ValueError("broken off")
    finally:
        seen.append(-1)


@given(st.integers(0, 3 * CHUNK))
def test_the_same_items_in_the_same_order(n: int) -> None:
    with reading_ahead(counted(n, [])) as items:
        assert list(items) == list(range(n))


@given(st.integers(0, 3 * CHUNK))
def test_a_fault_comes_after_all_that_came_before_it(n: int) -> None:
    found: list[int] = []
    with pytest.raises(ValueError, match="broken off"), reading_ahead(counted(n, [], breaks=True)) as items:
        found.extend(items)
    assert found == list(range(n))


def test_it_reads_no_further_than_it_may_and_ends_with_its_block() -> None:
    seen: list[int] = []
    with reading_ahead(counted(100_000, seen)) as items:
        next(items)
    assert seen[-1] == -1, "what it read from is closed"
    assert len(seen) <= (AHEAD + 3) * CHUNK
    assert not [t for t in threading.enumerate() if t.name == "reading-ahead"]
