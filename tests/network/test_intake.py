"""What sources of flows post: taken durably, once, folded into edges and tied to what runs; or refused."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.events.models import Batch, Sensor
from secguard.network import readers
from secguard.network.models import Edge, Heard, Hour, Loss, Peer, Print
from secguard.network.services import keeping
from secguard.workloads.models import Cluster, Container, Workload

pytestmark = pytest.mark.django_db
TOKEN = "sge_a-source-of-flows"
HOOK = "/hooks/flows/"


@pytest.fixture
def sensor() -> Sensor:
    return Sensor.objects.create(
        name="hubble", cluster="prod", takes_flows=True, token_hash=hashlib.sha256(TOKEN.encode()).hexdigest()
    )


@pytest.fixture
def db_workload(application: Application) -> Workload:
    cluster = Cluster.objects.create(name="prod")
    return Workload.objects.create(
        cluster=cluster, namespace="shop", kind="StatefulSet", name="db", application=application
    )


WEB = {"namespace": "shop", "workload": "web", "workload_kind": "Deployment", "labels": ["app=web"], "ip": "10.0.1.10"}
DB = {"namespace": "shop", "workload": "db", "workload_kind": "StatefulSet", "ip": "10.0.1.11"}


def flow(n: int = 0, source: Any = WEB, destination: Any = DB, **changes: Any) -> dict[str, Any]:
    at = timezone.now() - timedelta(minutes=5, microseconds=n)
    return {
        "time": at.isoformat(), "verdict": "forwarded", "source": source, "destination": destination,
        "protocol": "tcp", "port": 5432, "bytes": 100, "id": str(n),
    } | changes  # fmt: skip


def document(*flows: Any, **more: Any) -> dict[str, Any]:
    return {"schema": "secguard-flows/v1", "source": "mesh", "flows": list(flows)} | more


def send(body: Any, token: str = TOKEN, **headers: str) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client().post(
        HOOK, raw, content_type="application/json", headers={"Authorization": f"Bearer {token}"} | headers
    )


@pytest.mark.usefixtures("sensor")
def test_flows_become_edges_of_workloads(db_workload: Workload, run_jobs: Callable[[], int]) -> None:
    answer = send(document(*(flow(n) for n in range(10)), flow(11, verdict="denied")))
    assert (answer.status_code, answer.json()["taken"]) == (200, 11), answer.content
    assert Batch.objects.count() == 1
    run_jobs()
    edge = Edge.objects.get(verdict="forwarded")
    assert (str(edge.source), str(edge.destination), edge.where) == ("shop/web", "shop/db", "tcp/5432")
    assert (edge.count, edge.bytes, edge.new_until) == (10, 1000, None)
    assert (edge.destination.workload, edge.source.workload, edge.source.labels) == (db_workload, None, {"app": "web"})
    assert edge.destination.networks == ["10.0.1.0/24"]
    assert sum(Hour.objects.filter(edge=edge).values_list("count", flat=True)) == 10
    assert Edge.objects.get(verdict="denied").count == 1
    assert not Batch.objects.exists()
    # What comes later is added.
    send(document(flow(20, bytes=1)))
    run_jobs()
    edge.refresh_from_db()
    assert (edge.count, edge.bytes, Peer.objects.count(), Edge.objects.count()) == (11, 1001, 2, 2)


@pytest.mark.usefixtures("sensor")
def test_what_is_sent_again_counts_once(run_jobs: Callable[[], int]) -> None:
    body = document(flow(1), flow(2), flow(1, time="2026-01-01T00:00:00Z"), flow(1, time="2026-01-01T00:00:00Z"))
    assert send(body).json()["taken"] == 4
    send(body)  # no answer came: it sends again, before and after the first is folded
    run_jobs()
    send(body)
    run_jobs()
    assert Edge.objects.get().count == 3
    Print.objects.update(received_at=timezone.now() - timedelta(hours=2))
    keeping.age(timezone.now())
    assert not Print.objects.exists()


def test_another_sensor_makes_nothing_unheard(sensor: Sensor, run_jobs: Callable[[], int]) -> None:
    other = "sge_another-source"
    Sensor.objects.create(
        name="other", cluster="test", takes_flows=True, token_hash=hashlib.sha256(other.encode()).hexdigest()
    )
    body = document(flow(1))
    send(body, token=other)
    send(body)
    run_jobs()
    assert sorted(Edge.objects.values_list("destination__cluster", "count")) == [("prod", 1), ("test", 1)]
    sensor.refresh_from_db()
    assert sensor.taken == 1


@pytest.mark.usefixtures("sensor")
def test_a_bound_sensor_cannot_speak_for_another_cluster(run_jobs: Callable[[], int]) -> None:
    send(document(flow(1, source=WEB | {"cluster": "finance"}), cluster="finance"))
    send(document(flow(2, source=WEB | {"cluster": "finance"}), cluster="prod"))
    run_jobs()
    assert set(Peer.objects.values_list("cluster", flat=True)) == {"prod"}
    assert Peer.objects.get(sort="machine").name == "finance/shop/web"


def test_a_pod_and_an_address_are_the_workload_that_lists_of_pods_told(
    sensor: Sensor, db_workload: Workload, run_jobs: Callable[[], int]
) -> None:
    Container.objects.create(
        cluster=db_workload.cluster, workload=db_workload, namespace="shop", pod="db-0", name="db",
        pod_ip="10.0.1.11", seen_at=timezone.now(),
    )  # fmt: skip
    send(document(flow(1, destination={"namespace": "shop", "pod": "db-0"}), flow(2, destination={"ip": "10.0.1.11"}),
                  flow(3, destination={"namespace": "shop", "workload": "db"})))  # fmt: skip
    run_jobs()
    edge = Edge.objects.get()
    assert (edge.count, edge.destination.workload) == (3, db_workload)


def test_an_address_of_two_pods_is_neither(sensor: Sensor, db_workload: Workload, run_jobs: Callable[[], int]) -> None:
    other = Workload.objects.create(cluster=db_workload.cluster, namespace="shop", name="log", kind="DaemonSet")
    for n, workload in enumerate((db_workload, other)):
        Container.objects.create(
            cluster=db_workload.cluster, workload=workload, namespace="shop", pod=f"p-{n}", name="c",
            pod_ip="10.0.9.9", seen_at=timezone.now(),
        )  # fmt: skip
    send(document(flow(1, destination={"ip": "10.0.9.9"})))
    run_jobs()
    assert Edge.objects.get().destination.name == "10.0.9.0/24"


@pytest.mark.usefixtures("sensor")
def test_a_broken_document_is_refused_by_itself() -> None:
    good, bad = document(flow(1)), document(flow(2, verdict="maybe"))
    answer = send("\n".join(json.dumps(d) for d in (good, bad)).encode()).json()
    assert (answer["taken"], answer["refused_count"]) == (1, 1)
    assert "line 2" in answer["refused"][0]["where"]
    alone = send(bad)
    assert alone.status_code == 422
    assert Batch.objects.count() == 1


@pytest.mark.usefixtures("sensor")
def test_the_bound_of_a_body_is_the_one_that_is_told() -> None:
    """More than a form may have, and not more than is read at once."""
    one = json.dumps(document(flow(1))).encode()
    assert send(one + b" " * (3 * 2**20)).status_code == 200
    assert send(one + b" " * readers.MAX_BYTES).status_code == 413


@pytest.mark.usefixtures("sensor")
def test_a_packed_body_is_bounded() -> None:
    assert (
        send(gzip.compress(json.dumps(document(flow(1))).encode()), **{"Content-Encoding": "gzip"}).status_code == 200
    )
    bomb = gzip.compress(b" " * (readers.MAX_BYTES + 1))
    assert send(bomb, **{"Content-Encoding": "gzip"}).status_code == 413
    assert send(gzip.compress(b"{}")[:-3], **{"Content-Encoding": "gzip"}).status_code == 422


@pytest.mark.usefixtures("sensor")
def test_who_may_not_send_flows_is_refused() -> None:
    assert send(document(flow(1)), token="sge_x").status_code == 403
    Sensor.objects.update(takes_flows=False)
    answer = send(document(flow(1)))
    assert (answer.status_code, answer.json()["code"]) == (403, "sensor-channel")
    assert not Batch.objects.exists()


@pytest.mark.usefixtures("sensor")
def test_what_was_lost_is_kept_once() -> None:
    now = timezone.now().isoformat()
    body = document(flow(1), lost=[{"time": now, "count": 17, "reason": "buffer full", "node": "node-7"}])
    assert send(body).json()["lost"] == 1
    send(body)
    loss = Loss.objects.get()
    assert (loss.count, loss.reason, loss.node, loss.cluster) == (17, "buffer full", "node-7", "prod")


@pytest.mark.usefixtures("sensor")
def test_an_edge_that_appears_after_a_while_is_new(run_jobs: Callable[[], int]) -> None:
    Heard.objects.create(cluster="prod", since=timezone.now() - timedelta(days=30), last_at=timezone.now())
    send(document(flow(1)))
    run_jobs()
    until = Edge.objects.get().new_until
    assert until is not None
    assert until > timezone.now()


@pytest.mark.usefixtures("sensor")
def test_a_scan_of_ports_is_one_edge_however_it_is_split(run_jobs: Callable[[], int]) -> None:
    for start in (1, 100, 200):
        send(document(*(flow(n, port=n) for n in range(start, start + 100))))
        run_jobs()
    assert Edge.objects.count() < 200
    many = Edge.objects.get(port=0)
    assert (many.anomaly, many.where) == ("ports", "tcp, any port")
    assert sum(Edge.objects.values_list("count", flat=True)) == 300


@pytest.mark.usefixtures("sensor")
def test_hostile_names_and_counts_are_kept_within_bounds(run_jobs: Callable[[], int]) -> None:
    odd = {"namespace": "sh\0op", "workload": "w" * 500, "workload_kind": "K" * 300}
    for n in range(3):
        send(document(*(flow(9 * n + i, source=odd, count=2**53, bytes=2**53) for i in range(1500)), cluster="c" * 400))
        run_jobs()
    edge = Edge.objects.get()
    assert edge.count >= 2**62
    assert (edge.source.namespace, len(edge.source.name), len(edge.source.kind)) == ("sh\ufffdop", 253, 50)
    assert not Batch.objects.exists()


@pytest.mark.usefixtures("sensor")
def test_what_was_not_seen_for_long_goes(run_jobs: Callable[[], int], settings: Any) -> None:
    send(document(flow(1)))
    run_jobs()
    settings.NETWORK_DAYS = 30
    assert keeping.age(timezone.now() + timedelta(days=29)) == {"edges": 0, "ends": 0}
    assert Edge.objects.exists()
    assert keeping.age(timezone.now() + timedelta(days=31))["ends"] == 2
    assert not Edge.objects.exists()
    assert not Peer.objects.exists()


def test_ends_are_tied_when_a_list_of_pods_comes_later(
    sensor: Sensor, run_jobs: Callable[[], int], application: Application
) -> None:
    send(document(flow(1)))
    run_jobs()
    cluster = Cluster.objects.create(name="prod")
    old = Workload.objects.create(cluster=cluster, namespace="shop", kind="StatefulSet", name="db")
    assert keeping.retie() == 1
    old.gone_at = timezone.now()
    old.save()
    new = Workload.objects.create(cluster=cluster, namespace="shop", kind="StatefulSet", name="db")
    assert keeping.retie() == 1
    assert Edge.objects.get().destination.workload == new


@pytest.mark.usefixtures("sensor")
def test_a_batch_costs_the_same_number_of_statements_whatever_its_size(
    run_jobs: Callable[[], int], django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    for size in (5, 400):
        send(document(*(flow(n, source=WEB | {"workload": f"w-{n}"}, port=size) for n in range(size))))
        with CaptureQueriesContext(
            connection,
        ) as found:
            run_jobs()
        counts.append(len(found))
    assert abs(counts[0] - counts[1]) <= 2


def test_what_was_set_aside_counts_once_when_it_is_tried_again(
    sensor: Sensor, operator: Any, developer: Any, monkeypatch: Any, run_jobs: Callable[[], int]
) -> None:
    """A fault in the fold sets a batch aside; once it is mended, the page and the API have it worked on again."""
    from secguard.audit.models import AuditEntry
    from secguard.events.models import Batch
    from secguard.network.services import intake

    assert send(document(flow(), flow(1, port=80))).status_code == 200
    mended = intake.save
    monkeypatch.setattr(intake, "save", lambda *_: 1 / 0)
    run_jobs()
    assert Batch.objects.get().failure.startswith("ZeroDivisionError")
    path = f"/api/v1/sensors/{sensor.pk}/retry/"
    assert developer.api.post(path).status_code == 403
    again = operator.api.post(path)
    assert (again.status_code, again.json()) == (200, {"retried": 2})
    run_jobs()
    assert Batch.objects.get().failed_at is not None, "what fails again is set aside again"
    monkeypatch.setattr(intake, "save", mended)
    assert "Try it again" in operator.client.get(f"/settings/sensors/{sensor.pk}/").content.decode()
    assert operator.client.post(f"/settings/sensors/{sensor.pk}/retry/").status_code == 302
    run_jobs()
    assert not Batch.objects.exists()
    assert sorted(Edge.objects.values_list("count", flat=True)) == [1, 1]
    assert operator.api.post(path).status_code == 409
    told = AuditEntry.objects.filter(action="sensor:edit", subject_type="sensor").values_list("details", flat=True)
    assert [d["retried"] for d in told if "retried" in d] == [2, 2]
