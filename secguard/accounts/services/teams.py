"""Teams, and the applications they own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, models, transaction
from django.utils.text import slugify

from secguard.accounts.models import IMPACTS, Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services.permission import require
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid, NotFound

APPLICATION_FOLLOWERS: list[Callable[[Application], None]] = []
"""Called inside the transaction after an application's owner, exposure or stage changed; upper apps add themselves."""

EDITABLE = ("name", "description", "team", "is_exposed", "is_production")
_JUDGED = {"team", "is_exposed", "is_production", "impact"}


def create_team(name: str, *, actor: User | None) -> Team:
    """Make a team. Raises ``NotAllowed`` without team:manage, ``Conflict`` for a name that is taken."""
    require(actor, Permission.TEAM_MANAGE)
    with transaction.atomic():
        team = Team(name=_name(name), slug=_free_slug(Team, name))
        _save_new(team, f"there is a team {name!r} already")
        _record(Action.TEAM_CREATE, "team", team, actor, team.pk)
    return team


def rename_team(team_id: int, name: str, *, actor: User | None) -> Team:
    """Call a team otherwise; its slug, which links and scripts hold, stays."""
    require(actor, Permission.TEAM_MANAGE, team_id=team_id)
    with transaction.atomic():
        team = Team.objects.select_for_update().filter(pk=team_id).first()
        if team is None:
            raise NotFound(f"there is no team {team_id}")
        before, team.name = team.name, _name(name)
        if before == team.name:
            return team
        _save(team, ["name"], f"there is a team {name!r} already")
        _record(Action.TEAM_RENAME, "team", team, actor, team.pk, before=before)
    return team


def create_application(
    name: str,
    *,
    team: Team,
    actor: User | None,
    description: str = "",
    is_exposed: bool = False,
    is_production: bool = True,
) -> Application:
    """Make an application that ``team`` owns. Raises ``NotAllowed`` without application:edit in that team,
    ``Conflict`` for a name that is taken."""
    require(actor, Permission.APPLICATION_EDIT, team_id=team.pk)
    with transaction.atomic():
        application = Application(
            name=_name(name),
            slug=_free_slug(Application, name),
            description=description,
            team=team,
            is_exposed=is_exposed,
            is_production=is_production,
        )
        _save_new(application, f"there is an application {name!r} already")
        details = {"team": team.slug, "is_exposed": is_exposed, "is_production": is_production}
        _record(Action.APPLICATION_CREATE, "application", application, actor, team.pk, **details)
    return application


def edit_application(application_id: int, *, actor: User | None, **changes: Any) -> Application:
    """Change some of ``EDITABLE``. To hand it to another team needs application:edit in both.

    Whether it is exposed, and in production, decides what the policy and the risk appetite ask of its images:
    followers are told in the same transaction.
    """
    if unknown := set(changes) - set(EDITABLE):
        raise Invalid(f"an application has no {', '.join(sorted(unknown))} to change", where=min(unknown))
    with transaction.atomic():
        application = Application.objects.select_for_update().filter(pk=application_id).first()
        if application is None:
            raise NotFound(f"there is no application {application_id}")
        require(actor, Permission.APPLICATION_EDIT, team_id=application.team_id)
        if "name" in changes:
            changes["name"] = _name(changes["name"])
        changed = {key: value for key, value in changes.items() if getattr(application, key) != value}
        if not changed:
            return application
        if "team" in changed:
            require(actor, Permission.APPLICATION_EDIT, team_id=changed["team"].pk)
        _apply(application, changed, actor)
    return application


def say_impact(application_id: int, impact: str, *, actor: User | None) -> Application:
    """Say what an application means to the mission, or nothing (empty). Needs application:impact in its team.

    It decides by when flaws in it must be fixed: followers are told in the same transaction. Raises ``Invalid`` for a
    word that is none of ``IMPACTS``.
    """
    if impact and impact not in IMPACTS:
        raise Invalid(f"{impact[:40]!r} is no mission impact; expected one of {', '.join(IMPACTS)}", where="impact")
    with transaction.atomic():
        application = Application.objects.select_for_update().filter(pk=application_id).first()
        if application is None:
            raise NotFound(f"there is no application {application_id}")
        require(actor, Permission.APPLICATION_IMPACT, team_id=application.team_id)
        if application.impact != impact:
            _apply(application, {"impact": impact}, actor)
    return application


def _apply(application: Application, changed: dict[str, Any], actor: User | None) -> None:
    before = {key: str(getattr(application, key)) for key in changed}
    for key, value in changed.items():
        setattr(application, key, value)
    _save(application, list(changed), f"there is an application {application.name!r} already")
    if _JUDGED & set(changed):
        for follow in APPLICATION_FOLLOWERS:
            follow(application)
    after = {key: str(value) for key, value in changed.items()}
    team_id = application.team_id
    _record(Action.APPLICATION_EDIT, "application", application, actor, team_id, before=before, after=after)


def _name(raw: str) -> str:
    name = " ".join(raw.split())
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise Invalid(f"a name has 1 to 100 printable characters; this one has {len(name)}", where="name")
    return name


def _free_slug(model: type[Team] | type[Application], name: str) -> str:
    """The name as a part of a URL; where that is taken (``new`` is the page that makes one), with a free number."""
    base = slugify(name)[:90] or model.__name__.lower()
    taken = {"new"} | set(model.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    return next(slug for slug in _numbered(base, len(taken) + 1) if slug not in taken)


def _numbered(base: str, last: int) -> list[str]:
    return [base, *(f"{base}-{number}" for number in range(2, last + 2))]


def _save_new(row: models.Model, taken: str) -> None:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise Conflict(f"{taken}; choose another name", where="name") from None


def _save(row: models.Model, columns: list[str], taken: str) -> None:
    try:
        with transaction.atomic():
            row.save(update_fields=columns)
    except IntegrityError:
        raise Conflict(f"{taken}; choose another name", where="name") from None


def _record(
    action: Action, kind: str, row: Team | Application, actor: User | None, team_id: int, **details: object
) -> None:
    audit.record(
        action, actor=actor, subject_type=kind, subject_id=row.pk, subject=row.name, team_id=team_id, details=details
    )
