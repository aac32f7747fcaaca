"""How a person wants to be told. The rules are in ``services.inbox``; their refusals become the form's own errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django import forms
from django.forms import BoundField

from secguard.notifications.kinds import Kind
from secguard.notifications.models import Preference
from secguard.notifications.rhythm import DAILY_HOUR, ByMail, Choice

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


WAYS = [(ByMail.AT_ONCE.value, "at once"), (ByMail.DIGEST.value, "as above"), (ByMail.NEVER.value, "not at all")]


class KindsForm(forms.Form):
    """How one is told of each kind: a select for mail and a box for the page. Of urgent ones the box is ticked and
    cannot be changed."""

    def __init__(self, data: Any = None, *, choices: Sequence[tuple[Kind, Choice]]) -> None:
        super().__init__(data)
        self._choices = choices
        for kind, choice in choices:
            self.fields[f"mail-{kind.name}"] = forms.ChoiceField(
                choices=WAYS, initial=choice.by_mail.value, label=f"Mail about: {kind.heading}"
            )
            self.fields[f"page-{kind.name}"] = forms.BooleanField(
                required=False, initial=choice.on_page, disabled=kind.is_urgent, label=f"Show here: {kind.heading}"
            )

    def rows(self) -> Iterator[tuple[Kind, BoundField, BoundField]]:
        """One for each kind, as the page shows them."""
        for kind, _ in self._choices:
            yield kind, self[f"mail-{kind.name}"], self[f"page-{kind.name}"]

    def changed_choices(self) -> Iterator[tuple[str, Choice]]:
        """What was entered, where it is not what is chosen; the form is valid."""
        for kind, choice in self._choices:
            entered = Choice(
                ByMail(self.cleaned_data[f"mail-{kind.name}"]),
                kind.is_urgent or self.cleaned_data[f"page-{kind.name}"],
            )
            if entered != choice:
                yield kind.name, entered
