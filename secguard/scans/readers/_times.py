"""Times as tools write them: RFC 3339, a space for the ``T``, nanoseconds, seconds since 1970; else none."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

_FIRST_YEAR = 1990


def instant(value: object) -> datetime | None:
    """An aware time (UTC where the text names no zone), or ``None`` where ``value`` is no time worth having.

    A time is never a reason to refuse a report, and Go's zero time (year 1) means "not set".
    """
    found = _of_number(value) if isinstance(value, int | float) else _of_text(value) if isinstance(value, str) else None
    if found is None or found.year < _FIRST_YEAR:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _of_number(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _of_text(text: str) -> datetime | None:
    try:
        return msgspec.convert(text.strip(), datetime)
    except msgspec.ValidationError:
        pass
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        return None
