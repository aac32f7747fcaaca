"""What the pages of planning ask for. The rules are in the services."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from secguard.accounts.forms import Done, UseCaseForm
from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.errors import NotFound
from secguard.planning.services import Said
from secguard.planning.services.answering import MAX_EVIDENCE, MAX_TEXT
from secguard.planning.template import MAX_BYTES, MOST_DAYS


def end_of(chosen: date | None, days: int, now: datetime) -> datetime | None:
    """The end of the day that was chosen; on the last day that is possible, the instant that is."""
    if chosen is None:
        return None
    end, latest = datetime.combine(chosen, time(23, 59, 59), tzinfo=UTC), now + timedelta(days=days)
    return min(end, latest) if chosen == latest.date() else end


class AnswerForm(UseCaseForm):
    requirement = forms.SlugField(max_length=60)
    is_kept = forms.TypedChoiceField(
        label="Is it kept?", choices=[("yes", "Kept"), ("no", "Not yet")], coerce=lambda word: word == "yes"
    )
    text = forms.CharField(label="How it is done, or why not", max_length=MAX_TEXT)
    evidence = forms.CharField(label="Evidence", max_length=MAX_EVIDENCE, required=False)
    until = forms.DateField(label="Until", required=False)

    def said(self, days: int) -> Said:
        """What was entered; the form is valid."""
        entered = self.cleaned_data
        until = end_of(entered["until"], days, timezone.now())
        return Said(entered["is_kept"], entered["text"], entered["evidence"], until)


class WaiverForm(UseCaseForm):
    requirement = forms.SlugField(max_length=60)
    reason = forms.CharField(label="Why it does not apply", max_length=MAX_TEXT)
    until = forms.DateField(label="Until", required=False)

    @property
    def until_end(self) -> datetime | None:
        return end_of(self.cleaned_data["until"], MOST_DAYS, timezone.now())


class VoteForm(UseCaseForm):
    choice = forms.ChoiceField(choices=[(c.value, c.value) for c in Choice])
    comment = forms.CharField(label="Comment", max_length=MAX_COMMENT, required=False)


class ChooseForm(UseCaseForm):
    application = forms.SlugField(max_length=100)
    template = forms.SlugField(max_length=60)

    def run(self, call: Callable[[dict[str, Any]], Done]) -> Done | None:
        """As ``UseCaseForm.run``; a template that is not there is a fault of the field."""
        try:
            return super().run(call)
        except NotFound as error:
            if error.code != "planning-template":
                raise
            self.add_error("template", error.detail)
        return None


class TemplateForm(UseCaseForm):
    source = forms.CharField(
        label="Template",
        max_length=MAX_BYTES,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 28, "spellcheck": "false", "class": "code-editor", "wrap": "off"}),
        help_text="YAML. Its name says what it is the next version of; saving checks all of it.",
    )
