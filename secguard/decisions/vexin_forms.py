"""What the pages about VEX documents ask for. The rules are in ``services.vexin``."""

from __future__ import annotations

import base64
import binascii
import zlib
from datetime import UTC, datetime, time
from typing import Any, Final

from django import forms
from django.core.files.uploadedfile import UploadedFile

from secguard.accounts.forms import UseCaseForm
from secguard.accounts.models import Application, User
from secguard.decisions.queries import Scope, find_scope
from secguard.decisions.scope import ScopeKind
from secguard.decisions.vexin import MAX_BYTES
from secguard.images.models import Image
from secguard.images.queries import find_image

ABOUT: Final = [
    ("", "All images that its products name, as far as you may ask"),
    (ScopeKind.IMAGE.value, "One image"),
    (ScopeKind.REPOSITORY.value, "One repository"),
    (ScopeKind.APPLICATION.value, "One application"),
]
MAX_CARRIED: Final = 1_500_000
"""Of a document that waits in the page between looking and sending, packed; what is larger is chosen again."""


class BringForm(forms.Form):
    """A document, and what it is brought for. ``carried`` holds it while what it would ask for is looked at."""

    file = forms.FileField(
        label="The document",
        help_text="OpenVEX, CycloneDX or CSAF 2.0; .trivyignore, .trivyignore.yaml or .grype.yaml for one image.",
    )
    about = forms.ChoiceField(label="What is it about?", choices=ABOUT, required=False)
    name = forms.CharField(
        label="Which one?",
        required=False,
        max_length=600,
        help_text="The image's digest or reference, the repository's full name, or the application's slug.",
    )
    until = forms.DateField(
        label="Ask until",
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The end of that day, UTC. Left empty: as late as the risk appetite allows.",
    )
    signature = forms.CharField(
        label="Signature beside it",
        required=False,
        max_length=400,
        help_text="Base64, as cosign sign-blob writes it. A document in a DSSE envelope brings its own.",
    )
    carried = forms.CharField(required=False, max_length=MAX_CARRIED, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What waits in the page need not be chosen again.
        self.fields["file"].required = not self.data.get("carried")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("about") and not data.get("name"):
            self.add_error("name", "Name it, or choose all images.")
        try:
            data["signature"] = base64.b64decode((data.get("signature") or "").strip(), validate=True)
        except (binascii.Error, ValueError):
            self.add_error("signature", "That is no base64; paste what cosign sign-blob wrote.")
        data["raw"] = self._raw(data.get("file"), data.get("carried") or "")
        return data

    def _raw(self, file: UploadedFile[Any] | None, carried: str) -> bytes:
        if file is None and not carried:
            return b""
        raw = file.read(MAX_BYTES + 1) if file is not None else _unpacked(carried)
        if len(raw) > MAX_BYTES:
            self.add_error("file", f"It has more than {MAX_BYTES:,} bytes, which is what is read. Split it.")
        return raw

    def place(self, user: User) -> tuple[Image | None, Scope | None]:
        """The image, or the scope, that it is brought for. Raises ``NotFound``."""
        about, name = self.cleaned_data["about"], self.cleaned_data["name"].strip()
        if about == ScopeKind.IMAGE:
            return find_image(user, name), None
        return None, find_scope(user, about, name) if about else None

    @property
    def end(self) -> datetime | None:
        until = self.cleaned_data["until"]
        return datetime.combine(until, time(23, 59, 59), tzinfo=UTC) if until else None


def packed(raw: bytes) -> str:
    """The document as a hidden field carries it; empty where it is too large for one."""
    text = base64.b64encode(zlib.compress(raw, 6)).decode()
    return text if len(text) <= MAX_CARRIED else ""


def _unpacked(text: str) -> bytes:
    """Bounded whatever was sent; what is no packed document is an empty one, and refused as such."""
    try:
        return zlib.decompressobj().decompress(base64.b64decode(text, validate=True), MAX_BYTES + 1)
    except (binascii.Error, ValueError, zlib.error):
        return b""


class AuthorForm(UseCaseForm):
    pattern = forms.CharField(
        label="Author",
        max_length=300,
        help_text="As documents write it, or a CSAF publisher's namespace; * stands for any text.",
    )
    application = forms.ModelChoiceField(
        Application.objects.none(), label="Only for", required=False, empty_label="All applications"
    )
    public_key = forms.CharField(
        label="Public key",
        required=False,
        max_length=16_384,
        widget=forms.Textarea(attrs={"rows": 4, "class": "text-mono", "spellcheck": "false"}),
        help_text="PEM, P-256. With a key only what it signed counts as this author's.",
    )
    note = forms.CharField(label="Note", required=False, max_length=300)

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["application"]
        field.queryset = Application.objects.visible_to(user).order_by("name")  # type: ignore[attr-defined]


class WithdrawForm(UseCaseForm):
    reason = forms.CharField(label="Why?", max_length=300, widget=forms.Textarea(attrs={"rows": 2}))
