"""Tokens that pipelines carry: made, rotated and revoked; shown once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from secguard.accounts import credentials
from secguard.accounts.limits import check_repositories
from secguard.accounts.models import CI_ROLE_CHOICES, ApiToken, Application, CiIdentity, Team, User
from secguard.accounts.roles import APPROVERS, Permission, Role
from secguard.accounts.services.people import create_user, grant, role_named
from secguard.accounts.services.permission import require
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound

DAYS = 90
MAX_DAYS = 365
MAX_APPLICATIONS = 50


def create_token(
    user_id: int,
    role: Role | str,
    *,
    actor: User | None,
    name: str,
    team: Team | None = None,
    days: int | None = None,
    applications: Sequence[Application] = (),
    repositories: Sequence[str] = (),
) -> tuple[ApiToken, str]:
    """Make a token of ``user_id`` and give it back with its raw value, which nobody can see again.

    It carries one role that the user holds, everywhere they hold it or in ``team`` alone, for ``days`` (90 if not
    said, 365 at most). A person's tokens are made by that person alone, for a token is that person; whoever may
    token:manage makes those of services, but none that approves: an approval is a person's word. A request that came
    with a token makes none that could do more, or lasts longer, than that one.

    ``applications`` limits it to some of one team's, ``repositories`` to those of ``team`` whose names fit one of these
    patterns, and both to what is in both; it then reaches nothing else, whatever its owner holds, and makes no others.

    Raises ``NotAllowed``, ``Invalid`` for a role that is not held there or a lifetime out of bounds, ``Conflict`` for
    a user who is deactivated.
    """
    wanted, now = role_named(role), timezone.now()
    lifetime = _lifetime(days)
    with transaction.atomic():
        user = _token_user(user_id)
        ends = now + lifetime
        if actor is not None and actor.token is not None:
            team, ends = team or actor.token.team, min(ends, actor.token.expires_at)
        chosen = list(applications)
        narrowed = limit_of(chosen, repositories, wanted, team)
        team = narrowed.team
        _require_maker(actor, user, wanted, team)
        _require_held(user, wanted, team)
        token, raw = _new(user, name, wanted, narrowed, now, ends)
        details = {"role": wanted.value, "user": user.username, "expires_at": ends} | told_of(chosen, narrowed)
        _record(Action.TOKEN_CREATE, token, actor, **details)
    return token, raw


@dataclass(frozen=True)
class Narrowed:
    """A team, and what of it alone."""

    team: Team | None = None
    application_ids: list[int] | None = None
    repositories: list[str] | None = None


def limit_of(
    applications: Sequence[Application], repositories: Sequence[str], role: Role, team: Team | None
) -> Narrowed:
    """What a token is limited to; with neither ``applications`` nor ``repositories`` the team as it is.

    Raises ``Invalid`` where the applications are of two teams, or of another than ``team``, or too many; where there is
    no team for the repositories, a pattern is none, or the role is a person's.
    """
    names = check_repositories(repositories)
    if not applications and names is None:
        return Narrowed(team)
    if role.value not in dict(CI_ROLE_CHOICES):
        raise Invalid(
            f"A token that is limited to applications or repositories carries {', '.join(dict(CI_ROLE_CHOICES))}; not "
            f"{role.value}, whose work is the whole team's.",
            where="role",
        )
    if not applications:
        if team is None:
            raise Invalid(
                "A token is limited to repositories of one team: say which, or name the applications.", where="team"
            )
        return Narrowed(team, None, names)
    if len(applications) > MAX_APPLICATIONS:
        raise Invalid(f"A token names at most {MAX_APPLICATIONS} applications.", where="applications")
    owners = {application.team_id for application in applications} | ({team.pk} if team else set())
    if len(owners) != 1:
        named = ", ".join(f"{a.slug} of {a.team.name}" for a in applications[:5])
        raise Invalid(
            f"A token is limited to applications of one team{f', here {team.name}' if team else ''}; named: {named}. "
            "Make one token for each team.",
            where="applications",
        )
    return Narrowed(applications[0].team, sorted({application.pk for application in applications}), names)


def told_of(applications: Sequence[Application], narrowed: Narrowed) -> dict[str, object]:
    """What the audit log says of a limit; nothing where there is none."""
    slugs: dict[str, object] = {"applications": sorted(a.slug for a in applications)} if applications else {}
    return slugs | ({"repositories": narrowed.repositories} if narrowed.repositories else {})


def create_token_on_server(
    role: Role | str,
    *,
    username: str | None = None,
    team: Team | None = None,
    name: str = "",
    days: int | None = None,
    applications: Sequence[Application] = (),
    repositories: Sequence[str] = (),
) -> tuple[ApiToken, str]:
    """The server's own command: make a token from nothing, as whoever works on its machine may.

    An unknown ``username`` is made; a user without the role gets it (both are in the audit log). Without ``username``
    the token belongs to a service that is named after the role, so that tokens of two roles are two parties, and
    neither approves what the other asked for as one person in two coats.
    """
    wanted = role_named(role)
    team = limit_of(applications, repositories, wanted, team).team
    with transaction.atomic():
        user = _user_for(wanted, username, team)
        label = name or "made on the server"
        return create_token(
            user.pk,
            wanted,
            actor=None,
            name=label,
            team=team,
            days=days,
            applications=applications,
            repositories=repositories,
        )


def _user_for(role: Role, username: str | None, team: Team | None) -> User:
    called = username or role.value
    user = User.objects.filter(username__iexact=called).first()
    if user is None:
        return create_user(called, role, actor=None, team=team, is_service=username is None)
    if not _holds(user, role, team):
        grant(user.pk, role, actor=None, team=team)
    return user


def _holds(user: User, role: Role, team: Team | None) -> bool:
    """Organisation-wide, or in the team named, or (none named) anywhere."""
    places = {where for held, where in user.grants() if held == role}
    return None in places or (bool(places) if team is None else team.pk in places)


def revoke_token(token_id: int, *, actor: User | None) -> ApiToken:
    """End a token now. One's own, or any with token:manage. ``Conflict`` if it was revoked already.

    A request that came with a token ends that one, and of its owner's others only those that can do no more than it.
    """
    with transaction.atomic():
        token = _locked(token_id, actor)
        if actor is not None and actor.token is not None and not _within(token, actor.token):
            require(actor, Permission.TOKEN_MANAGE, team_id=token.team_id)
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        _record(Action.TOKEN_REVOKE, token, actor, user=token.user.username)
    return token


def _within(token: ApiToken, bearer: ApiToken) -> bool:
    """Whether ``token`` is ``bearer`` itself, or its owner's with the same role in no more teams."""
    same = (token.user_id, token.role) == (bearer.user_id, bearer.role)
    return token.pk == bearer.pk or (same and not bearer.is_limited and bearer.team_id in (None, token.team_id))


def rotate_token(token_id: int, *, actor: User | None) -> tuple[ApiToken, str]:
    """Replace a token by a new one with the same name, role, team and lifetime; the old one ends now.

    A token may rotate itself, and no other: a pipeline renews its own secret. Raises what ``create_token`` raises.
    """
    with transaction.atomic():
        old = _locked(token_id, actor)
        now = timezone.now()
        if old.expires_at <= now:
            raise Conflict(f"token {old.prefix}… ended at {old.expires_at:%Y-%m-%d %H:%M} UTC; make a new one")
        _require_rotator(actor, old)
        _require_held(old.user, Role(old.role), old.team)
        ends = now + (old.expires_at - old.created_at)
        old.revoked_at = now
        old.save(update_fields=["revoked_at"])
        token, raw = _new(old.user, old.name, Role(old.role), narrowed_of(old), now, ends)
        _record(Action.TOKEN_ROTATE, token, actor, user=old.user.username, replaces=old.prefix, expires_at=ends)
    return token, raw


def _lifetime(days: int | None) -> timedelta:
    wanted = DAYS if days is None else days
    if not 1 <= wanted <= MAX_DAYS:
        raise Invalid(f"a token lives 1 to {MAX_DAYS} days, not {wanted}", where="expires_in_days")
    return timedelta(days=wanted)


def _token_user(user_id: int) -> User:
    user = User.objects.select_for_update().filter(pk=user_id).first()
    if user is None:
        raise NotFound(f"there is no user {user_id}")
    if not user.is_active:
        raise Conflict(f"{user.username} is deactivated: no token can be made")
    return user


def _require_maker(actor: User | None, user: User, role: Role, team: Team | None) -> None:
    if actor is None:
        return
    if actor.pk == user.pk:
        require(actor, Permission.OWN_TOKEN_MANAGE, anywhere=True)
        if actor.token is not None and actor.token.identity_id is not None:
            raise NotAllowed("a token that was exchanged for a job's own makes no others", code="not-own-token")
        if actor.limit is not None:
            raise NotAllowed(f"a token that is limited to {actor.limit.words} makes no others", code="not-own-token")
        _require_held(actor, role, team)  # as narrow as the token that the request came with
        return
    require(actor, Permission.TOKEN_MANAGE, team_id=team.pk if team else None)
    if not user.is_service:
        raise NotAllowed(f"only {user.username} makes tokens of {user.username}", code="not-own-token")
    if role in APPROVERS:
        raise NotAllowed(
            f"a service gets no token of {role.value}: an approval is a person's word", code="not-a-person"
        )


def _require_rotator(actor: User | None, old: ApiToken) -> None:
    """Who gets a secret to see must be whom it stands for: the same rule as for making one."""
    if old.identity_id is not None:
        raise NotAllowed(
            "a token that was exchanged for a job's own ends with it: exchange another one", code="not-own-token"
        )
    if actor is not None and actor.token is not None:
        if actor.token.pk != old.pk:
            raise NotAllowed("a token rotates itself, and no other", code="not-own-token")
        if old.is_limited:
            return  # as narrow as it was; that its owner still holds the role is looked at beside this
    _require_maker(actor, old.user, Role(old.role), old.team)


def _require_held(holder: User, role: Role, team: Team | None) -> None:
    if _holds(holder, role, team):
        return
    held = ", ".join(sorted({held.value for held, _ in holder.grants()})) or "none"
    where = f"in team {team.name}" if team else "anywhere"
    raise Invalid(f"{holder.username} does not hold {role.value} {where}; roles held: {held}", where="role")


def issue(
    user: User, name: str, role: Role, *, ends: datetime, identity: CiIdentity, source: str
) -> tuple[ApiToken, str]:
    """A token of a CI identity's service for one job; the caller has looked at what the job brought, and records it.

    Raises ``Conflict`` where the service was deactivated, ``Invalid`` where it no longer holds the role.
    """
    holder = _token_user(user.pk)
    _require_held(holder, role, identity.team)
    token, raw = _new(holder, name, role, narrowed_of(identity), timezone.now(), ends)
    token.identity, token.source = identity, source
    token.save(update_fields=["identity", "source"])
    return token, raw


def narrowed_of(row: ApiToken | CiIdentity) -> Narrowed:
    return Narrowed(row.team, row.application_ids, row.repositories)


def _new(user: User, name: str, role: Role, narrowed: Narrowed, now: datetime, ends: datetime) -> tuple[ApiToken, str]:
    label = " ".join(name.split())
    if not 1 <= len(label) <= 100:
        raise Invalid(f"a token's name has 1 to 100 characters, not {len(label)}", where="name")
    raw = credentials.new_token()
    token = ApiToken.objects.create(
        user=user,
        name=label,
        prefix=credentials.shown(raw),
        digest=credentials.digest(raw),
        role=role.value,
        team=narrowed.team,
        application_ids=narrowed.application_ids,
        repositories=narrowed.repositories,
        created_at=now,
        expires_at=ends,
    )
    return token, raw


def _locked(token_id: int, actor: User | None) -> ApiToken:
    """The token, for a change by ``actor``; ``NotFound`` for one they may not know of."""
    rows = ApiToken.objects.select_for_update(of=("self",)).select_related("user", "team")
    token = (rows if actor is None else rows.visible_to(actor)).filter(pk=token_id).first()
    if token is None:
        raise NotFound(f"there is no token {token_id}")
    if actor is not None and actor.pk != token.user_id:
        require(actor, Permission.TOKEN_MANAGE, team_id=token.team_id)
    if token.revoked_at is not None:
        raise Conflict(f"token {token.prefix}… was revoked at {token.revoked_at:%Y-%m-%d %H:%M} UTC")
    return token


def _record(action: Action, token: ApiToken, actor: User | None, **details: object) -> None:
    audit.record(
        action,
        actor=actor,
        subject_type="token",
        subject_id=token.pk,
        subject=f"{token.prefix} {token.name}",
        team_id=token.team_id,
        details=details,
    )
