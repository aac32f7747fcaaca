"""Asking the table of words, as each database has it (migration 0005); what is asked for is made by ``words``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from secguard.audit import words
from secguard.audit.services.indexing import is_fts5
from secguard.audit.words import Wanted

# Each epoch is looked up by itself: a beginning of words then reads the part of the index that holds that epoch.
# OFFSET 0 keeps the range outside, lest it be read instead of the index.
POSTGRESQL = (
    "SELECT hit.sequence FROM unnest(%s::text[]) AS asked (question) CROSS JOIN LATERAL"
    " (SELECT sequence FROM audit_words WHERE words @@ asked.question::tsquery OFFSET 0) AS hit"
    " WHERE hit.sequence BETWEEN %s AND %s ORDER BY hit.sequence {order} LIMIT %s"
)
FTS5 = (
    "SELECT rowid FROM audit_words WHERE audit_words MATCH %s AND rowid BETWEEN %s AND %s"
    " ORDER BY rowid {order} LIMIT %s"
)
PLAIN = "SELECT rowid FROM audit_words WHERE rowid BETWEEN %s AND %s AND {has} ORDER BY rowid {order} LIMIT %s"


def matching(
    wanted: Wanted, epochs: Sequence[int], span: tuple[int, int], *, limit: int, newest_first: bool
) -> list[int]:
    """The first ``limit`` entries of ``epochs`` (in the order that is asked for) and ``span`` that have what is
    ``wanted``."""
    order = "DESC" if newest_first else "ASC"
    if connection.vendor == "postgresql":
        questions = [words.as_tsquery(wanted, epoch) for epoch in epochs]
        return _numbers(POSTGRESQL.format(order=order), [questions, *span, limit])
    found: list[int] = []
    for epoch in epochs:
        if len(found) < limit:
            found += _in_sqlite(wanted, epoch, span, limit - len(found), order)
    return found


def _in_sqlite(wanted: Wanted, epoch: int, span: tuple[int, int], limit: int, order: str) -> list[int]:
    first, last = words.span_of(epoch)
    span = (max(first, span[0]), min(last, span[1]))
    if is_fts5():
        return _numbers(FTS5.format(order=order), [words.as_match(wanted, epoch), *span, limit])
    has = " AND ".join(f"({' OR '.join('instr(words, %s)' for _ in group)})" for group in wanted)
    beginnings = [
        f" {words.tagged(epoch, token.text)}{'' if token.is_prefix else ' '}" for group in wanted for token in group
    ]
    return _numbers(PLAIN.format(has=has, order=order), [*span, *beginnings, limit])


def _numbers(sql: str, values: list[Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [row[0] for row in cursor.fetchall()]
