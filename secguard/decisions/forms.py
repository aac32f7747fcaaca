"""What people send about decisions. Rules are the services'; here is only what a field can hold."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.queries import Scope
from secguard.decisions.services.ending import MAX_END_REASON
from secguard.decisions.services.requesting import MAX_BULK, MAX_REASON

KINDS = [
    (DecisionKind.ACCEPT.value, "Accept: we run it as it is until the date below"),
    (DecisionKind.MITIGATE.value, "Mitigate: a control elsewhere makes it harmless enough"),
    (DecisionKind.FIX.value, "Fix: we fix it by the date below"),
    (DecisionKind.NOT_AFFECTED.value, "Not affected: the flaw cannot be reached here"),
]
FIXES = [("", "as usual for the kind"), ("yes", "yes"), ("no", "no")]


class RequestForm(forms.Form):
    """Ask for a decision on the risks that the page was opened for."""

    kind = forms.ChoiceField(label="What should be decided?", choices=KINDS, widget=forms.RadioSelect)
    scope = forms.ChoiceField(label="Where should it hold?", widget=forms.RadioSelect)
    reason = forms.CharField(
        label="Why is that right here?",
        max_length=MAX_REASON,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="For whoever has to approve it: what makes the risk bearable, or the flaw unreachable.",
    )
    until = forms.DateField(
        label="Until when?",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The end of that day, UTC. It ends by itself; nothing has to be remembered.",
    )
    until_fix = forms.ChoiceField(
        label="End it when a fix appears?",
        choices=FIXES,
        required=False,
        help_text="As usual: accepted and mitigated risks end with a fix, the others do not.",
    )
    max_epss = forms.FloatField(
        label="End it when EPSS rises above",
        min_value=0,
        max_value=1,
        required=False,
        widget=forms.NumberInput(attrs={"step": "0.01", "inputmode": "decimal"}),
        help_text="A probability from 0 to 1. Left empty: when it passes 0.1 or 0.5.",
    )

    def __init__(self, *args: Any, scopes: list[Scope], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["scope"].choices = [(s.key, f"{s.kind.value.capitalize()} {scope_words(s)}") for s in scopes]  # type: ignore[attr-defined]

    def end(self, latest: datetime | None) -> datetime:
        """The end of the chosen day; on the last day allowed, the last moment allowed."""
        chosen: date = self.cleaned_data["until"]
        end = datetime.combine(chosen, time(23, 59, 59), tzinfo=UTC)
        return min(end, latest) if latest is not None and latest.date() == chosen else end

    @property
    def conditions(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.cleaned_data["until_fix"]:
            found["until_fix"] = self.cleaned_data["until_fix"] == "yes"
        if self.cleaned_data["max_epss"] is not None:
            found["max_epss"] = self.cleaned_data["max_epss"]
        return found


def scope_words(scope: Scope) -> str:
    """The scope as a choice says it: ``registry.example.org/shop/api``, a short digest, nothing for all."""
    if scope.id is None:
        return "(everything)"
    kind, colon, digits = scope.label.partition(":")
    return f"{kind}:{digits[:12]}…" if colon and len(digits) >= 64 else scope.label


class IdsField(forms.MultipleChoiceField):
    """Row ids, however many check boxes there were."""

    def validate(self, value: list[str]) -> None:
        if self.required and not value:
            raise forms.ValidationError("Choose at least one.")
        if len(value) > MAX_BULK or not all(v.isascii() and v.isdigit() and len(v) < 19 for v in value):
            raise forms.ValidationError(f"Expected are 1 to {MAX_BULK} ids.")


class VoteForm(forms.Form):
    """Approve or reject what is chosen."""

    ids = IdsField()
    choice = forms.ChoiceField(choices=[(c.value, c.value) for c in Choice])
    comment = forms.CharField(
        label="Comment",
        required=False,
        max_length=MAX_COMMENT,
        widget=forms.Textarea(attrs={"rows": 1}),
        help_text="Needed to reject: what would be accepted instead.",
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if data.get("choice") == Choice.REJECT and not str(data.get("comment", "")).strip():
            self.add_error("comment", "A rejection needs a comment: the person who asked must learn what would do.")
        return data


class RevokeForm(forms.Form):
    reason = forms.CharField(label="Why?", max_length=MAX_END_REASON, widget=forms.Textarea(attrs={"rows": 2}))


class AppetiteForm(forms.Form):
    source = forms.CharField(
        label="The table, in YAML",
        max_length=65536,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false", "class": "text-mono"}),
    )
    comment = forms.CharField(label="What changes, and why", max_length=300, required=False)
    activate = forms.BooleanField(label="Put it in force at once", required=False)


def default_until(latest: datetime | None) -> date:
    """A month from now, or the latest day allowed where that is sooner."""
    month = timezone.now() + timedelta(days=30)
    return min(month, latest).date() if latest else month.date()
