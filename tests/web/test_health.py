"""What watches the server is told the truth, and nobody else reads the metrics."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.urls import path

from secguard.web import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", health.metrics_page),
    path("thing/<int:number>/", lambda request, number: health.healthz(request)),
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrated", False)
    monkeypatch.setattr(health, "_details", {})


def test_healthz_touches_no_database(client: Client) -> None:
    """No database mark on this test: a query would fail it."""
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.django_db
def test_readyz_is_ready_when_the_database_answers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrations", lambda: "ok")
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "checks": {"database": "ok", "migrations": "ok"}}


@pytest.mark.django_db
def test_readyz_names_what_is_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    class Executor:
        def __init__(self, _connection: object) -> None:
            self.loader = self
            self.graph = self

        def leaf_nodes(self) -> list[str]:
            return ["a"]

        def migration_plan(self, targets: list[str]) -> list[str]:
            return targets

    monkeypatch.setattr(health, "MigrationExecutor", Executor)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert "1 not applied" in response.json()["checks"]["migrations"]


@pytest.mark.django_db
def test_readyz_says_when_the_database_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("could not connect to 10.0.0.3")

    monkeypatch.setattr(connection, "cursor", away)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {"database": "not reachable"}
    assert "10.0.0.3" not in response.content.decode()


@pytest.mark.django_db
def test_a_detail_that_fails_is_said_and_leaves_it_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ConnectionError("redis://:password@host")

    monkeypatch.setattr(health, "_migrations", lambda: "ok")
    health.register_detail("broker", broken)
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["checks"]["broker"] == "failed: ConnectionError"


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("10.0.0.5", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "10.0.0.5"}, 403),
        ("", {}, 403),
    ],
)
def test_without_a_token_metrics_are_for_this_machine(
    client: Client, address: str, headers: dict[str, str], status: int
) -> None:
    assert client.get("/metrics", headers=headers, REMOTE_ADDR=address).status_code == status


@pytest.mark.parametrize(("given", "status"), [("Bearer right", 200), ("Bearer wrong", 403), ("", 403)])
def test_with_a_token_metrics_are_for_who_has_it(client: Client, settings: Any, given: str, status: int) -> None:
    settings.METRICS_TOKEN = "right"
    headers = {"authorization": given} if given else {}
    assert client.get("/metrics", headers=headers, REMOTE_ADDR="127.0.0.1").status_code == status


def test_requests_are_counted_by_route_and_never_by_path(client: Client) -> None:
    for number in (1, 2, 3):
        client.get(f"/thing/{number}/")
    client.get("/wp-login.php")
    text = client.get("/metrics").content.decode()
    assert 'secguard_http_requests_total{method="GET",route="thing/<int:number>/",status="200"} 3.0' in text
    assert 'route="none"' in text
    assert "wp-login" not in text
