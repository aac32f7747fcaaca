"""Exposures: the open findings of each repository's newest image, written as the difference to what stood."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, Subquery

from secguard import bulk
from secguard.accounts.models import Application
from secguard.findings.models import OPEN, Exposure, Finding, Risk
from secguard.findings.services.following import EXPOSURES_CHANGED, TIME_TO_FIX, Circumstances
from secguard.images.models import Image, Repository

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
    wanted = _risks_in(repository.newest_image_id) if repository.newest_image_id else {}
    rows = Exposure.objects.filter(repository=repository).values_list(
        "risk_id", "id", "severity", "known_exploited", "fix_available", "resolved_at", "application_id"
    )
    known: set[int] = set()
    changed: list[tuple[object, ...]] = []
    for risk, pk, severity, exploited, fix, resolved_at, application in rows:
        known.add(risk)
        now = wanted.get(risk)
        to = (
            (now.severity, now.known_exploited, now.fix_available, None)
            if now
            else (severity, exploited, fix, resolved_at or at)
        )
        if to != (severity, exploited, fix, resolved_at) or application != repository.application_id:
            changed.append((pk, *to))
    ids = _insert(repository, {r: n for r, n in wanted.items() if r not in known}, at, resolved_at=None)
    _tell((*ids, *_update(repository, changed)), at)


def know_older(repository: Repository, image: Image, *, at: datetime) -> None:
    """Know the risks of an image that does not lead its repository: those never met there stand as resolved."""
    here = Exposure.objects.filter(repository=repository, risk=OuterRef("risk"))
    rows = (
        Finding.objects.filter(~Exists(here), image=image, status=OPEN)
        .values_list("risk_id", "risk__known_exploited", "risk__fix_available", "risk__kind")
        .annotate(worst=Max("severity"))
        .order_by("risk_id")
    )
    missing = {risk: Present(worst, exploited, fix, kind) for risk, exploited, fix, kind, worst in rows}
    _tell(_insert(repository, missing, at, resolved_at=at), at)


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


def _risks_in(image_id: int) -> dict[int, Present]:
    rows = (
        Finding.objects.filter(image_id=image_id, status=OPEN)
        .values_list("risk_id", "risk__known_exploited", "risk__fix_available", "risk__kind")
        .annotate(worst=Max("severity"))
        .order_by("risk_id")
    )
    return {risk: Present(worst, exploited, fix, kind) for risk, exploited, fix, kind, worst in rows.iterator()}


def _insert(
    repository: Repository, missing: Mapping[int, Present], at: datetime, *, resolved_at: datetime | None
) -> list[int]:
    application, team = repository.application_id, _team(repository)
    due = _deadlines(repository, at)
    where = (repository.pk, application, team)
    rows = (
        (risk, *where, p.kind, p.severity, p.known_exploited, p.fix_available, at, due(p), resolved_at)
        for risk, p in missing.items()
    )
    return bulk.insert(Exposure, _COLUMNS, rows)


def _deadlines(repository: Repository, at: datetime) -> Callable[[Present], datetime | None]:
    is_exposed = bool(repository.application and repository.application.is_exposed)
    rules = [rule() for rule in TIME_TO_FIX]

    @cache
    def due(p: Present) -> datetime | None:
        case = Circumstances(p.kind, p.severity, p.known_exploited, p.fix_available, is_exposed)
        times = [time for rule in rules if (time := rule(case)) is not None]
        return at + min(times) if times else None

    return due


def _update(repository: Repository, changed: Sequence[tuple[object, ...]]) -> list[int]:
    """``changed``: (id, severity, known_exploited, fix_available, resolved_at)."""
    ids = sorted(int(str(row[0])) for row in changed)
    lock(ids)
    owner = (repository.application_id, _team(repository))
    bulk.update(
        Exposure,
        ("severity", "known_exploited", "fix_available", "resolved_at", "application_id", "team_id"),
        [(*row, *owner) for row in changed],
    )
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
