"""Scopes: what people mean by one, who owns it, which places lie inside it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from django.db.models import QuerySet

from secguard.accounts.models import Application, User, owner_filter
from secguard.accounts.roles import PERMISSIONS, Permission, Role
from secguard.approvals.services import UNOWNED
from secguard.decisions.models import Decision
from secguard.decisions.scope import ScopeKind
from secguard.errors import Invalid, NotFound
from secguard.findings.models import OPEN, Finding
from secguard.images.models import Image, ImageRepository, Repository

CHOICES = 200
"""How many repositories are offered as scopes."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a decision holds, found and named, with the teams that own it."""

    kind: ScopeKind
    id: int | None = None
    label: str = ScopeKind.ORGANISATION.value
    teams: frozenset[int] = frozenset()
    """``UNOWNED`` stands for a repository that no application owns; the organisation's scope names no team."""

    @property
    def column(self) -> dict[str, int]:
        """The decision's column that points at it: ``{"repository_id": 7}``."""
        return {} if self.id is None else {f"{self.kind.value}_id": self.id}

    @property
    def key(self) -> str:
        """``repository:7``: as forms send it."""
        return self.kind.value if self.id is None else f"{self.kind.value}:{self.id}"


ORGANISATION = Scope(ScopeKind.ORGANISATION)


def find_scope(user: User, kind: str, value: Any) -> Scope:
    """The scope that ``user`` means: an image by digest, a repository by name, an application by slug, or all.

    ``NotFound`` where there is none that this person may see, ``Invalid`` at an unknown kind.
    """
    try:
        wanted = ScopeKind(kind)
    except ValueError:
        known = ", ".join(k.value for k in ScopeKind)
        raise Invalid(f"{kind!r} is no scope; expected is one of {known}.", where="scope") from None
    text = str(value)[:600]
    match wanted:
        case ScopeKind.IMAGE:
            return _image_scope(Image.objects.visible_to(user).filter(digest=text), text)
        case ScopeKind.REPOSITORY:
            return _repository_scope(Repository.objects.visible_to(user).filter(name=text), text)
        case ScopeKind.APPLICATION:
            return _application_scope(Application.objects.visible_to(user).filter(slug=text), text)
        case ScopeKind.ORGANISATION:
            return _organisation_scope(value)
        case _:
            assert_never(wanted)


def find_scope_by_key(user: User, key: str) -> Scope:
    """The scope that a form sent (``Scope.key``); errors as in ``find_scope``."""
    kind, _, text = key.partition(":")
    if kind == ScopeKind.ORGANISATION:
        return ORGANISATION
    pk = int(text) if text.isdecimal() and len(text) < 19 else 0
    match kind:
        case ScopeKind.IMAGE:
            return _image_scope(Image.objects.visible_to(user).filter(pk=pk), text)
        case ScopeKind.REPOSITORY:
            return _repository_scope(Repository.objects.visible_to(user).filter(pk=pk), text)
        case ScopeKind.APPLICATION:
            return _application_scope(Application.objects.visible_to(user).filter(pk=pk), text)
    raise Invalid(f"{key[:80]!r} is no scope.", where="scope")


def _image_scope(rows: QuerySet[Image], text: str) -> Scope:
    image = rows.first()
    if image is None:
        raise NotFound(f"There is no image {text}. An image's scope is its digest (sha256:…).", where="scope.image")
    owners = ImageRepository.objects.filter(image=image).values_list("repository__application__team_id", flat=True)
    teams = frozenset(t or UNOWNED for t in owners) or frozenset({UNOWNED})
    return Scope(ScopeKind.IMAGE, image.pk, image.digest, teams)


def _repository_scope(rows: QuerySet[Repository], text: str) -> Scope:
    repository = rows.select_related("application").first()
    if repository is None:
        raise NotFound(
            f"There is no repository {text}. A repository's scope is its full name (registry/path).",
            where="scope.repository",
        )
    owner = repository.application.team_id if repository.application else UNOWNED
    return Scope(ScopeKind.REPOSITORY, repository.pk, repository.name, frozenset({owner}))


def _application_scope(rows: QuerySet[Application], text: str) -> Scope:
    application = rows.first()
    if application is None:
        raise NotFound(
            f"There is no application {text}. An application's scope is its slug.", where="scope.application"
        )
    return Scope(ScopeKind.APPLICATION, application.pk, application.name, frozenset({application.team_id}))


def _organisation_scope(value: Any) -> Scope:
    if value is not True:
        raise Invalid('The organisation\'s scope is written {"organisation": true}.', where="scope.organisation")
    return ORGANISATION


def teams_of(decisions: Sequence[Decision]) -> dict[int, frozenset[int]]:
    """{decision id: the teams that own its scope, now}, in at most two queries however many decisions."""
    images = {d.image_id for d in decisions if d.image_id is not None}
    owners: dict[int, set[int]] = defaultdict(set)
    if images:
        rows = ImageRepository.objects.filter(image_id__in=images)
        for image, team in rows.values_list("image_id", "repository__application__team_id"):
            owners[image].add(team or UNOWNED)
    repositories = {d.repository_id for d in decisions if d.repository_id is not None}
    applications = {d.application_id for d in decisions if d.application_id is not None}
    of_repository = dict(
        Repository.objects.filter(pk__in=repositories).values_list("pk", "application__team_id") if repositories else ()
    )
    of_application = dict(
        Application.objects.filter(pk__in=applications).values_list("pk", "team_id") if applications else ()
    )
    found: dict[int, frozenset[int]] = {}
    for d in decisions:
        if d.scope_kind == ScopeKind.IMAGE:
            found[d.pk] = frozenset(owners[d.image_id or 0]) or frozenset({UNOWNED})
        elif d.scope_kind == ScopeKind.REPOSITORY:
            found[d.pk] = frozenset({of_repository.get(d.repository_id or 0) or UNOWNED})
        elif d.scope_kind == ScopeKind.APPLICATION:
            found[d.pk] = frozenset({of_application.get(d.application_id or 0) or UNOWNED})
        else:
            found[d.pk] = frozenset()
    return found


def scope_of(decision: Decision) -> Scope:
    """The scope that ``decision`` was asked for."""
    pk = decision.image_id or decision.repository_id or decision.application_id
    return Scope(ScopeKind(decision.scope_kind), pk, decision.scope_label, teams_of([decision])[decision.pk])


_PLACE_COLUMN = {
    ScopeKind.IMAGE: "image_id",
    ScopeKind.REPOSITORY: "repository_id",
    ScopeKind.APPLICATION: "repository__application_id",
}


def places_in(scope: Scope) -> QuerySet[ImageRepository]:
    """The images in their repositories that lie inside ``scope``."""
    rows = ImageRepository.objects.all()
    return rows if scope.id is None else rows.filter(**{_PLACE_COLUMN[scope.kind]: scope.id})


def places_with(risk_ids: Sequence[int], scope: Scope, user: User) -> QuerySet[ImageRepository]:
    """Of ``places_in(scope)`` those that ``user`` may see and that have one of the risks open."""
    rows = places_in(scope).filter(owner_filter(user, "repository__application"))
    return rows.filter(image_id__in=Finding.objects.filter(risk_id__in=risk_ids, status=OPEN).values("image_id"))


def suggested_scopes(risk_ids: Sequence[int], user: User) -> list[Scope]:
    """The scopes that ``user`` may ask for and that hold one of the risks, the narrowest that covers all first.

    One repository holds everything: that repository, because the next image of it is then covered too. Several
    repositories of one application: the application. Otherwise every application, one decision each. Three queries.
    """
    rows = (
        places_with(risk_ids, ORGANISATION, user)
        .order_by("repository__name")
        .values_list("repository_id", "repository__name", "repository__application_id")
        .distinct()
    )
    places = list(rows[:CHOICES])
    applications = {
        a.pk: Scope(ScopeKind.APPLICATION, a.pk, a.name, frozenset({a.team_id}))
        for a in Application.objects.filter(pk__in={a for _, _, a in places if a is not None})
    }
    repositories = [
        Scope(ScopeKind.REPOSITORY, r, name, applications[a].teams if a else frozenset({UNOWNED}))
        for r, name, a in places
    ]
    wide = [*applications.values()]
    if user.sees_everything:
        wide.append(ORGANISATION)
    found = [*repositories, *wide] if len(repositories) == 1 else [*wide, *repositories]
    if len(applications) != 1 and len(repositories) > 1:
        found = [*repositories, *wide]
    return [s for s in found if may_ask(user, s)]


def may_ask(user: User, scope: Scope) -> bool:
    """Whether ``user`` may ask for a decision over ``scope``: for one of the teams that own it, or for all.

    Whoever is limited asks for what lies inside of the limit as a whole.
    """
    if user.limit is not None:
        in_role = user.token is not None and Permission.DECISION_REQUEST in PERMISSIONS[Role(user.token.role)]
        return in_role and not beyond(user, scope)
    teams = user.teams_with(Permission.DECISION_REQUEST)
    return teams is None or bool(scope.teams & teams)


def beyond(user: User, scope: Scope) -> str:
    """What part of ``scope`` lies outside of what the request's token is limited to; empty where none does.

    What lies there is counted and not named.
    """
    limit = user.limit
    if limit is None:
        return ""
    if limit.is_void:
        return "all of it: the token's owner no longer holds its role"
    match scope.kind:
        case ScopeKind.ORGANISATION:
            return "everything outside of the token's team, and of what it is limited to there"
        case ScopeKind.APPLICATION:
            if limit.repositories is not None:
                return (
                    f"every repository of {scope.label}, those to come too, that is not called as the token's patterns "
                    "say; ask for one repository, or for the image"
                )
            return "" if Application.objects.visible_to(user).filter(pk=scope.id or 0).exists() else scope.label
        case ScopeKind.REPOSITORY:
            return "" if Repository.objects.visible_to(user).filter(pk=scope.id or 0).exists() else scope.label
        case ScopeKind.IMAGE:
            places = places_in(scope)
            others = places.exclude(repository__in=Repository.objects.visible_to(user)).count()
            return f"{others} of the {places.count()} repositories that the image lies in" if others else ""
        case _:
            assert_never(scope.kind)
