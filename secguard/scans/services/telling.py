"""Tell people of what scans and new advisories mean for what is theirs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from typing import NamedTuple

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from secguard import bulk
from secguard.accounts.queries import people_of
from secguard.findings.models import OPEN, Exposure, Finding
from secguard.findings.severity import Severity
from secguard.images.models import ImageRepository, Repository
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling
from secguard.notifications.services.telling import MAX_LINES
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.web.wording import package
from secguard.workloads.models import Workload

NEW_FLAW, EXPLOITED, SCAN_FAILED = "new-flaw", "exploited-flaw", "scan-failed"
KINDS = (
    Kind(NEW_FLAW, "New flaws in what you run and build", "New flaw", 0, "/risks/open/", shared="New flaws"),
    Kind(
        EXPLOITED,
        "Exploited flaws in what you expose",
        "Exploited flaw",
        -1,
        "/risks/open/",
        at_once=True,
        is_urgent=True,
        shared="Exploited flaws in what is exposed",
    ),
    Kind(SCAN_FAILED, "Scans of yours that failed", "Scan failed", 60, "/notifications/", is_personal=True),
)

LEAST = Severity.HIGH
"""From here on people are told of a new flaw by itself; below it only where it is known to be exploited. What is less
waits on the pages, as the default policy lets it pass."""

MAX_PLACES = 3
"""Places of one image that a line names."""

MAX_FIXES = 3


class Hit(NamedTuple):
    """A flaw in an image, as the finding says it."""

    image_id: int
    digest: str
    risk_id: int
    name: str
    package: str
    severity: int
    known_exploited: bool
    fixed_versions: tuple[str, ...]


class Place(NamedTuple):
    """Where an image is a team's: a workload that runs it, or a repository that it leads."""

    team_id: int
    label: str
    is_running: bool
    is_production: bool
    is_exposed: bool


def tell_of_hits(image_ids: Sequence[int], risk_ids: Sequence[int], now: datetime | None = None) -> int:
    """``rematching.HIT``: image ``[i]`` is newly hit by risk ``[i]``; tell the people whose it is, all of it at once.

    Told is what is severe or known to be exploited, in images that a team's workloads run or that lead a team's
    repository, and that no decision in force covers there. Each team's people are told of that team's places alone.
    Called in the transaction that ends the rematch. Returns how many lines were new to somebody.
    """
    at = now or timezone.now()
    hits = _hits(set(zip(image_ids, risk_ids, strict=True)))
    images = sorted({hit.image_id for hit in hits})
    decided = _decided(images, sorted({hit.risk_id for hit in hits}), at)
    lines: dict[tuple[int, str], list[Line]] = defaultdict(list)
    places, opened = _places(images), _opened(images)
    for hit in hits:
        for team, found in places.get(hit.image_id, {}).items():
            if (hit.image_id, hit.risk_id, team) not in decided:
                line = _line(hit, found, may_open=(hit.image_id, team) in opened)
                lines[team, _kind(hit, found)].append(line)
    people = people_of({team for team, _ in lines})
    tellings = {place: _telling(*place, found) for place, found in lines.items()}
    pairs = [(user, telling) for (team, _), telling in tellings.items() for user in people.get(team, ())]
    return notifications.notify_many(pairs, now=at)


def _kind(hit: Hit, places: Sequence[Place]) -> str:
    """What attackers use already, where they can reach it, is a kind of its own: nobody who answers for it hides it."""
    return EXPLOITED if hit.known_exploited and any(p.is_exposed for p in places) else NEW_FLAW


def _telling(team: int, kind: str, lines: list[Line]) -> Telling:
    ranked = sorted(lines, key=lambda line: (-line.weight, line.key))
    return Telling(kind, tuple(ranked[:MAX_LINES]), team, more=max(len(ranked) - MAX_LINES, 0))


def _hits(pairs: Set[tuple[int, int]]) -> list[Hit]:
    """One for each (image, risk) of ``pairs``, however many components have it; its fixes are those of all of them."""
    findings = Finding.objects.filter(
        Q(severity__gte=LEAST) | Q(risk__known_exploited=True),
        image_id__in=bulk.among(sorted({image for image, _ in pairs})),
        risk_id__in=bulk.among(sorted({risk for _, risk in pairs})),
        status=OPEN,
    )
    found: dict[tuple[int, int], Hit] = {}
    for image, risk, *facts, purl, severity, exploited, fixes in findings.order_by("pk").values_list(*_COLUMNS):
        if (image, risk) not in pairs:
            continue
        digest, name, rule = facts
        hit = Hit(image, digest, risk, name or rule, purl, severity, exploited, tuple(fixes))
        if (had := found.get((image, risk))) is not None:
            fixed = tuple(dict.fromkeys((*had.fixed_versions, *fixes)))
            hit = hit._replace(severity=max(severity, had.severity), fixed_versions=fixed)
        found[image, risk] = hit
    return list(found.values())


_COLUMNS = (
    "image_id",
    "risk_id",
    "image__digest",
    "risk__vulnerability__name",
    "risk__rule",
    "risk__package",
    "severity",
    "risk__known_exploited",
    "fixed_versions",
)


def _places(image_ids: Sequence[int]) -> dict[int, dict[int, list[Place]]]:
    """{image: {team: its places}}, what runs first."""
    found: dict[int, dict[int, list[Place]]] = defaultdict(lambda: defaultdict(list))
    running = Workload.objects.running().filter(application__isnull=False, images__in=bulk.among(image_ids))
    owner = ("application__team_id", "application__is_production", "application__is_exposed")
    columns = ("images", *owner, "cluster__name", "namespace", "name")
    for image, team, is_production, is_exposed, *names in running.order_by("pk").values_list(*columns):
        label = " ".join((names[0], "/".join(n for n in names[1:] if n)))
        found[image][team].append(Place(team, label, True, is_production, is_exposed))
    leads = Repository.objects.filter(application__isnull=False, newest_image_id__in=bulk.among(image_ids))
    columns_of_repository = ("newest_image_id", *owner, "name")
    for image, team, is_production, is_exposed, name in leads.order_by("pk").values_list(*columns_of_repository):
        found[image or 0][team].append(Place(team, name, False, is_production, is_exposed))
    return found


def _opened(image_ids: Sequence[int]) -> set[tuple[int, int]]:
    """(image, team) where the image lies in a repository of the team: it may run what only another team sees."""
    places = ImageRepository.objects.filter(image__in=bulk.among(image_ids), repository__application__isnull=False)
    return set(places.values_list("image_id", "repository__application__team_id"))


def _decided(image_ids: Sequence[int], risk_ids: Sequence[int], now: datetime) -> set[tuple[int, int, int]]:
    """(image, risk, team) where a decision in force covers the risk in every repository of the team that the image
    leads: it is known there and decided."""
    rows = Exposure.objects.present().filter(
        repository__newest_image_id__in=bulk.among(image_ids), risk_id__in=bulk.among(risk_ids), team_id__isnull=False
    )
    columns = ("repository__newest_image_id", "risk_id", "team_id", "decided_until")
    covered: dict[tuple[int, int, int], bool] = {}
    for image, risk, team, until in rows.values_list(*columns):
        key = (image or 0, risk, team or 0)
        covered[key] = covered.get(key, True) and until is not None and until > now
    return {key for key, is_covered in covered.items() if is_covered}


def _line(hit: Hit, places: Sequence[Place], *, may_open: bool) -> Line:
    running = [p for p in places if p.is_running]
    shown = running or places
    is_production = any(p.is_production for p in shown)
    names = [p.label for p in shown]
    rest = f" and {len(names) - MAX_PLACES} more" if len(names) > MAX_PLACES else ""
    fixes = hit.fixed_versions
    return Line(
        key=f"{hit.risk_id} {hit.image_id}",
        what=f"{hit.name} in {package(hit.package).name}" if hit.package else hit.name,
        where=f"{', '.join(names[:MAX_PLACES])}{rest}",
        note=f"fixed in {', '.join(fixes[:MAX_FIXES])}" if fixes else "no fix is known yet",
        url=reverse("images:detail", args=[hit.digest]) if may_open else "",
        severity=Severity(hit.severity).label,
        known_exploited=hit.known_exploited,
        is_running=bool(running),
        is_production=is_production,
        weight=weigh(
            is_running=bool(running),
            is_production=is_production,
            known_exploited=hit.known_exploited,
            rank=hit.severity,
        ),
    )


def tell_of_failures(scan_ids: Iterable[int], now: datetime) -> int:
    """Tell who asked for these scans that they failed, and why; of a platform's scan its index's tells.

    Nobody asked for what a schedule, a watch or a webhook began, and a pipeline's service reads no inbox.
    """
    rows: QuerySet[Scan] = Scan.objects.filter(
        pk__in=list(scan_ids),
        status=ScanStatus.FAILED,
        parent=None,
        requested_by__isnull=False,
        requested_by__is_service=False,
        requested_by__is_active=True,
    )
    pairs = [(scan.requested_by_id or 0, Telling(SCAN_FAILED, (_failure(scan),))) for scan in rows.order_by("pk")]
    return notifications.notify_many(pairs, now=now)


def _failure(scan: Scan) -> Line:
    problem = scan.problem or {}
    return Line(
        key=str(scan.pk),
        what=f"The scan of {scan.reference}",
        note=str(problem.get("detail", "")),
        url=reverse("scans:detail", args=[scan.pk]),
    )
