"""What the page asks for that has a worker look at an image. The rules are in ``scans.services``."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.accounts.models import Application, User


class ScanForm(UseCaseForm):
    image = forms.CharField(
        max_length=700,
        label="Image",
        help_text="registry/repository:tag, or …@sha256:…. The registry must be set up under Settings, Registries.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autofocus": True}),
    )
    application = forms.ModelChoiceField(
        Application.objects.none(),
        required=False,
        to_field_name="slug",
        empty_label="As the repository's, or your only one",
        help_text="Whose it is. It counts only for a repository that is not known yet.",
    )

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["application"]
        field.queryset = Application.objects.visible_to(actor).order_by("name")
