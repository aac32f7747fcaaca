"""The homes and the pages of what runs, over an estate and over a tenth of it: server time, middleware and all.

Each size is a database of its own, filled and asked by a process of its own (``python -m benchmarks.homes``).
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter, sleep
from typing import Any

from benchmarks.pages import asked
from benchmarks.server import broker, fresh_database
from benchmarks.table import Measure

PART = "Homes, compliance and what runs"
LIMIT, MOST_GROWTH, PAINT_MS = 150, 1.5, 1_500
PAINTS = 5
ROUNDS = 9
OF_IMAGE = 100
PAGES = (
    "/",
    "/homes/developers/",
    "/homes/operations/",
    "/homes/security/",
    "/homes/business/",
    "/homes/business/?days=365",
    "/homes/business/?team=team-1",
    "/homes/business/?format=json",
    "/landscape/",
    "/compliance/",
    "/compliance/frameworks/",
    "/compliance/frameworks/nist-800-190/",
    "/compliance/frameworks/nist-800-190/?team=team-1",
    "/compliance/frameworks/nist-800-190/controls/4.1.1/",
    "/compliance/frameworks/nist-800-190/controls/4.1.1/?state=fail&team=team-1",
    "/incidents/",
    "/events/",
    "/events/series/",
    "/workloads/",
    "/network/",
    "/network/edges/",
    "/api/v1/events/stories/",
    "/api/v1/incidents/",
)


def run(findings: int, events: int) -> list[Measure]:
    """Measure at a tenth of it and at all of it. PostgreSQL alone: the estate is written by its own means."""
    tenth = _measured(findings // 10, events // 10)
    whole = _measured(findings, events)
    if not whole or not tenth:
        return []
    measures = []
    for path, (milliseconds, words) in whole["pages"].items():
        before = tenth["pages"][path][0]
        note = f"{words}; a tenth of the estate: {before:.0f} ms"
        measures.append(Measure(PART, f"`{path}`", milliseconds, "ms", LIMIT, note=note))
    growth = {path: whole["pages"][path][0] / tenth["pages"][path][0] for path in whole["pages"]}
    worst = max(growth, key=lambda path: growth[path])
    measures.append(
        Measure(PART, "the most that a page slows down, of a tenth", growth[worst], "×", MOST_GROWTH, note=f"`{worst}`")
    )
    measures += _painted(whole)
    sizes = "; ".join(f"{number:,} {what}" for what, number in whole["sizes"].items())
    return [*measures, Measure(PART, "events of the estate", whole["sizes"]["events"], "", note=sizes)]


def _measured(findings: int, events: int) -> dict[str, Any]:
    url, _ = fresh_database(Path())
    if not url.startswith("postgres"):
        return {}
    with tempfile.TemporaryDirectory(prefix="secguard-homes-") as folder:
        env = {
            **os.environ,
            "SECGUARD_DATA_DIR": folder,
            "SECGUARD_DATABASE_URL": url,
            "SECGUARD_BROKER_URL": broker(url),
            "SECGUARD_SECRET_KEY": secrets.token_urlsafe(48),
            "SECGUARD_LOG_LEVEL": "warning",
            "PGOPTIONS": "-c synchronous_commit=off",  # nothing that is measured here writes
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        }
        command = [sys.executable, "-m", "benchmarks.homes"]
        subprocess.run([*command, "fill", str(findings), str(events)], env=env, check=True)
        done = subprocess.run([*command, "ask"], env=env, check=True, stdout=subprocess.PIPE, text=True)
        painted = subprocess.run([*command, "paint"], env=env, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "paint": json.loads(painted.stdout.splitlines()[-1])}


def _painted(whole: dict[str, Any]) -> list[Measure]:
    """None where there is no Chromium."""
    times = whole["paint"]
    if not times:
        return []
    what = f"the network's map of {whole['sizes']['workloads']:,} workloads, first painted in headless Chromium"
    note = f"median of {len(times)}, from the click to the frame that shows it; the first {times[0]:.0f} ms"
    return [Measure(PART, what, median(times), "ms", PAINT_MS, note=note)]


def main(step: str, *sizes: str) -> None:
    """``fill FINDINGS EVENTS``: the database that the settings name; ``ask``: for each page of it; ``paint``: for
    the map, in a browser. The last two print what was measured as JSON."""
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    if step == "fill":
        fill(*map(int, sizes))
    elif step == "paint":
        paint()
    else:
        ask()


def fill(findings: int, events: int) -> None:
    from django.core.management import call_command  # noqa: PLC0415 - the settings are known only now

    call_command("migrate", verbosity=0)
    from benchmarks import estate, production  # noqa: PLC0415

    begin = perf_counter()
    estate.seed(findings, OF_IMAGE)
    production.seed(events)
    _comply()
    print(f"seeded in {perf_counter() - begin:.0f} s", file=sys.stderr)  # noqa: T201 - a command's output


def ask() -> None:
    from django.core.management import call_command  # noqa: PLC0415 - the settings are known only now

    call_command("collectstatic", interactive=False, verbosity=0)
    pages = {path: asked(path, _administrator(), ROUNDS) for path in PAGES}
    print(json.dumps({"pages": pages, "sizes": _sizes()}))  # noqa: T201 - a command's output


PAINTED = """() => new Promise(done => {
    const shown = () => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
    const look = () => document.querySelector("[data-drawn]") ? shown() : requestAnimationFrame(look);
    look();
})"""
"""The milliseconds since the page was asked for, once the map is drawn and a frame has shown it."""


def paint() -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - for this step alone

    chromium, times = shutil.which("chromium"), []
    if chromium is not None:
        name, value = _session()  # before the driver's event loop, in which Django asks no database
        with _served() as url, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for _ in range(PAINTS):
                context = browser.new_context(viewport={"width": 1280, "height": 900})
                context.add_cookies([{"name": name, "value": value, "url": url}])
                page = context.new_page()
                page.goto(f"{url}/network/", wait_until="commit")
                times.append(page.evaluate(PAINTED))
                context.close()
            browser.close()
    print(json.dumps(times))  # noqa: T201 - a command's output


@contextmanager
def _served() -> Iterator[str]:
    """The address of one web process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://localhost:{port}"
    env = {**os.environ, "SECGUARD_PUBLIC_URL": url}
    command = [sys.executable, "-m", "gunicorn", "--log-level", "warning", "--threads", "4", "-b", f"127.0.0.1:{port}"]
    process = subprocess.Popen([*command, "secguard.wsgi:application"], env=env)
    try:
        until = monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or monotonic() > until:
                raise RuntimeError("the web process did not start")
            sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _session() -> tuple[str, str]:
    """The cookie of a browser in which the administrator is signed in."""
    from django.conf import settings  # noqa: PLC0415 - the settings are known only now
    from django.test import Client  # noqa: PLC0415

    client = Client()
    client.force_login(_administrator())
    return settings.SESSION_COOKIE_NAME, str(client.cookies[settings.SESSION_COOKIE_NAME].value)


def _administrator() -> Any:
    from secguard.accounts.models import User  # noqa: PLC0415 - the settings are known only now

    return User.objects.filter(username__startswith="bench-administrator").get()


def _comply() -> None:
    """Measure every application for the frameworks that come along, as the job does."""
    from secguard.compliance import services  # noqa: PLC0415

    begin = perf_counter()
    services.ensure_shipped()
    number = services.measure_everything()
    measured = perf_counter()
    services.keep_days()
    words = f"{number} applications measured in {measured - begin:.0f} s, counted in {perf_counter() - measured:.1f} s"
    print(words, file=sys.stderr)  # noqa: T201 - a command's output


def _sizes() -> dict[str, int]:
    from secguard.events.models import Event  # noqa: PLC0415
    from secguard.findings.models import Finding  # noqa: PLC0415
    from secguard.images.models import Image  # noqa: PLC0415
    from secguard.network.models import Edge  # noqa: PLC0415
    from secguard.workloads.models import Workload  # noqa: PLC0415

    tables = {"findings": Finding, "images": Image, "events": Event, "workloads": Workload, "ways": Edge}
    return {what: table.objects.count() for what, table in tables.items()}


if __name__ == "__main__":
    main(*sys.argv[1:])
