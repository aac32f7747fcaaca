"""Taking the words of entries into the table that is searched: by a job, never by who writes an entry."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connection, transaction

from secguard.audit.models import AuditEntry, AuditHead, AuditSearch
from secguard.audit.words import Text, epoch_of, tagged, tokens_of

BATCH = 1_000
"""Entries taken in by one transaction: on SQLite, whose file it locks, some 50 ms."""

COLUMNS = tuple(Text.__dataclass_fields__)

Row = tuple[int, str]
"""An entry's sequence, and its tokens with spaces between them."""


def index(progress: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Take in all entries there are, from wherever the words end; returns how far they reach then.

    As ``growing.grow``: each step is one transaction, so whatever ends this process loses one step at most, and the
    entries of before there was a search are taken in by the same steps.
    """
    while True:
        covered, taken = _step()
        if not taken:
            return covered
        progress(covered, AuditHead.objects.values_list("sequence", flat=True).filter(id=1).first() or covered)


def _step() -> tuple[int, int]:
    """Take in the next ``BATCH`` entries; returns how far the words reach, and how many entries they were."""
    covered = AuditSearch.objects.get_or_create(id=1)[0].covered
    # Read and cut outside of the transaction: the log's rows never change, and nobody waits meanwhile.
    rows = _rows_after(covered)
    if not rows:
        return covered, 0
    with transaction.atomic():
        found = AuditSearch.objects.select_for_update().get(id=1)
        if found.covered != covered:  # another worker was here
            return found.covered, len(rows)
        if not covered:
            _clear()
        _write(rows)
        found.covered = rows[-1][0]
        found.save(update_fields=["covered"])
    return found.covered, len(rows)


def _rows_after(covered: int) -> list[Row]:
    log = AuditEntry.objects.filter(sequence__gt=covered).order_by("sequence")
    return [_row(sequence, Text(*columns)) for sequence, *columns in log.values_list("sequence", *COLUMNS)[:BATCH]]


def _row(sequence: int, entry: Text) -> Row:
    epoch = epoch_of(sequence)
    return sequence, " ".join(tagged(epoch, token) for token in tokens_of(entry))


def _clear() -> None:
    """What a beginning may find: words of a log that was emptied, or that are to be made anew."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("TRUNCATE audit_words")
        elif is_fts5():
            cursor.execute("INSERT INTO audit_words (audit_words) VALUES ('delete-all')")
        else:
            cursor.execute("DELETE FROM audit_words")


def _write(rows: list[Row]) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "INSERT INTO audit_words (sequence, words) SELECT place, array_to_tsvector(string_to_array(said, ' '))"
                " FROM unnest(%s::bigint[], %s::text[]) AS entry (place, said)",
                [[place for place, _ in rows], [said for _, said in rows]],
            )
        else:
            # A plain table is searched for a word's beginning with the space before it.
            cursor.executemany(
                "INSERT INTO audit_words (rowid, words) VALUES (%s, %s)", [(at, f" {said} ") for at, said in rows]
            )


def is_fts5() -> bool:
    """Whether SQLite's table of words is one of FTS5 (migration 0005)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql LIKE '%%VIRTUAL%%' FROM sqlite_master WHERE name = 'audit_words'")
        return bool(cursor.fetchone()[0])
