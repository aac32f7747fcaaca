"""The one question before every change: may this actor do that, and for whose things?"""

from __future__ import annotations

from typing import Any

from secguard.accounts.models import Application, User
from secguard.accounts.roles import PERMISSIONS, Permission, Role
from secguard.errors import NotAllowed


def require(
    actor: Any,
    permission: Permission | str,
    *,
    team_id: int | None = None,
    anywhere: bool = False,
    application: Application | None = None,
    repository: str = "",
) -> None:
    """Return if ``actor`` may do ``permission``, else raise ``NotAllowed`` that names the permission and its roles.

    ``team_id`` is the team whose thing it is. Without one the thing belongs to the organisation (a policy, a user, an
    image that no application owns): only an organisation-wide role does then. ``anywhere=True`` asks instead whether
    the permission is held at all, be it in one team: for what the caller narrows by other means.

    ``application`` is whose thing it is within the team, ``repository`` the name of the one that it is about. A token
    that is limited to some of them passes by these alone, or by ``anywhere``: where the caller does not say them, such
    a token is refused.

    ``actor`` None is the system itself, or a command on the server's own machine, which may do everything.
    """
    if actor is None:
        return
    wanted = Permission(permission)
    if not isinstance(actor, User):
        raise NotAllowed(
            f"{wanted.value} needs somebody who has signed in", code="not-allowed", permission=wanted.value
        )
    limit = actor.limit
    if actor.token is not None and limit is not None:
        in_role = not limit.is_void and wanted in PERMISSIONS[Role(actor.token.role)]
        if (anywhere and in_role) or actor.may_within(wanted, application, repository):
            return
        raise NotAllowed(
            f"{wanted.value} is not allowed here: the token {actor.token.prefix}… ({actor.token.role}) is limited to "
            f"{limit.words}. Use one whose limit this is inside of, or of the whole team.",
            code="token-limited",
            permission=wanted.value,
        )
    teams = actor.teams_with(wanted)
    if teams is None or (team_id in teams if team_id is not None else anywhere and bool(teams)):
        return
    raise NotAllowed(
        _refusal(actor, wanted, wide=team_id is None and not anywhere), code="not-allowed", permission=wanted.value
    )


def _refusal(actor: User, wanted: Permission, *, wide: bool) -> str:
    roles = ", ".join(role.value for role in Role if wanted in PERMISSIONS[role]) or "no role"
    place = "in the whole organisation" if wide else "in the team that owns this"
    held = ", ".join(sorted({role.value for role, _ in actor.grants()})) or "none"
    carrier = f"The token {actor.token.prefix}… carries" if actor.token is not None else f"{actor.username} holds"
    return (
        f"{wanted.value} is not allowed here: it needs one of these roles {place}: {roles}. "
        f"{carrier}: {held}. An administrator can grant roles."
    )
