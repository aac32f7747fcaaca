"""What people send about being away. Rules are the services'."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

from django import forms


class AbsenceForm(forms.Form):
    deputy = forms.CharField(
        label="Who votes in your seat?",
        max_length=150,
        help_text="Their username. They need to see everything that you may decide on.",
    )
    first = forms.DateField(
        label="First day away", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), initial=date.today
    )
    last = forms.DateField(
        label="Last day away",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="Both days are whole ones, UTC. It ends by itself.",
    )

    def period(self) -> tuple[datetime, datetime]:
        """From the beginning of the first day to the end of the last."""
        first, last = self.cleaned_data["first"], self.cleaned_data["last"]
        return datetime.combine(first, time(), UTC), datetime.combine(last, time(23, 59, 59), UTC)
