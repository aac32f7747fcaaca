"""Drafts tried over a large estate, in this process: how fast each kind of thing is judged again, and how fast an SSVC
table counts every deadline anew."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any

from benchmarks.table import Measure

PART = "The policy laboratory"
LARGEST = 200_000
"""Findings of the estate; more would measure the same for longer."""
PROMOTIONS = 5_000
POLICY_MINUTES, DEADLINE_SECONDS = 10, 60
BLOCK_HIGH = """\
name: stricter
rules:
  - id: high
    each: finding
    when: finding.severity_rank >= 4
    effect: block
    message: "{count} severe in {reference}"
"""
SSVC = """
ssvc:
  table: cisa
  fix_within_days: {act: 7, attend: 30, "track*": 90, track: none}
  impact: medium
"""


def run(findings: int) -> list[Measure]:
    os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
    import django  # noqa: PLC0415 - the settings are known only now

    django.setup()
    from benchmarks.estate import seed  # noqa: PLC0415

    people = seed(min(findings, LARGEST))
    _recorded()
    return [*_deadlines(), *_tried(people["administrator"])]


def _recorded() -> None:
    """Verdicts of every newest image at every gate, and promotions that rest on those of the gate to production."""
    from django.utils import timezone  # noqa: PLC0415

    from secguard.images.models import Image, Registry, Repository  # noqa: PLC0415
    from secguard.policies.facts import Gate  # noqa: PLC0415
    from secguard.policies.models import Evaluation  # noqa: PLC0415
    from secguard.policies.services import judge  # noqa: PLC0415
    from secguard.promotion.models import Environment, Promotion  # noqa: PLC0415

    now = timezone.now()
    newest = Repository.objects.exclude(newest_image=None).values("newest_image")
    for image in Image.objects.filter(pk__in=newest, verdicts__isnull=True):
        judge(image, list(Gate), now)
    registry = Registry.objects.get_or_create(host="live.example")[0]
    places = [
        Environment.objects.create(name=f"bench-{n}-{now.timestamp():.0f}", position=1000 + n, registry=registry)
        for n in range(3)
    ]
    rows = list(Evaluation.objects.filter(stage="promote").select_related("image"))
    sources = {e.image_id: e.image.places.values_list("repository_id", flat=True)[0] for e in rows}
    made = (
        Promotion(
            digest=f"sha256:{n:064x}",
            image_id=e.image_id,
            asked_reference="bench",
            source_id=sources[e.image_id],
            environment=places[n % 3],
            destination_name=f"live.example/bench{n}",
            status="refused" if e.verdict == "block" else "promoted",
            evaluation_ids=[e.pk],
            requested_at=now - timedelta(minutes=n % 600),
        )
        for n, e in ((n, rows[n % len(rows)]) for n in range(PROMOTIONS))
    )
    Promotion.objects.bulk_create(made, batch_size=1_000)


def _deadlines() -> list[Measure]:
    """What it takes to put an appetite in force: every open deadline counted anew, by rows and by a table."""
    from secguard.decisions import services  # noqa: PLC0415
    from secguard.decisions.services.appetite import default_source  # noqa: PLC0415
    from secguard.findings.models import Exposure  # noqa: PLC0415

    open_risks = Exposure.objects.present().count()
    stamp = f"# {secrets.token_hex(4)}\n"
    found = []
    for word, source in (("rows", stamp + default_source()), ("CISA's SSVC table", stamp + default_source() + SSVC)):
        seconds, _ = _timed(lambda source=source: services.create_appetite(source, actor=None, activate=True))  # type: ignore[misc]
        what = f"a risk appetite put in force, deadlines by {word}"
        found.append(Measure(PART, what, seconds, "s", DEADLINE_SECONDS, note=f"{open_risks:,} open risks"))
    services.activate_appetite(1, actor=None)
    return found


def _tried(user: Any) -> list[Measure]:
    from django.utils import timezone  # noqa: PLC0415

    from secguard.decisions.services.appetite import default_source  # noqa: PLC0415
    from secguard.laboratory.services import Draft, ask  # noqa: PLC0415

    since = timezone.now() - timedelta(days=30)
    drafts = {
        "a stricter policy tried over estate and 30 days": Draft("policy", BLOCK_HIGH, since),
        "a risk appetite with an SSVC table tried likewise": Draft("appetite", default_source() + SSVC, since),
    }
    return [
        measure
        for what, draft in drafts.items()
        for measure in _simulated(what, ask(draft, actor=user), timezone.now())
    ]


def _simulated(what: str, simulation: Any, now: datetime) -> list[Measure]:
    from secguard.laboratory.queries import figures  # noqa: PLC0415
    from secguard.laboratory.services import replay_draft  # noqa: PLC0415

    run = _Run(simulation.pk)
    seconds, _ = _timed(lambda: replay_draft(run))  # type: ignore[arg-type]
    simulation.refresh_from_db()
    totals = {name: n for name, n in simulation.totals.items() if isinstance(n, int) and not isinstance(n, bool)}
    told = ", ".join(f"{n:,} {name}" for name, n in totals.items())
    rates = ", ".join(f"{name} {rate:,.0f} a second" for name, rate in run.rates().items())
    shown, _ = _timed(lambda: figures(simulation.asked_by, simulation))
    rows = simulation.turned.count()
    return [
        Measure(PART, what, seconds, "s", POLICY_MINUTES * 60, note=f"{told}; {rates}"),
        Measure(PART, "its numbers on a page", shown * 1000, "ms", 500, note=f"of {rows:,} turned verdicts"),
    ]


class _Run:
    """A job's run as far as a simulation asks of it; notes how fast each part went."""

    def __init__(self, simulation: int) -> None:
        self.args = {"simulation": simulation}
        self._parts: dict[str, tuple[float, float, int]] = {}
        self._last = perf_counter()

    def progress(self, text: str, done: int = 0, total: int = 0) -> None:
        began = self._parts[text][0] if text in self._parts else self._last
        self._last = perf_counter()
        self._parts[text] = (began, self._last, done)

    def require_lease(self) -> None:
        """There is nobody else."""

    def rates(self) -> dict[str, float]:
        return {text: done / max(end - began, 1e-6) for text, (began, end, done) in self._parts.items() if done}


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    begin = perf_counter()
    found = act()
    return perf_counter() - begin, found
