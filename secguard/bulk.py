"""Many rows in few statements, past the object mapper where its price per row is the bound (DESIGN section 7).

Only names of tables and columns, taken from the models, are put into statements; every value is a parameter.

Rows are plain tuples of Python values in the order of ``columns`` (attribute names: a foreign key is ``image_id``).
What a model's defaults, ``save`` or signals would do does not happen: every column without a default in the database
is named. Constraints hold as ever. Each function must be called inside a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
from django.core.exceptions import EmptyResultSet
from django.db import IntegrityError, connection, models, transaction
from django.db.models.expressions import RawSQL

Row = Sequence[Any]

CHUNK = 5000
"""Rows in one statement: bounds the memory of parameters, and what one refused row throws away."""


def insert(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row]) -> list[int]:
    """Insert rows and return their ids in the same order. Raises ``IntegrityError`` as any insert does.

    Ids are taken before the rows are written: from the sequence (PostgreSQL), or behind the highest one ever given
    (SQLite, whose one writer holds the lock).
    """
    _require_transaction()
    prepared = list(_prepared(model, columns, rows))
    ids = _next_ids(model, len(prepared))
    names = ("id", *columns)
    numbered = ((pk, *row) for pk, row in zip(ids, prepared, strict=True))
    if connection.vendor == "postgresql":
        _copy(model, names, numbered)
    else:
        with connection.cursor() as cursor:
            sql = f"INSERT INTO {_table(model)} ({_names(model, names)}) VALUES ({_marks(len(names))})"  # noqa: S608
            cursor.executemany(sql, list(numbered))
    return ids


def insert_missing(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row]) -> list[int] | None:
    """Insert the rows whose unique values are not there yet, and leave the others as they stand.

    Returns the rows' ids in the same order where it knows that all were new; else ``None``: they are to be looked up.
    Rows are written in the order given. Give them sorted by their unique value: transactions that insert the same
    values at the same time then wait for each other, and never both ways.
    """
    _require_transaction()
    prepared = list(_prepared(model, columns, rows))
    into = f"INSERT INTO {_table(model)} ({_names(model, columns)})"
    if connection.vendor != "postgresql":
        with connection.cursor() as cursor:
            cursor.executemany(f"{into} VALUES ({_marks(len(columns))}) ON CONFLICT DO NOTHING", prepared)
        return None
    ids = _next_ids(model, len(prepared))
    try:
        # Who asks has looked before, so most often nothing is there; and this way takes half as long.
        with transaction.atomic():
            _copy(model, ("id", *columns), ((pk, *row) for pk, row in zip(ids, prepared, strict=True)))
    except IntegrityError:
        sql = f"{into} SELECT * FROM {_unnest(model, columns)} ON CONFLICT DO NOTHING"  # noqa: S608
        with connection.cursor() as cursor:
            for start in range(0, len(prepared), CHUNK):
                cursor.execute(sql, _by_column(prepared[start : start + CHUNK]))
        return None
    return ids


def merge(
    model: type[models.Model],
    columns: Sequence[str],
    rows: Iterable[Row],
    *,
    unique: Sequence[str],
    settings: str = "",
    returning: Sequence[str],
) -> list[tuple[Any, ...]]:
    """Insert rows; where one with the same ``unique`` values stands, change it by ``settings``, or leave it.

    ``settings`` is SQL of the caller's own, without parameters: ``count = events_tally.count + excluded.count``.
    Returns the ``returning`` columns, as the driver gives them, of the rows that were inserted or changed, in no order.
    No two rows may have the same unique values; give them sorted by those, so that two who merge never wait both ways.
    """
    _require_transaction()
    prepared, found = _prepared(model, columns, rows), []
    doing = f"DO UPDATE SET {settings}" if settings else "DO NOTHING"
    ending = f"ON CONFLICT ({_names(model, unique)}) {doing} RETURNING {_names(model, returning)}"
    into = f"INSERT INTO {_table(model)} ({_names(model, columns)})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            sql = f"{into} SELECT * FROM {_unnest(model, columns)} {ending}"  # noqa: S608
            while chunk := list(islice(prepared, CHUNK)):
                cursor.execute(sql, _by_column(chunk))
                found += cursor.fetchall()
        else:
            values = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(len(columns)))
            # WHERE: without it SQLite takes ON for a join's (sqlite.org/lang_upsert.html, 2.2).
            sql = f"{into} SELECT {values} FROM json_each(%s) WHERE true {ending}"  # noqa: S608
            while chunk := list(islice(prepared, CHUNK)):
                cursor.execute(sql, [json.dumps([list(row) for row in chunk], default=str)])
                found += cursor.fetchall()
    return found


def update(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Set ``columns`` of the rows named by their ids; each row is ``(id, *values)``. Unknown ids are passed over.

    The rows are locked in no promised order: whoever may meet others at these rows locks them first.
    """
    _require_transaction()
    prepared = _prepared(model, ("id", *columns), rows)
    names = [_column(model, c) for c in columns]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            settings = ", ".join(f"{n} = v.{n}" for n in names)
            source = _unnest(model, ("id", *columns))
            sql = f"UPDATE {_table(model)} AS t SET {settings} FROM {source} WHERE t.id = v.id"  # noqa: S608
            while chunk := list(islice(prepared, CHUNK)):
                cursor.execute(sql, _by_column(chunk))
        else:
            settings = ", ".join(f"{n} = %s" for n in names)
            sql = f"UPDATE {_table(model)} SET {settings} WHERE id = %s"  # noqa: S608
            cursor.executemany(sql, [(*row[1:], row[0]) for row in prepared])


def among(values: Iterable[str] | Iterable[int] | Iterable[UUID]) -> RawSQL:
    """``values`` as the right side of ``__in``: one parameter however many there are, so none is ever too many."""
    wanted = list(values)
    if not wanted:
        return _Nothing("", ())
    if connection.vendor == "postgresql":
        type_ = "bigint" if isinstance(wanted[0], int) else "uuid" if isinstance(wanted[0], UUID) else "text"
        # Written here: the driver takes ten times as long for each value of a list.
        text = ",".join(map(_quoted if type_ == "text" else str, wanted))
        return RawSQL(f"SELECT unnest(%s::{type_}[])", (f"{{{text}}}",))  # noqa: S611 - values are parameters
    texts = [value.hex if isinstance(value, UUID) else value for value in wanted]
    return RawSQL("SELECT value FROM json_each(%s)", (json.dumps(texts),))


def _quoted(value: object) -> str:
    """One text of an array, as PostgreSQL reads it (section 8.15.6, "Array Input and Output Syntax")."""
    text = str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class _Nothing(RawSQL):
    """No value at all, and so of no type: the database is not even asked."""

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        raise EmptyResultSet


def _require_transaction() -> None:
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("Writing rows in bulk needs transaction.atomic around it.")


def _copy(model: type[models.Model], names: Sequence[str], rows: Iterable[Row]) -> None:
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {_table(model)} ({_names(model, names)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def _next_ids(model: type[models.Model], count: int) -> list[int]:
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # The sequence's name is looked up once, not for each row.
            sequence = "(SELECT pg_get_serial_sequence(%s, 'id')::regclass AS name OFFSET 0) AS sequence"
            cursor.execute(f"SELECT nextval(name) FROM {sequence}, generate_series(1, %s)", [table, count])  # noqa: S608
            return [pk for (pk,) in cursor.fetchall()]
        # AUTOINCREMENT: a table that has had no row yet has no line there (sqlite.org/autoinc.html).
        cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        found = cursor.fetchone()
        first = (found[0] if found else 0) + 1
        return list(range(first, first + count))


Converter = Callable[[Any], Any]


def _prepared(model: type[models.Model], columns: Sequence[str], rows: Iterable[Row]) -> Iterator[Row]:
    """The rows as the driver takes them; only columns that need it are touched."""
    converters = [(i, c) for i, name in enumerate(columns) if (c := _converter(model, name))]
    if not converters:
        return iter(rows)
    return (_converted(row, converters) for row in rows)


def _converted(row: Row, converters: Sequence[tuple[int, Converter]]) -> Row:
    values = list(row)
    for i, convert in converters:
        if values[i] is not None:
            values[i] = convert(values[i])
    return values


def _converter(model: type[models.Model], name: str) -> Converter | None:
    field = _field(model, name)
    if isinstance(field, models.JSONField):
        return _document
    if isinstance(field, models.DateTimeField):
        return _moment
    if isinstance(field, models.UUIDField) and not connection.features.has_native_uuid_field:
        return _hex
    return None


def _hex(value: Any) -> Any:
    """A UUID as Django keeps it where the database has no type for it."""
    return value.hex if isinstance(value, UUID) else value


def _document(value: Any) -> str:
    return _ENCODER.encode(value).decode()


_ENCODER = msgspec.json.Encoder()


@lru_cache(maxsize=64)
def _moment(value: Any) -> Any:
    """A time as the database keeps it; a report's rows share a few."""
    kept = connection.ops.adapt_datetimefield_value(value)
    # As text, which the driver copies; it writes a time far more slowly.
    return kept.isoformat(sep=" ") if isinstance(kept, datetime) else kept


def _field(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    for field in model._meta.concrete_fields:
        if field.attname == name:
            return field
    raise ValueError(f"{model.__name__} has no column {name!r}; name foreign keys by their id, like vulnerability_id.")


def _column(model: type[models.Model], name: str) -> str:
    return connection.ops.quote_name(_field(model, name).column or name)


def _names(model: type[models.Model], columns: Sequence[str]) -> str:
    return ", ".join(_column(model, c) for c in columns)


def _table(model: type[models.Model]) -> str:
    return connection.ops.quote_name(model._meta.db_table)


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)


def _unnest(model: type[models.Model], columns: Sequence[str]) -> str:
    """The parameters, one array a column, as a table ``v`` with the columns' names and types (PostgreSQL)."""
    arrays = ", ".join(f"%s::{_type(model, c)}[]" for c in columns)
    return f"unnest({arrays}) AS v({_names(model, columns)})"


def _type(model: type[models.Model], name: str) -> str:
    type_ = _field(model, name).rel_db_type(connection) if name == "id" else _field(model, name).db_type(connection)
    # A cast to varchar(n) cuts without a word; text lets the column itself refuse what is too long.
    return "text" if type_ is None or type_.startswith("varchar") else type_


def _by_column(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(values) for values in zip(*rows, strict=True)]
