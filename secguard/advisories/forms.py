"""What the pages about vulnerability data ask for. The rules are in ``advisories.services``."""

from __future__ import annotations

from django import forms

from secguard.accounts.forms import UseCaseForm


class UploadForm(UseCaseForm):
    file = forms.FileField(
        label="A file of advisories, KEV or EPSS",
        help_text="An OSV all.zip, JSON Lines, JSON or YAML; KEV as JSON or CSV; EPSS as CSV; plain or packed.",
    )


class AddressForm(UseCaseForm):
    url = forms.URLField(
        max_length=500,
        label="Address",
        assume_scheme="https",
        help_text="https, on the feed's own host or a mirror of yours. No redirect is followed.",
    )
