"""What the audit log says of promotions, and whose they are."""

from __future__ import annotations

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import NotAllowed
from secguard.images.models import Repository
from secguard.promotion.models import Promotion


def team_of(repository: Repository) -> int | None:
    """The team that owns it; None: the organisation does."""
    return repository.application.team_id if repository.application else None


def require_place(promoter: User | None, source: Repository, there: Repository) -> None:
    """Raises ``NotAllowed`` where the destination is another team's and ``promoter`` may not promote theirs.

    What goes by itself (``promoter`` None) goes over nobody else's.
    """
    is_limited = promoter is not None and promoter.limit is not None
    if there.pk == source.pk or (team_of(there) == team_of(source) and not is_limited):
        return
    try:
        if promoter is not None:
            owner = there.application
            require(
                promoter,
                Permission.PROMOTION_REQUEST,
                team_id=team_of(there),
                application=owner,
                repository=there.name,
            )
            return
    except NotAllowed:
        pass
    raise NotAllowed(
        f"The repository {there.name} is another {'application' if is_limited else 'team'}'s: nothing is promoted over "
        "what is theirs. Give it to the application of the source, or change one of the paths.",
        code="other-teams-repository",
    )


def require_name(promoter: User | None, name: str) -> None:
    """Raises ``NotAllowed`` where ``promoter`` came with a token that is limited to repositories called otherwise: at
    the destination there may be none yet, and it makes none outside of its limit."""
    if promoter is not None and promoter.limit is not None and not promoter.limit.has_name(name):
        raise NotAllowed(
            f"The token is limited to {promoter.limit.words}, and {name}, where this leads, is not among them. Add a "
            "pattern that it fits when you make the next one, or let a token of the whole team promote.",
            code="token-limited",
        )


def note(action: Action, promotion: Promotion, actor: User | None, **details: object) -> None:
    """Write it down, in the caller's transaction."""
    record(
        action,
        actor=actor,
        subject_type="promotion",
        subject_id=promotion.pk,
        subject=f"{promotion.source.name}@{promotion.digest} to {promotion.environment.name}",
        team_id=team_of(promotion.source),
        details={"destination": promotion.destination_name, "tags": promotion.tags} | details,
    )
