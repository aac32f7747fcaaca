"""A large estate, written in bulk: teams, applications, repositories, images, risks, findings, exposures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, Membership, Team, User
from secguard.advisories.models import Alias, Vulnerability
from secguard.findings.identity import FindingKind, risk_key
from secguard.findings.models import OPEN, Exposure, Finding, Observation, Risk
from secguard.findings.severity import Severity
from secguard.images.models import Component, Image, ImageRepository, Registry, Repository, Tag
from secguard.policies.facts import Gate
from secguard.policies.services import judge

REPOSITORIES = 100
OF_IMAGE = 1_000
RISKS = 20_000
TEAMS = 10
JUDGED = 20


def seed(findings: int) -> User:
    """Make the estate in the database that stands; returns an administrator."""
    now = timezone.now()
    user = User.objects.create(username=f"bench{now.timestamp():.0f}")
    Membership.objects.create(user=user, role="administrator")
    with transaction.atomic():
        repositories = _repositories(now)
        risks, components = _risks(now)
        newest = [image for _, image in _images(repositories, risks, components, max(1, findings // OF_IMAGE), now)]
        _exposures(repositories, risks, now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for image in Image.objects.filter(pk__in=newest[-JUDGED:]):
        judge(image, list(Gate), now)
    return user


def _repositories(now: datetime) -> list[Repository]:
    registry = Registry.objects.get_or_create(host="large.example")[0]
    teams = [Team.objects.create(name=f"Team {n}", slug=f"team-{n}") for n in range(TEAMS)]
    applications = [
        Application.objects.create(name=f"Application {n}", slug=f"application-{n}", team=teams[n % TEAMS])
        for n in range(REPOSITORIES)
    ]
    return [
        Repository.objects.create(registry=registry, path=f"app{n}", name=f"large.example/app{n}", application=a)
        for n, a in enumerate(applications)
    ]


def _risks(now: datetime) -> tuple[list[int], list[int]]:
    """Ids of risks and, at the same places, of the components they are found at."""
    names = [f"CVE-{2016 + n % 10}-{500_000 + n}" for n in range(RISKS)]
    columns = ("name", "title", "description", "references", "cvss_vector", "known_exploited")
    columns = (*columns, "known_exploited_source", "created_at")
    flaws = bulk.insert(Vulnerability, columns, ((n, f"A flaw in {n}", "", [], "", False, "", now) for n in names))
    bulk.insert(Alias, ("name", "vulnerability_id"), zip(names, flaws, strict=True))
    packages = [f"pkg:deb/debian/large{n % 4000}" for n in range(RISKS)]
    parts = [(f"{p}@1.{n}", p, "deb", f"large{n % 4000}", f"1.{n}") for n, p in enumerate(packages)]
    components = bulk.insert(Component, ("purl", "package", "type", "name", "version"), parts)
    rows = (
        (
            *(risk_key(FindingKind.VULNERABILITY, name, package), "vulnerability", flaw, package, "", ""),
            *(f"A flaw in {name}", "", "", _severity(n), "debian", bool(n % 3), n % 200 == 0, (n % 1000) / 1000, now),
        )
        for n, (name, flaw, package) in enumerate(zip(names, flaws, packages, strict=True))
    )
    from secguard.findings.services import risks  # noqa: PLC0415 - only for its columns

    return bulk.insert(Risk, risks._COLUMNS, rows), components


def _severity(n: int) -> int:
    return (2, 3, 3, 4, 2, 3, 4, 5, 2, 3)[n % 10]


def _images(
    repositories: list[Repository], risks: list[int], components: list[int], count: int, now: datetime
) -> Iterator[tuple[int, int]]:
    """Images with their findings; yields (repository id, newest image id)."""
    choose = random.Random(7)  # noqa: S311 - the same estate every time
    for number in range(count):
        repository = repositories[number % REPOSITORIES]
        at = now - timedelta(hours=count - number)
        chosen = _chosen(number % REPOSITORIES, choose)
        image = Image.objects.create(
            digest=f"sha256:{10**12 + number:064x}",
            first_seen_at=at,
            last_scanned_at=at,
            worst_severity=5,
            open_findings=len(chosen),
            severity_counts=_counts(chosen),
        )
        ImageRepository.objects.create(image=image, repository=repository, first_seen_at=at)
        Tag.objects.update_or_create(repository=repository, name="latest", defaults={"image": image, "moved_at": at})
        _findings(image.pk, chosen, risks, components, at)
        Repository.objects.filter(pk=repository.pk).update(newest_image=image)
        if number >= count - REPOSITORIES:
            yield repository.pk, image.pk


def _chosen(lineage: int, choose: random.Random) -> list[int]:
    """Which risks an image has: most are those of its repository."""
    start = lineage * 190
    return sorted({(start + n) % RISKS for n in range(OF_IMAGE - 50)} | {choose.randrange(RISKS) for _ in range(50)})


def _counts(chosen: list[int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for n in chosen:
        label = Severity(_severity(n)).label
        counts[label] = counts.get(label, 0) + 1
    return counts


def _findings(image: int, chosen: list[int], risks: list[int], components: list[int], at: datetime) -> None:
    rows: list[tuple[Any, ...]] = [
        (image, risks[n], components[n], OPEN, _severity(n), "debian", ["2.0"] if n % 3 else [], "", "", at, "")
        for n in chosen
    ]
    columns = ("image_id", "risk_id", "component_id", "status", "severity", "severity_source", "fixed_versions")
    ids = bulk.insert(Finding, (*columns, "path", "layer", "first_seen_at", "close_reason"), rows)
    words = (
        (pk, "trivy", row[4], "debian", "", row[6], "", "0" * 32, at, 0) for pk, row in zip(ids, rows, strict=True)
    )
    columns = ("finding_id", "scanner", "severity", "severity_source", "reported_id", "fixed_versions", "suppressed")
    bulk.insert(Observation, (*columns, "fingerprint", "since", "scan_id"), words)


def _exposures(repositories: list[Repository], risks: list[int], now: datetime) -> None:
    columns = ("risk_id", "repository_id", "application_id", "team_id", "kind", "severity", "known_exploited")
    for lineage, repository in enumerate(repositories):
        application = repository.application
        where = (repository.pk, application and application.pk, application and application.team_id)
        rows = (
            (
                *(risks[n], *where, "vulnerability", _severity(n), n % 200 == 0, bool(n % 3)),
                *(now - timedelta(days=n % 90), now + timedelta(days=n % 60 - 20), None),
            )
            for n in ((lineage * 190 + k) % RISKS for k in range(OF_IMAGE - 50))
        )
        bulk.insert(Exposure, (*columns, "fix_available", "since", "due_at", "resolved_at"), rows)
