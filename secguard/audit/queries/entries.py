"""Reading the audit log: what somebody may see, narrowed by what, when and who."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import django_filters
from django.db.models import QuerySet
from django.forms import DateTimeInput

from secguard.audit import chain
from secguard.audit.actions import Action
from secguard.audit.models import AuditEntry
from secguard.audit.services.reading import PAGE
from secguard.errors import NotAllowed

Entries = QuerySet[AuditEntry]


def readable(user: Any) -> Entries:
    """The entries that ``user`` may read; ``NotAllowed`` for whoever may read none at all."""
    if not user.can("audit:read"):
        raise NotAllowed(
            "audit:read is needed to read the audit log; operators, reviewers, approvers and administrators have it",
            code="not-allowed",
            permission="audit:read",
        )
    return AuditEntry.objects.visible_to(user)


def lines(entries: Entries) -> Iterator[str]:
    """``entries`` as NDJSON in the order of the log, read page by page."""
    after = 0
    while page := list(entries.order_by("sequence").filter(sequence__gt=after)[:PAGE]):
        yield from (chain.line(entry.as_entry()) + "\n" for entry in page)
        after = page[-1].sequence


def _from(entries: Entries, _name: str, at: datetime) -> Entries:
    """A time becomes a sequence number by one look-up in an index: the log's order is the order of its times."""
    rows = AuditEntry.objects.filter(at__gte=at).order_by("at", "sequence")
    first = rows.values_list("sequence", flat=True).first()
    return entries.none() if first is None else entries.filter(sequence__gte=first)


def _to(entries: Entries, _name: str, at: datetime) -> Entries:
    rows = AuditEntry.objects.filter(at__lt=at).order_by("-at", "-sequence")
    last = rows.values_list("sequence", flat=True).first()
    return entries.none() if last is None else entries.filter(sequence__lte=last)


def _time(label: str, hint: str, method: Any) -> django_filters.IsoDateTimeFilter:
    widget = DateTimeInput(attrs={"type": "date"}, format="%Y-%m-%d")
    return django_filters.IsoDateTimeFilter(field_name="at", method=method, label=label, help_text=hint, widget=widget)


# ``from`` is no name that a class body takes.
SPAN = {
    "from": _time("From", "Entries at or after this time (ISO 8601).", _from),
    "to": _time("Before", "Entries before this time (ISO 8601).", _to),
}


class EntryFilter(django_filters.FilterSet):
    """What the page and the API narrow the log by."""

    action = django_filters.ChoiceFilter(choices=[(a.value, a.value) for a in Action], label="Action")
    actor = django_filters.CharFilter(label="Actor", help_text="A user's name, or 'system'.")
    subject_type = django_filters.CharFilter(label="Subject type", help_text="Such as decision, token or user.")
    subject_id = django_filters.CharFilter(label="Subject id")
    subject = django_filters.CharFilter(lookup_expr="icontains", label="Subject")

    class Meta:
        model = AuditEntry
        fields: list[str] = []

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        return OrderedDict({**super().get_filters(), **SPAN})
