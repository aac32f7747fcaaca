"""The event store's pages: what is shown, to whom, and where it leads."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection, transaction
from django.utils import timezone
from PIL import Image

from secguard.accounts.models import Application
from secguard.events.models import Batch, Event, Retention, Sensor, Stored, Tally
from secguard.events.record import Kind, Line
from secguard.events.services import ageing
from secguard.events.services.recording import record
from secguard.workloads.models import Cluster, Workload
from tests.dashboards.test_queries import assert_constant_queries
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db
Make = Callable[..., Line]


@pytest.fixture
def happened(line: Make, application: Application) -> Callable[..., list[Line]]:
    """Lines of the first team's application, kept at the present."""

    def keep(*changes: dict[str, Any], at: datetime | None = None) -> list[Line]:
        now = timezone.now()
        owner = {"application_id": application.pk, "team_id": application.team_id, "fingerprint": None}
        lines = [line(n, **{"at": at or now, **owner, **change}) for n, change in enumerate(changes)]
        with transaction.atomic():
            return record(lines, now)

    return keep


def page(person: Person, path: str, status: int = 200) -> str:
    answer = person.client.get(path)
    assert answer.status_code == status, answer.content.decode()[:500]
    return str(answer.content.decode())


def test_what_repeats_is_one_line_with_its_number(happened: Any, viewer: Person, stranger: Person) -> None:
    happened(*[{}] * 12, {"story": "another", "title": "A file was changed", "kind": Kind.FILE})
    text = page(viewer, "/events/")
    assert text.count("A shell was started") == 1
    assert re.search(r'data-label="Times".*?>12</a>', text)
    assert "A file was changed" in text
    assert "A shell" not in page(stranger, "/events/")
    assert "Nothing happened in this period" in page(stranger, "/events/")


def test_a_story_leads_to_its_events(happened: Any, viewer: Person) -> None:
    happened(*[{}] * 3, {"story": "another", "title": "A file was changed"})
    listed = page(viewer, "/events/?period=day")
    url = re.search(r'<th scope="row"><a href="([^"]*)">A shell', listed)
    assert url
    rows = page(viewer, url[1].replace("&amp;", "&"))
    assert rows.count('data-label="When"') == 3
    assert "A file was changed" not in rows
    assert 'class="chip-label">View' not in rows


@pytest.mark.parametrize("view", ["", "view=each&"])
@pytest.mark.parametrize(
    "narrowed",
    ["kind=file", "severity=4", "source=hubble", "cluster=prod", "namespace=shop", "workload=api", "outcome=blocked",
     "q=CHANGED", "q=of+our+own", f"digest=sha256:{'a' * 64}", "story=another", "application=shop&kind=file"],
)  # fmt: skip
def test_lists_are_narrowed(view: str, narrowed: str, happened: Any, viewer: Person) -> None:
    other = {
        "story": "another", "title": "A file was changed", "kind": Kind.FILE, "severity": 4, "source": "hubble",
        "cluster": "prod", "namespace": "shop", "workload": "api", "outcome": "blocked", "rule": "A rule of our own",
        "digest": f"sha256:{'a' * 64}",
    }  # fmt: skip
    happened({}, other)
    text = page(viewer, f"/events/?{view}{narrowed}")
    assert "A file was changed" in text
    assert "A shell was started" not in text


def test_what_matches_nothing_says_so(happened: Any, viewer: Person) -> None:
    happened({})
    for query in ("q=nothing", "application=nobodys", "kind=file", "from=2020-01-01T00:00:00Z"):
        for view in ("", "view=each&"):
            assert "Nothing matches" in page(viewer, f"/events/?{view}{query}")


@pytest.mark.parametrize("view", ["", "view=each&"])
def test_a_period_is_from_its_beginning_to_before_its_end(view: str, happened: Any, viewer: Person) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for hours in (1, 2, 3):
        happened({"story": f"{hours}", "title": f"{hours} hours ago"}, at=now - timedelta(hours=hours))
    since, until = (quote((now - timedelta(hours=n)).isoformat()) for n in (2, 1))
    text = page(viewer, f"/events/?{view}from={since}&to={until}")
    assert [n for n in (1, 2, 3) if f"{n} hours ago</a>" in text] == [2]


def test_more_than_a_month_at_once_is_refused_in_words(viewer: Person) -> None:
    text = page(viewer, "/events/?from=2026-01-01T00:00:00Z&to=2026-12-01T00:00:00Z")
    assert "Nothing matches" in text


def test_pages_follow_each_other(happened: Any, viewer: Person) -> None:
    now = timezone.now()
    for n in range(60):
        happened({"story": f"{n}", "title": f"Number {n}."}, at=now - timedelta(seconds=n))
    seen: list[str] = []
    for start in ("/events/?per=25", "/events/?view=each&per=25"):
        url: str | None = start
        found: list[str] = []
        while url:
            text = page(viewer, url.replace("&amp;", "&"))
            found += re.findall(r">(Number \d+\.)<", text)
            following = re.search(r'href="([^"]*)"[^>]*rel="next"|rel="next"[^>]*href="([^"]*)"', text)
            url = (following[1] or following[2]) if following else None
        assert found == [f"Number {n}." for n in range(60)]
        seen += found
    assert len(seen) == 120


def test_one_in_full_leads_on(happened: Any, viewer: Person, stranger: Person, application: Application) -> None:
    cluster = Cluster.objects.create(name="prod")
    workload = Workload.objects.create(cluster=cluster, namespace="shop", name="api", application=application)
    told = {
        "cluster": "prod", "namespace": "shop", "workload_id": workload.pk, "detail": {"command_line": "/bin/sh -i",
        "several": ["one", "two"], "rules": {"a": "block"}}, "digest": "sha256:" + "a" * 64, "actor": "root",
    }  # fmt: skip
    happened(*[told] * 3)
    event = Event.objects.order_by("pk")[1]
    text = page(viewer, f"/events/{event.key}/")
    for words in ("/bin/sh -i", "one\ntwo", "a: block", f"/workloads/{workload.pk}/", "/applications/shop/", "root"):
        assert words in text
    assert "3 times" in text
    others = Event.objects.exclude(pk=event.pk)
    assert all(f"/events/{other.key}/" in text for other in others)
    assert "A shell" not in page(stranger, f"/events/{event.key}/", 404)


@pytest.mark.parametrize("key", ["process-20261128-1", "process-20261340-1", "nothing-20261128-1", "1"])
def test_what_is_not_there_is_not_found(key: str, administrator: Person) -> None:
    assert "There is no event" in page(administrator, f"/events/{key}/", 404)


def test_hostile_words_are_shown_as_words(happened: Any, viewer: Person) -> None:
    evil = "<script>alert(1)</script>"
    happened({"title": evil, "rule": evil, "actor": evil, "cluster": evil, "detail": {evil: [evil, {"x": evil}]}})
    for path in ("/events/", "/events/?view=each", f"/events/{Event.objects.get().key}/", f"/events/?cluster={evil}"):
        assert evil not in page(viewer, path)


def test_a_list_is_downloaded(happened: Any, viewer: Person) -> None:
    happened(*[{"detail": {"a": 1}}] * 7)
    stories = b"".join(viewer.client.get("/events/?format=csv").streaming_content).decode()
    each = b"".join(viewer.client.get("/events/?view=each&format=csv").streaming_content).decode()
    assert len(stories.splitlines()) == 2
    assert ",7," in stories
    assert len(each.splitlines()) == 1 + 5


def test_the_number_of_queries_is_constant(happened: Any, administrator: Person) -> None:
    def grow() -> None:
        n = Tally.objects.count()
        happened(*({"story": f"{n}-{i}", "cluster": f"{n}"} for i in range(4)))

    paths = ["/events/", "/events/?view=each", "/events/series/", "/api/v1/events/", "/api/v1/events/stories/"]
    assert_constant_queries(grow, paths, administrator.client.get)
    event = Event.objects.order_by("pk")[0]
    assert_constant_queries(
        lambda: happened({"story": event.story}), [f"/events/{event.key}/"], administrator.client.get
    )


# --- over time ---


def test_a_spike_leads_to_its_stories(happened: Any, viewer: Person, stranger: Person) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for day in range(1, 15):
        for near in (-1, 0, 1):
            happened(*[{}] * 3, at=hour - timedelta(days=day, hours=near))
    happened(*[{}] * 90, at=hour)
    text = page(viewer, "/events/series/?days=2")
    row = re.search(r'<td class="num"><a class="in-text" href="([^"]*)">90</a>', text)
    assert row
    assert "More than at this time of day: 3 is usual" in text
    stories = page(viewer, row[1].replace("&amp;", "&"))
    assert re.search(r'data-label="Times".*?>90</a>', stories)
    assert ">90</a>" not in page(stranger, "/events/series/?days=2")


def test_a_series_is_exported_with_the_figures_of_its_page(happened: Any, viewer: Person, stranger: Person) -> None:
    hour = timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for day in range(1, 15):
        for near in (-1, 0, 1):
            happened(*[{"cluster": "prod"}] * 3, at=hour - timedelta(days=day, hours=near))
    happened(*[{"cluster": "prod"}] * 90, at=hour)
    happened(*[{"cluster": "other", "story": "another"}] * 5, at=hour)
    query = "/events/series/?days=2&cluster=prod"
    told = json.loads(viewer.client.get(f"{query}&format=json").content)
    assert told["narrowed"] == {"cluster": "prod"}
    spike = next(point for point in told["points"] if point["outside"])
    assert (spike["from"], spike["events"], spike["usual"]) == (hour.isoformat(), 90, 3)
    chart = viewer.client.get(query).context["chart"]
    assert [sum(pair) for pair in zip(*(s.values for s in chart.series[:2]), strict=True)] == [
        point["events"] for point in told["points"]
    ]
    lines = b"".join(viewer.client.get(f"{query}&format=csv").streaming_content).decode().lstrip("\ufeff")
    assert [int(row["events"]) for row in csv.DictReader(io.StringIO(lines))] == [p["events"] for p in told["points"]]
    picture = Image.open(io.BytesIO(viewer.client.get(f"{query}&format=png").content))
    picture.load()
    assert json.loads(picture.text["secguard:figures"]) == told
    assert picture.width == 1_600
    nothing = json.loads(stranger.client.get(f"{query}&format=json").content)
    assert {point["events"] for point in nothing["points"]} == {0}


def test_a_young_store_says_that_nothing_is_known_yet(happened: Any, viewer: Person) -> None:
    happened({})
    assert "What is normal is not known yet" in page(viewer, "/events/series/")


@pytest.mark.parametrize("days", ["2", "7", "30", "90", "nonsense"])
def test_each_period_answers(days: str, happened: Any, viewer: Person) -> None:
    happened({})
    assert "Events over time" in page(viewer, f"/events/series/?days={days}&kind=process")
    assert "Events over time" in page(viewer, f"/events/series/?days={days}&kind=nonsense", 422)


# --- what it takes ---


@pytest.mark.skipif(connection.vendor == "postgresql", reason="its statistics count what was committed a while ago")
def test_the_page_of_costs_tells_what_is_and_what_will_be(happened: Any, reviewer: Person) -> None:
    assert "Not measured yet" in page(reviewer, "/events/storage/")
    for day in (1, 2):
        happened(*[{"story": f"{day}-{n}"} for n in range(10)], at=timezone.now() - timedelta(days=day))
    ageing.age()
    stored = Stored.objects.get(kind="process")
    assert stored.per_day == 10
    text = page(reviewer, "/events/storage/")
    assert ">10</td>" in text
    assert ">300</td>" in text, "thirty days of ten"
    assert "chart-events-stored" in text
    rows = re.findall(r'<tr><th scope="row">.*?</tr>|<tr>\s*<th scope="row"><a.*?</tr>', text.split("<figure")[0], re.S)
    assert len(rows) == len(Kind) + 1
    assert {row.count("<td") for row in rows} == {7}, "each kind, and all, has a number under each head"


def test_retention_is_set_on_its_page(administrator: Person) -> None:
    assert administrator.client.post("/settings/retention/", {"process": "20", "flow": ""}).status_code == 302
    assert [(r.kind, r.days) for r in Retention.objects.all()] == [("process", 20)]
    refused = administrator.client.post("/settings/retention/", {"process": "3"})
    assert refused.status_code == 422
    assert "8" in refused.content.decode()
    assert Retention.objects.get().days == 20


# --- sensors ---


def test_a_sensor_is_made_and_its_token_shown_once(operator: Person) -> None:
    made = operator.client.post("/settings/sensors/new/", {"name": "falco", "cluster": "prod", "takes_events": "on"})
    assert made.status_code == 201
    token = re.search(r'id="token">(sge_[^<]+)<', made.content.decode())
    assert token
    sensor = Sensor.objects.get()
    assert (sensor.name, sensor.cluster, sensor.takes_events, sensor.takes_flows) == ("falco", "prod", True, False)
    text = page(operator, f"/settings/sensors/{sensor.pk}/")
    assert token[1] not in text
    assert "/hooks/falco/" in text
    assert "/hooks/flows/" not in text
    again = operator.client.post(f"/settings/sensors/{sensor.pk}/token/").content.decode()
    assert token[1] not in again
    assert "sge_" in again


def test_a_sensor_that_may_send_nothing_is_refused_beside_the_field(operator: Person) -> None:
    refused = operator.client.post("/settings/sensors/new/", {"name": "falco"})
    assert refused.status_code == 422
    assert "may send nothing" in refused.content.decode()
    assert not Sensor.objects.exists()


def test_the_list_of_sensors_says_what_waits_and_what_was_refused(sensor: Sensor, operator: Person) -> None:
    now = timezone.now()
    Sensor.objects.update(heard_at=now, taken=1_234, refused=5, last_refusal="Line 3 is no JSON.")
    for count, failed in ((40, None), (2, None), (7, now)):
        Batch.objects.create(
            channel="events", sensor=sensor, received_at=now, count=count, body=b"", failed_at=failed,
            failure="ValueError: odd" if failed else "",
        )  # fmt: skip
    text = page(operator, "/settings/sensors/")
    for words in ("1,234", ">5<", ">42<", "Set aside"):
        assert words in text
    text = page(operator, f"/settings/sensors/{sensor.pk}/")
    for words in ("Line 3 is no JSON.", "ValueError: odd", "Let 1 batch go"):
        assert words in text
    assert operator.client.post(f"/settings/sensors/{sensor.pk}/drop/").status_code == 302
    assert Batch.objects.count() == 2
    assert operator.client.post(f"/settings/sensors/{sensor.pk}/drop/").status_code == 409
