"""How a person wants to be told. The rules are in ``services.inbox``; their refusals become the form's own errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from secguard.notifications.models import Preference
from secguard.notifications.rhythm import DAILY_HOUR

INTERVALS = [
    ("at-once", "At once: within a minute or two"),
    ("hourly", "At most once an hour"),
    ("daily", f"Once a day, at {DAILY_HOUR:02}:00"),
]
HOURS = [("", "–"), *((str(hour), f"{hour:02}:00") for hour in range(24))]


def _hour(text: str) -> int | None:
    return int(text) if text else None


class PreferenceForm(forms.Form):
    email = forms.BooleanField(label="Write to me", required=False)
    interval = forms.ChoiceField(label="How often", choices=INTERVALS, widget=forms.RadioSelect)
    quiet_from = forms.TypedChoiceField(
        label="Quiet from", choices=HOURS, coerce=_hour, empty_value=None, required=False
    )
    quiet_until = forms.TypedChoiceField(
        label="Quiet until",
        choices=HOURS,
        coerce=_hour,
        empty_value=None,
        required=False,
        help_text="What comes in these hours is written after them.",
    )
    time_zone = forms.CharField(
        label="Time zone", max_length=64, help_text="Of your clock, by its name: Europe/Berlin, America/New_York, UTC"
    )


def initial(preference: Preference) -> Mapping[str, Any]:
    """What the form shows first."""
    names = ("email", "interval", "quiet_from", "quiet_until", "time_zone")
    return {name: "" if getattr(preference, name) is None else getattr(preference, name) for name in names}
