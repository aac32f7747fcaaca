"""What a list of controls can be narrowed by: the same words on the page and in the API."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
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


class ControlFilter(django_filters.FilterSet):
    """``state`` is the one at this instant: it is read off the evidence, not off a column."""

    state = django_filters.ChoiceFilter(choices=STATES, method="by_state", label="State")
    kind = django_filters.ChoiceFilter(choices=KINDS, label="Kind")
    application = ChipFilter(field_name="application__slug", label="Application")

    class Meta:
        model = Control
        fields: list[str] = []

    def by_state(self, rows: Any, _name: str, value: str) -> Any:
        return rows.in_state(ControlState(value), timezone.now())
