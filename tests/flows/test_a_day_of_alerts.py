"""33,000 alerts of one day are a page that one person can read."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.events.models import Batch, Event, Sensor, Tally
from secguard.findings.models import Risk
from secguard.images.models import Image, Repository
from secguard.incidents.models import Incident, IncidentStory
from secguard.workloads.models import Cluster, Workload
from tests.fixtures_people import Person
from tests.fixtures_reports import Post, flaw, report

pytestmark = [pytest.mark.django_db, pytest.mark.once]
TOKEN = "sge_a-sensor-of-a-day"
ALERTS, WORKLOADS, RULES, BATCH = 33_000, 400, 25, 1_500
PRIORITIES = ("Notice", "Warning", "Informational", "Notice", "Error")
TACTICS = ("execution", "persistence", "discovery", "credential_access", "exfiltration")


@pytest.fixture
def estate(application: Application, post: Post) -> Workload:
    """400 workloads; the one that matters is privileged and runs an image with an exploited flaw."""
    cluster = Cluster.objects.create(name="prod")
    Workload.objects.bulk_create(
        Workload(cluster=cluster, namespace=f"team-{n % 20}", name=f"service-{n}", application=application)
        for n in range(WORKLOADS)
    )
    post(report(flaw("CVE-2026-1"), image=1))
    Risk.objects.update(known_exploited=True)
    Repository.objects.update(application=application)
    matters = Workload.objects.get(name="service-77")
    matters.images.set([Image.objects.get()])
    matters.restrictions = ["non-root"]
    matters.save()
    Sensor.objects.create(name="falco", cluster="prod", token_hash=hashlib.sha256(TOKEN.encode()).hexdigest())
    return matters


def alert(n: int, workload: int, of: int, at: datetime, **changes: Any) -> dict[str, Any]:
    fields = {
        "k8s.ns.name": f"team-{workload % 20}",
        "k8s.deployment.name": f"service-{workload}",
        "proc.exepath": f"/usr/bin/tool{'abcdef'[n % 6]}",
        "proc.cmdline": f"tool {n}",
    }
    return {
        "uuid": f"{n:032x}",
        "time": at.isoformat(),
        "rule": f"Rule {chr(65 + of)} of the day",
        "priority": PRIORITIES[of % 5],
        "source": "syscall",
        "tags": [f"mitre_{TACTICS[of % 5]}", f"T1{of:03}"],
        "output": f"Something happened ({n})",
        "output_fields": fields,
        **changes,
    }


def a_day(now: datetime) -> Iterator[dict[str, Any]]:
    """In the order of the clock, over its last 23 hours; the one that matters is somewhere in the middle."""
    chance = random.Random(33)
    step = timedelta(hours=23) / ALERTS
    for n in range(ALERTS - 1):
        if n == 20_000:
            yield alert(ALERTS, 77, 3, now - timedelta(hours=23) + n * step, rule="Reverse shell", priority="Critical")
        yield alert(n, chance.randrange(WORKLOADS), chance.randrange(RULES), now - timedelta(hours=23) + n * step)


def send(alerts: list[dict[str, Any]]) -> int:
    answer = Client().post(
        "/hooks/falco/",
        json.dumps(alerts),
        content_type="application/json",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 200, answer.content
    return int(answer.json()["taken"])


def test_a_day_of_alerts_is_a_page(estate: Workload, run_jobs: Callable[[], int], reviewer: Person) -> None:
    told, taken = list(a_day(timezone.now())), 0
    for n, at in enumerate(range(0, len(told), BATCH)):
        taken += send(told[at : at + BATCH])
        if n % 4 == 3:  # every four hours of the day: no silence makes two incidents of one
            run_jobs()
    run_jobs()
    assert taken == ALERTS
    assert not Batch.objects.exists()
    assert sum(Tally.objects.values_list("count", flat=True)) == ALERTS
    assert sum(Incident.objects.values_list("count", flat=True)) == ALERTS
    assert Event.objects.count() <= ALERTS
    kept = sum(IncidentStory.objects.values_list("count", flat=True))
    assert kept + sum(Incident.objects.values_list("more_count", flat=True)) == ALERTS

    listing = reviewer.client.get("/incidents/").context["listing"]
    assert (len(listing.rows), listing.next_url) == (RULES + 1, "")
    assert len(listing.rows) < 60
    top = listing.rows[0]
    assert (top["rule"], top["top"].workload_id, top["incidents"]) == ("Reverse shell", estate.pk, 1)
    assert "its image has a flaw that is known to be exploited" in top["reasons"]
    everything = reviewer.client.get("/incidents/?status=all").context["listing"].rows
    assert sum(row["events"] for row in everything) == ALERTS
