"""Whether incidents are looked at in time, for checklists (``planning.checks``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.events.planning import SENSORS
from secguard.incidents.lifecycle import Status
from secguard.incidents.models import Incident
from secguard.planning.checks import Check, Outcome
from secguard.planning.counting import Counting, Rows, Shown, soonest

IN_TIME: Final = timedelta(days=1)
"""Within this somebody has to have looked at an incident."""


def _looked_at(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """Incidents with which something is to be done, and those that nobody looked at for longer. One query."""
    rows = Incident.objects.live().filter(application__in=bulk.among(application_ids)).order_by()
    total, lacking, ends = defaultdict(set), defaultdict(set), defaultdict(list)
    for application, pk, status, at in rows.values_list("application_id", "pk", "status", "created_at"):
        if application is None:  # the filter says so
            continue
        total[application].add(pk)
        if status == Status.OPEN and at <= now - IN_TIME:
            lacking[application].add(pk)
        elif status == Status.OPEN:
            ends[application].append(at + IN_TIME)
    return {
        pk: Rows(total=frozenset(some), lacking=frozenset(lacking[pk]), changes_at=soonest(*ends[pk]))
        for pk, some in total.items()
    }


ANSWERED: Final = Counting(
    name="incidents-answered",
    about="Nobody lets an incident of its workloads lie for longer than a day.",
    measure=_looked_at,
    kept="looked at, or not a day old",
    lacking="that nobody looked at for a day",
    of=Shown(
        slugs=application_slugs,
        page="/incidents/all/",
        noun="incident",
        plural="incidents",
        nothing="No incident waits.",
    ),
)


def _ask(application_ids: Sequence[int], now: datetime) -> dict[int, Outcome]:
    """That nothing lies says something only where sensors are heard. Four queries."""
    found, heard = ANSWERED.ask(application_ids, now), SENSORS.ask(application_ids, now)
    return {pk: _with_sensors(found[pk], heard[pk]) for pk in application_ids}


def _with_sensors(found: Outcome, heard: Outcome) -> Outcome:
    if found.state == "missing":
        return found
    nothing = found.state == "unmeasured"
    ends = soonest(found.changes_at, heard.changes_at)
    if heard.state == "kept":
        says = "No incident waits, and sensors tell of all that runs." if nothing else found.says
        return Outcome(state="kept", says=says, links=heard.links if nothing else found.links, changes_at=ends)
    return Outcome(state="unmeasured", says=f"{found.says} {heard.says}", links=heard.links, changes_at=ends)


CHECK: Final = Check(name=ANSWERED.name, about=ANSWERED.about, ask=_ask)
