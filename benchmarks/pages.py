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
    "/images/{digest}/",
    "/images/{digest}/components/",
    "/repositories/",
    "/repositories/{repository}/",
    "/repositories/{repository}/tags/",
    "/risks/",
    "/risks/?q=CVE-2020",
    "/risks/{risk}/",
    "/risks/open/",
    "/scans/",
    "/decisions/",
    "/decisions/queue/",
    "/decisions/{decision}/",
    "/policy/",
    "/applications/",
    "/applications/application-1/",
    "/notifications/",
    "/feeds/",
    "/audit/",
    "/compliance/",
    "/compliance/applications/",
    "/api/v1/images/",
    "/api/v1/images/{digest}/findings/",
    "/api/v1/findings/",
    "/api/v1/findings/?search=CVE-2020-500004",
    "/api/v1/exposures/",
    "/api/v1/risks/",
    "/api/v1/scans/",
    "/api/v1/decisions/",
    "/api/v1/workloads/",
    "/api/v1/evaluations/",
    "/api/v1/audit/",
)


def run(findings: int) -> list[Measure]:
    os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    from benchmarks.estate import seed  # noqa: PLC0415
    from secguard.findings.models import Finding  # noqa: PLC0415

    begin = perf_counter()
    people = seed(findings)
    note = f"{findings:,} findings seeded in {perf_counter() - begin:.0f} s"
    places = _places()
    measures = []
    for path in PAGES:
        user = people["security-reviewer" if path.startswith("/decisions/queue/") else "administrator"]
        measures.append(_page(path, path.format(**places), user))
    return [*measures, Measure(PART, "findings of the estate", Finding.objects.count(), "", note=note)]


def _places() -> dict[str, object]:
    """What the addresses are about: an image that was judged, its repository, a risk and a decision."""
    from secguard.decisions.models import Decision  # noqa: PLC0415
    from secguard.findings.models import Exposure  # noqa: PLC0415
    from secguard.images.models import Repository  # noqa: PLC0415

    repository = Repository.objects.filter(newest_image__verdicts__isnull=False).order_by("pk")[:1].get()
    exposure = Exposure.objects.filter(repository=repository).order_by("pk")[:1].get()
    return {
        "digest": repository.newest_image.digest if repository.newest_image else "",
        "repository": repository.pk,
        "risk": exposure.risk_id,
        "decision": Decision.objects.order_by("pk")[:1].get().pk,
    }


def _page(name: str, path: str, user: object) -> Measure:
    milliseconds, words = asked(path, user)
    return Measure(PART, f"`{name}`", milliseconds, "ms", LIMIT, note=words)


def asked(path: str, user: object, rounds: int = ROUNDS) -> tuple[float, str]:
    """The milliseconds (median) that a page takes in this process once it was asked for, and how many statements.

    Raises ``RuntimeError`` where it is not shown.
    """
    from django.conf import settings  # noqa: PLC0415 - the settings are known only now
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["*"]
    client = Client(raise_request_exception=False)
    client.force_login(user)  # type: ignore[arg-type]
    first = client.get(path)
    if first.status_code != 200:
        raise RuntimeError(f"{path} answered {first.status_code}: {first.content[-2000:]!r}")
    times = []
    for _ in range(rounds):
        begin = perf_counter()
        client.get(path)
        times.append((perf_counter() - begin) * 1000)
    with CaptureQueriesContext(connection) as queries:
        client.get(path)
    slowest = max((float(q["time"]) for q in queries.captured_queries), default=0) * 1000
    return median(times), f"{len(queries)} statements, the slowest {slowest:.0f} ms"
