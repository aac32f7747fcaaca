"""The risk appetite as a table: for the API and for people."""

from __future__ import annotations

from typing import Any

from secguard.decisions.appetite import Appetite, Row, When
from secguard.decisions.ssvc import ASSUMED
from secguard.yamlsource import problem_list


def appetite_table(appetite: Appetite) -> list[dict[str, Any]]:
    """Its rows, in order: ``when`` holds only what the row looks at."""
    return [_row(row) for row in appetite.rows]


def ssvc_document(appetite: Appetite) -> dict[str, Any] | None:
    """The table that gives vulnerabilities their deadlines: every combination with its time; ``None``: rows do."""
    plan = appetite.plan
    if plan is None:
        return None
    points = [point.value for point in plan.table.points]
    return {
        "table": plan.table.name,
        "title": plan.table.title,
        "source": plan.table.source,
        "points": points,
        "fix_within_days": plan.days,
        "impact": plan.impact or None,
        "applications": {slug: {p.value: v for p, v in said.items()} for slug, said in plan.applications.items()},
        "assume": {p.value: plan.assume.get(p, ASSUMED[p]) for p in plan.table.points},
        "rows": [
            {
                "row": cell.row,
                "when": dict(zip(points, combination, strict=True)),
                "outcome": cell.outcome,
                "fix_within_days": plan.days[cell.outcome],
            }
            for combination, cell in plan.table.cells.items()
        ],
        "warnings": problem_list(plan.warnings),
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "when": _when(row.when),
        "approvers": {role.value: people for role, people in row.approvers.items()},
        "max_days": row.max_days,
        "not_affected_max_days": row.not_affected_max_days,
        "fix_within_days": row.fix_within_days,
        "escalate_after_hours": row.escalate_after_hours,
        "escalate_to": row.escalate_to.value if row.escalate_to else None,
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
