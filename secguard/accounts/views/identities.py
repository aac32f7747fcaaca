"""Settings: pipelines that need no secret, because somebody whom we trust signs for them."""

from __future__ import annotations

import django_filters
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts import queries, services
from secguard.accounts.authentication import person_of
from secguard.accounts.forms import CiIdentityForm
from secguard.accounts.identities_api import new_identity
from secguard.accounts.models import CiIdentity, User
from secguard.accounts.roles import Permission
from secguard.errors import NotFound
from secguard.web.listing import Column, Listing

SHOWN_TOKENS = 20


class CiIdentityFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(
        label="State", choices=[("trusted", "Trusted"), ("withdrawn", "Withdrawn")], method="in_state"
    )

    class Meta:
        model = CiIdentity
        fields: list[str] = []

    def in_state(self, rows: QuerySet[CiIdentity], _name: str, state: str) -> QuerySet[CiIdentity]:
        return rows.filter(withdrawn_at__isnull=state == "trusted")


class CiIdentityListing(Listing):
    name, noun, noun_plural = "ci-identities", "CI identity", "CI identities"
    caption = "CI identities you may manage"
    columns = (
        Column("name", "CI identity", sort="name"),
        Column("issuer", "Issuer", sort="issuer"),
        Column("role", "Gives", sort="role"),
        Column("team", "Team", value="team.name", hidden=True),
        Column("state", "State"),
        Column("exchanges", "Exchanged", sort="exchanges", first="-", numeric=True, nullable=False),
        Column("last_used_at", "Last used", sort="last_used_at", first="-"),
        Column("claims", "Claims", hidden=True, value=lambda identity: str(identity.claims)),
    )
    default_sort = "name"
    filterset = CiIdentityFilter
    search_fields = ("name__icontains", "issuer__icontains")
    search_hint = "Search by name or issuer"


@require_safe
@login_required
def ci_identities(request: HttpRequest) -> HttpResponseBase:
    user = _manager(request)
    rows = CiIdentity.objects.visible_to(user).select_related("team")
    context = {"tab": "ci-identities", "may_add": user.teams_with(Permission.CI_IDENTITY_MANAGE) is None}
    return CiIdentityListing(request, rows).respond(
        "accounts/ci_identities.html", "accounts/_ci_identities.html", context
    )


@login_required
def ci_identity_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    services.require(actor, Permission.CI_IDENTITY_MANAGE)
    posted = request.POST if request.method == "POST" else None
    form = CiIdentityForm(posted, actor=actor, initial={"audience": settings.PUBLIC_URL})
    if request.method == "POST":
        made = form.run(lambda entered: services.create_ci_identity(new_identity(entered), actor=actor))
        if made is not None:
            messages.success(request, f"{made.name} is trusted.")
            return redirect("settings:ci-identity", pk=made.pk)
    return render(request, "accounts/ci_identity_new.html", {"form": form}, status=422 if form.errors else 200)


@require_safe
@login_required
def ci_identity(request: HttpRequest, pk: int) -> HttpResponse:
    """What is trusted, how a pipeline uses it, and the tokens that it was given last."""
    user, identity = person_of(request), _identity(request, pk)
    tokens = identity.tokens.select_related("team")[:SHOWN_TOKENS]
    context = {
        "identity": identity,
        "applications": queries.limit_of(identity),
        "tokens": queries.with_state(tokens, timezone.now()),
        "may_withdraw": user.teams_with(Permission.CI_IDENTITY_MANAGE) is None and identity.withdrawn_at is None,
        "url": settings.PUBLIC_URL,
    }
    return render(request, "accounts/ci_identity.html", context)


@login_required
def ci_identity_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    actor, identity = person_of(request), _identity(request, pk)
    services.require(actor, Permission.CI_IDENTITY_MANAGE)
    back = reverse("settings:ci-identity", args=[pk])
    if request.method == "POST":
        services.withdraw_ci_identity(pk, actor=actor)
        messages.success(request, f"{identity.name} is trusted no more.")
        return redirect(back)
    live = identity.tokens.usable(timezone.now()).count()
    context = {
        "title": f"Withdraw the trust in {identity.name}?",
        "text": f"Its pipelines get no tokens any more, and {live} that they hold stop working at once. This cannot be "
        "undone; the same can be trusted anew.",
        "button": "Withdraw it",
        "back": back,
    }
    return render(request, "accounts/confirm.html", context)


def _manager(request: HttpRequest) -> User:
    user = person_of(request)
    services.require(user, Permission.CI_IDENTITY_MANAGE, anywhere=True)
    return user


def _identity(request: HttpRequest, pk: int) -> CiIdentity:
    rows = CiIdentity.objects.visible_to(person_of(request)).select_related("team", "user", "created_by")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such CI identity that you may see.")
    return found
