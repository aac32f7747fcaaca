"""Measurements for Prometheus: requests by route, and what upper apps count.

Labels are routes (``api/v1/images/<digest>/``), never paths: their number is bounded by the code, not by visitors.
With several server processes set PROMETHEUS_MULTIPROC_DIR (prometheus-client's own variable) to an empty folder.
"""

from __future__ import annotations

import os

from django.http import HttpRequest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUESTS = Counter("secguard_http_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(
    "secguard_http_request_seconds", "Time to the answer's first byte.", ["method", "route"], buckets=BUCKETS
)


def observe(request: HttpRequest, status: int, seconds: float) -> None:
    """Counts one answered request."""
    method = request.method if request.method in METHODS else "other"
    match = getattr(request, "resolver_match", None)
    route = match.route if match else "none"
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(method, route).observe(seconds)


def exposition() -> bytes:
    """The text that Prometheus scrapes, of all processes where they share a folder."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
