"""The page of being away: who votes in one's seat, and in whose seat one votes."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from secguard.accounts.models import User
from secguard.approvals import services
from secguard.approvals.forms import AbsenceForm
from secguard.approvals.models import Absence
from secguard.errors import SecGuardError
from secguard.web import htmx

SHOWN = 100


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def absences(request: HttpRequest) -> HttpResponse:
    """Those that concern this person (all of them, for whoever manages people), and a form for the next one."""
    user: User = request.user  # type: ignore[assignment]
    form = AbsenceForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and (made := _named(form, user)):
        messages.success(request, f"{made.deputy} votes in your seat until {made.ends_at:%Y-%m-%d}.")
        return htmx.redirect(request, reverse("approvals:absences"))
    rows = Absence.objects.visible_to(user).select_related("person", "deputy")[:SHOWN]
    context = {"form": form, "rows": rows, "now": timezone.now(), "may_end_all": user.teams_with("user:manage") is None}
    return render(request, "approvals/absences.html", context, status=422 if form.errors else 200)


def _named(form: AbsenceForm, user: User) -> Absence | None:
    """The absence, or ``None`` with the words in the form."""
    starts_at, ends_at = form.period()
    try:
        return services.name_deputy(form.cleaned_data["deputy"], starts_at=starts_at, ends_at=ends_at, actor=user)
    except SecGuardError as refusal:
        form.add_error({"deputy": "deputy", "ends_at": "last"}.get(refusal.where), refusal.detail)
    return None


@login_required
@require_POST
def absence_end(request: HttpRequest, pk: int) -> HttpResponse:
    ended = services.end_absence(pk, actor=request.user)  # type: ignore[arg-type]
    messages.success(request, f"{ended.deputy} no longer votes for {ended.person}.")
    return htmx.redirect(request, reverse("approvals:absences"))
