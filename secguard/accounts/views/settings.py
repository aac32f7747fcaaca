"""Settings: people, teams and everybody's tokens. Whoever may not change them reads what is theirs to read."""

from __future__ import annotations

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts import queries, services
from secguard.accounts.authentication import person_of
from secguard.accounts.forms import GrantForm, NewUserForm, TeamForm, role_choices
from secguard.accounts.models import ApiToken, Membership, Team, User
from secguard.accounts.roles import Permission
from secguard.errors import NotFound
from secguard.web.listing import Column, Listing


def _roles_of(user: User) -> str:
    held = [f"{m.role} ({m.team.name})" if m.team else m.role for m in user.memberships.all()]
    return ", ".join(held)


class PersonFilter(django_filters.FilterSet):
    role = django_filters.ChoiceFilter(label="Role", choices=role_choices(), method="with_role")
    is_active = django_filters.BooleanFilter(label="Active")
    is_service = django_filters.BooleanFilter(label="Service")

    class Meta:
        model = User
        fields: list[str] = []

    def with_role(self, people: QuerySet[User], _name: str, role: str) -> QuerySet[User]:
        asking = self.request.user if self.request else None
        held = Membership.objects.visible_to(asking).filter(role=role)  # type: ignore[arg-type]
        return people.filter(pk__in=held.values("user_id"))


class PersonListing(Listing):
    name, noun, noun_plural = "people", "person", "people"
    caption = "People and services you may see"
    columns = (
        Column("username", "Name", sort="username"),
        Column("display_name", "Called", hidden=True),
        Column("roles", "Roles", value=_roles_of),
        Column("is_active", "State", sort="is_active", value=lambda u: "active" if u.is_active else "deactivated"),
        Column("last_login", "Last sign-in", sort="last_login", first="-"),
    )
    default_sort = "username"
    filterset = PersonFilter
    search_fields = ("username__icontains", "display_name__icontains")
    search_hint = "Search by name"


class TeamListing(Listing):
    name, noun = "teams", "team"
    caption = "Teams you may see"
    columns = (
        Column("name", "Team", sort="name"),
        Column("people", "People", sort="people", first="-", numeric=True, nullable=False),
        Column("owned", "Applications", sort="owned", first="-", numeric=True, nullable=False),
        Column("created_at", "Since", sort="created_at", first="-"),
    )
    default_sort = "name"
    search_fields = ("name__icontains",)


class TokenFilter(django_filters.FilterSet):
    role = django_filters.ChoiceFilter(label="Role", choices=role_choices())
    state = django_filters.ChoiceFilter(
        label="State", choices=[(s, s.capitalize()) for s in ("active", "expired", "revoked")], method="in_state"
    )

    class Meta:
        model = ApiToken
        fields: list[str] = []

    def in_state(self, tokens: QuerySet[ApiToken], _name: str, state: str) -> QuerySet[ApiToken]:
        now = timezone.now()
        wanted = {
            "revoked": Q(revoked_at__isnull=False),
            "expired": Q(revoked_at=None, expires_at__lte=now),
            "active": Q(revoked_at=None, expires_at__gt=now),
        }
        return tokens.filter(wanted[state])


class TokenListing(Listing):
    name, noun = "tokens", "token"
    caption = "API tokens you may manage"
    columns = (
        Column("name", "Token", sort="name"),
        Column("user", "Of", sort="user__username", value="user.username"),
        Column("role", "Role", sort="role"),
        Column("team", "Team", value="team.name"),
        Column("state", "State", value=lambda token: token.state(timezone.now())),
        Column("expires_at", "Ends", sort="expires_at"),
        Column("last_used_at", "Last used", sort="last_used_at", first="-"),
        Column("prefix", "Prefix", hidden=True),
    )
    default_sort = "name"
    filterset = TokenFilter
    search_fields = ("name__icontains", "user__username__icontains", "prefix__startswith")


@require_safe
@login_required
def people(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    context = {"tab": "people", "may_add": user.can(Permission.USER_MANAGE)}
    return PersonListing(request, queries.people(user)).respond(
        "accounts/people.html", "accounts/_people.html", context
    )


@never_cache
@login_required
def person_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    services.require(actor, Permission.USER_MANAGE, anywhere=True)
    form = NewUserForm(request.POST or None, actor=actor)
    made = form.run(lambda entered: services.create_user(actor=actor, **entered)) if request.method == "POST" else None
    if made is not None:
        messages.success(request, f"{made.username} is added.")
        return redirect("settings:person", pk=made.pk)
    return render(request, "accounts/person_new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def person(request: HttpRequest, pk: int) -> HttpResponse:
    """One person's roles; POST gives one more."""
    actor, shown = person_of(request), _person(request, pk)
    may_manage = actor.teams_with(Permission.USER_MANAGE) is None
    may_grant = actor.can(Permission.USER_MANAGE) and actor.pk != shown.pk
    form = GrantForm(request.POST or None, actor=actor) if may_grant else None
    if request.method == "POST":
        services.require(actor, Permission.USER_MANAGE, anywhere=True)
        if form is not None and form.works(lambda entered: services.grant(shown.pk, actor=actor, **entered)):
            messages.success(request, "The role is given.")
            return redirect("settings:person", pk=pk)
    context = {
        "person": shown,
        "form": form,
        "may_manage": may_manage,
        "removable": _removable(actor, shown),
        "sessions": shown.sessions.count() if may_manage else 0,
        "factors": shown.second_factors.count() if may_manage and actor.pk != shown.pk else 0,
        "may_see_email": actor.pk == shown.pk or actor.teams_with(Permission.USER_MANAGE) is None,
    }
    return render(request, "accounts/person.html", context, status=422 if form and form.errors else 200)


def _removable(actor: User, shown: User) -> list[tuple[Membership, bool]]:
    """(membership, whether ``actor`` may take it back)."""
    teams = actor.teams_with(Permission.USER_MANAGE)
    return [(m, teams is None or (m.team_id is not None and m.team_id in teams)) for m in shown.memberships.all()]


@login_required
def role_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    actor = person_of(request)
    found = Membership.objects.visible_to(actor).select_related("user", "team").filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such role that you may see.")
    services.require(actor, Permission.USER_MANAGE, team_id=found.team_id)
    back = reverse("settings:person", args=[found.user_id])
    if request.method == "POST":
        services.revoke(pk, actor=actor)
        messages.success(request, "The role is taken back.")
        return redirect(back)
    where = f"in {found.team.name}" if found.team else "in the whole organisation"
    context = {
        "title": f"Take back {found.role} from {found.user.username}?",
        "text": f"{found.user.username} and their tokens are no longer {found.role} {where}, at once.",
        "button": "Take it back",
        "back": back,
    }
    return render(request, "accounts/confirm.html", context)


@login_required
def person_deactivate(request: HttpRequest, pk: int) -> HttpResponse:
    actor, shown = person_of(request), _person(request, pk)
    services.require(actor, Permission.USER_MANAGE)
    back = reverse("settings:person", args=[pk])
    if request.method == "POST":
        services.deactivate(pk, actor=actor)
        messages.success(request, f"{shown.username} is deactivated.")
        return redirect(back)
    tokens = shown.tokens.usable(timezone.now()).count()
    context = {
        "title": f"Deactivate {shown.username}?",
        "text": f"Their sessions end at once, and {tokens} tokens stop working. What they did stays on record.",
        "button": "Deactivate",
        "back": back,
    }
    return render(request, "accounts/confirm.html", context)


@require_POST
@login_required
def person_reactivate(request: HttpRequest, pk: int) -> HttpResponse:
    services.reactivate(_person(request, pk).pk, actor=person_of(request))
    messages.success(request, "Reactivated. A new sign-in link lets them in.")
    return redirect("settings:person", pk=pk)


@require_POST
@login_required
def person_end_sessions(request: HttpRequest, pk: int) -> HttpResponse:
    shown = _person(request, pk)
    services.require(person_of(request), Permission.USER_MANAGE)
    ended = services.end_sessions(shown.pk, actor=person_of(request))
    messages.success(request, f"Sessions ended: {ended}. {shown.username} can sign in again.")
    return redirect("settings:person", pk=pk)


@login_required
def person_remove_second_factors(request: HttpRequest, pk: int) -> HttpResponse:
    """For somebody who lost the phone, the key and the recovery codes."""
    actor, shown = person_of(request), _person(request, pk)
    services.require(actor, Permission.USER_MANAGE)
    back = reverse("settings:person", args=[pk])
    if request.method == "POST":
        services.remove_all_second_factors(pk, actor=actor)
        messages.success(request, f"{shown.username} signs in without a second factor now.")
        return redirect(back)
    context = {
        "title": f"Remove the second factors of {shown.username}?",
        "text": "Be sure that it is they who ask: until they add another, their password alone lets anybody in. It is "
        "in the audit log under your name.",
        "button": "Remove them",
        "back": back,
    }
    return render(request, "accounts/confirm.html", context)


@never_cache
@require_POST
@login_required
def person_link(request: HttpRequest, pk: int) -> HttpResponse:
    shown = _person(request, pk)
    path = services.issue_sign_in_link(pk, actor=person_of(request))
    context = {"person": shown, "link": request.build_absolute_uri(path)}
    return render(request, "accounts/link_made.html", context, status=201)


def _person(request: HttpRequest, pk: int) -> User:
    found = queries.people(person_of(request)).filter(pk=pk).first()
    if found is None:
        raise NotFound("There is nobody here that you may see.")
    return found


@require_safe
@login_required
def teams(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    context = {"tab": "teams", "may_add": user.teams_with(Permission.TEAM_MANAGE) is None}
    return TeamListing(request, queries.teams(user)).respond("accounts/teams.html", "accounts/_teams.html", context)


@login_required
def team_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    services.require(actor, Permission.TEAM_MANAGE)
    form = TeamForm(request.POST or None)
    made = form.run(lambda entered: services.create_team(actor=actor, **entered)) if request.method == "POST" else None
    if made is not None:
        messages.success(request, f"The team {made.name} is made.")
        return redirect("settings:team", slug=made.slug)
    return render(request, "accounts/team_new.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def team(request: HttpRequest, slug: str) -> HttpResponse:
    """A team's people and applications; POST calls it otherwise."""
    actor = person_of(request)
    shown = Team.objects.visible_to(actor).filter(slug=slug).first()
    if shown is None:
        raise NotFound("There is no such team that you may see.")
    teams = actor.teams_with(Permission.TEAM_MANAGE)
    form = TeamForm(request.POST or None, initial={"name": shown.name}) if teams is None or shown.pk in teams else None
    if request.method == "POST":
        services.require(actor, Permission.TEAM_MANAGE, team_id=shown.pk)
        if form and form.works(lambda entered: services.rename_team(shown.pk, actor=actor, **entered)):
            messages.success(request, "Renamed.")
            return redirect("settings:team", slug=slug)
    context = {
        "team": shown,
        "form": form,
        "memberships": shown.memberships.select_related("user"),
        "applications": shown.applications.all(),
    }
    return render(request, "accounts/team.html", context, status=422 if form and form.errors else 200)


@require_safe
@login_required
def tokens(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    rows = ApiToken.objects.visible_to(user).select_related("user", "team")
    return TokenListing(request, rows).respond(
        "accounts/tokens.html", "accounts/_tokens.html", {"tab": "tokens", "now": timezone.now()}
    )
