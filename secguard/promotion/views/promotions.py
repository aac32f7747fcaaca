"""Promotions on pages: the list, asking for one, and one with how far it is and what may be done about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import django_filters
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services import require
from secguard.approvals.models import ApprovalRequest
from secguard.approvals.queries import votes_of
from secguard.approvals.quorum import Choice, Outcome
from secguard.errors import NotFound
from secguard.images.models import Repository
from secguard.jobs.models import Job
from secguard.promotion import queries, services
from secguard.promotion.forms import PromotionForm, VoteForm, approvers_words
from secguard.promotion.lifecycle import PromotionEvent, PromotionStatus, Step, sources
from secguard.promotion.models import Environment, Promotion
from secguard.promotion.progress import shown_steps
from secguard.promotion.services.recording import team_of
from secguard.signing.keylife import KeyStatus
from secguard.signing.models import Attestation
from secguard.signing.statements import PROMOTION
from secguard.web import htmx
from secguard.web.listing import Column, Listing

ACTS = {
    "withdraw": (services.withdraw, "Withdrawn: its tags stay where they were."),
    "retry": (services.retry, "It goes on where it stopped."),
}
_TAG = re.compile(r"[\w.-]{1,128}", re.ASCII)


# --- the list ---


def waiting(request: HttpRequest) -> int:
    """The number beside the navigation's item: what waits for this person's vote."""
    return len(_waiting(request))


def _waiting(request: HttpRequest | None) -> list[Promotion]:
    """Read once a request: the navigation shows its number, and the list itself what it is."""
    user, kept = person_of(request), request.__dict__
    if "promotions_waiting" not in kept:
        kept["promotions_waiting"] = queries.waiting_for(user)
    found: list[Promotion] = kept["promotions_waiting"]
    return found


class PromotionFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(
        label="Status", choices=[(s.value, s.value.capitalize()) for s in PromotionStatus]
    )
    environment = django_filters.ModelChoiceFilter(
        label="To", queryset=Environment.objects.all(), to_field_name="name", empty_label="Anywhere"
    )
    mine = django_filters.BooleanFilter(label="Asked for by me", method="by_requester")
    waiting = django_filters.BooleanFilter(label="Waiting for me", method="by_waiting")

    class Meta:
        model = Promotion
        fields: list[str] = []

    def by_requester(self, rows: QuerySet[Promotion], name: str, value: bool) -> QuerySet[Promotion]:
        own = Q(requested_by=person_of(self.request))
        return rows.filter(own if value else ~own | Q(requested_by=None))

    def by_waiting(self, rows: QuerySet[Promotion], name: str, value: bool) -> QuerySet[Promotion]:
        found = Q(pk__in=[p.pk for p in _waiting(self.request)])
        return rows.filter(found if value else ~found)


class PromotionListing(Listing):
    name, noun = "promotions", "promotion"
    caption = "Promotions from repositories that you may see"
    columns = (
        Column("number", "No.", sort="id", first="-", value="pk", css="fit-no"),
        Column("image", "Image", value="asked_reference"),
        Column("environment", "To", value="environment.name", css="fit-word"),
        Column("status", "Status", css="fit-word"),
        Column("requested_by", "Asked by", value=lambda p: p.requested_by or "the rule", css="fit-word"),
        Column("requested_at", "When", value="requested_at", css="fit-date"),
        Column("digest", "Digest", hidden=True),
        Column("source", "From", value="source.name", hidden=True),
        Column("destination", "Lies there in", value="destination_name", hidden=True),
        Column("tags", "Tags", value=lambda p: " ".join(p.tags), hidden=True),
        Column("finished_at", "Ended", hidden=True),
        Column("why", "Why", hidden=True),
    )
    default_sort = "-number"
    filterset = PromotionFilter
    search_hint = "Digest, repository or tag"

    def search(self, queryset: QuerySet[Any, Any], text: str) -> QuerySet[Any, Any]:
        """By the beginning of the digest, a part of either repository's name, or a part of a tag."""
        found = Q(digest__startswith=text) | Q(digest__startswith=f"sha256:{text}")
        found |= Q(source__name__icontains=text) | Q(destination_name__icontains=text)
        if _TAG.fullmatch(text):
            queryset = queryset.annotate(tags_text=Cast("tags", TextField()))
            found |= Q(tags_text__icontains=text)
        return queryset.filter(found)


@require_safe
@login_required
def promotion_list(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    require(user, Permission.PROMOTION_READ, anywhere=True)
    listing = PromotionListing(request, queries.promotions(user))
    context = {
        "waiting": [] if listing.is_narrowed else _waiting(request),
        "has_environments": Environment.objects.exists(),
    }
    return listing.respond("promotion/list.html", "promotion/_list.html", context)


# --- asking ---


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def promotion_new(request: HttpRequest) -> HttpResponse:
    """Ask for one. ``image``, ``to`` and ``tags`` of the address fill the form in."""
    actor = person_of(request)
    require(actor, Permission.PROMOTION_REQUEST, anywhere=True)
    known = list(Environment.objects.select_related("registry"))
    given = {name: request.GET[name][:700] for name in ("image", "to", "tags") if name in request.GET}
    form = PromotionForm(request.POST or None, environments=known[1:], initial=given)
    if request.method == "POST":
        made = form.run(lambda _: services.ask(form.ask(), actor=actor))
        if made is not None:
            if made.status != PromotionStatus.REFUSED:
                messages.success(request, _asked_words(made))
            return redirect("promotions:detail", pk=made.pk)
    context = {"form": form, "first": known[0] if known else None, "targets": known[1:]}
    return render(request, "promotion/new.html", context, status=422 if form.errors else 200)


def _asked_words(made: Promotion) -> str:
    if made.status == PromotionStatus.WAITING:
        return f"Asked for. It goes to {made.environment} once it is approved."
    return f"It is on its way to {made.environment}."


# --- one of them ---


def _found(pk: int, user: User) -> Promotion:
    found = queries.promotions(user).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no promotion {pk} that you may see.")
    return found


@require_safe
@login_required
def promotion_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A promotion; while it is open its page asks again, and loads itself anew where a vote has settled it."""
    user = person_of(request)
    promotion = _found(pk, user)
    response = htmx.render(
        request, "promotion/detail.html", "promotion/_promotion.html", _context(promotion, user, VoteForm())
    )
    if htmx.wants_fragment(request) and request.GET.get("seen", promotion.status) != promotion.status:
        response["HX-Refresh"] = "true"
    return response


@require_POST
@login_required
def promotion_vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve or reject it."""
    user, form = person_of(request), VoteForm(request.POST)
    done = form.run(lambda entered: _voted(pk, entered, user))
    if done is None:
        return render(request, "promotion/detail.html", _context(_found(pk, user), user, form), status=422)
    messages.success(request, _voted_words(done))
    return redirect("promotions:detail", pk=pk)


def _voted(pk: int, entered: dict[str, Any], user: User) -> Promotion:
    act = services.approve if entered["choice"] == Choice.APPROVE else services.reject
    return act(pk, comment=entered["comment"], actor=user)


def _voted_words(done: Promotion) -> str:
    if done.status == PromotionStatus.WAITING:
        return "Your vote is counted; it needs another one."
    return "Approved: it is on its way." if done.status == PromotionStatus.RUNNING else "Rejected."


@require_POST
@login_required
def promotion_act(request: HttpRequest, pk: int, act: str) -> HttpResponse:
    """Withdraw it, or try it again."""
    if act not in ACTS:
        raise NotFound("There is nothing at this address.")
    call, told = ACTS[act]
    call(pk, actor=person_of(request))
    messages.success(request, told)
    return redirect("promotions:detail", pk=pk)


def _context(promotion: Promotion, user: User, form: VoteForm) -> dict[str, Any]:
    """Everything that the page of one promotion shows, in a fixed number of queries."""
    approval = promotion.approval
    outcome = queries.approvals_of([promotion]).get(promotion.approval_id or 0)
    votes = votes_of([approval])[approval.pk] if approval else []
    job = Job.objects.filter(pk=promotion.job_id).first() if promotion.job_id else None
    return {
        "promotion": promotion,
        "steps": shown_steps(
            PromotionStatus(promotion.status),
            promotion.steps,
            is_voted_on=approval is not None,
            has_arrived=promotion.destination_id is not None,
        ),
        "job": job,
        "is_copying": bool(job and job.progress_text == Step.COPY and job.progress_total),
        "seats": _seats(approval, outcome),
        "missing": approvers_words({role.value: n for role, n in outcome.missing.items()}) if outcome else "",
        "votes": [(vote, outcome is not None and vote.voter_id in outcome.counted) for vote in votes],
        "undone": Job.objects.filter(kind=services.UNDO, key=str(promotion.pk)).order_by("-pk").first(),
        "sees_destination": Repository.objects.visible_to(user).filter(pk=promotion.destination_id or 0).exists(),
        "again_url": _again_url(promotion),
        "proof": _proof(promotion),
        "form": form,
        **_may(promotion, user),
    }


@dataclass(frozen=True, slots=True)
class Seat:
    role: str
    wanted: int
    missing: int

    @property
    def words(self) -> str:
        return self.role.replace("-", " ")

    @property
    def share(self) -> str:
        return f"{self.wanted - self.missing} of {self.wanted}"


def _seats(approval: ApprovalRequest | None, outcome: Outcome | None) -> list[Seat]:
    if approval is None or outcome is None:
        return []
    return [Seat(role, n, outcome.missing.get(Role(role), 0)) for role, n in sorted(approval.required.items()) if n]


def _may(promotion: Promotion, user: User) -> dict[str, Any]:
    """What to offer; the services decide."""
    status = promotion.status
    teams, own = user.teams_with(Permission.PROMOTION_REQUEST), promotion.requested_by_id == user.pk
    asks = teams is None or team_of(promotion.source) in teams
    is_tagging = status == PromotionStatus.RUNNING and Step.TAG in promotion.steps
    seat = queries.seats_for([promotion], user, timezone.now()).get(promotion.pk)
    return {
        "may_vote": seat is not None,
        "votes_for": seat if seat is not None and seat.pk != user.pk else None,
        "may_withdraw": (own or asks) and status in sources(PromotionEvent.WITHDRAW) and not is_tagging,
        "may_retry": asks and status in sources(PromotionEvent.RETRY),
        "may_ask": asks,
    }


def _again_url(promotion: Promotion) -> str:
    words = {"image": promotion.asked_reference, "to": promotion.environment.name, "tags": " ".join(promotion.tags)}
    return f"{reverse('promotions:new')}?{urlencode(words)}"


def _proof(promotion: Promotion) -> dict[str, Any] | None:
    """What was stated of it at the destination, whether that counts now, and where its public key is served."""
    here = Attestation.objects.filter(
        digest=promotion.digest,
        repository=promotion.destination_id,
        environment=promotion.environment.name,
        predicate_type=PROMOTION,
    )
    stated = here.select_related("signing_key").order_by("-pk").first() if promotion.destination_id else None
    if stated is None:
        return None
    key = stated.signing_key
    name = key.name if key.status == KeyStatus.ACTIVE else key.fingerprint.replace(":", "-")
    return {
        "stated": stated,
        "counts": here.standing(timezone.now()).exists(),
        "key_url": f"{settings.PUBLIC_URL.rstrip('/')}{reverse('public-key', args=[name])}",
        "type": PROMOTION,
    }
