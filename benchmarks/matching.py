"""2,000,000 components of 10,000 images against a feed's update of 1,000 advisories, and one urgent advisory.

The update is stored and the job that follows is done in this process, on one connection; images are built as estates
are: on some 60 base images, with a long tail of packages of languages. Of the update's advisories half name a package
that is there, and half of these hit versions that are.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.table import Measure

PART = "Matching without a new scan"
IMAGES, BASES, REPOSITORIES = 10_000, 60, 1_000
OS_BUILDS, OF_BASE = 3_000, 120
PACKAGES, VERSIONS, OF_IMAGE = 5_000, 4, 80
KNOWN, UPDATE = 3_000, 1_000


class Run:
    """A job's run, as its handler sees it: nobody looks at its progress."""

    job_id, attempt = 0, 1
    args: dict[str, Any] = {}

    def progress(self, text: str, done: int = 0, total: int = 0) -> None: ...


def run() -> list[Measure]:
    os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    begin = perf_counter()
    user = _seed()
    _analyze()
    choose = random.Random(11)  # noqa: S311 - the same every time
    _store([_advisory(n, choose) for n in range(KNOWN)])
    _rematch()
    _analyze()
    note = f"{IMAGES * (OF_BASE + OF_IMAGE):,} components, {KNOWN:,} advisories before; made in "
    note += f"{perf_counter() - begin:.0f} s"
    return [*_update(choose, note), *_urgent(user)]


def _update(choose: random.Random, note: str) -> list[Measure]:
    _forget_peak()
    begin = perf_counter()
    _store([_advisory(KNOWN + n, choose) for n in range(UPDATE)])
    stored = perf_counter() - begin
    done = _rematch()
    seconds = perf_counter() - begin
    words = f"{done['builds']:,} builds matched, {done['introduced']:,} findings new in {done['images']:,} images; "
    words += f"storing took {stored:.1f} s of it; {note}"
    return [
        Measure(PART, "1,000 advisories to the findings of every image", seconds, "s", 60, note=words),
        Measure(PART, "resident at most, of that process", _peak(), "MB", 1000),
    ]


def _urgent(user: Any) -> list[Measure]:
    """A flaw in the package that most images have: from the advisory in hand to the first page of who is hit."""
    from django.conf import settings  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["*"]
    client = Client()
    client.force_login(user)
    path = "/api/v1/advisories/CVE-2026-99999/affected/?limit=100"
    client.get("/api/v1/advisories/CVE-2025-10000/affected/")  # routes and imports
    entry = _osv(99_999, "npm", "package0", "9.0.0")
    begin = perf_counter()
    _store([entry])
    stored = perf_counter() - begin
    answer = client.get(path)
    seconds = perf_counter() - begin
    found = answer.json()
    running = sum(bool(row["workloads"]) for row in found["results"])
    words = f"{found['count']:,} images, {running} of the first 100 run; storing took {stored * 1000:.0f} ms of it"
    begin = perf_counter()
    done = _rematch()
    spread = perf_counter() - begin
    return [
        Measure(PART, "one urgent advisory to its images and workloads", seconds * 1000, "ms", 1000, note=words),
        Measure(PART, "and to the findings of them all", spread, "s", None, note=f"{done['introduced']:,} new"),
    ]


# --- the estate ---


def _seed() -> Any:
    from django.db import transaction  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from secguard import bulk  # noqa: PLC0415
    from secguard.accounts.models import Application, Membership, Team, User  # noqa: PLC0415
    from secguard.images.models import Image, ImageComponent, ImageRepository, Registry, Repository  # noqa: PLC0415
    from secguard.workloads.models import Cluster, Workload  # noqa: PLC0415

    now = timezone.now()
    user = User.objects.create(username=f"matching{now.timestamp():.0f}")
    Membership.objects.create(user=user, role="administrator")
    team = Team.objects.create(name="Matching", slug="matching")
    application = Application.objects.create(name="Matching", slug="matching", team=team)
    registry = Registry.objects.create(host="matching.example")
    described = ("digest", "is_digest_asserted", "config_digest", "os_name", "os_version", "architecture", "labels")
    counted = ("media_type", "variant", "first_seen_at", "worst_severity", "open_findings", "severity_counts")
    with transaction.atomic():
        rows: Iterator[tuple[Any, ...]] = (
            (f"sha256:{10**13 + n:064x}", True, "", "debian", "12", "amd64", {}, "", "", now, 0, 0, {}, False)
            for n in range(IMAGES)
        )
        images = bulk.insert(Image, (*described, *counted, "is_sample"), rows)
        newest = images[-REPOSITORIES:]
        repositories = bulk.insert(
            Repository,
            ("registry_id", "application_id", "path", "name", "newest_image_id", "created_at"),
            (
                (registry.pk, application.pk, f"app{n}", f"matching.example/app{n}", image, now)
                for n, image in enumerate(newest)
            ),
        )
        lies = ((image, repositories[n % REPOSITORIES], now) for n, image in enumerate(images))
        bulk.insert(ImageRepository, ("image_id", "repository_id", "first_seen_at"), lies)
        columns = ("image_id", "component_id", "build_id", "purl", "layer", "path", "licenses")
        bulk.insert(ImageComponent, columns, _inventories(images))
    cluster = Cluster.objects.create(name="matching")
    for n in range(0, REPOSITORIES, 4):
        workload = Workload.objects.create(cluster=cluster, name=f"app{n}", application=application)
        workload.images.add(newest[n])
    return user


def _inventories(images: list[int]) -> Iterator[tuple[Any, ...]]:
    """200 components an image: those of its base, and packages of a language by Zipf's law."""
    choose = random.Random(7)  # noqa: S311 - the same estate every time
    system = _builds("deb", [(f"lib{n}", "Debian:12", f"source{n // 3}", f"1.{n % 3}-1") for n in range(OS_BUILDS)])
    names = [(f"package{n // VERSIONS}", f"1.{n % VERSIONS}.0") for n in range(PACKAGES * VERSIONS)]
    language = _builds("npm", [(name, "npm", name, version) for name, version in names])
    bases = [choose.sample(system, OF_BASE) for _ in range(BASES)]
    weights = list(accumulate(1 / (1 + n) for n in range(PACKAGES)))
    for number, image in enumerate(images):
        chosen: set[int] = set()
        while len(chosen) < OF_IMAGE:
            chosen.update(choose.choices(range(PACKAGES), cum_weights=weights, k=OF_IMAGE - len(chosen)))
        own = [language[n * VERSIONS + choose.randrange(VERSIONS)] for n in sorted(chosen)]
        for component, build, purl in (*bases[number % BASES], *own):
            yield image, component, build, purl, "sha256:0", "usr/lib", []


def _builds(type_: str, wanted: list[tuple[str, str, str, str]]) -> list[tuple[int, int, str]]:
    """(component, build, purl) of each (name, ecosystem, source, version)."""
    from secguard import bulk  # noqa: PLC0415
    from secguard.images.models import Component, ComponentBuild  # noqa: PLC0415

    space = "deb/debian" if type_ == "deb" else type_
    packages = [f"pkg:{space}/{name}" for name, *_ in wanted]
    purls = [f"{package}@{words[3]}" for package, words in zip(packages, wanted, strict=True)]
    rows = ((purl, package, type_, w[0], w[3]) for purl, package, w in zip(purls, packages, wanted, strict=True))
    components = bulk.insert(Component, ("purl", "package", "type", "name", "version"), rows)
    columns = ("component_id", "ecosystem", "source_name", "source_version", "matched_to")
    builds = bulk.insert(ComponentBuild, columns, ((pk, *w[1:], 0) for pk, w in zip(components, wanted, strict=True)))
    return list(zip(components, builds, purls, strict=True))


# --- advisories ---


def _advisory(n: int, choose: random.Random) -> dict[str, Any]:
    here, hits = n % 2 == 0, n % 4 == 0
    if n % 5 < 2:
        name = f"source{choose.randrange(OS_BUILDS // 3) + (0 if here else OS_BUILDS)}"
        return _osv(n, "Debian:12", name, "1.1-1" if hits else "0.5-1")
    name = f"package{choose.randrange(PACKAGES) + (0 if here else PACKAGES)}"
    return _osv(n, "npm", name, "1.2.0" if hits else "0.5.0")


def _osv(n: int, ecosystem: str, name: str, fixed: str) -> dict[str, Any]:
    cve = f"CVE-{2026 if n == 99_999 else 2025}-{n if n == 99_999 else 10_000 + n}"
    events = [{"introduced": "0"}, {"fixed": fixed}]
    package = {"ecosystem": ecosystem, "name": name}
    type_ = "SEMVER" if ecosystem == "npm" else "ECOSYSTEM"
    return {
        "schema_version": "1.7.0",
        "id": f"BENCH-{cve}",
        "aliases": [cve],
        "modified": "2026-01-01T00:00:00Z",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:N"}],
        "affected": [{"package": package, "ranges": [{"type": type_, "events": events}]}],
    }


def _store(entries: list[dict[str, Any]]) -> None:
    """As an import's job does, from the file on."""
    import tempfile  # noqa: PLC0415

    from secguard.advisories.services import take_in  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write("\n".join(json.dumps(e) for e in entries).encode())
        file.flush()
        take_in(Path(file.name), "update.jsonl")


def _rematch() -> dict[str, Any]:
    from secguard.scans.services.rematching import rematch  # noqa: PLC0415

    return dict(rematch(Run()))


def _analyze() -> None:
    from django.db import connection  # noqa: PLC0415

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _forget_peak() -> None:
    """Let the process's peak begin anew (proc(5), /proc/pid/clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
