"""Generated policies on pages: a draft with what it would do, proposals with their decision, and what is applied."""

from __future__ import annotations

from typing import Any, Final

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.errors import Invalid, NotFound
from secguard.network import queries
from secguard.network.lifecycle import ProposalEvent, ProposalState
from secguard.network.models import Proposal
from secguard.network.netpol import as_yaml
from secguard.network.policy import Form
from secguard.network.services import applying, proposing
from secguard.network.services.proposing import About, Draft
from secguard.web import htmx
from secguard.web.listing import Column, Listing

FORMS: Final = [(Form.KUBERNETES.value, "Kubernetes NetworkPolicy"), (Form.CILIUM.value, "CiliumNetworkPolicy")]
MAX_SHOWN: Final = 200


class ProposalFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(
        label="State", choices=[(s.value, s.value.capitalize()) for s in ProposalState], empty_label="Any"
    )

    class Meta:
        model = Proposal
        fields: list[str] = []


class ProposalListing(Listing):
    name, noun = "network-policies", "policy"
    noun_plural = "policies"
    caption = "Policies that were generated and asked for"
    filterset = ProposalFilter
    default_sort = "-asked"
    search_fields = ("name__icontains", "namespace__icontains")
    search_hint = "Policy or namespace"
    columns = (
        Column("name", "Policy", sort=("namespace", "name")),
        Column("state", "State", sort="state", css="fit-word"),
        Column("cuts", "Would have cut", value=lambda p: p.simulated.get("cut")),
        Column("applied", "In the cluster", value=lambda p: p.standing.word if p.standing else "", css="fit-word"),
        Column("asked", "Asked", sort="asked_at", first="-", value="asked_at", css="fit-date"),
        Column("cluster", "Cluster", hidden=True),
        Column("form", "Form", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        approved = applying.standings([row for row in rows if row.state == ProposalState.APPROVED.value])
        for row in rows:
            row.standing = approved.get(row.pk)


def _rows(request: HttpRequest) -> Any:
    rows = Proposal.objects.visible_to(person_of(request))
    return rows.select_related("application__team", "asked_by", "decided_by")


@require_safe
@login_required
def policy_list(request: HttpRequest) -> HttpResponseBase:
    return ProposalListing(request, _rows(request)).respond("network/policies.html", "network/_policies.html")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def policy_new(request: HttpRequest) -> HttpResponseBase:
    """A draft for ``end``, or for ``cluster`` and ``namespace``; POST asks for it."""
    asked = request.POST if request.method == "POST" else request.GET
    about = _about(asked)
    user = person_of(request)
    if request.method == "POST":
        made = proposing.propose(about, asked.get("reason", ""), actor=user)
        messages.success(request, f"Asked for {made}. Somebody else with policy:activate decides.")
        return htmx.redirect(request, reverse("network:policy", args=[made.pk]))
    context: dict[str, Any] = {"about": about, "forms": FORMS}
    try:
        context |= _shown(request, proposing.draft(about, actor=user))
    except Invalid as error:
        context["fault"] = error.detail
    return render(request, "network/policy_new.html", context)


def _about(asked: Any) -> About:
    form, end = asked.get("form", ""), asked.get("end", "")
    if end and not (end.isascii() and end.isdigit() and len(end) < 19):
        raise NotFound("There is no such workload in the network.")
    return About(
        Form(form) if form in {word for word, _ in FORMS} else Form.KUBERNETES,
        int(end) if end else None,
        asked.get("cluster", "").replace("\0", "")[:100],
        asked.get("namespace", "").replace("\0", "")[:63],
    )


def _shown(request: HttpRequest, draft: Draft) -> dict[str, Any]:
    user = person_of(request)
    ids = [change.recorded.id for change in draft.simulated.cut[:MAX_SHOWN]]
    team = draft.application.team_id if draft.application else None
    return {
        "made": draft.generated,
        "simulated": draft.simulated,
        "cut": named_edges(user, ids),
        "text": draft.generated.text,
        "may_ask": user.can(Permission.WORKLOAD_EDIT, team),
    }


def named_edges(user: Any, ids: list[int]) -> list[Any]:
    """Edges with their ends as the person may know them."""
    rows: list[Any] = list(queries.edges(user).filter(pk__in=ids))
    for row in rows:
        row.ends = [(queries.name_of(row, side), queries.place_of(row, side)) for side in queries.SIDES]
    return rows


@require_safe
@login_required
def policy_detail(request: HttpRequest, pk: int) -> HttpResponse:
    proposal = _rows(request).filter(pk=pk).first()
    if proposal is None:
        raise NotFound(f"There is no proposal {pk} that you may see.")
    user = person_of(request)
    if request.GET.get("format") == "yaml":
        answer = HttpResponse(as_yaml([proposal.document]), content_type="application/yaml; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{proposal.name}.yaml"'
        return answer
    team = proposal.application.team_id if proposal.application else None
    is_open = proposal.state == ProposalState.OPEN.value
    is_own = proposal.asked_by_id == user.pk
    context = {
        "proposal": proposal,
        "text": as_yaml([proposal.document]),
        "cut": named_edges(user, proposal.simulated.get("edges", [])),
        "standing": applying.standings([proposal])[proposal.pk],
        "may_decide": is_open and user.can(Permission.POLICY_ACTIVATE, team) and not is_own,
        "may_withdraw": is_open and is_own,
    }
    return render(request, "network/policy.html", context)


@require_POST
@login_required
def policy_decide(request: HttpRequest, pk: int) -> HttpResponseBase:
    word = request.POST.get("event", "")
    if word not in {event.value for event in ProposalEvent}:
        raise Invalid("Expected approve, reject or withdraw.", where="event")
    made = proposing.decide(pk, ProposalEvent(word), request.POST.get("answer", ""), actor=person_of(request))
    messages.success(request, f"{made} is {made.state}.")
    return htmx.redirect(request, reverse("network:policy", args=[pk]))
