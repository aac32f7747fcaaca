"""Settings: for how long raw detail is kept."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.events import keeping
from secguard.events.forms import RetentionForm
from secguard.events.services.ageing import days_kept
from secguard.events.services.retention import set_days


@login_required
def retention(request: HttpRequest) -> HttpResponse:
    """Days by kind; POST sets them."""
    actor = person_of(request)
    require(actor, Permission.SETTINGS_EDIT)
    form = RetentionForm(request.POST or None, kept=days_kept())
    if request.method == "POST" and form.works(lambda _: set_days(form.days(), actor=actor)):
        messages.success(request, "Saved. What is past its time goes within the hour.")
        return redirect("retention:edit")
    context = {"form": form, "tab": "retention", "tally_days": keeping.TALLY_DAYS}
    return render(request, "events/retention.html", context, status=422 if form.errors else 200)
