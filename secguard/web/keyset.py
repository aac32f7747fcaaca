"""Keyset pages: a position in a sorted list instead of an offset, so page 1000 costs what page 1 costs.

A list is sorted by a tuple of keys that always ends in the primary key, so no two rows compare equal and a page
boundary is exact. Rows without a value (NULL) come last, whichever way the list is sorted. A cursor is the boundary
row's keys and the way to go from there, signed with the server's key: it cannot be made up, and one made for another
sort is refused.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Generic, TypeVar

from django.core.exceptions import FieldDoesNotExist
from django.core.signing import BadSignature, Signer
from django.db.models import F, Model, Q, QuerySet
from django.db.models.expressions import OrderBy

from secguard.errors import Invalid

COUNT_BOUND = 10_000
MAX_CURSOR_LENGTH = 4_096

Row = TypeVar("Row")


class BrokenCursor(Invalid):
    """A cursor that this server did not make, or made for another sort. 400: the request itself is malformed."""

    status = 400
    title = "Broken cursor"

    def __init__(self, found: str) -> None:
        super().__init__(
            f"The cursor {found}. Take it unchanged from the `next` or `previous` link of a page with the same "
            "ordering, or leave it out to start at the first page.",
            code="broken_cursor",
            where="cursor",
        )


@dataclass(frozen=True)
class Key:
    """One sort key: a field path or annotation, its direction, and whether it may be NULL."""

    path: str
    descending: bool = False
    nullable: bool = True

    @property
    def name(self) -> str:
        """Where the value stands on a fetched row: paths over relations are annotated under this name."""
        return f"key_{self.path.replace('__', '_')}" if "__" in self.path else self.path

    def reversed(self) -> Key:
        return Key(self.path, not self.descending, self.nullable)

    def order_by(self, *, nulls_first: bool) -> OrderBy:
        """Without NULLS FIRST/LAST where there are none, so that a plain index serves the sort."""
        if not self.nullable:
            return OrderBy(F(self.path), descending=self.descending)
        if nulls_first:
            return OrderBy(F(self.path), descending=self.descending, nulls_first=True)
        return OrderBy(F(self.path), descending=self.descending, nulls_last=True)


@dataclass(frozen=True)
class Cursor:
    """A boundary: the keys of the row at it (values in the order of the sort), and which way the page lies."""

    values: tuple[Any, ...]
    backwards: bool = False


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows in the list's order, and the cursors of the pages on both sides (None: there is none)."""

    rows: list[Row]
    next: Cursor | None
    previous: Cursor | None


def keys_for(model: type[Model], paths: Sequence[str], *, nullable: bool | None = None) -> tuple[Key, ...]:
    """Sort keys for ``paths`` (``-`` before one: descending), with the primary key as the last, unique one.

    ``nullable`` None: read from the model; an annotation counts as nullable.
    """
    keys = [_key(model, path, nullable) for path in paths]
    if not any(key.path in ("pk", "id") for key in keys):
        keys.append(Key("pk", keys[-1].descending if keys else False, nullable=False))
    return tuple(keys)


def _key(model: type[Model], path: str, nullable: bool | None) -> Key:
    bare = path.removeprefix("-")
    return Key(bare, path.startswith("-"), _may_be_null(model, bare) if nullable is None else nullable)


def _may_be_null(model: type[Model], path: str) -> bool:
    if path == "pk":
        return False
    current: Any = model
    for part in path.split("__"):
        try:
            field = current._meta.get_field(part)
        except (FieldDoesNotExist, AttributeError):
            return True
        if getattr(field, "null", True):
            return True
        current = field.related_model
    return False


def page(queryset: QuerySet[Any, Row], keys: Sequence[Key], cursor: Cursor | None, limit: int) -> Page[Row]:
    """One page of ``queryset`` (its own order is replaced) in one query.

    Raises BrokenCursor when the cursor's values do not fit the keys.
    """
    if cursor is not None and len(cursor.values) != len(keys):
        raise BrokenCursor("belongs to another sort")
    backwards = cursor is not None and cursor.backwards
    rows = _fetch(queryset, keys, cursor, limit + 1, backwards=backwards)
    more, rows = len(rows) > limit, rows[:limit]
    if backwards:
        rows.reverse()
    return _with_neighbours(rows, keys, cursor, more=more)


def _fetch(
    queryset: QuerySet[Any, Row], keys: Sequence[Key], cursor: Cursor | None, limit: int, *, backwards: bool
) -> list[Row]:
    walked = [key.reversed() if backwards else key for key in keys]
    found = sorted_by(queryset, walked, nulls_first=backwards)
    if cursor is not None:
        try:
            return list(found.filter(_beyond(walked, cursor.values, nulls_first=backwards))[:limit])
        except (TypeError, ValueError) as error:  # a signed cursor of a list whose columns have changed since
            raise BrokenCursor("belongs to another list") from error
    return list(found[:limit])


def _with_neighbours(rows: list[Row], keys: Sequence[Key], cursor: Cursor | None, *, more: bool) -> Page[Row]:
    backwards = cursor is not None and cursor.backwards
    if not rows:
        # Everything past the boundary is gone: the way back starts at the boundary itself.
        back = Cursor(cursor.values, backwards=not backwards) if cursor else None
        return Page(rows, back if backwards else None, None if backwards else back)
    has_next, has_previous = (True, more) if backwards else (more, cursor is not None)
    after = Cursor(_values(rows[-1], keys)) if has_next else None
    before = Cursor(_values(rows[0], keys), backwards=True) if has_previous else None
    return Page(rows, after, before)


def sorted_by(queryset: QuerySet[Any, Row], keys: Sequence[Key], *, nulls_first: bool = False) -> QuerySet[Any, Row]:
    """``queryset`` in the order of ``keys``, with every key's value on the row."""
    related = {key.name: F(key.path) for key in keys if key.name != key.path}
    found: QuerySet[Any, Row] = queryset.annotate(**related).order_by(
        *(key.order_by(nulls_first=nulls_first) for key in keys)
    )
    return found


def _values(row: Any, keys: Sequence[Key]) -> tuple[Any, ...]:
    read: Callable[[str], Any] = row.get if isinstance(row, dict) else lambda name: getattr(row, name)
    return tuple(read("id") if key.path == "pk" and isinstance(row, dict) else read(key.name) for key in keys)


def _beyond(keys: Sequence[Key], values: Sequence[Any], *, nulls_first: bool) -> Q:
    """Rows after the boundary in the order walked: ``k0 > v0 OR (k0 = v0 AND (k1 > v1 OR ...))``."""
    key, value = keys[0], values[0]
    after = _after(key, value, nulls_first=nulls_first)
    if len(keys) == 1:
        return after
    tie = Q(**{f"{key.path}__isnull": True}) if value is None else Q(**{key.path: value})
    ties = tie & _beyond(keys[1:], values[1:], nulls_first=nulls_first)
    if key.nullable:
        return after | ties
    # The redundant first half is a plain range, which an index on the first key can start from.
    edge = Q(**{f"{key.path}__{'lte' if key.descending else 'gte'}": value})
    return edge & (after | ties)


def _after(key: Key, value: Any, *, nulls_first: bool) -> Q:
    if value is None:
        return Q(**{f"{key.path}__isnull": False}) if nulls_first else Q(pk__in=[])
    after = Q(**{f"{key.path}__{'lt' if key.descending else 'gt'}": value})
    if key.nullable and not nulls_first:
        after |= Q(**{f"{key.path}__isnull": True})
    return after


def bounded_count(queryset: QuerySet[Any, Any], bound: int = COUNT_BOUND) -> tuple[int, bool]:
    """(rows, True), or (``bound``, False) when there are more: never counts further than the bound."""
    found = queryset.order_by().values("pk")[: bound + 1].count()
    return min(found, bound), found <= bound


_TO_TEXT: dict[type, tuple[str, Callable[[Any], str]]] = {
    dt.datetime: ("t", dt.datetime.isoformat),
    dt.date: ("d", dt.date.isoformat),
    dt.timedelta: ("s", lambda value: repr(value.total_seconds())),
    Decimal: ("n", str),
    uuid.UUID: ("u", str),
}
_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "t": dt.datetime.fromisoformat,
    "d": dt.date.fromisoformat,
    "s": lambda text: dt.timedelta(seconds=float(text)),
    "n": Decimal,
    "u": uuid.UUID,
}


@cache
def _signer() -> Signer:
    """Made at its first use: the app registry is filled before a management command has any key."""
    return Signer(salt="secguard.web.keyset")


def encode(cursor: Cursor, sort: str) -> str:
    """The cursor as a URL-safe string, bound to ``sort`` (any text that names the list's order)."""
    return _signer().sign_object([sort, int(cursor.backwards), [_to_json(v) for v in cursor.values]], compress=True)


def decode(text: str, sort: str) -> Cursor:
    """``encode`` undone. Raises BrokenCursor for anything that ``encode`` did not make for this ``sort``."""
    if len(text) > MAX_CURSOR_LENGTH:
        raise BrokenCursor(f"is longer than {MAX_CURSOR_LENGTH} characters")
    try:
        made_for, backwards, values = _signer().unsign_object(text)
        cursor = Cursor(tuple(_from_json(v) for v in values), backwards=bool(backwards))
    except (BadSignature, ValueError, TypeError, KeyError, InvalidOperation) as error:
        raise BrokenCursor("is not one that this server made") from error
    if made_for != sort:
        raise BrokenCursor(f"was made for the ordering {made_for!r}, and this request asks for {sort!r}")
    return cursor


def _to_json(value: Any) -> Any:
    tag, text = _TO_TEXT.get(type(value), ("", str))
    return {tag: text(value)} if tag else value


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((tag, text),) = value.items()
    return _FROM_TEXT[tag](text)
