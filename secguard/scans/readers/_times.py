"""Times of tools that write some as text and some as seconds since 1970 (the AWS CLI, by its version)."""

from __future__ import annotations

from datetime import UTC, datetime

from secguard.scans.readers._values import moment


def instant(value: object) -> datetime | None:
    """An aware time, or ``None`` where ``value`` is no time: a time is never a reason to refuse a report."""
    if isinstance(value, str):
        return moment(value)
    if isinstance(value, int | float) and value > 0:
        try:
            return datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            return None
    return None
