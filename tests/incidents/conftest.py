"""Incidents as sensors' events make them: a workload of the first team, and what is seen in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.events.models import Sensor
from secguard.events.services.recording import record
from secguard.findings.severity import Severity
from secguard.incidents.models import Incident
from secguard.runtime.event import Event, Kind, Outcome, Process
from secguard.runtime.services.baselines import follow
from secguard.runtime.services.intake import Seen, line_of
from secguard.runtime.services.tying import Told, tie
from secguard.workloads.models import Cluster, Workload

SHELL = "Terminal shell in container"
Sees = Callable[..., list[Incident]]


def event(n: int = 0, **told: Any) -> Event:
    """A shell in shop/web; ``n`` tells one from the next."""
    fields: dict[str, Any] = {
        "kind": Kind.PROCESS,
        "tool": "falco",
        "rule": SHELL,
        "severity": Severity.LOW,
        "outcome": Outcome.DETECTED,
        "namespace": "shop",
        "workload": "web",
        "process": Process(exe="/bin/sh"),
        "mitre": ("execution", "T1059"),
        "observed": timezone.now(),
    }
    return Event(fingerprint=f"{n}-{sorted(map(str, told.items()))}", **(fields | told))


@pytest.fixture
def sensor(db: None) -> Sensor:
    return Sensor.objects.create(name="falco-prod", cluster="prod", token_hash="0" * 64)


@pytest.fixture
def web(application: Application) -> Workload:
    cluster = Cluster.objects.create(name="prod")
    return Workload.objects.create(cluster=cluster, namespace="shop", name="web", application=application)


def take(sensor: Sensor, events: Sequence[Event], now: datetime) -> None:
    """As the job folds a batch: tied, recorded, followed."""
    ties = tie([Told(one, sensor.cluster) for one in events])
    seen = [Seen(one, of, line_of(one, of, sensor, now)) for one, of in zip(events, ties, strict=True)]
    with transaction.atomic():
        by_line = {id(one.line): one for one in seen}
        follow([by_line[id(line)] for line in record([one.line for one in seen], now)], now)


@pytest.fixture
def sees(sensor: Sensor) -> Sees:
    """(events…, at=None) taken in; returns all incidents, the oldest first. ``at``: when they happen, and arrive."""

    def see(*events: Event, at: datetime | None = None) -> list[Incident]:
        now = at or timezone.now()
        moved = [msgspec.structs.replace(one, observed=now, fingerprint=f"{one.fingerprint}{now}") for one in events]
        take(sensor, moved, now)
        return list(Incident.objects.order_by("pk"))

    return see


@pytest.fixture
def incident(web: Workload, sees: Sees) -> Incident:
    """One of the first team's, open."""
    return sees(event())[0]


def hours(n: float) -> timedelta:
    return timedelta(hours=n)
