"""The risk appetite as a table: for the API and for people."""

from __future__ import annotations

from typing import Any

from secguard.decisions.appetite import Appetite, Row, When


def appetite_table(appetite: Appetite) -> list[dict[str, Any]]:
    """Its rows, in order: ``when`` holds only what the row looks at."""
    return [_row(row) for row in appetite.rows]


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "when": _when(row.when),
        "approvers": {role.value: people for role, people in row.approvers.items()},
        "max_days": row.max_days,
        "not_affected_max_days": row.not_affected_max_days,
        "fix_within_days": row.fix_within_days,
    }


def _when(when: When) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if when.severity is not None:
        found["severity"] = [s.label for s in sorted(when.severity, reverse=True)]
    if when.kind is not None:
        found["kind"] = sorted(k.value for k in when.kind)
    for flag in ("known_exploited", "exposed", "fix_available"):
        if getattr(when, flag) is not None:
            found[flag] = getattr(when, flag)
    if when.scope is not None:
        found["scope"] = sorted(s.value for s in when.scope)
    return found
