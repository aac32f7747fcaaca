"""What the pages about registries ask for. The rules are in ``images.services``."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.images.models import Registry
from secguard.images.services import RegistryEdit


class RegistryForm(UseCaseForm):
    """One registry. An empty password leaves the stored one; the box below takes it away."""

    host = forms.CharField(max_length=255, help_text="As image references name it: registry.example, or host:5000.")
    username = forms.CharField(max_length=255, required=False)
    password = forms.CharField(
        max_length=4096,
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Kept sealed, never shown.",
    )
    forget_password = forms.BooleanField(required=False, label="Forget the stored password")
    uses_plain_http = forms.BooleanField(
        required=False,
        label="Speak HTTP without TLS",
        help_text="Everything, the password too, can then be read and changed on the way.",
    )
    ca_certificate = forms.CharField(
        max_length=65_536,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        label="CA certificate",
        help_text="PEM. For a registry whose certificate comes from an authority of your own.",
    )
    allowed_hosts = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        label="Other hosts it may send us to",
        help_text="One a line: its token service, its blob storage. Workers connect nowhere else.",
    )
    is_preferred = forms.BooleanField(required=False, label="Preferred: images from here may run")

    def __init__(self, data: Any = None, *, registry: Registry | None = None, host: str = "") -> None:
        initial: dict[str, Any] = {"is_preferred": True, "host": host}
        if registry is not None:
            initial = {n: getattr(registry, n) for n in ("username", "uses_plain_http", "ca_certificate")}
            initial |= {
                "is_preferred": registry.is_preferred,
                "allowed_hosts": "\n".join(registry.allowed_hosts),
            }
        super().__init__(data, initial=initial)
        if registry is not None:
            del self.fields["host"]
        if registry is None or not registry.sealed_password:
            del self.fields["forget_password"]
        else:
            self.fields["password"].help_text = "Kept sealed, never shown. Left empty, the stored one stays."

    def edit(self) -> RegistryEdit:
        """What was entered; the form is valid."""
        entered = self.cleaned_data
        password = "" if entered.get("forget_password") else entered["password"] or None
        return RegistryEdit(
            is_preferred=entered["is_preferred"],
            uses_plain_http=entered["uses_plain_http"],
            username=entered["username"],
            password=password,
            ca_certificate=entered["ca_certificate"],
            allowed_hosts=entered["allowed_hosts"].split(),
        )
