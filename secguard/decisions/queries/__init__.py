"""Reads around decisions: call them as ``decisions.queries.<name>``."""

from secguard.decisions.queries.appetite import appetite_table, ssvc_document
from secguard.decisions.queries.covering import applicable_for_image, scoped
from secguard.decisions.queries.documents import documents
from secguard.decisions.queries.filters import DecisionFilter
from secguard.decisions.queries.reach import REACH, Reach, reach, reach_of
from secguard.decisions.queries.reviewing import (
    QUEUE,
    Occurrence,
    Waiting,
    earlier_decisions,
    effective_status,
    occurrences,
    queue,
    waiting_count,
    waiting_for,
)
from secguard.decisions.queries.scopes import (
    ORGANISATION,
    Scope,
    beyond,
    find_scope,
    find_scope_by_key,
    may_ask,
    places_in,
    places_with,
    scope_of,
    suggested_scopes,
    teams_of,
)
from secguard.decisions.queries.standing import (
    BlastRadius,
    Standing,
    blast_radius,
    kinds_of_standing,
    snapshot,
    snapshots_now,
    standings,
)
from secguard.decisions.queries.vex import judgements_of, told_of

__all__ = [
    "ORGANISATION",
    "QUEUE",
    "REACH",
    "BlastRadius",
    "DecisionFilter",
    "Occurrence",
    "Reach",
    "Scope",
    "Standing",
    "Waiting",
    "appetite_table",
    "applicable_for_image",
    "beyond",
    "blast_radius",
    "documents",
    "earlier_decisions",
    "effective_status",
    "find_scope",
    "find_scope_by_key",
    "judgements_of",
    "kinds_of_standing",
    "may_ask",
    "occurrences",
    "places_in",
    "places_with",
    "queue",
    "reach",
    "reach_of",
    "scope_of",
    "scoped",
    "snapshot",
    "snapshots_now",
    "ssvc_document",
    "standings",
    "suggested_scopes",
    "teams_of",
    "told_of",
    "waiting_count",
    "waiting_for",
]
