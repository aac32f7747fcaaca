"""Exposures: the open findings of each repository's newest image, written as the difference to what stood."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, Subquery

from secguard import bulk
from secguard.accounts.models import Application
from secguard.findings.models import OPEN, Exposure, Finding, Risk
from secguard.findings.services.following import EXPOSURES_CHANGED, TIME_TO_FIX, Circumstances
from secguard.images.models import Image, ImageRepository, Repository

_COLUMNS = (
    "risk_id",
    "repository_id",
    "application_id",
    "team_id",
    "kind",
    "severity",
    "known_exploited",
    "fix_available",
    "since",
    "due_at",
    "resolved_at",
)


class Present(NamedTuple):
    """A risk as the newest image has it, or as its exposure stands."""

    severity: int
    known_exploited: bool
    fix_available: bool
    kind: str


@transaction.atomic
def refresh_exposures(repository: Repository, *, at: datetime) -> None:
    """Bring the repository's exposures to the open findings of its newest image; write the difference only.

    A risk that the newest image no longer has is kept as resolved: it is known here, and work on it is done. The
    caller holds the repository's lock (``images.services.lock``) where others may take scans in.
    """
    image = repository.newest_image_id
    wanted = _present(Finding.objects.filter(image_id=image)) if image else {}
    _bring([repository], Exposure.objects.filter(repository=repository), wanted, at)


def know_older(repository: Repository, image: Image, *, at: datetime) -> None:
    """Know the risks of an image that does not lead its repository: those never met there stand as resolved."""
    here = Exposure.objects.filter(repository=repository, risk=OuterRef("risk"))
    present = _present(Finding.objects.filter(~Exists(here), image=image))
    missing = {(repository.pk, risk): p for (_, risk), p in present.items()}
    _tell(_insert({repository.pk: repository}, missing, at, resolved_at=at), at)


def follow_findings(touched: Iterable[tuple[int, int]], at: datetime) -> None:
    """Bring exposures to findings that changed: ``touched`` are their (image, risk). What ``refresh_exposures`` and
    ``know_older`` do, over the repositories of many images at once and for these risks only; the caller holds the
    locks of the images and of their repositories."""
    risks_of: dict[int, set[int]] = defaultdict(set)
    for image, risk in touched:
        risks_of[image].add(risk)
    images = bulk.among(sorted(risks_of))
    places = list(
        ImageRepository.objects.filter(image__in=images).order_by("image_id").values_list("image_id", "repository_id")
    )
    rows = Repository.objects.filter(pk__in=bulk.among(sorted({r for _, r in places}))).select_related("application")
    repositories = {r.pk: r for r in rows.order_by("pk")}
    leading = [r for r in repositories.values() if r.newest_image_id in risks_of]
    _follow_leading(leading, {r for repository in leading for r in risks_of[repository.newest_image_id or 0]}, at)
    older = [(i, r) for i, r in places if repositories[r].newest_image_id != i]
    _follow_older(repositories, older, risks_of, at)


def _follow_leading(repositories: Sequence[Repository], risks: set[int], at: datetime) -> None:
    if not repositories:
        return
    wanted_risks, wanted_images = bulk.among(sorted(risks)), {r.newest_image_id or 0 for r in repositories}
    present = _present(Finding.objects.filter(image__in=bulk.among(sorted(wanted_images)), risk__in=wanted_risks))
    stands = Exposure.objects.filter(repository__in=bulk.among([r.pk for r in repositories]), risk__in=wanted_risks)
    _bring(repositories, stands, present, at)


def _follow_older(
    repositories: Mapping[int, Repository],
    places: Sequence[tuple[int, int]],
    risks_of: Mapping[int, set[int]],
    at: datetime,
) -> None:
    if not places:
        return
    images = sorted({image for image, _ in places})
    risks = bulk.among(sorted({risk for image in images for risk in risks_of[image]}))
    present: dict[int, dict[int, Present]] = defaultdict(dict)
    for (image, risk), p in _present(Finding.objects.filter(image__in=bulk.among(images), risk__in=risks)).items():
        if risk in risks_of[image]:
            present[image][risk] = p
    here = Exposure.objects.filter(repository__in=bulk.among(sorted({r for _, r in places})), risk__in=risks)
    known = set(here.values_list("repository_id", "risk_id"))
    missing: dict[tuple[int, int], Present] = {}
    for image, repository in places:
        for risk, p in present[image].items():
            if (repository, risk) not in known:
                missing.setdefault((repository, risk), p)
    _tell(_insert(repositories, missing, at, resolved_at=at), at)


def follow_risks(risk_ids: Sequence[int], at: datetime) -> None:
    """Show the facts of these risks on the exposures that stand; tell whoever counts by them."""
    differs = ~Q(known_exploited=F("risk__known_exploited")) | ~Q(fix_available=F("risk__fix_available"))
    with transaction.atomic():
        rows = Exposure.objects.present().filter(differs, risk__in=bulk.among(risk_ids)).order_by("pk")
        ids = list(rows.select_for_update(no_key=True, of=("self",)).values_list("pk", flat=True))
        risk = Risk.objects.filter(pk=OuterRef("risk"))
        Exposure.objects.filter(pk__in=bulk.among(ids)).update(
            known_exploited=Subquery(risk.values("known_exploited")[:1]),
            fix_available=Subquery(risk.values("fix_available")[:1]),
        )
        _tell(ids, at)


def follow_repository(repository: Repository, at: datetime) -> None:
    """``images.services.REPOSITORY_FOLLOWERS``: its exposures belong to its new owner, the resolved ones too."""
    rows = Exposure.objects.filter(repository=repository)
    lock(list(rows.order_by("pk").values_list("pk", flat=True)))
    rows.update(application_id=repository.application_id, team_id=_team(repository))
    _tell(rows.present().order_by("pk").values_list("pk", flat=True), at)


def follow_application(application: Application) -> None:
    """``accounts.services.APPLICATION_FOLLOWERS``: what it owns is its present team's."""
    moved = Exposure.objects.filter(~Q(team_id=application.team_id), application=application)
    ids = list(moved.order_by("pk").values_list("pk", flat=True))
    lock(ids)
    Exposure.objects.filter(pk__in=bulk.among(ids)).update(team_id=application.team_id)


def _present(findings: QuerySet[Finding]) -> dict[tuple[int, int], Present]:
    """Of these findings the open ones, as (image, risk)."""
    rows = (
        findings.filter(status=OPEN)
        .values_list("image_id", "risk_id", "risk__known_exploited", "risk__fix_available", "risk__kind")
        .annotate(worst=Max("severity"))
        .order_by("image_id", "risk_id")
    )
    return {(image, risk): Present(worst, kev, fix, kind) for image, risk, kev, fix, kind, worst in rows.iterator()}


def _bring(
    repositories: Iterable[Repository],
    stands: QuerySet[Exposure],
    present: Mapping[tuple[int, int], Present],
    at: datetime,
) -> None:
    """Bring the exposures that stand to what is present in the repositories' newest images."""
    by_id = {r.pk: r for r in repositories}
    images = defaultdict(list)
    for repository in by_id.values():
        images[repository.newest_image_id].append(repository.pk)
    wanted = {(r, risk): p for (image, risk), p in present.items() for r in images[image]}
    known: set[tuple[int, int]] = set()
    changed: list[tuple[Any, ...]] = []
    for pk, risk, r, severity, exploited, fix, resolved_at, returned_at, application in stands.values_list(
        "pk",
        "risk_id",
        "repository_id",
        "severity",
        "known_exploited",
        "fix_available",
        "resolved_at",
        "returned_at",
        "application_id",
    ):
        known.add((r, risk))
        now = wanted.get((r, risk))
        to = (
            (now.severity, now.known_exploited, now.fix_available, None)
            if now
            else (severity, exploited, fix, resolved_at or at)
        )
        if to != (severity, exploited, fix, resolved_at) or application != by_id[r].application_id:
            returned = at if now and resolved_at is not None else returned_at
            changed.append((pk, *to, returned, by_id[r].application_id, _team(by_id[r])))
    ids = _insert(by_id, {k: p for k, p in wanted.items() if k not in known}, at, resolved_at=None)
    _tell((*ids, *_update(changed)), at)


def _insert(
    repositories: Mapping[int, Repository],
    missing: Mapping[tuple[int, int], Present],
    at: datetime,
    *,
    resolved_at: datetime | None,
) -> list[int]:
    """``missing``: by (repository, risk)."""
    if not missing:
        return []
    due = _deadlines(at)
    owners = {
        pk: (r.application_id, _team(r), bool(r.application and r.application.is_exposed))
        for pk, r in repositories.items()
    }
    rows = []
    for (repository, risk), p in missing.items():
        application, team, is_exposed = owners[repository]
        where = (risk, repository, application, team)
        facts = (p.kind, p.severity, p.known_exploited, p.fix_available)
        rows.append((*where, *facts, at, due(p, is_exposed), resolved_at))
    return bulk.insert(Exposure, _COLUMNS, rows)


def _deadlines(at: datetime) -> Callable[[Present, bool], datetime | None]:
    rules = [rule() for rule in TIME_TO_FIX]

    @cache
    def due(p: Present, is_exposed: bool) -> datetime | None:
        case = Circumstances(p.kind, p.severity, p.known_exploited, p.fix_available, is_exposed)
        times = [time for rule in rules if (time := rule(case)) is not None]
        return at + min(times) if times else None

    return due


def _update(changed: Sequence[tuple[Any, ...]]) -> list[int]:
    """``changed``: (id, severity, known_exploited, fix_available, resolved_at, returned_at, application, team)."""
    ids = sorted(row[0] for row in changed)
    lock(ids)
    facts = ("severity", "known_exploited", "fix_available", "resolved_at", "returned_at")
    columns = (*facts, "application_id", "team_id")
    bulk.update(Exposure, columns, changed)
    return ids


def lock(ids: Sequence[int]) -> None:
    """In the order of their ids, as everybody does."""
    if ids:
        rows = Exposure.objects.filter(pk__in=bulk.among(ids)).order_by("pk")
        list(rows.select_for_update(no_key=True).values_list("pk"))


def _team(repository: Repository) -> int | None:
    return repository.application.team_id if repository.application else None


def _tell(ids: Iterable[int], at: datetime) -> None:
    changed = list(ids)
    for follow in EXPOSURES_CHANGED if changed else ():
        follow(changed, at)
