"""One row a day, team and severity: what a trend needs and the present cannot tell."""

from __future__ import annotations

from django.db import models


class DailyFigure(models.Model):
    """The figures of a day, as they stood when it ended (or stand now, for today)."""

    day = models.DateField()
    team_id = models.BigIntegerField(default=0, help_text="0: the whole organisation")
    figures = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "team_id"], name="dailyfigure_once")]

    def __str__(self) -> str:
        return f"{self.day} team {self.team_id}"
