"""What pages, the API and reports say of frameworks, in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from secguard.compliance import queries
from secguard.compliance.framework import Control
from secguard.compliance.models import FrameworkVersion
from secguard.compliance.queries import Moment, Scope, Standing
from secguard.compliance.standing import NONE, Counts, State, of_scope
from secguard.planning.checks import CHECKS

GONE: Final = "There is no such check any more; what it measured is kept."


def version_document(version: FrameworkVersion) -> dict[str, Any]:
    framework = version.parsed
    return {
        "name": version.name,
        "title": version.title,
        "version": framework.version,
        "number": version.number,
        "digest": version.digest,
        "source": framework.source,
        "description": framework.description,
        "is_shipped": version.is_shipped,
        "added_by": version.added_by.username if version.added_by else None,
        "added_at": version.added_at,
        "valid_from": version.valid_from,
        "valid_until": version.valid_until,
        "controls": len(framework.controls),
    }


def counts_document(counts: Counts) -> dict[str, int]:
    return {state.word.replace("-", "_"): counts[state] for state in State}


def standing_document(version: FrameworkVersion, standing: Standing, when: Moment) -> dict[str, Any]:
    """A framework over a scope: every section with its controls, and how many applications stand how with each."""
    return {
        **version_document(version),
        "day": when.day,
        "at": when.at,
        "is_past": when.is_past,
        "standing": counts_document(standing.tally),
        "sections": [
            {
                "id": part.id,
                "title": part.title,
                "controls": [
                    control_document(control, standing.counts.get(control.id, NONE)) for control in part.controls
                ],
            }
            for part in version.parsed.sections
        ],
    }


def control_document(control: Control, counts: Counts) -> dict[str, Any]:
    return {
        "id": control.id,
        "title": control.title,
        "about": control.about,
        "checks": check_documents(control),
        "unmeasured": control.unmeasured,
        "state": of_scope(counts).word,
        "counts": counts_document(counts),
    }


def check_documents(control: Control) -> list[dict[str, str]]:
    return [{"name": name, "about": CHECKS[name].about if name in CHECKS else GONE} for name in control.checks]


def application_documents(rows: Sequence[Any], control: Control, when: Moment) -> list[dict[str, Any]]:
    """The rows of ``queries.at_control``, each with what was measured of it. Two queries."""
    found = queries.measures([row.pk for row in rows], control.checks, when)
    return [
        {
            "application": row.slug,
            "name": row.name,
            "team": row.team.slug,
            "state": State(row.state).word,
            "since": row.since,
            "measures": [measure_document(found[row.pk].get(name), name) for name in control.checks],
        }
        for row in rows
    ]


def measure_document(row: Any, name: str) -> dict[str, Any]:
    """One measurement with its evidence; one that says so where there is none."""
    if row is None:
        return {**_NOTHING, "check": name}
    return {
        "id": row.pk,
        "check": row.measure,
        "state": row.worth.word,
        "says": f"{row.says} That may have changed since." if row.is_outdated else row.says,
        "total": row.total,
        "lacking": row.lacking,
        "untold": row.untold,
        "evidence": {part: row.evidence.get(part, []) for part in ("lacking", "untold", "looked_at")},
        "links": [{"label": label, "path": path} for label, path in row.evidence.get("links", [])],
        "exceptions": row.exceptions,
        "exceptions_total": row.evidence.get("exceptions", 0),
        "since": row.since,
    }


_NOTHING: Final[Mapping[str, Any]] = {
    "id": None,
    "state": State.UNMEASURED.word,
    "says": "Nothing was measured.",
    "total": None,
    "lacking": None,
    "untold": None,
    "evidence": {"lacking": [], "untold": [], "looked_at": []},
    "links": [],
    "exceptions": [],
    "exceptions_total": 0,
    "since": None,
}


def scope_document(scope: Scope) -> dict[str, Any]:
    return {
        "team": scope.team.slug if scope.team else None,
        "application": scope.application.slug if scope.application else None,
        "is_whole": scope.user.sees_everything and scope.team is None and scope.application is None,
    }
