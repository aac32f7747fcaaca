"""Asking the table of words, as each database has it (migration 0005); what is asked for is made by ``words``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from secguard.audit import words
from secguard.audit.services.indexing import is_fts5
from secguard.audit.words import Wanted

# Each epoch is looked up by itself: a beginning of words then reads the part of the index that holds that epoch.
# OFFSET 0 keeps what stands outside of it out of the index: the range, lest it be read instead, and what is checked on
# the rows. The outer query has no order of its own: it takes the epochs as they are asked for, each in its order, and
# begins none once it has enough.
POSTGRESQL = (
    "SELECT hit.sequence FROM unnest(%s::text[], %s::text[]) AS asked (question, checked) CROSS JOIN LATERAL"
    " (SELECT found.sequence FROM"
    " (SELECT sequence, words FROM audit_words WHERE words @@ asked.question::tsquery OFFSET 0) AS found"
    " WHERE found.sequence BETWEEN %s AND %s AND (asked.checked = '' OR found.words @@ asked.checked::tsquery)"
    " ORDER BY found.sequence {order} LIMIT %s) AS hit LIMIT %s"
)
WALKED = (
    "SELECT array_agg(sequence ORDER BY sequence {order}) FILTER (WHERE {all}), {each} FROM"
    " (SELECT sequence, {has} FROM"
    " (SELECT * FROM audit_words WHERE sequence BETWEEN %s AND %s OFFSET 0) AS row) AS seen"
)
FTS5 = (
    "SELECT rowid FROM audit_words WHERE audit_words MATCH %s AND rowid BETWEEN %s AND %s"
    " ORDER BY rowid {order} LIMIT %s"
)
PLAIN = "SELECT rowid FROM audit_words WHERE rowid BETWEEN %s AND %s AND {has} ORDER BY rowid {order} LIMIT %s"


def walks() -> bool:
    """Whether the database reads all entries that a frequent word has in an epoch before it gives the newest of them;
    SQLite gives them as it finds them."""
    return bool(connection.vendor == "postgresql")


def walked(wanted: Wanted, span: tuple[int, int], *, newest_first: bool) -> tuple[list[int], list[int]]:
    """The entries of a short ``span`` that have what is ``wanted``, by reading each; and how many have each part."""
    epochs = range(words.epoch_of(span[0]), words.epoch_of(span[1]) + 1)
    questions = [" | ".join(words.as_tsquery((group,), epoch) for epoch in epochs) for group in wanted]
    names = [f"has_{n}" for n in range(len(wanted))]
    sql = WALKED.format(
        order="DESC" if newest_first else "ASC",
        all=" AND ".join(names),
        each=", ".join(f"count(*) FILTER (WHERE {name})" for name in names),
        has=", ".join(f"words @@ %s::tsquery AS {name}" for name in names),
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*questions, *span])
        found, *counts = cursor.fetchone()
    return found or [], counts


def matching(
    wanted: Wanted,
    epochs: Sequence[int],
    span: tuple[int, int],
    *,
    limit: int,
    newest_first: bool,
    checked: Wanted = (),
) -> list[int]:
    """The first ``limit`` entries of ``epochs`` (in the order that is asked for) and ``span`` that have what is
    ``wanted``, which the index is asked for, and what is ``checked``, which only the rows are."""
    order = "DESC" if newest_first else "ASC"
    if connection.vendor == "postgresql":
        asked = [[words.as_tsquery(part, epoch) for epoch in epochs] for part in (wanted, checked)]
        # PostgreSQL cannot tell how little is found, and would compile the plan, which takes longer than running it.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL jit = off")
            return _numbers(POSTGRESQL.format(order=order), [*asked, *span, limit, limit])
    ask = _in_fts5 if is_fts5() else _in_plain_table
    found: list[int] = []
    for epoch in epochs:
        if len(found) < limit:
            first, last = words.span_of(epoch)
            part = (max(first, span[0]), min(last, span[1]))
            found += ask(wanted + checked, epoch, part, limit - len(found), order)
    return found


def _in_fts5(wanted: Wanted, epoch: int, span: tuple[int, int], limit: int, order: str) -> list[int]:
    return _numbers(FTS5.format(order=order), [words.as_match(wanted, epoch), *span, limit])


def _in_plain_table(wanted: Wanted, epoch: int, span: tuple[int, int], limit: int, order: str) -> list[int]:
    has = " AND ".join(f"({' OR '.join('instr(words, %s)' for _ in group)})" for group in wanted)
    beginnings = [
        f" {words.tagged(epoch, token.text)}{'' if token.is_prefix else ' '}" for group in wanted for token in group
    ]
    return _numbers(PLAIN.format(has=has, order=order), [*span, *beginnings, limit])


def _numbers(sql: str, values: list[Any]) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [row[0] for row in cursor.fetchall()]
