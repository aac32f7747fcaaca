"""The four homes: for one reader and slice, at an instant. Pages, REST, exports and mail ask here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from secguard.accounts.models import User
from secguard.accounts.services import require
from secguard.dashboards.homes import READS, Audience, Home
from secguard.dashboards.queries.homes.business import business
from secguard.dashboards.queries.homes.developers import developers
from secguard.dashboards.queries.homes.narrowing import Narrowed
from secguard.dashboards.queries.homes.operations import operations
from secguard.dashboards.queries.homes.security import security
from secguard.dashboards.slices import Slice

_MAKERS: Final[dict[Audience, Callable[[Narrowed], Home]]] = {
    Audience.DEVELOPERS: developers,
    Audience.OPERATIONS: operations,
    Audience.SECURITY: security,
    Audience.BUSINESS: business,
}


def home_of(audience: Audience, of: Slice, user: User, now: datetime) -> Home:
    """The home of ``audience`` as ``user`` may see it; raises ``NotAllowed`` where they may not read what it shows."""
    require(user, READS[audience], anywhere=True)
    return _MAKERS[audience](Narrowed(user, of, now))


def audiences_of(user: User) -> list[Audience]:
    """Those whose home ``user`` may see, in the order of the tabs."""
    return [audience for audience in Audience if user.can(READS[audience])]
