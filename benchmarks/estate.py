"""A large estate, written in bulk: teams, applications, repositories, images, risks, findings, exposures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, Membership, Team, User
from secguard.advisories.models import Alias, Vulnerability
from secguard.decisions import services as decisions
from secguard.decisions.queries import find_scope
from secguard.findings.identity import FindingKind, risk_key
from secguard.findings.models import OPEN, Exposure, Finding, Observation, Risk
from secguard.findings.severity import Severity
from secguard.images.models import Component, Image, ImageRepository, Registry, Repository, Tag
from secguard.policies.facts import Gate
from secguard.policies.services import judge
from secguard.scans.models import Scan
from secguard.workloads.models import Cluster, Workload

REPOSITORIES = 100
OF_IMAGE = 1_000
RISKS = 20_000
TEAMS = 10
JUDGED = 20
SCANS_OF_IMAGE = 20
DECISIONS = 400
SCAN_BLANKS = ("scanner_version", "format", "platform", "archive", "examines", "content")


def seed(findings: int, of_image: int = OF_IMAGE) -> dict[str, User]:
    """Make the estate, ``of_image`` findings in each image, in the database that stands; returns its people by role."""
    now = timezone.now()
    people = {}
    for role in ("administrator", "developer", "security-reviewer"):
        people[role] = User.objects.create(username=f"bench-{role}-{now.timestamp():.0f}")
        Membership.objects.create(user=people[role], role=role)
    with transaction.atomic():
        repositories = _repositories(now)
        risks, components = _risks(now)
        size = Size(max(1, findings // of_image), of_image)
        newest = [image for _, image in _images(repositories, risks, components, size, now)]
        _exposures(repositories, risks, of_image, now)
        _scans(people["developer"], now)
        _workloads(repositories, newest)
    _decisions(people["developer"], people["security-reviewer"], repositories, risks, now)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for image in Image.objects.filter(pk__in=newest[-JUDGED:]):
        judge(image, list(Gate), now)
    return people


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


@dataclass(frozen=True)
class Size:
    images: int
    of_image: int


def _images(
    repositories: list[Repository], risks: list[int], components: list[int], size: Size, now: datetime
) -> Iterator[tuple[int, int]]:
    """Images with their findings; yields (repository id, newest image id)."""
    count = size.images
    choose = random.Random(7)  # noqa: S311 - the same estate every time
    for number in range(count):
        repository = repositories[number % REPOSITORIES]
        at = now - timedelta(hours=count - number)
        chosen = _chosen(number % REPOSITORIES, choose, size.of_image)
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


def _chosen(lineage: int, choose: random.Random, of_image: int) -> list[int]:
    """Which risks an image has: most are those of its repository."""
    start = lineage * 190
    return sorted({(start + n) % RISKS for n in range(of_image - 50)} | {choose.randrange(RISKS) for _ in range(50)})


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


def _exposures(repositories: list[Repository], risks: list[int], of_image: int, now: datetime) -> None:
    columns = ("risk_id", "repository_id", "application_id", "team_id", "kind", "severity", "known_exploited")
    for lineage, repository in enumerate(repositories):
        application = repository.application
        where = (repository.pk, application and application.pk, application and application.team_id)
        rows = (
            (
                *(risks[n], *where, "vulnerability", _severity(n), n % 200 == 0, bool(n % 3)),
                *(now - timedelta(days=n % 90), now + timedelta(days=n % 60 - 20), None),
            )
            for n in ((lineage * 190 + k) % RISKS for k in range(of_image - 50))
        )
        bulk.insert(Exposure, (*columns, "fix_available", "since", "due_at", "resolved_at"), rows)


def _scans(user: User, now: datetime) -> None:
    """Several of each image; all but the last of an image lie in its past."""
    images = list(Image.objects.values_list("pk", "digest", "first_seen_at"))
    columns = ("image_id", "reference", "scanner", "status", "dedup_key", "named", "requested_by_id", "origin")
    columns = (*columns, "trigger", "is_complete", "is_renamed", "covers", "counts", "warnings")
    columns = (*columns, "created_at", "finished_at")
    rows = (
        (
            *(pk, f"large.example/app@{digest}", f"scanner{n % 3}", "finished", f"{digest[-40:]}{n:04}", "", user.pk),
            *("report", "", True, False, ["vulnerability"], {"found": OF_IMAGE}, []),
            *(at + timedelta(minutes=n), at + timedelta(minutes=n, seconds=9)),
        )
        for pk, digest, at in images
        for n in range(SCANS_OF_IMAGE)
    )
    with transaction.atomic():
        bulk.insert(Scan, (*columns, *SCAN_BLANKS), ((*row, *[""] * len(SCAN_BLANKS)) for row in rows))


def _workloads(repositories: list[Repository], newest: list[int]) -> None:
    cluster = Cluster.objects.create(name="bench")
    made = [
        Workload(cluster=cluster, namespace="large", name=f"app{n}", application=r.application)
        for n, r in enumerate(repositories)
    ]
    for workload, image in zip(Workload.objects.bulk_create(made), newest, strict=True):
        workload.images.add(image)


def _decisions(
    developer: User, reviewer: User, repositories: list[Repository], risks: list[int], now: datetime
) -> None:
    """Through the services, so that approvals, audit entries and notices are theirs: half waits, half is approved."""
    for n in range(DECISIONS):
        lineage = n % len(repositories)
        scope = find_scope(developer, "repository", repositories[lineage].name)
        risk = risks[(lineage * 190 + n // len(repositories)) % RISKS]
        ask = decisions.Ask(risk, "accept", scope, "The flawed function is not called.", now + timedelta(days=6))
        asked = decisions.request_decision(ask, actor=developer)
        if n % 2:
            decisions.approve(asked.pk, actor=reviewer, comment="seen")
