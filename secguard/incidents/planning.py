"""Whether incidents are looked at in time, for checklists (``planning.checks``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.events.planning import SENSORS
from secguard.incidents.lifecycle import Status
from secguard.incidents.models import Incident
from secguard.planning.counting import Counting, Rows, Shown, soonest

IN_TIME: Final = timedelta(days=1)
"""Within this somebody has to have looked at an incident."""


def _looked_at(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """Incidents with which something is to be done, and those that nobody looked at for longer; blind where no sensor
    of each cluster where it runs is heard. Three queries."""
    rows = Incident.objects.live().filter(application__in=bulk.among(application_ids)).order_by()
    live: dict[int, dict[int, datetime | None]] = defaultdict(dict)
    for application, pk, status, at in rows.values_list("application_id", "pk", "status", "created_at"):
        live[application or 0][pk] = at + IN_TIME if status == Status.OPEN else None
    heard = SENSORS.measure(application_ids, now)
    return {pk: _rows(live[pk], heard.get(pk, Rows()), now) for pk in application_ids}


def _rows(live: Mapping[int, datetime | None], heard: Rows, now: datetime) -> Rows:
    """``live``: until when somebody has to have looked at each; none: somebody did."""
    ends = {pk: at for pk, at in live.items() if at is not None}
    late = frozenset(pk for pk, at in ends.items() if at <= now)
    return Rows(
        total=frozenset(live),
        lacking=late,
        is_blind=not heard.total or bool(heard.lacking or heard.untold),
        changes_at=soonest(heard.changes_at, *(at for pk, at in ends.items() if pk not in late)),
    )


COUNTINGS: Final = (
    Counting(
        name="incidents-answered",
        about="No incident of its workloads lies for longer than a day, and sensors are heard that tell of them.",
        measure=_looked_at,
        kept="looked at, or not a day old",
        lacking="that nobody looked at for a day",
        quiet="No incident waits, and sensors tell of all that runs.",
        blind="Not of all that runs a sensor was heard within a day.",
        of=Shown(
            slugs=application_slugs,
            page="/incidents/all/",
            noun="incident",
            plural="incidents",
            nothing="No incident waits.",
        ),
    ),
)
