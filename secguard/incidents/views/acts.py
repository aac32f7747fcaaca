"""What people do with incidents, posted from their pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from secguard.accounts.authentication import person_of
from secguard.accounts.forms import UseCaseForm
from secguard.accounts.models import User
from secguard.errors import NotFound
from secguard.incidents import queries
from secguard.incidents.forms import ApproveForm, AssignForm, BulkForm, CommentForm, DecideForm, ReasonForm
from secguard.incidents.models import Containment
from secguard.incidents.services import containing, handling
from secguard.incidents.services import several as services
from secguard.incidents.views.incidents import page
from secguard.web import htmx


class Way(NamedTuple):
    """One act: what it asks for, what it does, and what is said afterwards."""

    form: type[UseCaseForm]
    call: Callable[[int, Any, User], object]
    told: str


ACTS = {
    "acknowledge": Way(UseCaseForm, lambda pk, _f, by: handling.acknowledge(pk, actor=by), "Acknowledged."),
    "assign": Way(AssignForm, lambda pk, f, by: handling.assign(pk, f.person, actor=by), "Assigned."),
    "comment": Way(CommentForm, lambda pk, f, by: handling.comment(pk, f.cleaned_data["text"], actor=by), "Kept."),
    "decide": Way(DecideForm, lambda pk, f, by: handling.decide(pk, f.verdict, actor=by), "Decided."),
    "close": Way(ReasonForm, lambda pk, f, by: handling.close(pk, f.cleaned_data["reason"], actor=by), "Closed."),
    "reopen": Way(ReasonForm, lambda pk, f, by: handling.reopen(pk, f.cleaned_data["reason"], actor=by), "Open again."),
    "propose": Way(UseCaseForm, lambda pk, _f, by: containing.propose(pk, actor=by), "Proposed."),
}
ANSWERS = {
    "approve": Way(ApproveForm, lambda pk, f, by: containing.approve(pk, f.yes, actor=by), "You said yes."),
    "refuse": Way(ReasonForm, lambda pk, f, by: containing.refuse(pk, f.cleaned_data["reason"], actor=by), "Refused."),
    "applied": Way(UseCaseForm, lambda pk, _f, by: containing.applied(pk, actor=by), "Marked as applied."),
    "failed": Way(ReasonForm, lambda pk, f, by: containing.failed(pk, f.cleaned_data["reason"], actor=by), "Kept."),
}


@require_POST
@login_required
def incident(request: HttpRequest, pk: int, act: str) -> HttpResponse:
    """Acknowledge, assign, comment, decide, close, reopen, or propose anew what contains it."""
    return _done(request, ACTS, act, pk, pk)


@require_POST
@login_required
def containment(request: HttpRequest, pk: int, act: str) -> HttpResponse:
    """Answer a proposal, or say what became of it."""
    seen = queries.incidents(person_of(request)).values("pk")
    of = Containment.objects.filter(pk=pk, incident__in=seen).values_list("incident_id", flat=True).first()
    if of is None:
        raise NotFound(f"There is no proposal {pk} that you may see.", code="no-proposal")
    return _done(request, ANSWERS, act, pk, of)


def _done(request: HttpRequest, ways: dict[str, Way], act: str, pk: int, incident_id: int) -> HttpResponse:
    """Back to the incident, or its page with what is wrong beside the field."""
    if act not in ways:
        raise NotFound("There is nothing at this address.")
    way, user = ways[act], person_of(request)
    form = way.form(request.POST)
    if not form.works(lambda _entered: way.call(pk, form, user)):
        return page(request, incident_id, {"act": act, "of": pk, "form": form})
    messages.success(request, way.told)
    return htmx.redirect(request, reverse("incidents:detail", args=[incident_id]))


@require_POST
@login_required
def several(request: HttpRequest) -> HttpResponse:
    """Acknowledge or decide those that were chosen, each by the same rules as alone."""
    user, form = person_of(request), BulkForm(request.POST)
    if not form.is_valid():
        words = " ".join(str(text) for texts in form.errors.values() for text in texts)
        messages.error(request, f"Nothing was done. {words}")
        return htmx.redirect(request, _back(request))
    if form.cleaned_data["act"] == "acknowledge":
        done = services.each(form.cleaned_data["ids"], lambda pk: handling.acknowledge(pk, actor=user))
    else:
        done = services.each(form.cleaned_data["ids"], lambda pk: handling.decide(pk, form.verdict, actor=user))
    if done.count:
        messages.success(request, f"Done with {done.count} incident{'' if done.count == 1 else 's'}.")
    if done.refused:
        words = "; ".join(f"incident {pk}: {why}" for pk, why in done.refused[:3])
        messages.error(request, f"{len(done.refused)} refused: {words}")
    return htmx.redirect(request, _back(request))


def _back(request: HttpRequest) -> str:
    """The list as it was, where the form says which and it is one of this site's."""
    asked = request.POST.get("next", "")[:2_000]
    here = reverse("incidents:all")
    is_own = url_has_allowed_host_and_scheme(asked, allowed_hosts=None) and asked.startswith(here)
    return asked if is_own else here
