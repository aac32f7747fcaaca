"""Keep the figures of each day, for the trends."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from secguard.accounts.models import Team, User
from secguard.dashboards.figures import Figures
from secguard.dashboards.models import DailyFigure
from secguard.dashboards.queries import figures
from secguard.jobs.registry import Run

KEEP_DAY = "dashboards.keep-day"
ORGANISATION = 0


def keep_day(run: Run) -> None:
    """The job: today's figures of the organisation and of each team, as they stand now. Safe to run twice."""
    keep(timezone.now())


def keep(now: datetime) -> None:
    """Write, or write over, the figures of ``now``'s day."""
    everybody = User.who_sees_everything()
    _keep(now, ORGANISATION, figures(everybody, now))
    for team in Team.objects.order_by("pk").values_list("pk", flat=True):
        _keep(now, team, figures(everybody, now, team_id=team))


def _keep(now: datetime, team_id: int, found: Figures) -> None:
    DailyFigure.objects.update_or_create(day=now.date(), team_id=team_id, defaults={"figures": found.as_row()})
