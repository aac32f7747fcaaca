"""Who plays in the sample, and the figures of each of its days."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from secguard.accounts.models import Application, Team, User
from secguard.dashboards.models import DailyFigure
from secguard.dashboards.queries import figures
from secguard.dashboards.services import ORGANISATION
from secguard.images.models import Image, Repository
from secguard.policies.facts import Gate
from secguard.policies.services import judge
from secguard.sample.organisation import REGISTRY

SAMPLE_FIGURE = "sample"
"""Marks a day's figures of the whole organisation that were made by loading the sample."""


@dataclass(frozen=True, slots=True)
class Cast:
    """The rows of the sample, by the names in ``organisation``."""

    teams: Mapping[str, Team]
    users: Mapping[str, User]
    applications: Mapping[str, Application]


class DayKeeper:
    """Writes the figures of the sample's teams, and those of the organisation where it consists of the sample alone."""

    def __init__(self, cast: Cast) -> None:
        self._everybody = User.who_sees_everything()
        self._teams = sorted(team.pk for team in cast.teams.values())
        self._is_alone = not Image.objects.filter(is_sample=False).exists()
        self._taken = set(DailyFigure.objects.filter(team_id=ORGANISATION).values_list("day", flat=True))

    def keep(self, at: datetime, decided: Iterable[int], *, is_last: bool) -> None:
        """Judge anew where something was decided that day, and once a week everywhere; keep the evening's figures.

        What was pushed that day was judged with its push. Judging everything every day would take most of the load's
        time, for answers that change by a deadline now and then.
        """
        newest = Repository.objects.filter(registry__host=REGISTRY).exclude(newest_image=None)
        if at.weekday() != 0:
            newest = newest.filter(pk__in=set(decided))
        for repository in newest.select_related("newest_image"):
            if repository.newest_image is not None:
                judge(repository.newest_image, [Gate.PROMOTE], at)
        if not is_last:
            self._write(at)

    def keep_today(self, at: datetime) -> None:
        """Today's row of the whole organisation is the product's own, written every hour."""
        self._write(at)

    def _write(self, at: datetime) -> None:
        rows = [DailyFigure(day=at.date(), team_id=t, figures=self._figures(at, t)) for t in self._teams]
        if self._is_alone and at.date() not in self._taken:
            whole = {**figures(self._everybody, at).as_row(), SAMPLE_FIGURE: True}
            rows.append(DailyFigure(day=at.date(), team_id=ORGANISATION, figures=whole))
        DailyFigure.objects.bulk_create(
            rows, update_conflicts=True, update_fields=["figures"], unique_fields=["day", "team_id"]
        )

    def _figures(self, at: datetime, team_id: int) -> dict[str, object]:
        return figures(self._everybody, at, team_id=team_id).as_row()
