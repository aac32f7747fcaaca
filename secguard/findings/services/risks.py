"""Risks: made for what is found, and kept at what is now reported and known of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, Max, OuterRef, Q
from django.utils import timezone

from secguard import bulk
from secguard.advisories.naming import Flaw
from secguard.findings.entries import Entry
from secguard.findings.models import OPEN, Finding, Risk
from secguard.findings.services import exposures
from secguard.findings.services.following import RISKS_CHANGED
from secguard.jobs import services as job_services
from secguard.jobs.registry import Run

TELL = "findings.risks-changed"
IN_ONE_JOB = 2000

_COLUMNS = (
    "key",
    "kind",
    "vulnerability_id",
    "package",
    "rule",
    "target",
    "title",
    "description",
    "remediation",
    "severity",
    "severity_source",
    "fix_available",
    "known_exploited",
    "epss",
    "created_at",
)


def ensure_risks(entries: Iterable[Entry], flaws: Mapping[str, Flaw], at: datetime) -> tuple[dict[str, int], set[str]]:
    """Risk ids by key; the keys of those that are new."""
    wanted: dict[str, Entry] = {}
    for e in entries:
        known = wanted.get(e.risk_key)
        if known is None or known.said.severity < e.said.severity:
            wanted[e.risk_key] = e
    keys = sorted(wanted)
    found = _ids(keys)
    new = [k for k in keys if k not in found]
    if new:
        ids = bulk.insert_missing(Risk, _COLUMNS, (_row(wanted[k], flaws, at) for k in new))
        found.update(_ids(new) if ids is None else zip(new, ids, strict=True))
    return found, set(new)


def _ids(keys: Sequence[str]) -> dict[str, int]:
    return dict(Risk.objects.filter(key__in=bulk.among(keys)).values_list("key", "id")) if keys else {}


def _row(e: Entry, flaws: Mapping[str, Flaw], at: datetime) -> tuple[Any, ...]:
    flaw = flaws[e.vulnerability] if e.vulnerability else None
    return (
        e.risk_key,
        e.kind.value,
        flaw.id if flaw else None,
        e.package[:500],
        e.rule[:200],
        e.target[:1000],
        (flaw.title if flaw else e.title)[:500],
        "" if flaw else e.description,
        e.remediation,
        e.said.severity,
        e.said.severity_source[:50],
        bool(e.said.fixed_versions),
        bool(flaw and flaw.known_exploited),
        flaw.epss if flaw else None,
        at,
    )


@dataclass(slots=True)
class News:
    """What a scan's changes may mean for risks that were known before it."""

    severity: dict[int, int] = field(default_factory=dict)
    """By risk id, the worst severity that is now reported."""
    with_fix: set[int] = field(default_factory=set)
    lowered: set[int] = field(default_factory=set)
    """Risks of findings that closed, or are now less severe."""

    def reported(self, risk_id: int, severity: int, *, fix: bool) -> None:
        self.severity[risk_id] = max(severity, self.severity.get(risk_id, 0))
        if fix:
            self.with_fix.add(risk_id)


def learn(news: News, at: datetime) -> None:
    """Bring severity (the worst open one) and fix of known risks to what is now reported; tell who depends on it."""
    candidates = _candidates(news)
    if not candidates:
        return
    # Locked in one order, and read again under the lock: two scans may raise the same risk at once.
    rows = Risk.objects.filter(pk__in=bulk.among(sorted(candidates))).order_by("pk").select_for_update(no_key=True)
    worst = _worst_open(sorted(candidates))
    changed = []
    for pk, severity, fix in list(rows.values_list("pk", "severity", "fix_available")):
        now = (worst.get(pk, severity), fix or pk in news.with_fix)
        if now != (severity, fix):
            changed.append((pk, *now))
    bulk.update(Risk, ("severity", "fix_available"), changed)
    announce([row[0] for row in changed], at)


def _candidates(news: News) -> set[int]:
    """Without a lock: the risks that look as if they change. The finding rows are written already."""
    found = set()
    rows = Risk.objects.filter(pk__in=bulk.among(news.severity)) if news.severity else Risk.objects.none()
    for pk, severity, fix in rows.values_list("pk", "severity", "fix_available"):
        if severity < news.severity[pk] or (pk in news.with_fix and not fix):
            found.add(pk)
    if news.lowered:
        # The first other finding as severe ends the search: a risk that stands in a thousand images costs one look.
        as_severe = Finding.objects.filter(risk=OuterRef("pk"), status=OPEN, severity__gte=OuterRef("severity"))
        lower = Risk.objects.filter(~Exists(as_severe), pk__in=bulk.among(news.lowered))
        found.update(lower.values_list("pk", flat=True))
    return found


def _worst_open(risk_ids: Sequence[int]) -> dict[int, int]:
    rows = Finding.objects.filter(risk__in=bulk.among(risk_ids), status=OPEN).order_by("risk_id")
    return dict(rows.values_list("risk_id").annotate(Max("severity")))


def follow_flaws(flaw_ids: Sequence[int]) -> None:
    """``advisories.services.FACTS_CHANGED``: risks show their flaw's known exploitation and EPSS."""
    differs = ~Q(known_exploited=F("vulnerability__known_exploited")) | ~Q(epss=F("vulnerability__epss"))
    differs |= Q(epss=None, vulnerability__epss__isnull=False)
    rows = Risk.objects.filter(differs, vulnerability__in=bulk.among(flaw_ids)).order_by("pk")
    locked = rows.select_for_update(no_key=True, of=("self",))
    changed = list(locked.values_list("pk", "vulnerability__known_exploited", "vulnerability__epss"))
    bulk.update(Risk, ("known_exploited", "epss"), changed)
    announce([row[0] for row in changed], timezone.now())


def announce(risk_ids: Sequence[int], at: datetime) -> None:
    """Ask for the jobs that tell of these risks' new facts."""
    for start in range(0, len(risk_ids), IN_ONE_JOB):
        part = list(risk_ids[start : start + IN_ONE_JOB])
        job_services.enqueue(TELL, {"risks": part}, key=f"{part[0]}-{len(part)}-{at.timestamp()}")


def tell(run: Run) -> None:
    """The job: let everybody who depends on these risks' facts know. Safe to run twice."""
    risk_ids, at = [int(r) for r in run.args["risks"]], timezone.now()
    exposures.follow_risks(risk_ids, at)
    for follow in RISKS_CHANGED:
        follow(risk_ids, at)
