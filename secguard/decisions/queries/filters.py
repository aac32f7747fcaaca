"""What a list of decisions can be narrowed by: the same words on the page and in the API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from django.forms import HiddenInput
from django.utils import timezone

from secguard.accounts.models import Team
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus
from secguard.decisions.models import Decision, over_at
from secguard.decisions.queries.reviewing import waiting_for
from secguard.decisions.scope import ScopeKind
from secguard.web.filters import ChipFilter, days_ago

_STATUSES = [(s.value, s.value.capitalize()) for s in DecisionStatus]
_KINDS = [(k.value, k.value.replace("_", " ").capitalize()) for k in DecisionKind]
_SCOPES = [(s.value, s.value.capitalize()) for s in ScopeKind]
MAX_DAYS = 3660
Rows = QuerySet[Decision]


def ended_since(since: datetime, now: datetime) -> Q:
    """Decisions that counted once and came to their end between the two instants: by a person, by what became known,
    or by the clock, whatever the status column still says."""
    closed = Q(status__in=_CLOSED, decided_at__isnull=False, ended_at__gte=since, ended_at__lte=now)
    approved = Q(status=DecisionStatus.APPROVED.value)
    by_date = approved & Q(expires_at__gte=since, expires_at__lte=now)
    by_control = approved & Q(controls_until__gte=since, controls_until__lte=now)
    return closed | by_date | by_control


_CLOSED = (DecisionStatus.ENDED.value, DecisionStatus.REVOKED.value)


class DecisionFilter(django_filters.FilterSet):
    """``status`` is the one that counts now: an approved decision past its end is found under ``ended``."""

    status = django_filters.ChoiceFilter(choices=_STATUSES, method="by_status", label="Status")
    kind = django_filters.ChoiceFilter(choices=_KINDS, label="Kind")
    scope = django_filters.ChoiceFilter(choices=_SCOPES, field_name="scope_kind", label="Scope")
    risk = django_filters.NumberFilter(
        field_name="risk_id", label="Risk", min_value=0, max_value=2**62, widget=HiddenInput
    )
    image = ChipFilter(field_name="image__digest", label="Image")
    repository = ChipFilter(field_name="repository__name", label="Repository")
    application = ChipFilter(method="by_application", label="Application")
    team = ChipFilter(method="by_team", label="Team")
    ending = ChipFilter(method="by_end", label="Ends within days")
    over = ChipFilter(method="by_end_before", label="Ended within days")
    mine = django_filters.BooleanFilter(method="by_requester", label="Asked for by me")
    waiting = django_filters.BooleanFilter(method="by_waiting", label="Waiting for me")

    class Meta:
        model = Decision
        fields: list[str] = []

    def by_status(self, rows: Rows, _name: str, value: str) -> Rows:
        now = timezone.now()
        lapsed = over_at(now)
        if value == DecisionStatus.ENDED:
            return rows.filter(Q(status=value) | lapsed)
        return rows.filter(status=value).exclude(lapsed)

    def by_team(self, rows: Rows, _name: str, value: str) -> Rows:
        return rows.filter(team_id__in=Team.objects.visible_to(self._user).filter(slug=value).values("pk"))

    def by_end(self, rows: Rows, _name: str, value: str) -> Rows:
        """``30``: what is still to end within so many days from now, by its date or that of a control it leans on.

        Anything but 1 to 3660 finds nothing."""
        days = int(value) if value.isascii() and value.isdigit() and len(value) < 5 else 0
        if not 1 <= days <= MAX_DAYS:
            return rows.none()
        now = timezone.now()
        limit = now + timedelta(days=days)
        lapses = Q(status=DecisionStatus.APPROVED.value, controls_until__lte=limit)
        return rows.filter(Q(expires_at__lte=limit) | lapses, expires_at__gt=now).exclude(over_at(now))

    def by_end_before(self, rows: Rows, _name: str, value: str) -> Rows:
        """``7``: what came to its end within the last so many days. Anything but 1 to 3660 finds nothing."""
        now = timezone.now()
        since = days_ago(value, now, MAX_DAYS)
        return rows.none() if since is None else rows.filter(ended_since(since, now))

    def by_application(self, rows: Rows, _name: str, value: str) -> Rows:
        """What is decided for the application itself, or for one of its repositories."""
        return rows.filter(Q(application__slug=value) | Q(repository__application__slug=value))

    def by_requester(self, rows: Rows, _name: str, value: bool) -> Rows:
        mine = Q(requested_by_id=self._user.pk)
        return rows.filter(mine if value else ~mine)

    def by_waiting(self, rows: Rows, _name: str, value: bool) -> Rows:
        waiting = Q(pk__in=waiting_for(self._user, timezone.now()).order_by().values("pk"))
        return rows.filter(waiting if value else ~waiting)

    @property
    def _user(self) -> Any:
        request: Any = self.request
        return request.user
