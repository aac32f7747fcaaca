"""Reading the audit log: what somebody may see, narrowed by what, when and who."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import django_filters
from django.forms import DateTimeInput

from secguard.audit import chain
from secguard.audit.actions import Action
from secguard.audit.models import AuditEntry, AuditEntryQuerySet
from secguard.audit.queries.searching import Search
from secguard.audit.services.reading import PAGE
from secguard.audit.words import MAX_QUERY, Kind, terms_of
from secguard.errors import NotAllowed

Entries = AuditEntryQuerySet


def readable(user: Any) -> Entries:
    """The entries that ``user`` may read; ``NotAllowed`` for whoever may read none at all."""
    if not user.can("audit:read"):
        raise NotAllowed(
            "audit:read is needed to read the audit log; operators, reviewers, approvers and administrators have it",
            code="not-allowed",
            permission="audit:read",
        )
    return AuditEntry.objects.visible_to(user)


def lines(entries: Entries, text: str = "") -> Iterator[str]:
    """``entries`` that have the words of ``text`` as NDJSON in the order of the log, read page by page."""
    if (search := Search(entries, text)).is_looked_up:
        yield from (chain.line(entry.as_entry()) + "\n" for page in search.pages(PAGE) for entry in page)
        return
    after = 0
    while page := list(entries.order_by("sequence").filter(sequence__gt=after)[:PAGE]):
        yield from (chain.line(entry.as_entry()) + "\n" for entry in page)
        after = page[-1].sequence


def _from(entries: Entries, _name: str, at: datetime) -> Entries:
    """A time becomes a sequence number by one look-up in an index: the log's order is the order of its times."""
    rows = AuditEntry.objects.filter(at__gte=at).order_by("at", "sequence")
    first = rows.values_list("sequence", flat=True).first()
    return entries.none() if first is None else entries.since(first)


def _to(entries: Entries, _name: str, at: datetime) -> Entries:
    rows = AuditEntry.objects.filter(at__lt=at).order_by("-at", "-sequence")
    last = rows.values_list("sequence", flat=True).first()
    return entries.none() if last is None else entries.until(last)


def _having(kind: Kind) -> Any:
    return lambda entries, _name, value: entries.having(kind, [value])


def _about(entries: Entries, _name: str, text: str) -> Entries:
    """Words of the subject. Those of plain letters are in it as they stand, whatever database compares them."""
    for term in terms_of(text):
        entries = entries.filter(subject__icontains=term) if term.isascii() else entries
    entries.narrowing = replace(entries.narrowing, subject=f"{entries.narrowing.subject} {text}")
    return entries


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

    action = django_filters.ChoiceFilter(
        choices=[(a.value, a.value) for a in Action], label="Action", method=_having(Kind.ACTION)
    )
    actor = django_filters.CharFilter(
        label="Actor", help_text="A user's name, or 'system'.", method=_having(Kind.ACTOR)
    )
    subject_type = django_filters.CharFilter(
        label="Subject type", help_text="Such as decision, token or user.", method=_having(Kind.TYPE)
    )
    subject_id = django_filters.CharFilter(label="Subject id", method=_having(Kind.ID))
    subject = django_filters.CharFilter(
        label="Subject", help_text="Words of the subject, or their beginnings.", method=_about, max_length=MAX_QUERY
    )

    class Meta:
        model = AuditEntry
        fields: list[str] = []

    @classmethod
    def get_filters(cls) -> OrderedDict[str, django_filters.Filter]:
        return OrderedDict({**super().get_filters(), **SPAN})
