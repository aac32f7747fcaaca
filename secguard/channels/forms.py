"""What the pages about channels ask for. The rules are in ``channels.services``."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm, manageable_teams
from secguard.accounts.models import Team, User
from secguard.accounts.roles import Permission
from secguard.channels.formats import Format
from secguard.channels.models import Channel
from secguard.channels.queries import heading_of, shared_kinds
from secguard.channels.services import ChannelEdit

FORMATS = [
    (Format.SLACK.value, "Slack: an incoming webhook"),
    (Format.TEAMS.value, "Microsoft Teams: a workflow that posts to a channel"),
    (Format.SECGUARD.value, "SecGuard's own JSON, signed: for a program of yours"),
]


class ChannelForm(UseCaseForm):
    """One channel. Of one that is there, an empty address leaves the stored one."""

    name = forms.CharField(max_length=100, help_text="As your people call the place: #security.")
    team = forms.ModelChoiceField(Team.objects.none(), label="Whose news")
    format = forms.ChoiceField(choices=FORMATS, label="Who reads it")
    url = forms.CharField(
        max_length=2_000,
        label="Address",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "inputmode": "url"}),
        help_text="https://… Kept sealed, never shown: whoever knows it may post there.",
    )
    kinds = forms.MultipleChoiceField(
        required=False,
        label="Kinds of news",
        widget=forms.CheckboxSelectMultiple,
        help_text="With none chosen, all of them, also those that come later.",
    )
    is_active = forms.BooleanField(required=False, label="Post to it")

    def __init__(self, data: Any = None, *, user: User, channel: Channel | None = None) -> None:
        super().__init__(data, initial=_initial(channel))
        self.fields["kinds"].choices = [(k.name, heading_of(k.name)) for k in shared_kinds()]  # type: ignore[attr-defined]
        if channel is None:
            self.fields["team"] = _whose(user)
            del self.fields["is_active"]
        else:
            del self.fields["team"], self.fields["format"]
            self.fields["url"].required = False
            self.fields["url"].help_text = f"Kept sealed; it leads to {channel.host}. Left empty, it stays."

    def edit(self) -> ChannelEdit:
        """What was entered; the form is valid."""
        entered = self.cleaned_data
        return ChannelEdit(entered["name"], entered["url"] or None, entered["kinds"], entered.get("is_active"))


def _initial(channel: Channel | None) -> dict[str, Any]:
    if channel is None:
        return {"format": Format.SLACK.value}
    return {"name": channel.name, "kinds": channel.kinds, "is_active": channel.is_active}


def _whose(user: User) -> Any:
    """The teams whose channels the person may set up; the organisation's news for who may do that too."""
    is_wide = user.teams_with(Permission.SETTINGS_EDIT) is None
    return forms.ModelChoiceField(
        manageable_teams(user, Permission.CHANNEL_EDIT),
        required=not is_wide,
        label="Whose news",
        empty_label="The whole organisation: everything" if is_wide else "Choose a team",
    )
