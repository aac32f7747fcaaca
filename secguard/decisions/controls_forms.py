"""What people send about controls. Rules are the services'; here is only what a field can hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django import forms

from secguard.accounts.models import Application, User
from secguard.decisions.controls import MAX_HOURS, EvidenceKind, Says
from secguard.decisions.queries.controls_filters import KINDS
from secguard.decisions.services.controls import MAX_NAME, MAX_REASON, MAX_TEXT, MAX_URL

WAYS = [
    (EvidenceKind.CHECK.value, "A person looks again, and says so here"),
    (EvidenceKind.HEARTBEAT.value, "A machine calls the API as long as it holds"),
    (EvidenceKind.OBSERVATION.value, "SecGuard sees it itself"),
]
EVERYTHING = "*"
DAY = 24
UNITS = [("24", "days"), ("1", "hours")]
SAID = [(Says.HOLDS.value, "It holds"), (Says.CONTRADICTS.value, "It does not hold: what leans on it ends at once")]


class ControlForm(forms.Form):
    """Propose a control."""

    name = forms.CharField(label="What is it called?", max_length=MAX_NAME)
    kind = forms.ChoiceField(label="What kind of control is it?", choices=KINDS)
    description = forms.CharField(
        label="What does it do, and where is it to be found?",
        max_length=MAX_TEXT,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="For whoever confirms it, and for whoever leans on it later.",
    )
    covers = forms.ChoiceField(label="What does it cover?")
    owner = forms.ChoiceField(label="Who answers for it?", required=False)
    kept_alive_by = forms.ChoiceField(
        label="How is it known that it still holds?", choices=WAYS, widget=forms.RadioSelect
    )
    every = forms.IntegerField(
        label="At least every",
        min_value=1,
        max_value=MAX_HOURS,
        help_text="Without evidence for longer than that, the decisions that lean on it end.",
    )
    unit = forms.ChoiceField(label="Days or hours", choices=UNITS)
    watch = forms.CharField(
        label="What should SecGuard watch?",
        max_length=4000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "text-mono"}),
        help_text="Only where SecGuard sees it itself: an object in JSON, as the examples beside say.",
    )

    def __init__(
        self, *args: Any, applications: Sequence[Application], people: Sequence[User], wide: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        everything = [(EVERYTHING, "The whole organisation")] if wide else []
        self.fields["covers"].choices = [*((a.slug, a.name) for a in applications), *everything]  # type: ignore[attr-defined]
        self.fields["owner"].choices = [("", "The team"), *((str(p.pk), str(p)) for p in people)]  # type: ignore[attr-defined]

    def clean_watch(self) -> dict[str, Any]:
        text = self.cleaned_data["watch"].strip()
        if not text:
            return {}
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError("This is no JSON object; take one of the examples.") from error
        if not isinstance(found, dict):
            raise forms.ValidationError("Expected is an object in braces; take one of the examples.")
        return found

    @property
    def every_hours(self) -> int:
        return int(self.cleaned_data["every"]) * int(self.cleaned_data["unit"])


class EvidenceForm(forms.Form):
    """A person's check."""

    says = forms.ChoiceField(label="What did you see?", choices=SAID, widget=forms.RadioSelect)
    note = forms.CharField(
        label="How did you see it?",
        max_length=MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="For whoever reads it in a year: what you looked at, and what it showed.",
    )
    url = forms.CharField(label="Where it can be seen", max_length=MAX_URL, required=False)
    digest = forms.CharField(
        label="Digest of a file that shows it", max_length=71, required=False, help_text="sha256:…, of a screenshot"
    )


class RetireForm(forms.Form):
    reason = forms.CharField(label="Why?", max_length=MAX_REASON, widget=forms.Textarea(attrs={"rows": 2}))
