"""What sensors post: taken durably, once, tied and recorded; or refused with its place."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.events.models import Batch, Event, Sensor, Tally
from secguard.workloads.models import Cluster, Workload

pytestmark = pytest.mark.django_db
TOKEN = "sge_a-sensor-of-the-tests"
HOOK = "/hooks/falco/"


@pytest.fixture
def sensor() -> Sensor:
    return Sensor.objects.create(
        name="falco-prod", cluster="prod", token_hash=hashlib.sha256(TOKEN.encode()).hexdigest()
    )


@pytest.fixture
def web(application: Application) -> Workload:
    cluster = Cluster.objects.create(name="prod")
    return Workload.objects.create(cluster=cluster, namespace="shop", name="web", application=application)


def alert(n: int = 0, **changes: Any) -> dict[str, Any]:
    """As Falco tells it, of a shell in web."""
    fields = {
        "container.id": None,
        "k8s.ns.name": "shop",
        "k8s.pod.name": "web-5d7c9f8b4-x2x1z",
        "proc.exepath": "/bin/sh",
        "proc.cmdline": f"sh -c echo {n}",
        "user.name": "root",
    }
    return {
        "time": timezone.now().isoformat(),
        "rule": "Terminal shell in container",
        "priority": "Notice",
        "source": "syscall",
        "output": f"A shell was spawned ({n})",
        "output_fields": fields,
        **changes,
    }


def send(body: Any, token: str = TOKEN, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client().post(
        HOOK, raw, content_type="application/json", headers={"Authorization": f"Bearer {token}"} | headers
    )


@pytest.mark.usefixtures("sensor")
def test_an_alert_reaches_its_workload_and_its_team(
    web: Workload, run_jobs: Callable[[], int], application: Application
) -> None:
    answer = send(alert())
    assert (answer.status_code, answer.json()["taken"]) == (200, 1), answer.content
    run_jobs()
    event = Event.objects.get()
    assert (event.workload_id, event.application_id, event.team_id) == (web.pk, application.pk, application.team_id)
    assert (event.title, event.kind, event.source) == ("Terminal shell in container: /bin/sh", "process", "falco")
    assert (event.cluster, event.detail["tied_by"], event.actor) == ("prod", "workload", "root")
    assert not Batch.objects.exists()


@pytest.mark.usefixtures("sensor")
def test_what_cannot_be_tied_is_kept_and_shown_as_such(run_jobs: Callable[[], int]) -> None:
    send(alert())
    run_jobs()
    event = Event.objects.get()
    assert (event.workload_id, event.team_id, event.detail["tied_by"]) == (None, None, None)
    assert event.namespace == "shop"


@pytest.mark.usefixtures("sensor", "web")
def test_sent_twice_is_counted_once(run_jobs: Callable[[], int]) -> None:
    told = [alert(n) for n in range(3)]
    send(told)
    send("\n".join(map(json.dumps, reversed(told))).encode())
    run_jobs()
    send(told)
    run_jobs()
    assert Tally.objects.get().count == 3


@pytest.mark.usefixtures("sensor")
def test_a_broken_one_is_refused_by_itself(run_jobs: Callable[[], int]) -> None:
    answer = send([alert(1), {"rule": 7}, alert(2)])
    body = answer.json()
    assert (answer.status_code, body["taken"], body["refused_count"]) == (200, 2, 1)
    assert body["refused"][0]["where"].startswith("$[1]")
    run_jobs()
    sensor = Sensor.objects.get()
    assert (sensor.taken, sensor.refused) == (2, 1)
    assert "$[1]" in sensor.last_refusal


@pytest.mark.usefixtures("sensor")
@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [(b"", 422, None), (b"{", 422, None), (b'{"a": 1}', 422, None), (b"[" * 100_000, 413, None)],
)  # fmt: skip
def test_what_is_no_event_is_refused_whole(raw: bytes, status: int, code: str | None) -> None:
    answer = send(raw)
    assert answer.status_code in (status, 422), answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert not Batch.objects.exists()


@pytest.mark.usefixtures("sensor")
def test_packed_bodies_are_taken_and_bombs_are_not() -> None:
    packed = gzip.compress(json.dumps(alert()).encode())
    assert send(packed, **{"Content-Encoding": "gzip"}).json()["taken"] == 1
    bomb = gzip.compress(b" " * (17 << 20)) + packed
    answer = send(bomb, **{"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    cut = send(packed[:-9], **{"Content-Encoding": "gzip"})
    assert (cut.status_code, cut.json()["code"]) == (422, "gzip")
    assert send(packed).status_code == 422
    assert send(packed, **{"Content-Encoding": "br"}).json()["code"] == "encoding"


def test_only_a_sensor_that_may_send_events_is_heard(sensor: Sensor, administrator: Any) -> None:
    assert send(alert(), token="sge_of-nobody").json()["code"] == "sensor-token"
    assert administrator.api.post(HOOK, alert(), format="json").json()["code"] == "sensor-token"
    Sensor.objects.update(takes_events=False, takes_flows=True)
    assert send(alert()).json()["code"] == "sensor-channel"
    Sensor.objects.update(takes_events=True, is_active=False)
    assert send(alert()).json()["code"] == "sensor-off"
    assert not Batch.objects.exists()


@pytest.mark.usefixtures("sensor")
def test_secrets_are_stored_nowhere(run_jobs: Callable[[], int]) -> None:
    told = alert()
    told["output_fields"]["proc.cmdline"] = "mysql --password=hunter2-swordfish -h db"
    send(told)
    assert b"swordfish" not in b"".join(bytes(b.body) for b in Batch.objects.all())
    run_jobs()
    assert "swordfish" not in str(list(Event.objects.values())) + str(list(Tally.objects.values()))


@pytest.mark.usefixtures("sensor")
def test_a_clock_apart_is_said(run_jobs: Callable[[], int]) -> None:
    send(alert(time="2031-01-01T00:00:00Z"))
    run_jobs()
    event = Event.objects.get()
    assert abs((event.at - timezone.now()).total_seconds()) < 600
    assert "ahead" in event.detail["clock"]


def test_one_sensor_cannot_make_another_ones_event_unheard(sensor: Sensor, run_jobs: Callable[[], int]) -> None:
    other = "sge_another"
    Sensor.objects.create(name="other", cluster="prod", token_hash=hashlib.sha256(other.encode()).hexdigest())
    told = alert()
    send(told, token=other)
    send(told)
    run_jobs()
    assert sorted(Event.objects.values_list("sensor_id", flat=True)) == sorted(
        Sensor.objects.values_list("pk", flat=True)
    )


@pytest.mark.usefixtures("sensor", "web")
def test_texts_that_no_database_keeps_stop_nothing(run_jobs: Callable[[], int]) -> None:
    odd = alert(1, rule="Shell\0", hostname="\0")
    odd["output_fields"] |= {"k8s.pod.name": "we\0b", "proc.exepath": "/bin/\ud800sh", "container.id": "\0" * 12}
    answer = send([odd, alert(2)])
    assert answer.status_code == 200, answer.content
    run_jobs()
    assert not Batch.objects.exists()
    assert Event.objects.count() == answer.json()["taken"] >= 1
    assert "\0" not in str(list(Event.objects.values()))
