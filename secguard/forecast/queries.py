"""The forecast, as pages and the API show it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django_filters import ChoiceFilter, FilterSet, NumberFilter

from secguard import bulk
from secguard.accounts.models import User
from secguard.decisions.models import Decision
from secguard.forecast.models import Turn
from secguard.forecast.services.computing import DAYS
from secguard.policies.facts import Gate
from secguard.web.filters import ChipFilter


class GateFilter(FilterSet):
    stage = ChoiceFilter(choices=[(gate.value, gate.value) for gate in Gate], label="Gate")
    team = ChipFilter(field_name="repository__application__team__slug", label="Team")
    application = ChipFilter(field_name="repository__application__slug", label="Application")

    class Meta:
        model = Turn
        fields: list[str] = []


class TurnFilter(GateFilter):
    repository = NumberFilter(field_name="repository_id", label="Repository (id)", min_value=1, max_value=2**63 - 1)


def forecast(user: User, now: datetime, days: int = DAYS) -> QuerySet[Turn]:
    """What ``user`` may see of the gates that will begin to block within ``days``."""
    rows = Turn.objects.visible_to(user).between(now, now + timedelta(days=days))
    return rows.select_related("repository__application", "image")


def decisions_of(turns: Iterable[Turn], user: User) -> dict[int, Decision]:
    """{id: decision} of those that end and that ``user`` may see: the digest may lie with another team too."""
    ids = sorted({pk for turn in turns for pk in turn.decision_ids})
    rows = Decision.objects.visible_to(user).filter(pk__in=bulk.among(ids)) if ids else Decision.objects.none()
    return {row.pk: row for row in rows.select_related("risk__vulnerability").defer("reason", "snapshot")}
