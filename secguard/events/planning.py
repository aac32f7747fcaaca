"""Whether somebody hears of what containers do, and what is written down is kept, for checklists
(``planning.checks``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from django.urls import reverse

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.events.models import Sensor
from secguard.events.record import Kind
from secguard.events.services.ageing import days_kept
from secguard.planning.checks import Check, Outcome
from secguard.planning.counting import Counting, Rows, Shown, soonest
from secguard.workloads.queries import workloads_running

SILENT: Final = timedelta(days=1)
"""A sensor that sent nothing for longer counts as silent: it sends a heartbeat, or what containers do, all the time."""
YEAR: Final = 365
LASTING: Final = (Kind.AUDIT, Kind.GATE, Kind.ADMISSION, Kind.PROMOTION)
"""What is asked for long after it was: who changed, decided, let in and promoted what."""


def _heard(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """The workloads in whose cluster a sensor of its own told something within a day. Two queries.

    A sensor without a cluster says of which one it tells with each event: of any of them it is not known.
    """
    running = workloads_running(application_ids)
    names = sorted({w.cluster.name for several in running.values() for w in several})
    sensors = Sensor.objects.filter(is_active=True, takes_events=True, heard_at__gt=now - SILENT)
    rows = sensors.filter(cluster__in=bulk.among([*names, ""])).order_by("heard_at")
    heard = {
        cluster: at for cluster, at in rows.values_list("cluster", "heard_at") if at is not None
    }  # each one's last
    anywhere = heard.pop("", None)
    found = {}
    for pk, several in running.items():
        total = frozenset(w.pk for w in several)
        silent = frozenset(w.pk for w in several if w.cluster.name not in heard)
        ends = [heard[w.cluster.name] for w in several if w.cluster.name in heard]
        ends += [anywhere] if anywhere and silent else []
        found[pk] = Rows(
            total=total,
            lacking=frozenset() if anywhere else silent,
            untold=silent if anywhere else frozenset(),
            changes_at=soonest(*(at + SILENT for at in ends)),
        )
    return found


def _kept(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
    """The store is one, and keeps for all alike."""
    return dict.fromkeys(application_ids, _retention()) if application_ids else {}


def _retention() -> Outcome:
    days = days_kept()
    short = [f"{kind.value} {days[kind]:,}" for kind in LASTING if days[kind] < YEAR]
    least = min(days[kind] for kind in LASTING)
    kept = f"What was changed, judged, let in and promoted is kept in full for at least {least:,} days."
    says = f"Kept in full for fewer than {YEAR} days: {', '.join(short)} days." if short else kept
    link = (("What is stored, and for how long", reverse("events:storage")),)
    return Outcome(state="missing" if short else "kept", says=says, links=link, changes_at=None)


SENSORS: Final = Counting(
    name="sensors-heard",
    about="In each cluster that runs its workloads a sensor told something within the last day.",
    measure=_heard,
    kept="in a cluster whose sensor was heard within a day",
    lacking="in a cluster of which no sensor was heard within a day",
    untold="in a cluster without a sensor of its own",
    of=Shown(
        slugs=application_slugs,
        page="/workloads/",
        noun="workload",
        plural="workloads",
        nothing="Nothing of it runs, as far as is known here.",
    ),
)
COUNTINGS: Final = (SENSORS,)
CHECKS: Final = (
    Check(
        name="log-retained",
        about="What was changed, judged, let in and promoted is kept in full for at least a year.",
        ask=_kept,
    ),
)
