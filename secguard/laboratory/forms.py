"""The form that tries a draft."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms

from secguard.laboratory.services import Draft
from secguard.policies.api import MAX_SOURCE

PERIODS = [("0", "no period: only the images as they are"), ("7", "7 days"), ("30", "30 days"), ("90", "90 days")]


class SimulationForm(forms.Form):
    kind = forms.ChoiceField(
        label="What it is a draft of", choices=[("policy", "Policy"), ("appetite", "Risk appetite")], required=False
    )
    source = forms.CharField(
        label="Draft",
        max_length=MAX_SOURCE,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false", "class": "code-editor", "wrap": "off"}),
        help_text="The whole document. Nothing is saved and nothing gates by it.",
    )
    days = forms.ChoiceField(
        label="Replay the gates, promotions and admissions of the last",
        choices=PERIODS,
        required=False,
        initial="30",
        help_text="Beside every image that you see, as it is now.",
    )

    def draft(self, now: datetime) -> Draft:
        words: dict[str, Any] = self.cleaned_data
        days = int(words["days"] or 30)
        since = now - timedelta(days=days) if days else None
        return Draft(words["kind"] or "policy", words["source"], since)
