"""The history of the sample's images: what was built when, what scanners said. Pure; the same seed says the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from secguard.sample.catalogue import START, WEEKS, Catalogue, Package, Weakness, make
from secguard.sample.organisation import REPOSITORIES, Repo, reference
from secguard.scans.readers.secguard import SCHEMA

SEED: Final = 20260
SCANNER, SECOND_SCANNER = "sample-scan", "sample-second-scan"
_ALL_KINDS = ["vulnerability", "secret", "misconfiguration", "hygiene"]
_OS = {"debian": ("debian", "12"), "alpine": ("alpine", "3.18.4")}


@dataclass(frozen=True, slots=True)
class Push:
    """One image as its pipeline built it, with the reports about it."""

    at: datetime
    repository: Repo
    tag: str
    digest: str
    reports: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Build:
    day: float
    at: datetime
    tag: str
    week: int
    number: int


def history(now: datetime, seed: int = SEED) -> list[Push]:
    """Everything that was pushed in the ten weeks before ``now``, oldest first."""
    catalogue = make(Random(seed))  # noqa: S311 - makes a story, guards nothing
    pushes = [p for i, repo in enumerate(REPOSITORIES) for p in _pushes(repo, catalogue, now, Random(seed + 1 + i))]  # noqa: S311
    return sorted(pushes, key=lambda p: (p.at, p.repository.path, p.digest))


def _pushes(repo: Repo, catalogue: Catalogue, now: datetime, random: Random) -> Iterator[Push]:
    installed = _first(repo, catalogue)
    for build in _builds(repo, now, random):
        _upgrade(repo, installed, catalogue, build, random)
        digest = "sha256:" + hashlib.sha256(f"{repo.path}/{build.number}/{now.date()}".encode()).hexdigest()
        findings = [*_vulnerabilities(installed, catalogue, build.day), *_others(repo, build.week)]
        components = [_component(eco, catalogue.packages[eco][name], i) for (eco, name), i in installed.items()]
        image = {"reference": reference(repo.path, build.tag), "digest": digest, **_system(repo)}
        reports = [_report(SCANNER, image, build.at, findings, components, _ALL_KINDS)]
        if repo.is_rescanned:
            seen = [_second(f) for f in findings if f["kind"] == "vulnerability" and _is_seen(f)]
            reports.append(_report(SECOND_SCANNER, image, build.at, seen, None, ["vulnerability"]))
        yield Push(build.at, repo, build.tag, digest, tuple(reports))


def _builds(repo: Repo, now: datetime, random: Random) -> Iterator[_Build]:
    """A build a week, at that repository's own hour; one week in six another one that day, under the same tag."""
    number = 0
    weekday, hour = random.uniform(0.2, 4.0), timedelta(minutes=random.randint(0, 300))
    for week in range(1, repo.last_week + 1):
        day = START + 7 * (week - 1) + weekday + (2 if week == WEEKS else 0)
        for again in range(2 if random.random() < 1 / 6 else 1):
            number += 1
            at = now + timedelta(days=day) - hour + timedelta(hours=2 * again)
            yield _Build(day + again / 12, at.replace(microsecond=0), f"2.{week}.0", week, number)


Installed = dict[tuple[str, str], int]


def _first(repo: Repo, catalogue: Catalogue) -> Installed:
    """What the first image has: a release behind."""
    found = {}
    for eco in (repo.base, repo.language):
        for name, package in catalogue.packages[eco].items():
            found[eco, name] = max(0, package.newest(START) - 1)
    return found


def _upgrade(repo: Repo, installed: Installed, catalogue: Catalogue, build: _Build, random: Random) -> None:
    """A new base image brings all of the distribution's packages; the others are taken one by one."""
    care = _care(repo, build.week)
    has_new_base = random.random() < care
    for eco, name in installed:
        takes = has_new_base if eco == repo.base else random.random() < care
        if takes:
            installed[eco, name] = catalogue.packages[eco][name].newest(build.day)


def _care(repo: Repo, week: int) -> float:
    """Who sees what blocks learns to upgrade, unless nobody cares at all: the trends have something to show."""
    return min(0.98, repo.care + 0.06 * week) if repo.care >= 0.3 else repo.care


def _vulnerabilities(installed: Installed, catalogue: Catalogue, day: float) -> Iterator[dict[str, Any]]:
    for (eco, name), index in installed.items():
        package = catalogue.packages[eco][name]
        for flaw in catalogue.flaws[f"{eco}/{name}"]:
            if flaw.published <= day and flaw.is_in(index):
                yield _vulnerability(flaw, package, eco, index, day)


def _vulnerability(flaw: Weakness, package: Package, eco: str, index: int, day: float) -> dict[str, Any]:
    is_fixed = flaw.fixed_in is not None and package.released[flaw.fixed_in] <= day
    return {
        "kind": "vulnerability",
        "id": flaw.id,
        "package": {"purl": _purl(eco, package, index)},
        "severity": flaw.severity,
        "severity_source": "sample",
        "cvss_score": flaw.score,
        "fixed_versions": [package.version(flaw.fixed_in or 0)] if is_fixed else [],
        "fix_state": "fixed" if is_fixed else "not_fixed",
        "known_exploited": flaw.exploited_from is not None and flaw.exploited_from <= day,
        "epss": flaw.epss,
        "title": flaw.title,
        "description": f"{flaw.title}. Made up for the sample organisation: no such flaw is known.",
    }


def _purl(eco: str, package: Package, index: int) -> str:
    distro = {"debian": "?distro=debian-12", "alpine": "?distro=alpine-3.18.4"}.get(eco, "")
    return package.purl(index).replace("1:", "1%3A") + distro


def _component(eco: str, package: Package, index: int) -> dict[str, Any]:
    return {"purl": _purl(eco, package, index), "licenses": [package.license]}


@dataclass(frozen=True, slots=True)
class _Slip:
    """Something other than a flaw in a package, and the weeks in which a repository's images have it."""

    repository: str
    first: int
    last: int
    finding: dict[str, Any]


_SLIPS: Final = (
    _Slip("payments/fraud", 4, 5, {"kind": "secret", "id": "sample-cloud-access-key", "path": "/app/.env", "line": 3,
          "fingerprint": "5a3d", "severity": "critical", "title": "Cloud access key"}),
    _Slip("platform/portal", 7, 10, {"kind": "secret", "id": "sample-private-key", "path": "/root/.ssh/id_ed25519",
          "line": 1, "fingerprint": "9c1e", "severity": "high", "title": "Private key"}),
    _Slip("platform/ci-runner", 1, 10, {"kind": "secret", "id": "sample-test-token", "path": "/opt/tests/token.txt",
          "line": 1, "fingerprint": "77aa", "severity": "medium", "title": "Token of a test account"}),
    *(_Slip(path, 1, 10, {"kind": "misconfiguration", "id": "SAMPLE-ROOT-USER", "target": "image configuration: User",
            "severity": "high", "title": "The image runs as root", "remediation": "Add a USER instruction."})
      for path in ("logistics/warehouse", "platform/ci-runner", "platform/portal")),
    *(_Slip(r.path, 1, 4 + i % 7, {"kind": "misconfiguration", "id": "SAMPLE-NO-HEALTHCHECK",
            "target": "image configuration: Healthcheck", "severity": "low", "title": "No health check"})
      for i, r in enumerate(REPOSITORIES)),
    *(_Slip(r.path, 1, 10, {"kind": "hygiene", "id": "SAMPLE-PACKAGE-CACHE", "target": "/var/lib/apt/lists",
            "severity": "negligible", "title": "The package manager's cache is left in the image"})
      for r in REPOSITORIES if r.base == "debian" and r.care < 0.4),
)  # fmt: skip


def _others(repo: Repo, week: int) -> list[dict[str, Any]]:
    return [s.finding for s in _SLIPS if s.repository == repo.path and s.first <= week <= s.last]


def _is_seen(finding: dict[str, Any]) -> bool:
    """The second scanner knows nine flaws of ten."""
    return not str(finding["id"]).endswith("7")


def _second(finding: dict[str, Any]) -> dict[str, Any]:
    """What the second scanner says of it: here and there another severity."""
    milder = {"high": "medium", "critical": "high"} if str(finding["id"]).endswith("3") else {}
    severity = milder.get(finding["severity"], finding["severity"])
    return {**finding, "severity": severity, "severity_source": SECOND_SCANNER, "cvss_score": None}


def _system(repo: Repo) -> dict[str, str]:
    name, version = _OS[repo.base]
    return {"os": name, "os_version": version, "architecture": "amd64"}


def _report(
    scanner: str,
    image: dict[str, str],
    at: datetime,
    findings: list[dict[str, Any]],
    components: list[dict[str, Any]] | None,
    covers: list[str],
) -> bytes:
    document = {
        "schema": SCHEMA,
        "scanner": {"name": scanner, "version": "1.0", "database_updated_at": (at - timedelta(hours=6)).isoformat()},
        "image": image,
        "generated_at": at.isoformat(),
        "covers": covers,
        "findings": findings,
    }
    if components is not None:
        document["components"] = components
    return json.dumps(document, ensure_ascii=False).encode()
