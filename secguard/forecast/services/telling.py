"""Tell the owners of repositories which of their gates will begin to block, in time to act."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.utils import timezone

from secguard.accounts.queries import people_of
from secguard.forecast.models import Turn
from secguard.forecast.wording import because, gates_of
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling
from secguard.policies.facts import Gate

TURNING = "gate-turning"
KINDS = (Kind(TURNING, "Gates that will begin to block", "Will be blocked", 8, "/forecast/"),)


def tell(now: datetime | None = None) -> int:
    """The job: tell each team of its repositories' turns that lie within each of the days before that are set, once for
    each of these; returns how many lines were new to somebody."""
    at = now or timezone.now()
    new = 0
    for days in settings.FORECAST_DAYS:
        rows = Turn.objects.between(at, at + timedelta(days=days)).filter(repository__application__isnull=False)
        found = rows.select_related("repository__application").order_by("at", "pk")
        new += _tell(list(found), days, at)
    return new


def _tell(turns: Iterable[Turn], days: int, now: datetime) -> int:
    groups: dict[tuple[int, int, str], list[Turn]] = defaultdict(list)
    for turn in turns:
        application = turn.repository.application
        groups[application.team_id if application else 0, turn.repository_id, f"{turn.at:%Y-%m-%d}"].append(turn)
    lines: dict[int, list[Line]] = defaultdict(list)
    for (team, repository, day), found in groups.items():
        lines[team].append(_line(found, f"{repository} {day} {days}"))
    members = people_of(lines)
    tellings = {team: Telling(TURNING, tuple(found), team) for team, found in lines.items()}
    pairs = [(user, telling) for team, telling in tellings.items() for user in members.get(team, ())]
    return notifications.notify_many(pairs, now=now)


def _line(turns: Sequence[Turn], key: str) -> Line:
    first = turns[0]
    application = first.repository.application
    is_running = any(turn.stage in (Gate.ADMIT, Gate.RUN) for turn in turns)
    return Line(
        key=key,
        what=f"{first.repository.path} from {first.at:%A}, {first.at.day} {first.at:%B} on",
        where=f"the {gates_of(turn.stage for turn in turns)}",
        note=because(first),
        url=f"/forecast/?{urlencode({'q': first.repository.name})}",
        is_production=bool(application and application.is_production),
        weight=weigh(is_running=is_running, is_production=bool(application and application.is_production)),
    )
