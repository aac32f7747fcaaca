"""What people send about decisions. Rules are the services'; here is only what a field can hold."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.decisions.justifications import Justification
from secguard.decisions.lifecycle import SEVERITY_LINES, DecisionKind
from secguard.decisions.queries import Scope
from secguard.decisions.services.ending import MAX_END_REASON
from secguard.decisions.services.requesting import MAX_BULK, MAX_REASON
from secguard.decisions.spreading import MAX_SPREAD

KINDS = [
    (DecisionKind.ACCEPT.value, "Accept: we run it as it is until the date below"),
    (DecisionKind.MITIGATE.value, "Mitigate: a control elsewhere makes it harmless enough"),
    (DecisionKind.FIX.value, "Fix: we fix it by the date below"),
    (DecisionKind.NOT_AFFECTED.value, "Not affected: the flaw cannot be reached here"),
]
JUSTIFICATIONS = [("", "not told"), *((j.value, j.words) for j in Justification)]
SEVERITIES = [("", "as usual"), *((s, s.capitalize()) for s in reversed(SEVERITY_LINES))]
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
    justification = forms.ChoiceField(
        label="What makes it not affected?",
        choices=JUSTIFICATIONS,
        required=False,
        help_text="Of not affected alone. It goes out with VEX, in the words of OpenVEX and CSAF.",
    )
    controls = forms.MultipleChoiceField(
        label="Which controls does it lean on?",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="To mitigate elsewhere is to name the control that does it. It ends with the first of them.",
    )
    until = forms.DateField(
        label="Until when?",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The end of that day, UTC. It ends by itself; nothing has to be remembered.",
    )
    spread = forms.IntegerField(
        label="Spread the ends over",
        min_value=0,
        max_value=MAX_SPREAD,
        required=False,
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
        help_text="Working days, the last of them the day above: so not all of them come due on one morning.",
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
    until_fixed = forms.BooleanField(
        label="End it where it is fixed",
        required=False,
        help_text="In each repository for itself, once its newest image no longer has it. If it comes back there, it "
        "has to be asked for again.",
    )
    max_severity = forms.ChoiceField(
        label="End it when it is rated above",
        choices=SEVERITIES,
        required=False,
        help_text="As usual: when it is rated worse than today, but for not affected.",
    )

    def __init__(
        self,
        *args: Any,
        scopes: list[Scope],
        controls: Sequence[tuple[str, str]] = (),
        is_several: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not is_several:
            del self.fields["spread"]
        self.fields["controls"].choices = controls  # type: ignore[attr-defined]
        if not controls:
            self.fields["controls"].help_text = "There is none here yet. Propose one under Controls, then ask again."
        self.fields["scope"].choices = [(s.key, f"{s.kind.value.capitalize()} {scope_words(s)}") for s in scopes]  # type: ignore[attr-defined]

    def end(self, latest: datetime | None) -> datetime:
        """The end of the chosen day; on the last day allowed, the last moment allowed."""
        chosen: date = self.cleaned_data["until"]
        end = datetime.combine(chosen, time(23, 59, 59), tzinfo=UTC)
        return min(end, latest) if latest is not None and latest.date() == chosen else end

    def clean(self) -> dict[str, Any]:
        """A justification that was chosen before another kind was is left out: it says nothing of that kind."""
        data: dict[str, Any] = super().clean() or {}
        if data.get("kind") != DecisionKind.NOT_AFFECTED:
            data["justification"] = ""
        return data

    @property
    def conditions(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.cleaned_data["until_fix"]:
            found["until_fix"] = self.cleaned_data["until_fix"] == "yes"
        if self.cleaned_data["max_epss"] is not None:
            found["max_epss"] = self.cleaned_data["max_epss"]
        if self.cleaned_data["until_fixed"]:
            found["until_fixed"] = True
        if self.cleaned_data["max_severity"]:
            found["max_severity"] = self.cleaned_data["max_severity"]
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
