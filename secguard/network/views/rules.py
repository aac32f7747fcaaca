"""Rules of who may speak to whom on pages: all of them, one with its approval, and the policies made of them."""

from __future__ import annotations

from typing import Any, Final

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.quorum import Choice
from secguard.errors import Invalid, NotFound
from secguard.network import queries as network
from secguard.network.forms import DecisionForm, RuleForm
from secguard.network.models import Edge, SegmentRule
from secguard.network.netpol import as_yaml
from secguard.network.policy import Form
from secguard.network.queries import segments as queries
from secguard.network.segmentation import Effect
from secguard.network.services import generating, ruling
from secguard.network.views.policies import FORMS, MAX_SHOWN, named_edges
from secguard.web.filters import ChipFilter
from secguard.web.listing import Column, Listing

TONES: Final = {"in force": "good", "waiting": "warn", "rejected": "bad"}
STATES: Final = [(word, word.capitalize()) for word in ("waiting", "in force", "ended", "rejected", "withdrawn")]


class RuleFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(label="State", choices=STATES, method="by_state", empty_label="Any")
    effect = django_filters.ChoiceFilter(
        label="Says", choices=[(Effect.ALLOW.value, "May"), (Effect.DENY.value, "May not")], empty_label="Any"
    )
    application = ChipFilter(label="Application", method="by_application")

    class Meta:
        model = SegmentRule
        fields: list[str] = []

    def by_state(self, rows: Any, name: str, value: str) -> QuerySet[SegmentRule]:
        now = timezone.now()
        past = Q(ended_at__isnull=False) | Q(ends_at__lte=now)
        found: dict[str, Q] = {
            "waiting": Q(request__status="open"),
            "in force": Q(request__status="approved") & ~past,
            "ended": Q(request__status="approved") & past,
            "rejected": Q(request__status="rejected"),
            "withdrawn": Q(request__status="closed"),
        }
        return rows.filter(found[value])  # type: ignore[no-any-return]

    def by_application(self, rows: Any, name: str, value: str) -> QuerySet[SegmentRule]:
        user: Any = self.request.user if self.request is not None else None
        mine = Application.objects.visible_to(user).filter(slug=value).values("pk")
        return rows.filter(Q(source_application__in=mine) | Q(destination_application__in=mine))  # type: ignore[no-any-return]


class RuleListing(Listing):
    name, noun = "network-rules", "rule"
    caption = "Rules of who may speak to whom, newest first"
    filterset = RuleFilter
    default_sort = "-asked"
    columns = (
        Column("source_name", "From"),
        Column("destination_name", "To"),
        Column("ports", "At", value="ports_words", css="fit-word"),
        Column("effect", "Says", sort="effect", css="fit-word"),
        Column("state", "State", value="state", css="fit-word"),
        Column("usage", "Used", value="usage_words", css="fit-date"),
        Column("asked", "Asked", sort="asked_at", first="-", value="asked_at", css="fit-date"),
        Column("reason", "Why", hidden=True),
        Column("asked_by", "Asked by", value="asked_by.username", hidden=True),
        Column("ends_at", "Until", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        queries.describe(person_of(self.request), rows, timezone.now())
        for row in rows:
            row.tone = TONES.get(row.state, "muted")


@require_safe
@login_required
def rule_list(request: HttpRequest) -> HttpResponseBase:
    return RuleListing(request, queries.rules(person_of(request))).respond("network/rules.html", "network/_rules.html")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def rule_new(request: HttpRequest) -> HttpResponse:
    """Ask for a rule; ``edge``: for that one, also where the other end is another team's."""
    user = person_of(request)
    require(user, Permission.DECISION_REQUEST, anywhere=True)
    edge = _edge(request)
    form = RuleForm(user, request.POST or None, edge=edge, given=request.GET)
    if request.method == "POST":
        made = form.run(lambda _: ruling.ask(form.edit(), actor=user))
        if made is not None:
            messages.success(request, "Asked for. It holds once a security reviewer of who is spoken to approves it.")
            return redirect("network:rule", pk=made.pk)
    ends = [(network.name_of(edge, side), network.place_of(edge, side)) for side in network.SIDES] if edge else []
    context = {"form": form, "edge": edge, "ends": ends}
    return render(request, "network/rule_new.html", context, status=422 if form.errors else 200)


def _edge(request: HttpRequest) -> Edge | None:
    asked = request.GET.get("edge", "")
    if not asked:
        return None
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else 0
    edge = network.edges(person_of(request)).filter(pk=number).first()
    if edge is None:
        raise NotFound("There is no such edge that you may see.", code="no-edge")
    return edge


@require_safe
@login_required
def rule_detail(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, pk)


def _page(request: HttpRequest, pk: int, form: DecisionForm | None = None) -> HttpResponse:
    user, now = person_of(request), timezone.now()
    rule: Any = queries.find_rule(user, pk)
    queries.describe(user, [rule], now)
    context = {
        "rule": rule,
        "tone": TONES.get(rule.state, "muted"),
        "votes": queries.votes([rule])[pk],
        "may": queries.may(user, rule, now),
        "form": form,
    }
    return render(request, "network/rule.html", context, status=422 if form else 200)


@require_POST
@login_required
def rule_decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve, reject, withdraw or end it."""
    user, form = person_of(request), DecisionForm(request.POST)
    queries.find_rule(user, pk)

    def act(entered: dict[str, Any]) -> SegmentRule:
        word, words = entered["act"], entered["comment"]
        if word == "withdraw":
            return ruling.withdraw(pk, actor=user)
        if word == "end":
            return ruling.end(pk, words, actor=user)
        return ruling.vote(pk, Choice(word), comment=words, actor=user)

    done = form.run(act)
    if done is None:
        return _page(request, pk, form)
    messages.success(request, f"The rule is {ruling.state_of(done, timezone.now())}.")
    return redirect("network:rule", pk=pk)


@require_safe
@login_required
def rule_policies(request: HttpRequest) -> HttpResponse:
    """What the rules say of one application, as policies for its clusters."""
    user, slug = person_of(request), request.GET.get("application", "")[:100]
    asked = request.GET.get("form", "")
    form = Form(asked) if asked in {word for word, _ in FORMS} else Form.KUBERNETES
    application = Application.objects.visible_to(user).filter(slug=slug).first()
    if application is None:
        raise NotFound("There is no such application that you may see.")
    context: dict[str, Any] = {"application": application, "forms": FORMS, "form": form.value}
    try:
        found = generating.from_rules(slug, form, timezone.now(), actor=user)
    except Invalid as error:
        context["fault"] = error.detail
        return render(request, "network/rule_policies.html", context)
    if request.GET.get("format") == "yaml":
        documents = [document for one in found for document in one.documents]
        answer = HttpResponse(as_yaml(documents), content_type="application/yaml; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="{application.slug}-network.yaml"'
        return answer
    context["found"] = [
        (one, named_edges(user, [change.recorded.id for change in one.simulated.cut[:MAX_SHOWN]])) for one in found
    ]
    return render(request, "network/rule_policies.html", context)
