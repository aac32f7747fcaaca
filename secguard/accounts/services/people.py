"""People and services, and the roles they hold."""

from __future__ import annotations

import re

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import ApiToken, Membership, SignInLink, Team, User
from secguard.accounts.roles import Permission, Role
from secguard.accounts.services.permission import require
from secguard.accounts.services.sessions import end_sessions
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound

USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,149}")
"""ASCII alone: two names that look alike in the audit log would be two people that look like one."""


def role_named(name: str) -> Role:
    """Read a role's name; ``Invalid`` lists the roles there are."""
    try:
        return Role(name)
    except ValueError:
        known = ", ".join(role.value for role in Role)
        raise Invalid(f"{name!r} is no role; expected one of: {known}", where="role") from None


def create_user(
    username: str,
    role: Role | str,
    *,
    actor: User | None,
    team: Team | None = None,
    display_name: str = "",
    email: str = "",
    is_service: bool = False,
) -> User:
    """Make a person (or a service) with a first role, in ``team`` or, without one, in the whole organisation.

    Nobody can sign in as them before a sign-in link was made (``issue_sign_in_link``) and used.
    Raises ``NotAllowed`` without user:manage there, ``Invalid`` for a name or role that is none, ``Conflict`` for a
    name that is taken, in whatever case.
    """
    require(actor, Permission.USER_MANAGE, team_id=team.pk if team else None)
    first = role_named(role)
    if not USERNAME.fullmatch(username) or username.lower() == audit.SYSTEM:
        raise Invalid(
            f"{username!r} cannot be a user's name: expected up to 150 ASCII letters, digits and . _ @ + -, beginning "
            f"with a letter or a digit, and not {audit.SYSTEM!r}",
            where="username",
        )
    with transaction.atomic():
        user = User(username=username, display_name=display_name, email=email, is_service=is_service)
        user.set_unusable_password()
        try:
            with transaction.atomic():
                user.save(force_insert=True)
        except IntegrityError:
            raise Conflict(f"there is a user {username!r} already; choose another name", where="username") from None
        Membership.objects.create(user=user, team=team, role=first.value)
        _record(Action.USER_CREATE, user, actor, team, role=first.value, is_service=is_service)
    return user


def edit_user(user_id: int, *, actor: User | None, display_name: str, email: str) -> User:
    """Change how a person is called and reached. Their own name and address are theirs to change."""
    with transaction.atomic():
        user = _locked(user_id)
        if actor is None or actor.pk != user.pk:
            require(actor, Permission.USER_MANAGE)
        before = {"display_name": user.display_name, "email": user.email}
        after = {"display_name": display_name, "email": email}
        if before == after:
            return user
        user.display_name, user.email = display_name, email
        user.save(update_fields=["display_name", "email"])
        _record(Action.USER_EDIT, user, actor, None, before=before, after=after)
    return user


def grant(user_id: int, role: Role | str, *, actor: User | None, team: Team | None = None) -> Membership:
    """Give a role, in a team or in the whole organisation. A role that is held already is given back unchanged.

    Nobody grants to themselves: who hands out roles would otherwise approve their own requests one click later.
    """
    wanted = role_named(role)
    require(actor, Permission.USER_MANAGE, team_id=team.pk if team else None)
    if actor is not None and actor.pk == user_id:
        raise NotAllowed("nobody grants a role to themselves: another administrator can", code="own-role")
    with transaction.atomic():
        user = _locked(user_id)
        if not user.is_active:
            raise Conflict(f"{user.username} is deactivated; reactivate them first")
        membership, is_new = Membership.objects.get_or_create(user=user, team=team, role=wanted.value)
        if is_new:
            _record(Action.MEMBERSHIP_GRANT, user, actor, team, role=wanted.value)
    return membership


def revoke(membership_id: int, *, actor: User | None) -> None:
    """Take a role back, at once for every session and token. ``Conflict`` for the last administrator's."""
    with transaction.atomic():
        found = Membership.objects.select_related("user", "team").filter(pk=membership_id).first()
        if found is None:
            raise NotFound("there is no such membership; it may have been taken back already")
        require(actor, Permission.USER_MANAGE, team_id=found.team_id)
        if found.team_id is None and found.role == Role.ADMINISTRATOR:
            keep_an_administrator(found.user)
        deleted, _ = Membership.objects.filter(pk=membership_id).delete()
        if deleted:
            _record(Action.MEMBERSHIP_REVOKE, found.user, actor, found.team, role=found.role)


def deactivate(user_id: int, *, actor: User | None) -> User:
    """End a person's access now: sessions, tokens and links with it. What they did stays theirs in every record.

    Raises ``Conflict`` if they are deactivated already, or the last person who administers.
    """
    require(actor, Permission.USER_MANAGE)
    with transaction.atomic():
        user = _existing(user_id)
        keep_an_administrator(user)
        user = _locked(user_id)
        if not user.is_active:
            raise Conflict(f"{user.username} is deactivated already")
        user.is_active = False
        # The hash of the password is part of what a session must match: without it none survives a reactivation.
        user.set_unusable_password()
        user.save(update_fields=["is_active", "password"])
        tokens = ApiToken.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())
        SignInLink.objects.filter(user=user, used_at=None).delete()
        end_sessions(user.pk, actor=None)
        _record(Action.USER_DEACTIVATE, user, actor, None, tokens_revoked=tokens)
    return user


def reactivate(user_id: int, *, actor: User | None) -> User:
    """Let a deactivated person back in, with the roles they had. They need a new sign-in link and new tokens."""
    require(actor, Permission.USER_MANAGE)
    with transaction.atomic():
        user = _locked(user_id)
        if user.is_active:
            raise Conflict(f"{user.username} is active already")
        user.is_active = True
        user.save(update_fields=["is_active"])
        _record(Action.USER_REACTIVATE, user, actor, None)
    return user


def _existing(user_id: int) -> User:
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound(f"there is no user {user_id}")
    return user


def _locked(user_id: int) -> User:
    user = User.objects.select_for_update().filter(pk=user_id).first()
    if user is None:
        raise NotFound(f"there is no user {user_id}")
    return user


def keep_an_administrator(leaving: User) -> None:
    """Refuse to let the last person go who can hand out roles.

    Every administrator's row is locked, in one order: two of them who end each other at the same moment come one after
    the other, and the second finds itself alone.
    """
    rows = Membership.objects.filter(
        role=Role.ADMINISTRATOR.value, team=None, user__is_active=True, user__is_service=False
    )
    administrators = list(rows.select_for_update().order_by("pk").values_list("user_id", flat=True))
    if administrators == [leaving.pk]:
        raise Conflict(
            f"{leaving.username} is the last administrator; make somebody else one first", code="last-administrator"
        )


def _record(action: Action, user: User, actor: User | None, team: Team | None, **details: object) -> None:
    if team is not None:
        details["team"] = team.slug
    audit.record(
        action,
        actor=actor,
        subject_type="user",
        subject_id=user.pk,
        subject=user.username,
        team_id=team.pk if team else None,
        details=details,
    )
