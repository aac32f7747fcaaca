"""Take in what a scanner says of an image: set-based, in one transaction, writing only what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Count, Max
from django.utils import timezone

from secguard.advisories.models import Vulnerability
from secguard.findings.changes import Changes, Identity, Said, Standing, compare, outcome
from secguard.findings.entries import Entry
from secguard.findings.models import CLOSED, OPEN, Exposure, Finding, Observation, Risk
from secguard.findings.severity import Severity
from secguard.images.models import Image, Repository
from secguard.jobs import services as job_services
from secguard.jobs.registry import Run

CHUNK = 5000
BATCH = 2000
NOT_REPORTED = "no scanner reports it any more"

TELL = "findings.risks-changed"

RISKS_CHANGED: list[Callable[[Sequence[int], datetime], None]] = []
"""Called by a job of its own (it may reach many images, and must hold no image's lock before) with the ids of risks
whose facts changed (a fix, exploitation, severity): decisions approved under other facts re-open, verdicts follow."""

EXPOSURES_CHANGED: list[Callable[[Sequence[int], datetime], None]] = []
"""Called inside the transaction with the ids of exposures that are new or whose facts changed."""


@dataclass(slots=True)
class Taken:
    """What a scan changed, in findings."""

    found: int = 0
    introduced: int = 0
    reopened: int = 0
    changed: int = 0
    closed: int = 0
    unchanged: int = 0
    by_severity: dict[str, int] = field(default_factory=dict)

    def as_counts(self) -> dict[str, object]:
        return {f: getattr(self, f) for f in self.__slots__}


@transaction.atomic
def take_in(
    image: Image,
    entries: Mapping[Identity, Entry],
    *,
    flaws: Mapping[str, Vulnerability],
    components: Mapping[str, int],
    scanner: str,
    scan_id: int,
    covers: Iterable[str],
    is_complete: bool,
    at: datetime,
) -> Taken:
    """Bring ``image``'s findings to what ``scanner`` now says. The caller holds the image's row lock.

    ``flaws``: canonical name to row, ``components``: canonical purl to row id, both for everything in ``entries``.
    """
    standing, ids = _standing(image, scanner)
    said = {identity: e.said for identity, e in entries.items()}
    changes = compare(said, standing, covers, is_complete=is_complete)
    risks, new_risks = _ensure_risks([entries[i] for i in changes.new], flaws)
    created = _create(image, changes.new, entries, risks, components, scanner, scan_id, at)
    touched = _hear(changes, entries, standing, scanner, scan_id, at)
    taken = Taken(
        found=len(entries), introduced=len(created), unchanged=changes.unchanged, changed=len(changes.said_again)
    )
    _settle(touched, standing, taken, at)
    _count(image, taken)
    known = [risks[k] for k, _ in changes.new if k not in new_risks]
    affected = {ids[i] for i in touched if i in ids} | set(known)
    _learn_of_risks(sorted(affected), entries, changes, risks, ids, at)
    _show_in_repositories(image, changed=bool(changes.new or touched), at=at)
    return taken


def _standing(image: Image, scanner: str) -> tuple[dict[Identity, Standing], dict[Identity, int]]:
    """What stands in the image by identity, and the risk ids of it."""
    columns = ("id", "risk__key", "risk_id", "component__purl", "risk__kind", "status", "severity", "severity_source")
    by_id: dict[int, Standing] = {}
    standing: dict[Identity, Standing] = {}
    ids: dict[Identity, int] = {}
    for pk, key, risk, purl, kind, status, severity, source, fixed in Finding.objects.filter(image=image).values_list(
        *columns, "fixed_versions"
    ):
        row = Standing(pk, kind, status == OPEN, severity, source, tuple(fixed))
        by_id[pk] = standing[key, purl or ""] = row
        ids[key, purl or ""] = risk
    words = Observation.objects.filter(finding__image=image).values_list(
        "id",
        "finding_id",
        "scanner",
        "fingerprint",
        "withdrawn_at",
        "severity",
        "severity_source",
        "reported_id",
        "fixed_versions",
        "suppressed",
    )
    for pk, finding, who, fingerprint, withdrawn, severity, source, reported, fixed, suppressed in words:
        row = by_id[finding]
        if who == scanner:
            row.observation_id = pk
            row.fingerprint = "" if withdrawn else fingerprint
        elif not withdrawn:
            row.others[who] = Said(severity, source, reported, tuple(fixed), suppressed)
    return standing, ids


def _ensure_risks(entries: list[Entry], flaws: Mapping[str, Vulnerability]) -> tuple[dict[str, int], set[str]]:
    """Risk ids by key; the keys of those that are new."""
    wanted = {e.risk_key: e for e in entries}
    found = _risk_ids(wanted)
    new = {k: e for k, e in wanted.items() if k not in found}
    if new:
        rows = [_risk(e, flaws) for _, e in sorted(new.items())]
        Risk.objects.bulk_create(rows, batch_size=BATCH, ignore_conflicts=True)
        found.update(_risk_ids(new))
    return found, set(new)


def _risk_ids(keys: Iterable[str]) -> dict[str, int]:
    wanted = sorted(keys)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), CHUNK):
        found.update(Risk.objects.filter(key__in=wanted[start : start + CHUNK]).values_list("key", "id"))
    return found


def _risk(e: Entry, flaws: Mapping[str, Vulnerability]) -> Risk:
    flaw = flaws[e.vulnerability] if e.vulnerability else None
    return Risk(
        key=e.risk_key,
        kind=e.kind.value,
        vulnerability=flaw,
        package=e.package[:500],
        rule=e.rule[:200],
        target=e.target[:1000],
        title=(flaw.title if flaw else e.title)[:500],
        description="" if flaw else e.description,
        remediation=e.remediation,
        severity=e.said.severity,
        severity_source=e.said.severity_source[:50],
        fix_available=bool(e.said.fixed_versions),
        known_exploited=bool(flaw and flaw.known_exploited),
        epss=flaw.epss if flaw else None,
    )


def _create(
    image: Image,
    new: Sequence[Identity],
    entries: Mapping[Identity, Entry],
    risks: Mapping[str, int],
    components: Mapping[str, int],
    scanner: str,
    scan_id: int,
    at: datetime,
) -> list[Finding]:
    rows = []
    for identity in new:
        e = entries[identity]
        rows.append(
            Finding(
                image_id=image.pk,
                risk_id=risks[e.risk_key],
                component_id=components[e.purl] if e.purl else None,
                severity=e.said.severity,
                severity_source=(e.said.severity_source or scanner)[:50],
                fixed_versions=e.said.fixed_versions,
                path=e.path[:1000],
                layer=e.layer[:80],
                first_seen_at=at,
            )
        )
    Finding.objects.bulk_create(rows, batch_size=BATCH)
    words = [_observation(row.pk, entries[i].said, scanner, scan_id, at) for row, i in zip(rows, new, strict=True)]
    Observation.objects.bulk_create(words, batch_size=BATCH)
    return rows


def _observation(finding_id: int, said: Said, scanner: str, scan_id: int, at: datetime) -> Observation:
    return Observation(
        finding_id=finding_id,
        scanner=scanner,
        severity=said.severity,
        severity_source=said.severity_source[:50],
        reported_id=said.reported_id[:100],
        fixed_versions=said.fixed_versions,
        suppressed=said.suppressed[:300],
        fingerprint=said.fingerprint,
        since=at,
        scan_id=scan_id,
    )


_SAID_FIELDS = (
    "severity",
    "severity_source",
    "reported_id",
    "fixed_versions",
    "suppressed",
    "fingerprint",
    "since",
    "scan_id",
    "withdrawn_at",
    "withdrawn_by_scan_id",
)


def _hear(
    changes: Changes,
    entries: Mapping[Identity, Entry],
    standing: Mapping[Identity, Standing],
    scanner: str,
    scan_id: int,
    at: datetime,
) -> dict[Identity, dict[str, Said]]:
    """Write this scanner's changed and withdrawn words; every touched finding with what all scanners say now."""
    touched: dict[Identity, dict[str, Said]] = {}
    again, first = [], []
    for identity in changes.said_again:
        said, stands = entries[identity].said, standing[identity]
        row = _observation(stands.id, said, scanner, scan_id, at)
        if stands.observation_id:
            row.pk = stands.observation_id
            again.append(row)
        else:
            first.append(row)
        touched[identity] = {**stands.others, scanner: said}
    Observation.objects.bulk_create(first, batch_size=BATCH)
    Observation.objects.bulk_update(again, _SAID_FIELDS, batch_size=500)
    gone = [standing[i].observation_id for i in changes.withdrawn]
    for start in range(0, len(gone), CHUNK):
        Observation.objects.filter(pk__in=gone[start : start + CHUNK]).update(
            withdrawn_at=at, withdrawn_by_scan_id=scan_id
        )
    touched.update({i: dict(standing[i].others) for i in changes.withdrawn})
    return touched


def _settle(
    touched: Mapping[Identity, Mapping[str, Said]], standing: Mapping[Identity, Standing], taken: Taken, at: datetime
) -> None:
    """Bring touched findings to what their scanners say: another severity or fix, closed, or open again."""
    closing, opening, changing = [], [], []
    for identity, words in touched.items():
        stands, now = standing[identity], outcome(words)
        if now is None:
            if stands.is_open:
                closing.append(stands.id)
            continue
        row = Finding(
            pk=stands.id,
            status=OPEN,
            severity=now.severity,
            severity_source=now.severity_source[:50],
            fixed_versions=now.fixed_versions,
        )
        if not stands.is_open:
            opening.append(row)
        elif (now.severity, now.severity_source, now.fixed_versions) != (
            stands.severity,
            stands.severity_source,
            stands.fixed_versions,
        ):
            changing.append(row)
    fields = ["severity", "severity_source", "fixed_versions"]
    Finding.objects.bulk_update(changing, fields, batch_size=500)
    Finding.objects.bulk_update(opening, [*fields, "status", "closed_at", "close_reason"], batch_size=500)
    for start in range(0, len(closing), CHUNK):
        Finding.objects.filter(pk__in=closing[start : start + CHUNK]).update(
            status=CLOSED, closed_at=at, close_reason=NOT_REPORTED
        )
    taken.closed, taken.reopened = len(closing), len(opening)


def _count(image: Image, taken: Taken) -> None:
    """The image's own counts, of all scanners."""
    rows = Finding.objects.filter(image=image, status=OPEN).values_list("severity").annotate(n=Count("id"))
    counts = {Severity(s).label: n for s, n in sorted(rows, reverse=True)}
    image.severity_counts = counts
    image.open_findings = sum(counts.values())
    image.worst_severity = max((s for s, _ in rows), default=0)
    image.save(update_fields=["severity_counts", "open_findings", "worst_severity"])
    taken.by_severity = counts


def _learn_of_risks(
    risk_ids: Sequence[int],
    entries: Mapping[Identity, Entry],
    changes: Changes,
    risks: Mapping[str, int],
    ids: Mapping[Identity, int],
    at: datetime,
) -> None:
    """Bring severity, fix and exploitation of already known risks to what is now reported; tell who depends on it."""
    fixes = set()
    for identity in (*changes.new, *changes.said_again):
        if entries[identity].said.fixed_versions:
            fixes.add(ids.get(identity) or risks[identity[0]])
    changed: list[int] = []
    for start in range(0, len(risk_ids), CHUNK):
        changed += refresh_risks(risk_ids[start : start + CHUNK], with_fix=fixes)
    if changed and RISKS_CHANGED:
        job_services.enqueue(TELL, {"risks": changed}, key=f"{changed[0]}-{len(changed)}-{at.timestamp()}")


def tell(run: Run) -> None:
    """The job: let everybody who depends on these risks' facts know. Safe to run twice."""
    for follow in RISKS_CHANGED:
        follow([int(r) for r in run.args["risks"]], timezone.now())


def refresh_risks(risk_ids: Sequence[int], *, with_fix: set[int]) -> list[int]:
    """Recompute these risks' severity (the worst open), exploitation and EPSS; the ids of those that changed."""
    worst = dict(
        Finding.objects.filter(risk_id__in=risk_ids, status=OPEN).values_list("risk_id").annotate(Max("severity"))
    )
    changed = []
    rows = Risk.objects.filter(pk__in=risk_ids).order_by("pk").select_related("vulnerability")
    for risk in rows.defer("description", "remediation", "vulnerability__description", "vulnerability__references"):
        flaw = risk.vulnerability
        now = (
            worst.get(risk.pk, risk.severity),
            risk.fix_available or risk.pk in with_fix,
            risk.known_exploited or bool(flaw and flaw.known_exploited),
            flaw.epss if flaw else None,
        )
        if now != (risk.severity, risk.fix_available, risk.known_exploited, risk.epss):
            risk.severity, risk.fix_available, risk.known_exploited, risk.epss = now
            changed.append(risk)
    Risk.objects.bulk_update(changed, ["severity", "fix_available", "known_exploited", "epss"], batch_size=500)
    return [r.pk for r in changed]


def _show_in_repositories(image: Image, *, changed: bool, at: datetime) -> None:
    for repository in Repository.objects.filter(places__image=image).select_related("application").order_by("pk"):
        if changed or repository.newest_image_id == image.pk:
            refresh_exposures(repository, at=at)


@dataclass(slots=True)
class _Now:
    kind: str
    severity: int
    known_exploited: bool
    fix_available: bool


def refresh_exposures(repository: Repository, *, at: datetime) -> None:
    """Bring the repository's exposures to the open findings of its newest image; write the difference only.

    A risk that only an older image has is kept as resolved: it is known here, and work on it is done.
    """
    wanted = _risks_in(repository.newest_image_id)
    rows = {e.risk_id: e for e in Exposure.objects.filter(repository=repository)}
    application = repository.application
    team = application.team_id if application else None
    new = [
        Exposure(
            risk_id=risk,
            repository=repository,
            application=application,
            team_id=team,
            kind=now.kind,
            severity=now.severity,
            known_exploited=now.known_exploited,
            fix_available=now.fix_available,
            since=at,
        )
        for risk, now in wanted.items()
        if risk not in rows
    ]
    new += _only_in_older(repository, set(wanted) | set(rows), team=team, at=at)
    Exposure.objects.bulk_create(new, batch_size=BATCH)
    changed = [e for risk, e in rows.items() if _updated(e, wanted.get(risk), at)]
    Exposure.objects.bulk_update(
        changed, ["severity", "known_exploited", "fix_available", "resolved_at"], batch_size=500
    )
    ids = [e.pk for e in (*new, *changed)]
    if ids:
        for follow in EXPOSURES_CHANGED:
            follow(ids, at)


def _risks_in(image_id: int | None) -> dict[int, _Now]:
    found: dict[int, _Now] = {}
    rows = Finding.objects.filter(image_id=image_id, status=OPEN).values_list(
        "risk_id", "risk__kind", "severity", "risk__known_exploited", "risk__fix_available"
    )
    for risk, kind, severity, exploited, fix in rows:
        known = found.get(risk)
        if known is None or known.severity < severity:
            found[risk] = _Now(kind, severity, exploited, fix)
    return found


def _only_in_older(repository: Repository, known: set[int], *, team: int | None, at: datetime) -> list[Exposure]:
    older = (
        Finding.objects.filter(image__places__repository=repository, status=OPEN)
        .exclude(image_id=repository.newest_image_id)
        .values_list("risk_id", "risk__kind")
        .annotate(Max("severity"))
    )
    return [
        Exposure(
            risk_id=risk,
            repository=repository,
            application_id=repository.application_id,
            team_id=team,
            kind=kind,
            severity=severity,
            since=at,
            resolved_at=at,
        )
        for risk, kind, severity in older
        if risk not in known
    ]


def _updated(e: Exposure, now: _Now | None, at: datetime) -> bool:
    before = (e.severity, e.known_exploited, e.fix_available, e.resolved_at)
    if now is None:
        e.resolved_at = e.resolved_at or at
    else:
        e.severity, e.known_exploited, e.fix_available = now.severity, now.known_exploited, now.fix_available
        e.resolved_at = None
    return before != (e.severity, e.known_exploited, e.fix_available, e.resolved_at)
