"""What a list of controls can be narrowed by: the same words on the page and in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django.utils import timezone

from secguard.decisions.controls import ControlKind, ControlState
from secguard.decisions.models import Control
from secguard.web.filters import ChipFilter

Rows = QuerySet[Control]
STATES = [(s.value, s.value.replace("-", " ").capitalize()) for s in ControlState]
KIND_WORDS = {
    ControlKind.NETWORK_POLICY: "Network policy",
    ControlKind.WAF_OR_IPS_RULE: "WAF or IPS rule",
    ControlKind.RUNTIME_PROFILE: "Runtime profile",
    ControlKind.CONFIGURATION: "Configuration",
    ControlKind.PROCESS: "Process",
}
KINDS = [(k.value, words) for k, words in KIND_WORDS.items()]


def needs_evidence(now: datetime) -> Q:
    """Confirmed controls that are contradicted, stale or going stale."""
    return Q(status="confirmed") & (Q(contradicted_at__isnull=False) | Q(warn_at=None) | Q(warn_at__lte=now))


class ControlFilter(django_filters.FilterSet):
    """``state`` is the one at this instant: it is read off the evidence, not off a column."""

    state = django_filters.ChoiceFilter(choices=STATES, method="by_state", label="State")
    kind = django_filters.ChoiceFilter(choices=KINDS, label="Kind")
    application = ChipFilter(field_name="application__slug", label="Application")
    team = ChipFilter(field_name="application__team__slug", label="Team")
    needing = ChipFilter(method="by_need", label="Without evidence")

    class Meta:
        model = Control
        fields: list[str] = []

    def by_state(self, rows: Any, _name: str, value: str) -> Any:
        return rows.in_state(ControlState(value), timezone.now())

    def by_need(self, rows: Any, _name: str, value: str) -> Any:
        """``true``: those that are contradicted, stale or going stale; ``false``: the rest."""
        found = needs_evidence(timezone.now())
        return rows.filter(found) if value == "true" else rows.exclude(found)
