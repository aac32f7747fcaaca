"""What the audit log says of promotions, and whose they are."""

from __future__ import annotations

from secguard.accounts.models import User
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.images.models import Repository
from secguard.promotion.models import Promotion


def team_of(repository: Repository) -> int | None:
    """The team that owns it; None: the organisation does."""
    return repository.application.team_id if repository.application else None


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
