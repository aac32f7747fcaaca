"""What the pages ask for. The rules are in ``accounts.services``; their refusals become the form's own errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django import forms
from django.db.models import QuerySet

from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import DAYS, MAX_DAYS
from secguard.errors import Conflict, Invalid, NotAllowed

Done = TypeVar("Done")
WIDE = "The whole organisation"
LIFETIMES = [(7, "a week"), (30, "30 days"), (DAYS, f"{DAYS} days"), (180, "180 days"), (MAX_DAYS, "a year")]


class UseCaseForm(forms.Form):
    """A form in front of one service."""

    def run(self, call: Callable[[dict[str, Any]], Done]) -> Done | None:
        """Call the service with what was entered; None, and the form shows why, if either refuses."""
        if not self.is_valid():
            return None
        try:
            return call(self.cleaned_data)
        except (Invalid, Conflict) as error:
            self.add_error(error.where if error.where in self.fields else None, error.detail)
        except NotAllowed as error:
            if error.code != "wrong-password":
                raise
            self.add_error("current" if "current" in self.fields else None, error.detail)
        return None

    def works(self, call: Callable[[dict[str, Any]], object]) -> bool:
        """``run``, where only whether it worked matters."""
        return self.run(call) is not None


def role_choices(roles: Iterable[Role] = Role) -> list[tuple[str, str]]:
    return [(role.value, role.value.replace("-", " ").capitalize()) for role in roles]


def manageable_teams(user: User, permission: Permission) -> QuerySet[Team]:
    """The teams for which ``user`` may do ``permission``."""
    teams = user.teams_with(permission)
    return Team.objects.all() if teams is None else Team.objects.filter(pk__in=teams)


class TeamChoice(forms.ModelChoiceField):  # type: ignore[type-arg]
    """One of the teams for which somebody may do something; "the whole organisation" only for who may do it there."""

    def __init__(self, user: User, permission: Permission, *, or_organisation: bool, **kwargs: Any) -> None:
        is_wide = or_organisation and user.teams_with(permission) is None
        super().__init__(
            manageable_teams(user, permission),
            required=not is_wide,
            empty_label=WIDE if is_wide else "Choose",
            **kwargs,
        )


class SignInForm(forms.Form):
    username = forms.CharField(
        label="Name",
        max_length=150,
        widget=forms.TextInput(attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}),
    )
    password = forms.CharField(
        max_length=1_000, strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class PasswordForm(UseCaseForm):
    current = forms.CharField(
        label="Current password",
        max_length=1_000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )
    password = forms.CharField(
        label="New password",
        max_length=1_000,
        strip=False,
        help_text="At least 12 characters; a few words in a row are easy to remember and hard to guess.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="New password again",
        max_length=1_000,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *args: Any, ask_current: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not ask_current:
            del self.fields["current"]

    def clean(self) -> dict[str, Any]:
        entered = self.cleaned_data
        if entered.get("password") != entered.get("again") and "again" in entered:
            self.add_error("again", "The two are not the same.")
        return entered


class ProfileForm(UseCaseForm):
    display_name = forms.CharField(label="Name to show", max_length=200, required=False)
    email = forms.EmailField(label="E-mail", max_length=254, required=False)


class NewUserForm(UseCaseForm):
    username = forms.CharField(label="Name to sign in with", max_length=150, help_text="Letters, digits and . _ @ + -")
    display_name = forms.CharField(label="Name to show", max_length=200, required=False)
    email = forms.EmailField(label="E-mail", max_length=254, required=False)
    role = forms.ChoiceField(choices=role_choices())
    is_service = forms.BooleanField(
        label="A service", required=False, help_text="Works with tokens alone and never signs in."
    )

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"] = TeamChoice(actor, Permission.USER_MANAGE, or_organisation=True, label="Where")


class GrantForm(UseCaseForm):
    role = forms.ChoiceField(choices=role_choices())

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"] = TeamChoice(actor, Permission.USER_MANAGE, or_organisation=True, label="Where")


class TeamForm(UseCaseForm):
    name = forms.CharField(max_length=100)


class ApplicationForm(UseCaseForm):
    name = forms.CharField(max_length=100)
    description = forms.CharField(required=False, max_length=10_000, widget=forms.Textarea(attrs={"rows": 3}))
    is_exposed = forms.BooleanField(
        label="Reachable from outside the organisation",
        required=False,
        help_text="The policy and the risk appetite ask more of what is.",
    )
    is_production = forms.BooleanField(label="In production", required=False)

    def __init__(self, *args: Any, actor: User, application: Application | None = None, **kwargs: Any) -> None:
        shown = {"is_production": True} if application is None else _shown(application)
        super().__init__(*args, **{"initial": shown, **kwargs})
        self.fields["team"] = TeamChoice(actor, Permission.APPLICATION_EDIT, or_organisation=False, label="Team")
        self.order_fields(["name", "team"])


def _shown(application: Application) -> dict[str, Any]:
    return {name: getattr(application, name) for name in ("name", "description", "team", "is_exposed", "is_production")}


class TokenForm(UseCaseForm):
    name = forms.CharField(max_length=100, help_text="What carries it, such as: CI of the shop")
    role = forms.ChoiceField()
    team = forms.ModelChoiceField(
        Team.objects.none(), required=False, empty_label="Wherever the role is held", label="Where"
    )
    days = forms.TypedChoiceField(choices=LIFETIMES, coerce=int, initial=DAYS, label="Ends after")

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        held = {role for role, _ in owner.grants()}
        self.fields["role"].choices = role_choices(role for role in Role if role in held)  # type: ignore[attr-defined]
        self.fields["team"].queryset = Team.objects.visible_to(owner)  # type: ignore[attr-defined]
