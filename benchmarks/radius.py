"""Before a request is sent and before it is approved: what it would cover, and the gates that would turn, at worst.

Over the whole organisation, for one risk and for as many as can be asked for at once, by somebody who sees everything:
every repository's newest image has one of them, and every gate of it was judged. Over REST and the page, in this
process, middleware and all.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.table import Measure

PART = "Blast radius"
ROUNDS = 5
LIMIT = 2_000
AT_ONCE = 500


def run(findings: int) -> list[Measure]:
    os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    from benchmarks.estate import seed  # noqa: PLC0415
    from secguard.findings.models import Finding  # noqa: PLC0415

    people = seed(findings) if not Finding.objects.exists() else _people()
    _judge_the_newest()
    user = people["administrator"]
    measures = []
    for words, risks in _chosen().items():
        named = "&".join(f"risk={pk}" for pk in risks)
        rest = f"/api/v1/decisions/blast-radius/?{named}&organisation=true"
        page = f"/decisions/new/preview/?{named}&scope=organisation&kind=accept"
        measures += [
            _asked(f"`blast-radius/`, {words}", rest, user),
            _asked(f"the page's preview, {words}", page, user),
        ]
    return [*measures, Measure(PART, "findings of the estate", Finding.objects.count(), "")]


def _people() -> dict[str, Any]:
    from secguard.accounts.models import User  # noqa: PLC0415

    return {"administrator": User.objects.filter(username__startswith="bench-administrator").order_by("pk")[:1].get()}


def _judge_the_newest() -> None:
    from secguard.images.models import Image, Repository  # noqa: PLC0415
    from secguard.policies.facts import Gate  # noqa: PLC0415
    from secguard.policies.services import judge  # noqa: PLC0415

    newest = Repository.objects.exclude(newest_image=None).values("newest_image")
    for image in Image.objects.filter(pk__in=newest, verdicts__isnull=True):
        judge(image, list(Gate))


def _chosen() -> dict[str, list[int]]:
    """The risks that stand in most repositories, exploited ones first: they are what blocks."""
    from django.db.models import Count  # noqa: PLC0415

    from secguard.findings.models import Exposure  # noqa: PLC0415

    rows = Exposure.objects.present().values("risk_id").annotate(n=Count("pk"))
    worst = list(rows.order_by("-known_exploited", "-n", "risk_id").values_list("risk_id", flat=True)[:AT_ONCE])
    return {"one risk": worst[:1], f"{len(worst)} risks at once": worst}


def _asked(name: str, path: str, user: Any) -> Measure:
    from django.conf import settings  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(user)
    times = [_timed(lambda: client.get(path, headers={"HX-Request": "true"})) for _ in range(ROUNDS)]
    answer = client.get(path, headers={"HX-Request": "true"})
    words = ""
    if "json" in answer.headers.get("Content-Type", ""):
        found = answer.json()
        reach = found["reach"]
        words = (
            f"{found['images']:,} images in {found['repositories']} repositories; "
            f"{sum(g['repositories'] for g in reach['gates'])} answers would turn, "
            f"{reach['looked']} of {reach['of']} repositories asked in the time there is"
        )
    return Measure(PART, name, median(times), "ms", LIMIT, note=words)


def _timed(call: Callable[[], Any]) -> float:
    begin = perf_counter()
    if call().status_code != 200:
        raise RuntimeError("the blast radius was not answered")
    return (perf_counter() - begin) * 1000
