"""What the pages of baselines ask for. The rules are in the services."""

from __future__ import annotations

from django import forms

from secguard.accounts.forms import UseCaseForm
from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.runtime.services.baseline_deciding import MAX_TEXT


class ReasonForm(UseCaseForm):
    reason = forms.CharField(label="Why", max_length=MAX_TEXT)


class VoteForm(UseCaseForm):
    choice = forms.ChoiceField(choices=[(c.value, c.value) for c in Choice])
    comment = forms.CharField(label="Comment", max_length=MAX_COMMENT, required=False)
