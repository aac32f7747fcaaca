"""What the pages about sensors and retention ask for. The rules are in the services."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.events import keeping
from secguard.events.models import Sensor
from secguard.events.record import Kind
from secguard.events.services.sensors import SensorEdit


class SensorForm(UseCaseForm):
    name = forms.CharField(max_length=100, help_text="As your people call it: falco-prod.")
    cluster = forms.CharField(
        max_length=100,
        required=False,
        help_text="What it sends is of this cluster, whatever it says. Left empty, it says which.",
    )
    takes_events = forms.BooleanField(required=False, label="It sends events", help_text="Falco, audit logs, agents.")
    takes_flows = forms.BooleanField(required=False, label="It sends network flows", help_text="Hubble, flow logs.")
    is_active = forms.BooleanField(required=False, label="Take what it sends")

    def __init__(self, data: Any = None, *, sensor: Sensor | None = None) -> None:
        super().__init__(data, initial=_initial(sensor))
        if sensor is None:
            del self.fields["is_active"]

    def edit(self) -> SensorEdit:
        """What was entered; the form is valid."""
        return SensorEdit(**self.cleaned_data)


def _initial(sensor: Sensor | None) -> dict[str, Any]:
    if sensor is None:
        return {"takes_events": True}
    return {name: getattr(sensor, name) for name in ("name", "cluster", "takes_events", "takes_flows", "is_active")}


class RetentionForm(UseCaseForm):
    """Days by kind; a field that is left empty goes back to what holds where nobody has said so."""

    def __init__(self, data: Any = None, *, kept: dict[Kind, int]) -> None:
        super().__init__(data, initial={kind.value: days for kind, days in kept.items()})
        for kind in Kind:
            self.fields[kind.value] = forms.IntegerField(
                required=False,
                min_value=keeping.LEAST_DAYS,
                max_value=keeping.MOST_DAYS,
                label=kind.value.replace("-", " ").capitalize(),
                help_text=f"Days; {keeping.DEFAULT_DAYS[kind]} where nothing is said.",
            )

    def days(self) -> dict[Kind, int | None]:
        """What was entered; the form is valid."""
        return {kind: self.cleaned_data.get(kind.value) for kind in Kind}
