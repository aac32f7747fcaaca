"""Filters that every list may use, beside django-filter's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import django_filters
from django import forms
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.exceptions import ValidationError

from secguard.web.parameters import BadParameter
from secguard.web.problems import flattened


class Filters(DjangoFilterBackend):
    """The API's filter backend: a filter's value that is not one is a bad query parameter (400), as everywhere else."""

    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        """The rows that pass; raises ``BadParameter`` naming every filter at fault."""
        try:
            _check_flags(self.get_filterset(request, queryset, view))
            return super().filter_queryset(request, queryset, view)
        except ValidationError as error:
            faults = [{"where": where, "detail": text} for where, text in flattened(error.detail)]
            detail = "; ".join(f"`{fault['where']}`: {fault['detail']}" for fault in faults)
            raise BadParameter(detail, where=faults[0]["where"], errors=faults) from error


def _check_flags(filterset: Any) -> None:
    """Django's own field takes any other word for "unknown", which filters nothing."""
    filters = filterset.filters.items() if filterset is not None else ()
    for name, found in filters:
        word = filterset.data.get(name, "")
        if isinstance(found, django_filters.BooleanFilter) and word.lower() not in ("", "true", "false"):
            raise ValidationError({name: [f"{word[:40]!r} is neither true nor false."]})


class YesNoFilter(django_filters.TypedChoiceFilter):
    """Any, yes or no; ``true`` and ``false`` in the URL. (Django's own field calls the first one "Unknown".)"""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("choices", [("", "Any"), ("true", "Yes"), ("false", "No")])
        kwargs.setdefault("coerce", lambda word: word == "true")
        super().__init__(*args, **kwargs)


class ChipFilter(django_filters.CharFilter):
    """A filter that links set and that only its chip shows: it takes no room beside the others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, widget=forms.HiddenInput, **kwargs)


def days_ago(text: str, now: datetime, most: int = 365) -> datetime | None:
    """The instant ``text`` days before ``now``, as a link says it; None for what is not a whole number from 1 to
    ``most``."""
    days = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
    return now - timedelta(days=days) if 1 <= days <= most else None
