"""For what watches the server: ``/healthz`` (the process answers), ``/readyz`` (it can do its work), ``/metrics``."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from secguard.errors import NotAllowed
from secguard.web import metrics

log = structlog.get_logger(__name__)

_details: dict[str, Callable[[], str]] = {}
_migrated = False


def register_detail(name: str, check: Callable[[], str]) -> None:
    """Adds ``name`` to /readyz: ``check()`` returns words, or raises. A detail that fails does not make it unready."""
    _details[name] = check


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """200 while the process answers; touches nothing else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """200 when the database answers and its migrations are applied; else 503 with what is missing."""
    checks: dict[str, Any] = {"database": _database()}
    if checks["database"] == "ok":
        checks["migrations"] = _migrations()
    ready = all(found == "ok" for found in checks.values())
    checks |= {name: _detail(check) for name, check in _details.items()}
    return JsonResponse({"status": "ok" if ready else "not ready", "checks": checks}, status=200 if ready else 503)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        log.warning("database not reachable", exc_info=error)
        return "not reachable"
    return "ok"


def _migrations() -> str:
    """Applied once means applied while this process lives, so the answer is looked up until it is yes."""
    global _migrated
    if not _migrated:
        executor = MigrationExecutor(connection)
        waiting = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
        if waiting:
            return f"{waiting} not applied: run `secguard migrate`"
        _migrated = True
    return "ok"


def _detail(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a detail is what this page is there to say
        return f"failed: {type(error).__name__}"


@require_safe
def metrics_page(request: HttpRequest) -> HttpResponse:
    """Prometheus's text, for the METRICS_TOKEN bearer, or where none is set for this machine itself."""
    if not _may_scrape(request):
        raise NotAllowed(
            "Metrics are for the monitoring system: scrape from this machine, or set SECGUARD_METRICS_TOKEN on the "
            "server and send it as `Authorization: Bearer …`.",
            code="metrics_guarded",
        )
    return HttpResponse(metrics.exposition(), content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> bool:
    if token := settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode(), token.encode())
    return _is_loopback(request)


def _is_loopback(request: HttpRequest) -> bool:
    """A request that a proxy passed on comes from elsewhere, whatever the proxy's own address."""
    if "X-Forwarded-For" in request.headers or "Forwarded" in request.headers:
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
