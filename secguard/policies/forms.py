"""The policy editor's form."""

from __future__ import annotations

from django import forms


class PolicyForm(forms.Form):
    source = forms.CharField(
        label="Policy",
        max_length=262_144,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 28, "spellcheck": "false", "class": "code-editor", "wrap": "off"}),
        help_text="YAML with CEL conditions; saving checks all of it and makes a new version.",
    )
    tests = forms.CharField(
        label="Tests",
        max_length=262_144,
        strip=False,
        required=False,
        widget=forms.Textarea(attrs={"rows": 12, "spellcheck": "false", "class": "code-editor", "wrap": "off"}),
        help_text="YAML: facts, and the verdict expected. They are run on each save.",
    )
    comment = forms.CharField(label="What changes, and why", max_length=300, required=False)
    draft = forms.BooleanField(label="Save it as a draft though tests fail", required=False)
    activate = forms.BooleanField(label="Let it gate at once", required=False)
