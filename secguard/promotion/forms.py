"""What the pages of promotions, environments and recalls ask for. The rules are in the services."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from django import forms

from secguard.accounts.forms import Done, UseCaseForm, role_choices
from secguard.accounts.roles import APPROVERS
from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.errors import NotAllowed, NotFound
from secguard.images.models import Registry
from secguard.promotion.models import Environment
from secguard.promotion.services import Ask, EnvironmentEdit
from secguard.promotion.services.environments import MAX_SEATS, next_position
from secguard.signing.models import SigningKey
from secguard.signing.services.standing import MAX_REASON

CODE = {"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}
GATES = [
    ("promote", "promote: what the policy asks of an image that goes on (as usual)"),
    ("build", "build: what it asks of a fresh build"),
    ("admit", "admit: what it asks of an image that a cluster starts"),
]
SEAT = "approvers-{}"
ORDER = (
    "name",
    "position",
    "registry",
    "path_prefix",
    "gate",
    "key_name",
    *(SEAT.format(role.value) for role in sorted(APPROVERS)),
    "requires_previous",
    "is_automatic",
    "automatic_for",
)


class PromotionForm(UseCaseForm):
    """Which image, to which environment, and under which tags there."""

    image = forms.CharField(
        max_length=700,
        widget=forms.TextInput(attrs=CODE),
        help_text="registry/repository:tag or registry/repository@sha256:…, as it was scanned here. A tag is resolved "
        "now; what it points to later is another image.",
    )
    to = forms.ChoiceField(widget=forms.RadioSelect, label="To which environment")
    tags = forms.CharField(
        required=False,
        max_length=2000,
        widget=forms.TextInput(attrs=CODE),
        label="Tags there",
        help_text="Divided by spaces or commas. They are moved last. Empty: the tag that the image is named by; by a "
        "digest alone, it gets none.",
    )

    def __init__(self, data: Any = None, *, environments: Sequence[Environment], **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        choices = [(e.name, environment_words(e)) for e in environments]
        self.fields["to"].choices = choices  # type: ignore[attr-defined]
        if len(choices) == 1:
            self.fields["to"].initial = choices[0][0]

    def ask(self) -> Ask:
        """What was entered; the form is valid."""
        entered = self.cleaned_data
        tags = [tag for tag in re.split(r"[\s,]+", entered["tags"]) if tag]
        return Ask(entered["image"], entered["to"], tags or None)

    def run(self, call: Callable[[dict[str, Any]], Done]) -> Done | None:
        """As ``UseCaseForm.run``; what is not known, and a destination that is another team's, is said here too."""
        try:
            return super().run(call)
        except NotFound as error:
            self.add_error(error.where if error.where in self.fields else "image", error.detail)
        except NotAllowed as error:
            if error.code != "other-teams-repository":
                raise
            self.add_error("to", error.detail)
        return None


def environment_words(environment: Environment) -> str:
    """An environment as a choice says it: its name, where it lies, and who has to approve."""
    place = f"{environment.registry.host}/{environment.path_prefix}".rstrip("/")
    return f"{environment.name}: {place}, approved by {approvers_words(environment.approvers) or 'nobody'}"


def approvers_words(approvers: dict[str, int]) -> str:
    """``1 security reviewer and 2 business approvers``; empty where nobody is asked."""
    said = [f"{n} {role.replace('-', ' ')}{'s' if n > 1 else ''}" for role, n in sorted(approvers.items()) if n]
    return " and ".join(said)


class VoteForm(UseCaseForm):
    comment = forms.CharField(
        required=False,
        max_length=MAX_COMMENT,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Needed to reject: what would be accepted instead.",
    )
    choice = forms.ChoiceField(choices=[(c.value, c.value) for c in Choice], widget=forms.HiddenInput)


class RecallForm(UseCaseForm):
    """Why a digest is called back, or that is lifted."""

    reason = forms.CharField(
        max_length=MAX_REASON,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Whoever meets the refused image reads it, at a terminal too.",
    )


class EnvironmentForm(UseCaseForm):
    """One environment; one field for each role that may approve (``approvers-…``)."""

    name = forms.CharField(
        max_length=63,
        widget=forms.TextInput(attrs=CODE),
        help_text="Lower-case letters, digits and '-': staging. It stays: statements beside images carry it.",
    )
    position = forms.IntegerField(
        min_value=1,
        max_value=1000,
        label="Place in the order",
        help_text="Images go from low to high. Images are pushed to the lowest; they are promoted to all others.",
    )
    registry = forms.ChoiceField(help_text="Where its images lie. Workers connect only to registries that are set up.")
    path_prefix = forms.CharField(
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs=CODE),
        label="Paths begin with",
        help_text="prod makes shop/api prod/shop/api. Needed where several environments share a registry.",
    )
    gate = forms.ChoiceField(
        choices=GATES,
        widget=forms.RadioSelect,
        initial="promote",
        help_text="Asked at once, and again before the tags move.",
    )
    key_name = forms.ChoiceField(
        required=False,
        label="Signing key",
        help_text="Signs what comes here. Only the first environment, which images are pushed to, needs none.",
    )
    requires_previous = forms.BooleanField(
        required=False,
        initial=True,
        label="Only what stands in the environment before",
        help_text="Nothing comes here around the environment before it.",
    )
    is_automatic = forms.BooleanField(
        required=False,
        label="What passes the gate comes here by itself",
        help_text="Nobody asks, so nobody can approve: choose this or approvers.",
    )
    automatic_for = forms.CharField(
        max_length=300,
        required=False,
        widget=forms.TextInput(attrs=CODE),
        label="By itself only from",
        help_text="A pattern of repositories: registry.example/shop/* (one part) or registry.example/** (all below). "
        "Empty: from all.",
    )

    def __init__(self, data: Any = None, *, environment: Environment | None = None) -> None:
        super().__init__(data, initial=_shown(environment) if environment else {"position": next_position()})
        hosts = Registry.objects.filter(configured_at__isnull=False).values_list("host", flat=True)
        self.fields["registry"].choices = [(host, host) for host in hosts]  # type: ignore[attr-defined]
        self.fields["key_name"].choices = _keys(environment)  # type: ignore[attr-defined]
        own = environment.approvers if environment else {}
        for role, label in role_choices(sorted(APPROVERS)):
            self.fields[SEAT.format(role)] = forms.IntegerField(
                min_value=0,
                max_value=MAX_SEATS,
                required=False,
                initial=own.get(role, 0),
                label=f"{label}s who must approve",
            )
        self.order_fields(ORDER)
        if environment is not None:
            del self.fields["name"]

    def edit(self) -> EnvironmentEdit:
        """What was entered; the form is valid."""
        entered = self.cleaned_data
        plain = ("position", "registry", "path_prefix", "gate", "key_name", "requires_previous", "is_automatic")
        seats = {role.value: entered[SEAT.format(role.value)] or 0 for role in APPROVERS}
        return EnvironmentEdit(
            **{name: entered[name] for name in plain}, automatic_for=entered["automatic_for"], approvers=seats
        )


def _shown(environment: Environment) -> dict[str, Any]:
    names = ("position", "path_prefix", "gate", "key_name", "requires_previous", "is_automatic", "automatic_for")
    return {name: getattr(environment, name) for name in names} | {"registry": environment.registry.host}


def _keys(environment: Environment | None) -> list[tuple[str, str]]:
    """The lines of keys that sign; and the one that is set, also where it signs no more."""
    signing = list(SigningKey.objects.signing_images().order_by("name").values_list("name", flat=True))
    kept = environment.key_name if environment else ""
    gone = [(kept, f"{kept} (signs no more)")] if kept and kept not in signing else []
    return [("", "None"), *((name, name) for name in signing), *gone]
