"""What clusters ask, over TLS: 200 connections that stay open, from a process of their own, on a large estate."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load import Measured, Plan, percentile
from benchmarks.server import _free_port, broker, fresh_database
from benchmarks.table import Measure

PART = "Admission"
OF_IMAGE = 100
CONNECTIONS = 200
RATE = 200
"""Reviews a second in the open loop: each of the connections asks once a second."""
BUDGET = 5_000
"""Milliseconds that the shipped webhooks give an answer."""
PODS = 2_000
COLD, COLD_RATE = 400, 20
OVERDUE = 10
"""Of the repositories, those whose findings are past their deadlines: their images are refused."""
VALIDATE = "/admission/v1/validate?timeout=5s"
EMPTY = "/benchmark/nothing"
WARMING, WARM_CONNECTIONS = 8, 16
ROUNDS = 5
Requests = list[tuple[str, str]]
"""(path, body)."""


@dataclass(frozen=True)
class Site:
    """A server over TLS, and a cluster that may ask it; reviews of pods that may start, and of some that may not."""

    port: int
    ca: str
    token: str
    gate: int
    one: Requests
    twenty: Requests
    refused: Requests

    def load(
        self, requests: list[tuple[str, str]], seconds: float, connections: int = CONNECTIONS, **how: Any
    ) -> Measured:
        plan = Plan(self.port, self.ca, self.token, requests, connections, seconds, **how)
        command = [sys.executable, "-m", "benchmarks.load"]
        done = subprocess.run(command, input=json.dumps(asdict(plan)), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"The load ended with {done.returncode}: {done.stderr[-2000:]}")
        found = Measured(**json.loads(done.stdout))
        if found.statuses.keys() - {"200"}:
            raise RuntimeError(f"Statuses: {found.statuses}")
        found.latencies.sort()
        return found


def run(folder: Path, findings: int) -> list[Measure]:
    url, _ = fresh_database(folder)
    _prepare(folder, url)
    began = time.perf_counter()
    images = _seed(findings)
    note = f"{images:,} images, {findings:,} findings, all judged; made in {time.perf_counter() - began:.0f} s"
    gate, token = _cluster()
    reviews = _reviews()
    with _serving(folder) as port:
        site = Site(port, str(folder / "tls.crt"), token, gate, *reviews)
        measures = [*_cold(site), *_open(site), *_throughput(site), *_containers(site)]
    return [*measures, *_snapshot(gate, images), Measure(PART, "images asked about", images, "", note=note)]


# --- what is measured ---


def _cold(site: Site) -> list[Measure]:
    """The first question about a workload: its answer and the workload are kept, its verdict's document is read."""
    found = site.load(site.one[:COLD], COLD / COLD_RATE, COLD_RATE, rate=COLD_RATE, warm_up=0.0)
    p99 = percentile(found.latencies, 0.99)
    middle, longest = median(found.latencies), found.latencies[-1]
    note = f"{COLD_RATE} new workloads a second (open loop); median {middle:.1f} ms, the longest {longest:.0f} ms"
    return [Measure(PART, "the first review of a workload: p99", p99, "ms", note=note)]


def _open(site: Site) -> list[Measure]:
    _warm(site, site.one)
    how = f"{CONNECTIONS} connections, each asks once a second (open loop, {RATE} a second)"
    found = site.load(site.one, 20, rate=RATE)
    nothing = percentile(site.load([(EMPTY, body) for _, body in site.one], 10, rate=RATE).latencies, 0.99)
    middle = f"{how}; median {median(found.latencies):.1f} ms; the view that answers nothing: p99 {nothing:.1f} ms"
    mixed = [*site.one[: len(site.refused) * 9], *site.refused]
    random.Random(5).shuffle(mixed)  # noqa: S311 - the same every time
    _warm(site, mixed)
    some = site.load(mixed, 10, rate=RATE)
    share = f"{some.denied / len(some.latencies):.0%} were refused"
    return [
        Measure(PART, "pods that may start: p99", percentile(found.latencies, 0.99), "ms", 50, note=middle),
        Measure(PART, "the longest of them", found.latencies[-1], "ms", BUDGET),
        Measure(PART, "one in ten refused: p99", percentile(some.latencies, 0.99), "ms", note=share),
    ]


def _warm(site: Site, requests: Requests) -> None:
    """Ask each, in each web process: which of them a connection reaches is chance, so all are asked again and again."""
    for _ in range(WARMING):
        done = 0
        while done < len(requests):
            done += len(site.load(requests[done:] + requests[:done], 2, WARM_CONNECTIONS, warm_up=0.0).latencies)


def _throughput(site: Site) -> list[Measure]:
    """In turns, so that both meet the same machine: each connection sends again when it has its answer."""
    empty = [(EMPTY, body) for _, body in site.one]
    pairs = [(_rate(site.load(empty, 4)), site.load(site.one, 4)) for _ in range(ROUNDS)]
    shares = [_rate(reviews) / nothing for nothing, reviews in pairs]
    reviews, nothing = median(_rate(r) for _, r in pairs), median(n for n, _ in pairs)
    longest = max(r.latencies[-1] for _, r in pairs)
    note = f"closed loop, {CONNECTIONS} connections; {reviews:,.0f} to {nothing:,.0f} a second, {ROUNDS} times in turns"
    return [
        Measure(PART, "throughput, to a view that answers nothing", median(shares), "times", 0.5, True, note),
        Measure(PART, "the longest under that load", longest, "ms", BUDGET),
    ]


def _rate(found: Measured) -> float:
    return len(found.latencies) / found.seconds


def _containers(site: Site) -> list[Measure]:
    """In turns, over one connection."""
    for several in (site.one, site.twenty):
        _warm(site, several[:100])
    times: dict[str, list[float]] = {"one": [], "twenty": []}
    for _ in range(ROUNDS):
        times["one"].append(median(site.load(site.one[:100], 2, 1, warm_up=0.2).latencies))
        times["twenty"].append(median(site.load(site.twenty[:100], 2, 1, warm_up=0.2).latencies))
    one, twenty = median(times["one"]), median(times["twenty"])
    note = f"over one connection; medians: {twenty:.2f} ms and {one:.2f} ms"
    return [Measure(PART, "a pod of 20 containers, to one of one", twenty / one, "times", 1.5, note=note)]


def _snapshot(gate: int, images: int) -> list[Measure]:
    command = [sys.executable, "-m", "benchmarks.snapshots", str(gate)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    note = f"{found['megabytes']:.1f} MB signed, {found['packed']:.1f} MB packed"
    taken = found["peak"] - found["before"]
    return [
        Measure(PART, f"an agent's snapshot of {images:,} images", found["seconds"], "s", 10, note=note),
        Measure(PART, "memory that it takes", taken, "MB", 100, note=f"{found['before']:.0f} MB before"),
    ]


# --- what it is measured on ---


def _prepare(folder: Path, url: str) -> None:
    (folder / "admission").mkdir()
    os.environ.update(
        SECGUARD_DATABASE_URL=url,
        SECGUARD_BROKER_URL=broker(url),
        SECGUARD_DATA_DIR=str(folder / "admission"),
        SECGUARD_PUBLIC_URL="https://localhost",
        SECGUARD_LOG_LEVEL="warning",
        DJANGO_SETTINGS_MODULE="benchmarks.settings",
    )
    from secguard import local  # noqa: PLC0415 - reads the environment

    local.make_folders(folder / "admission")
    local.make_key(os.environ)
    import django  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    django.setup()
    connections.close_all()  # to the database that stood there before
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)


def _seed(findings: int) -> int:
    """Every image judged for admission; those of a few repositories are refused."""
    from django.db import connection  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from benchmarks.estate import seed  # noqa: PLC0415
    from secguard.findings.models import Exposure  # noqa: PLC0415
    from secguard.images.models import Image, Repository  # noqa: PLC0415
    from secguard.policies.facts import Gate  # noqa: PLC0415
    from secguard.policies.services import judge  # noqa: PLC0415

    seed(findings, OF_IMAGE)
    late = Repository.objects.order_by("pk").values("pk")[:OVERDUE]
    Exposure.objects.exclude(repository__in=late).update(due_at=timezone.now() + timedelta(days=60))
    for image in Image.objects.order_by("pk").iterator(chunk_size=500):
        judge(image, [Gate.ADMIT])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return Image.objects.count()


def _cluster() -> tuple[int, str]:
    """(its id, its token); and a key that signs its snapshots."""
    from secguard.admission import services  # noqa: PLC0415
    from secguard.signing.services import NewKey, create_key  # noqa: PLC0415

    create_key("snapshots", NewKey(), actor=None)
    made = services.add_gate("production", services.GateEdit(), actor=None)
    return made.pk, services.renew_token(made.pk, actor=None)[1]


def _reviews() -> tuple[Requests, Requests, Requests]:
    from secguard.images.models import ImageRepository  # noqa: PLC0415
    from secguard.policies.models import Verdict  # noqa: PLC0415

    refused = set(Verdict.objects.filter(stage="admit", verdict="block").values_list("image__digest", flat=True))
    names = [
        f"{place}@{digest}"
        for place, digest in ImageRepository.objects.values_list("repository__name", "image__digest")
    ]
    good = [name for name in names if name.partition("@")[2] not in refused]
    bad = [name for name in names if name.partition("@")[2] in refused]
    choose = random.Random(3)  # noqa: S311 - the same every time
    one = [_review(n, [choose.choice(good)]) for n in range(PODS)]
    twenty = [_review(n, choose.sample(good, 20)) for n in range(100)]
    return one, twenty, [_review(n, [choose.choice(bad)]) for n in range(PODS // 10)]


def _review(number: int, images: Sequence[str]) -> tuple[str, str]:
    """A pod of a ReplicaSet, as a controller makes it."""
    containers = [
        {"name": f"c{n}", "image": image, "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
         "env": [{"name": f"NAME_{k}", "value": "x" * 20} for k in range(5)]}
        for n, image in enumerate(images)
    ]  # fmt: skip
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"web{number}-abc", "controller": True, "uid": "1"}
    labels = {"app": f"web{number}", "pod-template-hash": "abc"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"web{number}-abc-xyz", "labels": labels, "ownerReferences": [owner]},
        "spec": {"containers": containers, "serviceAccountName": "default", "securityContext": {"runAsNonRoot": True}},
    }
    request = {
        "uid": f"{number:08}-0000-0000-0000-000000000000",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": f"team-{number % 20}",
        "operation": "CREATE",
        "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
        "object": pod,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return VALIDATE, json.dumps(review, separators=(",", ":"))  # as an API server writes it


@contextmanager
def _serving(folder: Path) -> Iterator[int]:
    """The web processes of ``secguard up``, with a certificate; their port."""
    from secguard import up  # noqa: PLC0415

    port = _free_port()
    _certificate(folder)
    web = next(iter(up._children(up.plan(dict(os.environ)), [f"127.0.0.1:{port}"], folder)))
    command = [*web.command, "--certfile", str(folder / "tls.crt"), "--keyfile", str(folder / "tls.key")]
    with (folder / "tls.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            time.sleep(5)
            if process.poll() is not None:
                raise RuntimeError(f"The server did not start:\n{(folder / 'tls.log').read_text()[-3000:]}")
            yield port
        finally:
            process.terminate()
            process.wait(timeout=60)


def _certificate(folder: Path) -> None:
    """For ``localhost``, signed by itself."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    words += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(words, check=True, capture_output=True)
