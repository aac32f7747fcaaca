"""What the pages ask for. The rules are in ``accounts.services``; their refusals become the form's own errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django import forms
from django.db.models import QuerySet

from secguard.accounts.models import IMPACTS, MAX_CI_MINUTES, Application, Team, User
from secguard.accounts.roles import APPROVERS, Permission, Role
from secguard.accounts.services import DAYS, MAX_DAYS
from secguard.accounts.services.ci_identities import MINUTES
from secguard.accounts.trust import MAX_PATTERN, Kind
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


class CodeForm(UseCaseForm):
    """The second step of signing in."""

    current = forms.CharField(
        label="Code",
        max_length=40,
        help_text="Of your authenticator app, or one of your recovery codes.",
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "autofocus": True}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A passkey's answer takes its place.
        self.fields["current"].required = not self.data.get("credential")


class ConfirmedForm(UseCaseForm):
    """What needs one's password once more; for whoever has none, signing in has to do."""

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if user.has_usable_password():
            self.fields["current"] = forms.CharField(
                label="Your password",
                max_length=1_000,
                strip=False,
                widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
            )


class AppForm(ConfirmedForm):
    code = forms.CharField(
        label="Code that the app shows",
        max_length=20,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


class PasskeyForm(ConfirmedForm):
    name = forms.CharField(max_length=60, initial="Passkey", help_text="To tell it from others: Work laptop, Blue key.")
    credential = forms.CharField(max_length=20_000, widget=forms.HiddenInput, required=False)


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


class ImpactForm(forms.Form):
    impact = forms.ChoiceField(
        label="Mission impact",
        required=False,
        choices=[("", "as the risk appetite says"), *((word, word) for word in IMPACTS)],
        help_text="What it means to the mission where it fails: by when flaws in it must be fixed.",
    )


def _shown(application: Application) -> dict[str, Any]:
    return {name: getattr(application, name) for name in ("name", "description", "team", "is_exposed", "is_production")}


class ApplicationsChoice(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    """Which applications alone, of those that somebody may see."""

    def __init__(self, user: User) -> None:
        super().__init__(
            Application.objects.visible_to(user).select_related("team"),
            required=False,
            label="Only these applications",
            help_text="All of one team. It then posts and reads what is theirs, and nothing else. None: no such limit.",
        )

    def label_from_instance(self, obj: Application) -> str:
        return f"{obj.name} ({obj.team.name})"


class PatternsLines(forms.CharField):
    """Patterns of repositories' names, one a line."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            max_length=10_000,
            label="Only these repositories",
            widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "class": "form-control text-mono"}),
            help_text="One a line, at most 20, each held against the whole name: registry.example/web/cart, "
            "registry.example/shop/* (one part) or registry.example/** (everything below). They have to be the team's, "
            "so say where. With applications too, both hold. None: no such limit.",
        )

    def clean(self, value: Any) -> list[str]:
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


class CiIdentityForm(UseCaseForm):
    """A pipeline that is trusted. The claims are lines of text, so that they can be copied from a token."""

    name = forms.CharField(max_length=100, help_text="Such as: Shop, main branch")
    kind = forms.ChoiceField(
        choices=[
            (Kind.GITHUB, "GitHub Actions"),
            (Kind.GITLAB, "GitLab CI"),
            (Kind.KUBERNETES, "A Kubernetes service account"),
            (Kind.OTHER, "Another OpenID issuer"),
        ],
        label="Whose tokens",
    )
    issuer = forms.CharField(
        max_length=MAX_PATTERN,
        help_text="As it stands in the token (iss): https://token.actions.githubusercontent.com, https://gitlab.com "
        "or your own.",
    )
    audience = forms.CharField(
        max_length=MAX_PATTERN,
        help_text="What the pipeline asks its token for. This server's address is a good choice.",
    )
    claims = forms.CharField(
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "form-control text-mono"}),
        help_text="One a line, as NAME = PATTERN, always held against the whole value. * stands for anything within "
        "one part, ** for any parts. GitHub: repository (or repository_id) and ref. GitLab: project_path (or "
        "project_id), and ref or ref_protected. Else: sub. What lies inside of a claim is named with a dot: "
        "kubernetes.io.namespace.",
    )
    jwks = forms.CharField(
        max_length=200_000,
        required=False,
        label="The issuer's keys",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="Only where this server cannot reach the issuer: its JWK Set, such as "
        "kubectl get --raw /openid/v1/jwks prints.",
    )
    role = forms.ChoiceField(
        choices=role_choices(r for r in Role if r not in APPROVERS and r is not Role.ADMINISTRATOR)
    )
    minutes = forms.IntegerField(min_value=1, max_value=MAX_CI_MINUTES, initial=MINUTES, label="Ends after, in minutes")

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["team"] = TeamChoice(actor, Permission.CI_IDENTITY_MANAGE, or_organisation=True, label="Where")
        self.fields["applications"] = ApplicationsChoice(actor)
        self.fields["repositories"] = PatternsLines()
        trusted, given = ["name", "kind", "issuer", "audience", "claims", "jwks"], ["role", "team"]
        self.order_fields([*trusted, *given, "applications", "repositories", "minutes"])

    def clean_claims(self) -> dict[str, str]:
        claims: dict[str, str] = {}
        for line in self.cleaned_data["claims"].splitlines():
            name, sign, pattern = line.partition("=")
            if not line.strip():
                continue
            if not sign or name.strip() in claims:
                raise forms.ValidationError(f"{line.strip()[:80]!r} is no NAME = PATTERN, or its name stands twice.")
            claims[name.strip()] = pattern.strip()
        return claims

    def clean_jwks(self) -> Any:
        if not self.cleaned_data["jwks"].strip():
            return None
        try:
            return json.loads(self.cleaned_data["jwks"])
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"This is no JSON: {str(error)[:100]}.") from None


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
        self.fields["applications"] = ApplicationsChoice(owner)
        self.fields["repositories"] = PatternsLines()
        self.order_fields(["name", "role", "team", "applications", "repositories", "days"])
