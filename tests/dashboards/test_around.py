"""From a spike to its events, and from an event to the image, its decisions and its people; nothing of another team."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.events.models import Event, Sensor
from secguard.images.models import Image
from secguard.incidents.models import Incident
from secguard.workloads.models import Workload
from tests.dashboards.test_queries import assert_constant_queries
from tests.dashboards.test_views import text_of
from tests.incidents.conftest import event, take

pytestmark = pytest.mark.django_db


@pytest.fixture
def alert(organisation: Any, application: Any) -> Event:
    """A shell in the workload of a repository with decisions and promotions."""
    organisation.grow(application)
    sensor = Sensor.objects.create(name="falco", cluster="production", token_hash="0" * 64)
    take(sensor, [event(n, workload="service-1") for n in range(40)], timezone.now())
    Incident.objects.update(assigned_to=organisation.people["operator"])
    return Event.objects.filter(kind="process").order_by("pk")[0]


def part(text: str, key: str) -> str:
    """A card of the page, its words with single spaces."""
    found = re.search(rf'aria-labelledby="part-{key}">(.*?)</section>', text, re.S)
    assert found, key
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", found[1]))


def test_an_event_leads_to_its_image_decisions_and_people(alert: Event, organisation: Any) -> None:
    image = Workload.objects.get(name="service-1").images.get()
    text = text_of(organisation.people["developer"].client.get(f"/events/{alert.key}/"))
    assert f'href="/images/{image.digest}/"' in text
    told = part(text, "image")
    assert "reg.example/shop/service-1:2 may not be promoted" in told
    assert "1 critical, 1 high, 1 medium, 1 low" in told
    decisions = part(text, "decisions")
    assert "accept CVE-2026-0013" in decisions
    assert "waits for a yes" in decisions
    assert "CVE-2026-0014" in decisions
    assert "CVE-2026-0012" not in decisions, "it was rejected"
    people = part(text, "people")
    for words in ("Payments owns Shop", "Developer asked for decision", "Reviewer approved decision",
                  "Operator has taken incident", "Operator asked for its promotion to stage-1"):  # fmt: skip
        assert words in people
    assert "open; taken by Operator" in part(text, "incidents")


def test_a_spike_leads_to_its_stories_their_events_and_one_of_them(alert: Event, organisation: Any) -> None:
    """As one clicks: the series' outlying hour, its story, the events, one event, its image."""
    client = organisation.people["developer"].client
    sensor, hour = Sensor.objects.get(name="falco"), timezone.now().replace(minute=0, second=0, microsecond=0)
    for day in range(1, 15):
        for near in (-1, 0, 1):
            at = hour - timedelta(days=day, hours=near)
            take(sensor, [event(day * 10 + near, workload="service-1", rule="Quiet")], at)
    text = text_of(client.get("/events/series/?days=2&kind=process"))
    spike = re.search(r'<td class="num"><a class="in-text" href="([^"]*)">40</a>', text)
    assert spike, "the hour of the alert is outside the normal range"
    stories = text_of(client.get(spike[1].replace("&amp;", "&")))
    story = re.search(r'href="(/events/\?view=each[^"]*)"[^>]*>[^<]*Terminal shell', stories)
    assert story
    events = text_of(client.get(story[1].replace("&amp;", "&")))
    (key, *_) = re.findall(r'href="/events/([a-z-]+-\d{8}-\d+)/"', events)
    assert part(text_of(client.get(f"/events/{key}/")), "people")


def test_a_stranger_sees_nothing_and_a_colleague_nothing_of_the_others(
    alert: Event, organisation: Any, stranger: Any, other_application: Any
) -> None:
    assert stranger.client.get(f"/events/{alert.key}/").status_code == 404
    # An event of the stranger's own names a digest that lies with another team.
    image = Image.objects.get(workloads__name="service-1")
    theirs = Workload.objects.create(
        cluster=Workload.objects.get(name="service-1").cluster, namespace="shop", name="theirs",
        application=other_application,
    )  # fmt: skip
    sensor = Sensor.objects.get(name="falco")
    take(sensor, [event(99, workload="theirs", rule="Theirs", digest=image.digest)], timezone.now())
    own = Event.objects.get(workload_id=theirs.pk)
    text = text_of(stranger.client.get(f"/events/{own.key}/"))
    assert "not known here" in part(text, "image")
    assert "Theirs" in part(text, "incidents")
    for secret in ("CVE-2026", "reg.example", "Payments", "Reviewer", "Operator"):
        assert secret not in text


def test_an_event_asks_the_same_number_of_queries_at_any_size(
    alert: Event, organisation: Any, application: Any
) -> None:
    workload, sensor = Workload.objects.get(name="service-1"), Sensor.objects.get(name="falco")

    def grow() -> None:
        """Another image, and another technique within the story."""
        organisation.grow(application)
        workload.images.add(Image.objects.order_by("-pk")[0])
        take(sensor, [event(1_000 + organisation.steps, workload="service-1")], timezone.now())

    assert_constant_queries(grow, [f"/events/{alert.key}/"], organisation.people["reviewer"].client.get)
