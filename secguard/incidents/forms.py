"""What the pages of incidents ask for. The rules are in the services."""

from __future__ import annotations

from typing import Any

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.accounts.models import User
from secguard.incidents.containment import Form
from secguard.incidents.lifecycle import Decision
from secguard.incidents.services.acting import MAX_TEXT
from secguard.incidents.services.containing import Yes
from secguard.incidents.services.handling import DEFAULT_DAYS, MOST_DAYS, Scope, Verdict

MOST_AT_ONCE = 200
SCOPES = [(Scope.PLACE.value, "At this place alone"), (Scope.REPOSITORY.value, "In every image of its repository")]


def _text(label: str, **kwargs: Any) -> forms.CharField:
    return forms.CharField(label=label, max_length=MAX_TEXT, widget=forms.Textarea(attrs={"rows": 2}), **kwargs)


class ReasonForm(UseCaseForm):
    reason = _text("Why")


class CommentForm(UseCaseForm):
    text = _text("Comment")


class AssignForm(UseCaseForm):
    assignee = forms.CharField(label="Assign to", max_length=150, required=False)

    @property
    def person(self) -> User | None:
        """Whom it names; nobody where it is empty, and where there is nobody of that name."""
        name = self.cleaned_data["assignee"]
        return User.objects.people().filter(username__iexact=name).first() if name else None

    def clean_assignee(self) -> str:
        name = str(self.cleaned_data["assignee"]).strip()
        if name and not User.objects.people().filter(username__iexact=name).exists():
            raise forms.ValidationError(f"There is nobody called {name}.")
        return name


class DecideForm(UseCaseForm):
    decision = forms.ChoiceField(label="It is", choices=[(d.value, d.value) for d in Decision])
    reason = _text("Why")
    scope = forms.ChoiceField(label="Where it is expected", choices=SCOPES, required=False)
    days = forms.IntegerField(label="For how many days", required=False, min_value=1, max_value=MOST_DAYS)

    @property
    def verdict(self) -> Verdict:
        entered = self.cleaned_data
        scope = Scope(entered["scope"] or Scope.PLACE)
        return Verdict(Decision(entered["decision"]), entered["reason"], entered["days"] or DEFAULT_DAYS, scope)


class BulkForm(DecideForm):
    """Several at once: acknowledge them, or decide the same of all."""

    act = forms.ChoiceField(choices=[(a, a) for a in ("acknowledge", "decide")])
    ids = forms.TypedMultipleChoiceField(coerce=int, choices=())
    decision = forms.ChoiceField(choices=[(d.value, d.value) for d in Decision], required=False)
    reason = _text("Why", required=False)

    def __init__(self, data: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(data, *args, **kwargs)
        given = dict.fromkeys(v for v in data.getlist("ids") if v.isascii() and v.isdecimal() and len(v) < 19)
        self.fields["ids"].choices = [(v, v) for v in given]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        entered = dict(super().clean() or {})
        if len(entered.get("ids", ())) > MOST_AT_ONCE:
            self.add_error("ids", f"Choose at most {MOST_AT_ONCE} at once.")
        if entered.get("act") == "decide" and not entered.get("decision"):
            self.add_error("decision", "Say what it is.")
        return entered


class ApproveForm(UseCaseForm):
    labels = forms.CharField(label="Labels of its pods", max_length=2_000, required=False)
    form = forms.ChoiceField(
        label="Form",
        choices=[(Form.KUBERNETES.value, "NetworkPolicy"), (Form.CILIUM.value, "CiliumNetworkPolicy (denies first)")],
        required=False,
    )

    @property
    def yes(self) -> Yes:
        return Yes(self.cleaned_data["labels"], Form(self.cleaned_data["form"] or Form.KUBERNETES))
