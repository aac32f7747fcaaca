"""What the pages ask for: that a worker looks at an image (the rules are in ``scans.services``); views of the homes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.conf import settings

from secguard.accounts.forms import UseCaseForm
from secguard.accounts.models import Application, User
from secguard.dashboards.homes import Audience
from secguard.dashboards.report import Form
from secguard.dashboards.weekly import DAYS
from secguard.errors import Invalid
from secguard.images.reference import parse
from secguard.scans.models import Watch
from secguard.scans.services import ScanRequest
from secguard.scans.services.watching import MOST_HOURS, WatchEdit
from secguard.web.wording import size

Done = TypeVar("Done")


class ScanForm(UseCaseForm):
    """An image by its reference. ``unknown_host``: the registry that nobody set up, where that is what is wrong."""

    image = forms.CharField(
        max_length=700,
        label="Image",
        help_text="registry/repository:tag, or …@sha256:…. The registry must be set up under Settings, Registries.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    application = forms.ModelChoiceField(
        Application.objects.none(),
        required=False,
        to_field_name="slug",
        empty_label="As the repository's, or your only one",
        help_text="Whose it is. It counts only for a repository that is not known yet.",
    )

    unknown_host = ""

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["application"]
        field.queryset = Application.objects.visible_to(actor).order_by("name")

    def run(self, call: Callable[[dict[str, Any]], Done]) -> Done | None:
        return super().run(lambda entered: self._noting_host(call, entered))

    def _noting_host(self, call: Callable[[dict[str, Any]], Done], entered: dict[str, Any]) -> Done:
        try:
            return call(entered)
        except Invalid as error:
            if error.code == "registry-not-set-up":
                self.unknown_host = parse(entered["image"]).host
            raise

    def request(self, trigger: str, *, archive: str = "") -> ScanRequest:
        """What was entered; the form is valid."""
        application = self.cleaned_data["application"]
        return ScanRequest(self.cleaned_data["image"], trigger, application.slug if application else "", archive)


class ArchiveForm(ScanForm):
    """An image in an archive, and what it is to be called."""

    archive = forms.FileField(label="Archive", allow_empty_file=True, max_length=1000)

    field_order = ("archive", "image", "application")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Both forms stand on one page.
        super().__init__(*args, auto_id="id_upload_%s", **kwargs)
        self.fields["image"].label = "What it is called"
        self.fields["image"].help_text = "registry/repository:tag. Nothing is pulled from there."
        most = size(settings.MAX_ARCHIVE_BYTES)
        self.fields["archive"].help_text = f"An OCI layout as a tar, or what docker save writes; at most {most}."


class WatchForm(UseCaseForm):
    """What workers look for in a repository by themselves."""

    every_hours = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_HOURS,
        label="Scan the newest image every … hours",
        help_text="24 for every day. Empty: not by the clock.",
    )
    tags = forms.CharField(
        required=False,
        max_length=200,
        label="Scan tags that appear or move",
        help_text="Patterns separated by commas: v*, stable. Looked for every five minutes. Empty: watch none.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, data: Any = None, *, watch: Watch | None = None) -> None:
        initial = {"every_hours": watch.every_hours, "tags": watch.tags} if watch else {}
        super().__init__(data, initial=initial)

    def edit(self) -> WatchEdit:
        """What was entered; the form is valid."""
        return WatchEdit(self.cleaned_data["every_hours"], self.cleaned_data["tags"])


class ViewForm(UseCaseForm):
    """A home under a name."""

    name = forms.CharField(max_length=80)
    audience = forms.ChoiceField(choices=[(a.value, a.value) for a in Audience])


class LettersForm(UseCaseForm):
    """When a view is written each week, and how."""

    weekday = forms.TypedChoiceField(choices=[(str(n), name) for n, name in enumerate(DAYS)], coerce=int)
    hour = forms.IntegerField(min_value=0, max_value=23)
    form = forms.ChoiceField(choices=[(f.value, f.value) for f in Form])
