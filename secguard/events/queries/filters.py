"""What lists of events and of stories are narrowed by: the same for both, and for the page and the API."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import django_filters
from django import forms
from django.db.models import Model, Q, QuerySet
from django.http import QueryDict
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.events.keeping import hour_of
from secguard.events.models import KIND_CHOICES, SEVERITY_CHOICES, Event, Tally
from secguard.events.record import LATEST
from secguard.web.filters import ChipFilter

Rows = QuerySet[Any]

PERIODS: Final[Mapping[str, tuple[timedelta, str]]] = {
    "hour": (timedelta(hours=1), "Last hour"),
    "day": (timedelta(days=1), "Last 24 hours"),
    "week": (timedelta(days=7), "Last 7 days"),
    "month": (timedelta(days=31), "Last 31 days"),
}
DEFAULT: Final = "week"
MOST: Final = timedelta(days=31)
"""So much is read at once: on PostgreSQL each day of each kind is a table of its own."""


class PeriodForm(forms.Form):
    """Holds that what is asked for is one period, and no longer than may be read at once."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        since, until = cleaned.get("from"), cleaned.get("to")
        if since and until and not timedelta(0) < until - since <= MOST:
            self.add_error("to", f"Expected a time after `from` and at most {MOST.days} days past it.")
        return cleaned


def window(cleaned: Mapping[str, Any], now: datetime) -> tuple[datetime, datetime]:
    """The period that a form's values name: from its first instant to before its last."""
    since, until = cleaned.get("from"), cleaned.get("to")
    length = PERIODS[cleaned.get("period") or DEFAULT][0]
    if since:
        return since, until or since + MOST
    until = until or now + LATEST
    return until - length, until


class NarrowFilter(django_filters.FilterSet):
    """By anything but time."""

    kind = django_filters.ChoiceFilter(label="Kind", choices=KIND_CHOICES)
    severity = django_filters.ChoiceFilter(label="Severity", choices=SEVERITY_CHOICES[::-1])
    outcome = django_filters.CharFilter(label="Outcome", max_length=16)
    source = django_filters.CharFilter(label="Source", max_length=64)
    cluster = django_filters.CharFilter(label="Cluster", max_length=100)
    namespace = django_filters.CharFilter(label="Namespace", max_length=253)
    workload = django_filters.CharFilter(label="Workload", max_length=253)
    digest = ChipFilter(label="Digest", max_length=135)
    application = ChipFilter(label="Application", max_length=100, method="of_application", help_text="its slug")
    story = ChipFilter(label="Story", max_length=32)

    class Meta:
        model: type[Model] = Tally
        fields: list[str] = []

    def of_application(self, rows: Rows, _name: str, slug: str) -> Rows:
        # What it asks for is one of a user's own: nobody learns by it which slugs there are.
        user: Any = self.request and self.request.user
        found = Application.objects.visible_to(user).filter(slug=slug).values_list("pk", flat=True)
        return rows.filter(application_id__in=list(found))


# ``from`` is no name that a class body takes.
_SPAN: Final = {
    "from": django_filters.IsoDateTimeFilter(
        method="later", label="From", widget=forms.HiddenInput, help_text="At or after (ISO 8601)."
    ),
    "to": django_filters.IsoDateTimeFilter(
        method="later",
        label="Before",
        widget=forms.HiddenInput,
        help_text=f"Before (ISO 8601); at most {MOST.days} days past `from`.",
    ),
}


class _PeriodFilter(NarrowFilter):
    period = django_filters.ChoiceFilter(
        label="Period",
        choices=[(name, words) for name, (_, words) in PERIODS.items()],
        method="later",
        empty_label="As chosen",
        help_text=f"{', '.join(PERIODS)}; {DEFAULT} where nothing is said, and no matter where `from` is.",
    )

    class Meta(NarrowFilter.Meta):
        form = PeriodForm

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        said = data or {}
        if not any(said.get(name) for name in ("period", *_SPAN)):
            data = QueryDict(mutable=True)
            data.update(said)
            data["period"] = DEFAULT
        super().__init__(data, *args, **kwargs)

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        return OrderedDict({**super().get_filters(), **_SPAN})

    def later(self, rows: Rows, _name: str, _value: object) -> Rows:
        """The three that name a period are read together, in ``filter_queryset``."""
        return rows

    def filter_queryset(self, queryset: Rows) -> Rows:
        return self.within(super().filter_queryset(queryset), *window(self.form.cleaned_data, timezone.now()))

    def within(self, rows: Rows, since: datetime, until: datetime) -> Rows:
        raise NotImplementedError


class StoryFilter(_PeriodFilter):
    """Of stories, whose counts are by the hour: an hour that begins in the period is in it whole."""

    def within(self, rows: Rows, since: datetime, until: datetime) -> Rows:
        return rows.filter(hour__gte=hour_of(since), hour__lt=until)


class EventFilter(_PeriodFilter):
    class Meta(_PeriodFilter.Meta):
        model: type[Model] = Event

    def within(self, rows: Rows, since: datetime, until: datetime) -> Rows:
        # By day as well: the database then asks no table of another day.
        days = Q(day__gte=since.date(), day__lte=until.date())
        return rows.filter(days, at__gte=since, at__lt=until)
