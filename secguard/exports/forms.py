"""What the pages about export targets ask for. The rules are in ``exports.services``."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.accounts.models import Application, Team, User
from secguard.events.models import KIND_CHOICES
from secguard.exports.models import ExportTarget
from secguard.exports.services import Start, TargetEdit
from secguard.exports.targets import Format, Sink
from secguard.findings.models import SEVERITY_CHOICES

SINKS = [
    (Sink.SYSLOG_TLS.value, "Syslog over TLS"),
    (Sink.WEBHOOK.value, "Webhook: HTTPS, signed"),
    (Sink.SYSLOG_TCP.value, "Syslog over TCP, unprotected: whoever is on the way reads and changes it"),
]
FORMATS = [
    (Format.OCSF.value, "OCSF 1.3 (JSON)"),
    (Format.CEF.value, "CEF"),
    (Format.JSON.value, "SecGuard's own JSON"),
    (Format.TEXT.value, "Plain text (syslog alone)"),
]
STARTS = [
    (Start.NOW.value, "Now: what comes from now on"),
    (Start.OLDEST.value, "The oldest event that is kept"),
]
LEAST = [(0, "any, those without one too"), *[choice for choice in SEVERITY_CHOICES if choice[0]]]


class TargetForm(UseCaseForm):
    """One target. Of one that is there, an empty address and an empty key leave the stored ones."""

    name = forms.CharField(max_length=100, help_text="As your people call it: Splunk, SOC.")
    sink = forms.ChoiceField(choices=SINKS, label="How it is sent")
    address = forms.CharField(
        max_length=2_000,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="siem.example.org:6514 for syslog; https://… for a webhook.",
    )
    format = forms.ChoiceField(choices=FORMATS)
    start = forms.ChoiceField(choices=STARTS, label="Begin with")
    kinds = forms.MultipleChoiceField(
        required=False,
        choices=KIND_CHOICES,
        label="Kinds of events",
        widget=forms.CheckboxSelectMultiple,
        help_text="With none chosen, all of them, also those that come later.",
    )
    least_severity = forms.TypedChoiceField(choices=LEAST, coerce=int, label="Least severity")
    is_wide = forms.BooleanField(
        required=False, label="Everybody's events", help_text="Also those that belong to no team. Else choose whose:"
    )
    teams = forms.ModelMultipleChoiceField(Team.objects.none(), required=False)
    applications = forms.ModelMultipleChoiceField(Application.objects.none(), required=False)
    ca_certificate = forms.CharField(
        required=False,
        label="CA certificate",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="PEM. With one, no other authority is trusted; without, those of this server's system are.",
    )
    client_certificate = forms.CharField(
        required=False,
        label="Client certificate",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="PEM, shown to a syslog receiver that asks for one.",
    )
    client_key = forms.CharField(
        required=False,
        label="Client certificate's key",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocomplete": "off"}),
        help_text="PEM, without a passphrase. Kept sealed, never shown.",
    )
    needs_close_notify = forms.BooleanField(
        required=False,
        label="The receiver ends TLS with close_notify",
        help_text="As RFC 5425 says; rsyslog does not. Then nobody on the way can pretend that it read everything.",
    )

    def __init__(self, data: Any = None, *, user: User, target: ExportTarget | None = None) -> None:
        super().__init__(data, initial=_initial(target))
        self.target = target
        for name, rows in (("teams", Team.objects), ("applications", Application.objects)):
            self.fields[name].queryset = rows.visible_to(user).order_by("name")  # type: ignore[attr-defined]
        if target is not None:
            del self.fields["sink"], self.fields["start"]
            self.fields["address"].required = False
            if not target.is_syslog:
                self.fields["address"].help_text = f"Kept sealed; it leads to {target.host}. Left empty, it stays."
                for name in ("client_certificate", "client_key", "needs_close_notify"):
                    del self.fields[name]

    def edit(self) -> TargetEdit:
        """What was entered; the form is valid."""
        entered = dict(self.cleaned_data)
        names = ("name", "format", "kinds", "least_severity", "ca_certificate")
        asked: dict[str, Any] = {name: entered[name] for name in names}
        is_wide = entered["is_wide"]
        asked |= {"is_wide": is_wide, "needs_close_notify": entered.get("needs_close_notify")}
        asked |= {"teams": [] if is_wide else list(entered["teams"])}
        asked |= {"applications": [] if is_wide else list(entered["applications"])}
        return TargetEdit(**(asked | self._certificate(entered)), address=entered["address"] or None)

    def _certificate(self, entered: dict[str, Any]) -> dict[str, str]:
        """The client's certificate where it, or its key, was entered anew."""
        certificate, key = entered.get("client_certificate", ""), entered.get("client_key", "")
        shown = certificate.replace("\r\n", "\n").strip()  # browsers end lines so
        stays = self.target is not None and shown == self.target.client_certificate and not key
        return {} if stays or (not certificate and not self.target) else _pair(certificate, key)


def _pair(certificate: str, key: str) -> dict[str, str]:
    return {"client_certificate": certificate, "client_key": key}


def _initial(target: ExportTarget | None) -> dict[str, Any]:
    if target is None:
        return {"is_wide": True, "sink": Sink.SYSLOG_TLS.value, "format": Format.OCSF.value, "least_severity": 0}
    names = ("name", "format", "kinds", "least_severity", "is_wide", "ca_certificate", "client_certificate")
    made = {name: getattr(target, name) for name in (*names, "needs_close_notify")}
    return made | {
        "address": target.host if target.is_syslog else "",
        "teams": [team.pk for team in target.teams.all()],
        "applications": [application.pk for application in target.applications.all()],
    }
