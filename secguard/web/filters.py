"""Filters that every list may use, beside django-filter's own."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms


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
