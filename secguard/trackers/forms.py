"""What the pages about trackers ask for. The rules are in ``trackers.services``."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm, manageable_teams
from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.findings.severity import Severity
from secguard.trackers.keeping import TrackerKind
from secguard.trackers.models import Tracker
from secguard.trackers.services import TrackerEdit

KINDS = [
    (TrackerKind.GITHUB.value, "GitHub issues: github.com or Enterprise"),
    (TrackerKind.JIRA_CLOUD.value, "Jira Cloud"),
    (TrackerKind.JIRA_DATA_CENTER.value, "Jira Data Center or Server"),
]
SEVERITIES = [
    ("", "None"),
    *((s.label, f"{s.label.capitalize()} or worse") for s in sorted(Severity, reverse=True) if s),
]
_PLAIN = {"autocomplete": "off", "spellcheck": "false"}


class TrackerForm(UseCaseForm):
    """One tracker. Of one that is there, an empty token leaves the stored one."""

    name = forms.CharField(max_length=100, help_text="As your people call it: the platform's backlog.")
    team = forms.ModelChoiceField(Team.objects.none(), label="Whose findings")
    kind = forms.ChoiceField(choices=KINDS, label="What it is")
    base_url = forms.CharField(
        max_length=500,
        label="Address of its API",
        widget=forms.TextInput(attrs={**_PLAIN, "inputmode": "url"}),
        help_text="https://api.github.com, https://github.example.org/api/v3, https://example.atlassian.net",
    )
    project = forms.CharField(
        max_length=150, label="Repository or project", help_text="owner/repository, or the Jira project's key: SHOP."
    )
    issue_type = forms.CharField(max_length=100, required=False, label="Issue type", help_text="Jira's: Task, Bug.")
    login = forms.CharField(
        max_length=200,
        required=False,
        label="E-mail of the account",
        help_text="For Jira Cloud's API token. Empty for GitHub, and for a personal access token of Jira's.",
    )
    token = forms.CharField(
        max_length=1_000,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Kept sealed, never shown. It needs to read and write issues there, and nothing else.",
    )
    closes = forms.BooleanField(required=False, label="Close our issues when the finding is fixed or accepted")
    reopens = forms.BooleanField(required=False, label="Open them again when it comes back")
    opens_from = forms.ChoiceField(
        choices=SEVERITIES, required=False, label="Open issues by itself for", help_text="A hundred a day at most."
    )
    opens_overdue = forms.BooleanField(required=False, label="Open issues by itself for what is overdue")
    opens_application = forms.ModelChoiceField(
        Application.objects.none(),
        required=False,
        to_field_name="slug",
        label="By itself, only in",
        empty_label="Every application that it serves",
    )
    is_active = forms.BooleanField(required=False, label="Turned on")

    def __init__(self, data: Any, *, user: User, tracker: Tracker | None = None) -> None:
        super().__init__(data, initial=_initial(tracker))
        self._tracker = tracker
        self.fields["opens_application"].queryset = _applications(user, tracker)  # type: ignore[attr-defined]
        if tracker is None:
            is_wide = user.teams_with(Permission.SETTINGS_EDIT) is None
            self.fields["team"] = forms.ModelChoiceField(
                manageable_teams(user, Permission.SETTINGS_EDIT),
                required=not is_wide,
                label="Whose findings",
                empty_label="Every team's" if is_wide else "Choose a team",
            )
            del self.fields["is_active"]
            return
        del self.fields["team"], self.fields["kind"], self.fields["project"]
        if not TrackerKind(tracker.kind).is_jira:
            del self.fields["issue_type"], self.fields["login"]
        self.fields["token"].required = False
        self.fields["token"].help_text = "Kept sealed. Left empty, it stays; another address needs it anew."

    def edit(self) -> TrackerEdit:
        """What was entered; the form is valid."""
        entered = self.cleaned_data
        application = entered["opens_application"]
        return TrackerEdit(
            name=entered["name"],
            base_url=entered["base_url"],
            issue_type=entered.get("issue_type"),
            login=entered.get("login"),
            token=entered["token"] or None,
            is_active=entered.get("is_active"),
            closes=entered["closes"],
            reopens=entered["reopens"],
            opens_from=entered["opens_from"],
            opens_overdue=entered["opens_overdue"],
            opens_application=application.slug if application else "",
        )


def _applications(user: User, tracker: Tracker | None) -> Any:
    rows = Application.objects.visible_to(user).order_by("name")
    return rows.filter(team=tracker.team) if tracker and tracker.team_id else rows


def _initial(tracker: Tracker | None) -> dict[str, Any]:
    if tracker is None:
        return {"kind": TrackerKind.GITHUB.value, "closes": True, "reopens": True}
    names = ("name", "base_url", "issue_type", "login", "closes", "reopens", "opens_overdue", "is_active")
    return {
        **{name: getattr(tracker, name) for name in names},
        "opens_from": "" if tracker.opens_from is None else Severity(tracker.opens_from).label,
        "opens_application": tracker.opens_application.slug if tracker.opens_application else None,
    }
