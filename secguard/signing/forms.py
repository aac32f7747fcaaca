"""What the pages about keys ask for. The rules are in ``signing.services``."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.signing import ecdsa
from secguard.signing.keylife import Provider
from secguard.signing.services import OVERLAP_DAYS, Ask, NewKey, Trust

MADE, IMPORTED, IN_TOKEN = "made", "imported", "in-token"
_WAYS = [
    (MADE, "Make one here"),
    (IMPORTED, "Import one (PEM)"),
    (IN_TOKEN, "In the PKCS #11 token: make one there, or use the one that is labelled"),
]


class UnshownTextarea(forms.Textarea):
    """What was entered is never sent back, also where the form is shown again with an error."""

    def format_value(self, value: Any) -> str | None:
        return None


class _Origin(UseCaseForm):
    """Where a key comes from."""

    way = forms.ChoiceField(choices=_WAYS, initial=MADE, widget=forms.RadioSelect, label="The private key")
    private_key = forms.CharField(
        max_length=ecdsa.MAX_PEM,
        required=False,
        strip=False,
        widget=UnshownTextarea(attrs={"rows": 4, "spellcheck": "false", "autocomplete": "off"}),
        label="Private key to import",
        help_text="PEM of a P-256 key. Kept sealed, never shown again.",
    )
    password = forms.CharField(
        max_length=1024,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        label="Its password",
        help_text="Where the PEM is encrypted. Not kept.",
    )
    label = forms.CharField(
        max_length=100, required=False, label="Label in the token", help_text="Empty: a key is made in the token."
    )

    def clean(self) -> dict[str, Any]:
        entered = super().clean() or self.cleaned_data
        if entered.get("way") == IMPORTED and not entered.get("private_key"):
            self.add_error("private_key", "Paste the key to import.")
        return entered

    def new_key(self) -> NewKey:
        """What was entered; the form is valid. Only what belongs to the chosen way counts."""
        entered = self.cleaned_data
        if entered["way"] == IN_TOKEN:
            return NewKey(Provider.PKCS11, label=entered["label"])
        if entered["way"] == IMPORTED:
            return NewKey(private_pem=entered["private_key"], password=entered["password"])
        return NewKey()


class NewKeyForm(_Origin):
    name = forms.CharField(max_length=63, help_text="Of the line of keys, like production: it stays when keys change.")
    field_order = ["name"]


class RotateForm(_Origin):
    overlap_days = forms.IntegerField(
        min_value=0,
        max_value=3650,
        initial=OVERLAP_DAYS,
        label="Overlap, in days",
        help_text="How long what the former key signed still counts. 0: no longer.",
    )
    field_order = ["overlap_days"]


class EndForm(UseCaseForm):
    """Why a key ends."""

    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 2}))


class RetireForm(UseCaseForm):
    reason = forms.CharField(max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 2}))


class TrustForm(UseCaseForm):
    name = forms.CharField(max_length=100, label="Whose key", help_text="As an image's page will say it: Base images.")
    repositories = forms.CharField(
        max_length=300,
        help_text="Where its signatures count: registry.example/shop/* (one part) or registry.example/** (all below).",
    )
    public_key = forms.CharField(
        max_length=ecdsa.MAX_PEM,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 5, "spellcheck": "false"}),
        help_text="PEM, from -----BEGIN PUBLIC KEY----- on: `cosign public-key --key …` prints it.",
    )
    valid_until = forms.DateTimeField(
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="UTC. Empty: until it is withdrawn.",
    )

    def trust(self) -> Trust:
        """What was entered; the form is valid."""
        return Trust(**self.cleaned_data)


class AskForm(UseCaseForm):
    """Have a worker look at what lies beside an image (``act`` look), or sign it too (``act`` sign)."""

    repository = forms.CharField(max_length=511, widget=forms.HiddenInput)
    act = forms.ChoiceField(choices=[("look", "Look again"), ("sign", "Sign")], widget=forms.HiddenInput)
    key = forms.ChoiceField(required=False, label="Key")
    attest = forms.BooleanField(
        required=False, initial=True, label="With its verdict, the decisions in force and its bill of materials"
    )

    def __init__(self, *args: Any, keys: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["key"].choices = [(name, name) for name in keys]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        entered = super().clean() or self.cleaned_data
        if entered.get("act") == "sign" and not entered.get("key") and "key" not in self.errors:
            self.add_error("key", "Choose the key to sign with.")
        return entered

    def asked(self) -> Ask:
        """What was entered; the form is valid. Who only looks signs nothing, whatever else was chosen."""
        entered = self.cleaned_data
        if entered["act"] == "look":
            return Ask(entered["repository"])
        return Ask(entered["repository"], entered["key"], entered["attest"])
