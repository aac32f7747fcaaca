"""What lies outside of its image's baseline is an incident; what is expected joins the baseline."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.approvals.quorum import Choice
from secguard.findings.severity import Severity
from secguard.images.models import Image, ImageRepository, Registry, Repository
from secguard.incidents.lifecycle import Decision
from secguard.incidents.models import Incident, IncidentEntry
from secguard.incidents.services import handling
from secguard.runtime.event import Event, Outcome, Process
from secguard.runtime.models import Baseline, BaselineChange, BaselineItem
from secguard.runtime.services import baselines
from secguard.workloads.models import Workload
from tests.fixtures_reports import digest
from tests.incidents.conftest import Sees, event
from tests.runtime.test_baselines import learned

pytestmark = pytest.mark.django_db


@pytest.fixture
def image(application: Application, web: Workload) -> Image:
    """What web runs; its baseline has learned /app alone."""
    registry = Registry.objects.create(host="registry.example")
    repository = Repository.objects.create(
        registry=registry, path="shop/web", name="registry.example/shop/web", application=application
    )
    image = Image.objects.create(digest=digest(7))
    ImageRepository.objects.create(
        image=image, repository=repository, first_seen_at=timezone.now() - timedelta(days=60)
    )
    web.images.set([image])
    learned(image, started("/app"))
    return image


def started(exe: str, **told: Any) -> Event:
    """A program that an agent saw start, and that no rule flagged."""
    return event(
        rule="Process started",
        severity=Severity.UNKNOWN,
        outcome=Outcome.ALLOWED,
        mitre=(),
        process=Process(exe=exe),
        **told,
    )


@pytest.mark.usefixtures("image")
def test_what_is_normal_makes_no_incident_and_what_is_not_does(sees: Sees) -> None:
    assert sees(started("/app")) == []
    (incident,) = sees(started("/bin/sh"))
    assert incident.title == "started /bin/sh, never seen in 20 days and 2 replicas of this digest"
    assert incident.severity == Severity.MEDIUM
    assert sees(started("/app")) == [incident]


@pytest.mark.usefixtures("image")
def test_a_rule_of_a_sensor_is_heard_whatever_is_normal(sees: Sees) -> None:
    (incident,) = sees(event(process=Process(exe="/app")))
    assert incident.title == "Terminal shell in container: /app"


def expect(incident: Incident, actor: Any) -> None:
    verdict = handling.Verdict(Decision.EXPECTED, "Its start script needs it.")
    handling.decide(incident.pk, verdict, actor=actor)


def test_what_is_expected_joins_what_is_still_reviewed(sees: Sees, image: Image, reviewer: Any) -> None:
    (incident,) = sees(started("/bin/sh"))
    expect(incident, reviewer)
    assert BaselineItem.objects.filter(baseline__image=image, name="/bin/sh").exists()
    assert IncidentEntry.objects.filter(what="it joins the baseline of its image").exists()
    sees(started("/bin/sh"))
    assert Incident.objects.live().count() == 0


def test_a_locked_baseline_grows_once_somebody_else_approves(
    sees: Sees, image: Image, reviewer: Any, developer: Any
) -> None:
    change = baselines.ask(Baseline.objects.get(image=image).pk, "It is what it does.", actor=developer)
    baselines.vote(change.pk, Choice.APPROVE, actor=reviewer)
    (incident,) = sees(started("/bin/sh"))
    expect(incident, reviewer)
    change = BaselineChange.objects.latest("pk")
    assert (change.what, change.asked_by.username) == ("join", reviewer.username)
    assert not BaselineItem.objects.filter(baseline__image=image, name="/bin/sh").exists()
    assert IncidentEntry.objects.filter(what__contains="once somebody else approves").exists()


def test_an_incident_of_another_program_joins_nothing(sees: Sees, image: Image, reviewer: Any) -> None:
    sees(started("/bin/sh"))
    (_, other) = sees(event(rule="Write below etc", mitre=("T1098",), process=Process(exe="/usr/bin/tee")))
    expect(other, reviewer)
    assert not BaselineItem.objects.filter(baseline__image=image, name="/bin/sh").exists()
