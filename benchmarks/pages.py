"""List pages and dashboards over a large estate: server time and statements, in this process, middleware and all."""

from __future__ import annotations

import os
import secrets
from statistics import median
from time import perf_counter

from benchmarks.table import Measure

PART = "List pages and dashboards"
ROUNDS = 5
LIMIT = 100
PAGES = (
    "/",
    "/images/",
    "/images/?q=app",
    "/risks/",
    "/risks/?q=CVE-2020",
    "/risks/open/",
    "/decisions/",
    "/decisions/queue/",
    "/policy/",
    "/applications/",
    "/audit/",
    "/compliance/",
    "/api/v1/images/",
    "/api/v1/findings/",
    "/api/v1/risks/",
    "/api/v1/scans/",
)


def run(findings: int) -> list[Measure]:
    os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    from benchmarks.estate import seed  # noqa: PLC0415

    begin = perf_counter()
    user = seed(findings)
    note = f"{findings:,} findings seeded in {perf_counter() - begin:.0f} s"
    return [measure for path in PAGES for measure in _page(path, user, note)]


def _page(path: str, user: object, note: str) -> list[Measure]:
    from django.conf import settings  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["*"]
    client = Client(raise_request_exception=False)
    client.force_login(user)  # type: ignore[arg-type]
    first = client.get(path)
    if first.status_code != 200:
        return [Measure(PART, f"`{path}` answered {first.status_code}", 0, "ms", note="not measured")]
    times = []
    for _ in range(ROUNDS):
        begin = perf_counter()
        client.get(path)
        times.append((perf_counter() - begin) * 1000)
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    slowest = max((float(q["time"]) for q in queries.captured_queries), default=0) * 1000
    words = f"{len(queries)} statements, the slowest {slowest:.0f} ms"
    return [Measure(PART, f"`{path}`", median(times), "ms", LIMIT, note=words)]
