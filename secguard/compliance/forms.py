"""What the pages of frameworks ask for. The rules are in the services."""

from __future__ import annotations

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.compliance.framework import MAX_BYTES


class FrameworkForm(UseCaseForm):
    source = forms.CharField(
        label="Framework",
        max_length=MAX_BYTES,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 28, "spellcheck": "false", "class": "code-editor", "wrap": "off"}),
        help_text="YAML. Its name says what it is the next version of; saving checks all of it.",
    )
