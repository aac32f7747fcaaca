"""Finding entries by their words, and by several columns at once, without reading the log through.

The table of words answers, epoch by epoch from the newest on, and stops at a page; what a job has not yet taken in is
compared here. A search takes no more than its time: one that has not looked at all entries by then says how far it
came, and its next page goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import monotonic

from secguard.audit.models import AuditEntry, AuditEntryQuerySet, AuditHead, AuditSearch
from secguard.audit.queries import wordtable
from secguard.audit.services.indexing import COLUMNS
from secguard.audit.words import Text, Wanted, answers, epoch_of, span_of, tokens_of, wanted_words
from secguard.web import keyset

TAIL = 2_000
"""Newest entries that are compared here where the words do not reach so far: some 50 ms."""
WALK = 2_048
"""Entries that are read one by one before an index is asked, where that pays: some 5 ms. A page of frequent words needs
no more, and they tell which of the words are frequent."""
FREQUENT = 0.02
"""Of the entries read."""
SECONDS = 0.1
"""After this long no further part of the index is begun."""
MAX_EPOCHS = 64
"""Asked for by one statement at most."""
COUNT_BOUND = 1_000
"""What a search finds is counted so far: each one counted is a row read from somewhere."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a search looks at: the entries up to ``covered``, and from ``tail`` on to the log's end, ``head``."""

    covered: int
    head: int

    @property
    def tail(self) -> int:
        return max(self.covered, self.head - TAIL) + 1

    @property
    def is_whole(self) -> bool:
        return self.tail == self.covered + 1


def coverage() -> Coverage:
    """Two queries. The words are asked first: they are never ahead of the log."""
    covered = AuditSearch.objects.filter(id=1).values_list("covered", flat=True).first() or 0
    head = AuditHead.objects.filter(id=1).values_list("sequence", flat=True).first() or 0
    return Coverage(min(covered, head), head)


@dataclass(frozen=True, slots=True)
class Found:
    """Entries in the order they were asked for. ``reached``: the search ended here, with that entry; None: it looked at
    all that there are, or has as many as were asked for."""

    sequences: list[int]
    reached: int | None = None


class Search:
    """The entries of a queryset that have all words of ``text``; of none, those that its other conditions leave."""

    def __init__(self, entries: AuditEntryQuerySet, text: str = "") -> None:
        self.entries = entries
        self.text = text

    @cached_property
    def coverage(self) -> Coverage:
        return coverage()

    @property
    def is_looked_up(self) -> bool:
        """Whether words are asked, and not the rows: they have every entry, or only they can tell."""
        if self.entries.query.is_empty():
            return False
        return bool(self.text) or (not self.entries.narrowing.is_indexed and self.coverage.is_whole)

    @cached_property
    def wanted(self) -> Wanted:
        return self.entries.narrowing.wanted + (wanted_words(self.text) if self.text else ())

    def page(self, keys: Sequence[keyset.Key], cursor: keyset.Cursor | None, limit: int) -> keyset.Page[AuditEntry]:
        """One page, as ``keyset.page``; one that took its time has few rows or none, and a next one."""
        if not self.is_looked_up:
            return keyset.page(self.entries, keys, cursor, limit)
        backwards = cursor is not None and cursor.backwards
        newest_first = keys[0].descending != backwards
        found = self._beyond(cursor, limit + 1, newest_first)
        rows = self.entries.filter(sequence__in=found.sequences[: limit + 1])
        page = keyset.page(rows, keys, cursor, limit)
        if found.reached is None:
            return page
        further = keyset.Cursor((found.reached,) * len(keys), backwards)
        return replace(page, previous=further) if backwards else replace(page, next=further)

    def _beyond(self, cursor: keyset.Cursor | None, limit: int, newest_first: bool) -> Found:
        if cursor is None and newest_first and limit <= COUNT_BOUND + 1:
            found = self._newest
            return found if len(found.sequences) < limit else Found(found.sequences)
        first, last = self._span
        edge = None if cursor is None else int(cursor.values[0])
        if edge is not None:
            first, last = (first, min(last, edge - 1)) if newest_first else (max(first, edge + 1), last)
        return self._find((first, last), limit, newest_first)

    @cached_property
    def _newest(self) -> Found:
        """The first page and the count, of one look-up."""
        return self._find(self._span, COUNT_BOUND + 1, newest_first=True)

    @property
    def _span(self) -> tuple[int, int]:
        narrowing, head = self.entries.narrowing, self.coverage.head
        return narrowing.first, head if narrowing.last is None else min(narrowing.last, head)

    def count(self) -> tuple[int, bool]:
        """(entries, whether that is all of them)."""
        if not self.is_looked_up:
            return keyset.bounded_count(self.entries)
        found = self._newest
        is_all = found.reached is None and len(found.sequences) <= COUNT_BOUND and self.coverage.is_whole
        return min(len(found.sequences), COUNT_BOUND), is_all

    def pages(self, limit: int) -> Iterator[list[AuditEntry]]:
        """All entries, oldest first, page by page, however long it takes."""
        keys, cursor = keyset.keys_for(AuditEntry, ["sequence"]), None
        while True:
            page = self.page(keys, cursor, limit)
            yield page.rows
            if page.next is None:
                return
            cursor = page.next

    def _find(self, span: tuple[int, int], limit: int, newest_first: bool) -> Found:
        until = monotonic() + SECONDS
        seen = self.coverage
        in_words = (span[0], min(span[1], seen.covered))
        in_tail = (max(span[0], seen.tail), span[1])
        if newest_first:
            newest = _compared(self.wanted, in_tail, limit, newest_first)
            older = _looked_up(self.wanted, in_words, limit - len(newest), newest_first, until)
            return replace(older, sequences=newest + older.sequences)
        older = _looked_up(self.wanted, in_words, limit, newest_first, until)
        if older.reached is not None or len(older.sequences) >= limit:
            return older
        return Found(older.sequences + _compared(self.wanted, in_tail, limit - len(older.sequences), newest_first))


def _compared(wanted: Wanted, span: tuple[int, int], limit: int, newest_first: bool) -> list[int]:
    """Of the entries whose words are not taken in yet."""
    if span[0] > span[1]:
        return []
    rows = AuditEntry.objects.filter(sequence__gte=span[0], sequence__lte=span[1])
    rows = rows.order_by("-sequence" if newest_first else "sequence")[:TAIL]
    found: list[int] = []
    for sequence, *columns in rows.values_list("sequence", *COLUMNS):
        if len(found) < limit and answers(tokens_of(Text(*columns)), wanted):
            found.append(sequence)
    return found


def _looked_up(wanted: Wanted, span: tuple[int, int], limit: int, newest_first: bool, until: float) -> Found:
    """Of the others: the first by reading them, then by few epochs and by more at a time, as long as there is time."""
    if span[0] > span[1] or limit < 1 or not all(wanted):
        return Found([])
    found: list[int] = []
    checked: Wanted = ()
    if wordtable.walks():
        read, span = _parted(span, newest_first)
        found, counts = wordtable.walked(wanted, read, newest_first=newest_first)
        wanted, checked = _driving(wanted, counts)
    epochs = _epochs(span, newest_first)
    at, size = 0, 1
    while at < len(epochs) and len(found) < limit:
        begin = monotonic()
        asked = epochs[at : at + size]
        found += wordtable.matching(
            wanted, asked, span, limit=limit - len(found), newest_first=newest_first, checked=checked
        )
        at += len(asked)
        now = monotonic()
        if now >= until and at < len(epochs) and len(found) < limit:
            first, last = span_of(asked[-1])
            return Found(found, first if newest_first else last)
        each = (now - begin) / len(asked)
        size = max(1, min(4 * size, MAX_EPOCHS, int((until - now) / each)))
    return Found(found[:limit])


def _parted(span: tuple[int, int], newest_first: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """The entries of a span that come first, and those after them."""
    first, last = span
    if newest_first:
        edge = max(first, last - WALK + 1)
        return (edge, last), (first, edge - 1)
    edge = min(last, first + WALK - 1)
    return (first, edge), (edge + 1, last)


def _driving(wanted: Wanted, counts: Sequence[int]) -> tuple[Wanted, Wanted]:
    """What the index is asked for, and what is left to be checked on the rows it gives: the beginnings of frequent
    words, whose entries it would collect in every epoch before it looks at anything else. Not if that is all."""
    frequent = tuple(
        group
        for group, count in zip(wanted, counts, strict=True)
        if count > WALK * FREQUENT and any(token.is_prefix for token in group)
    )
    others = tuple(group for group in wanted if group not in frequent)
    return (others, frequent) if others else (wanted, ())


def _epochs(span: tuple[int, int], newest_first: bool) -> Sequence[int]:
    if span[0] > span[1]:
        return ()
    first, last = epoch_of(span[0]), epoch_of(span[1])
    return range(last, first - 1, -1) if newest_first else range(first, last + 1)
