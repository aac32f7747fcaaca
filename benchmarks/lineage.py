"""``python -m benchmarks.lineage``: how many decisions people make over 20 versions of one image. Counted, not timed.

Each week the pipeline posts the report of a new version and asks at the promote gate. What blocks and cannot be mended
that week is asked for and approved, for as long as the risk appetite allows. Once with the repository as the scope, so
that decisions follow the image's lineage, and once with each very digest as the scope, as where a decision is attached
to a row of one scan. The reports are made up, in the way of a service on a distribution's base image: the base is
renewed every seventh week, libraries come and go, and one flaw begins to be exploited on the way.
"""

# ruff: noqa: PLC0415 - Django is set up in main, once the settings are known

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

VERSIONS = 20
WEEK = timedelta(weeks=1)
BEGIN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LONGEST, LONGEST_EXPLOITED = timedelta(days=60), timedelta(days=30)
"""How long such a decision may stand, by the risk appetite that SecGuard comes with."""


@dataclass(frozen=True)
class Flaw:
    name: str
    package: str
    severity: str
    first: int
    """The version with which it comes."""
    last: int
    """The last version that has it."""
    exploited_from: int = VERSIONS + 1

    def at(self, version: int) -> bool:
        return self.first <= version <= self.last


FLAWS = (
    # Of the base image, renewed with the versions 7 and 14: what it brought goes then.
    Flaw("CVE-2025-20001", "openssl", "critical", 1, 6),
    Flaw("CVE-2025-20002", "glibc", "critical", 1, 6),
    Flaw("CVE-2025-20003", "zlib", "critical", 3, 6),
    Flaw("CVE-2026-20004", "libxml2", "critical", 7, 13),
    Flaw("CVE-2026-20005", "openssl", "critical", 9, 13),
    Flaw("CVE-2026-20006", "curl", "critical", 12, 13),
    Flaw("CVE-2026-20007", "expat", "critical", 15, 20),
    Flaw("CVE-2026-20008", "perl", "critical", 18, 20),
    # Of a library that the service cannot do without: its next version breaks the service.
    Flaw("CVE-2025-20009", "log-codec", "critical", 1, 20),
    # Of a library that is renewed within a month or so each time.
    Flaw("CVE-2026-20010", "http-client", "critical", 4, 8),
    Flaw("CVE-2026-20011", "http-client", "critical", 13, 17),
    # Not worth a word at the gate, until it is exploited.
    Flaw("CVE-2025-20012", "template-engine", "high", 2, 12, exploited_from=10),
    # Told, and never in the way.
    *(
        Flaw(f"CVE-2025-21{n:03}", f"lib{n}", ("high", "medium", "low")[n % 3], 1 + n % 7, 20 - n % 5)
        for n in range(24)
    ),
)


@dataclass
class Count:
    """What one series came to."""

    scope: str
    decisions: int = 0
    votes: int = 0
    versions_held_up: int = 0
    by_version: tuple[int, ...] = ()


class Series:
    """The 20 versions, with decisions over one kind of scope; against the database that Django is set up with."""

    def __init__(self, scope: str) -> None:
        from secguard.accounts.models import Application, Membership, Team, User

        self.count = Count(scope)
        self.repository = f"registry.example.org/{scope}/service"
        people = (("asker", "developer"), ("reviewer", "security-reviewer"), ("business", "business-approver"))
        self.people = {role: User.objects.create(username=f"{scope}-{name}", created_at=BEGIN) for name, role in people}
        for role, user in self.people.items():
            Membership.objects.create(user=user, role=role)
        team = Team.objects.create(name=f"Team {scope}", slug=f"team-{scope}")
        self.application = Application.objects.create(name=f"Service {scope}", slug=f"service-{scope}", team=team)

    def step(self, version: int, now: datetime) -> None:
        """The pipeline of one version: its report, the gate, and what people decide so that it goes on."""
        blocked = self._judged(self._posted(version))
        for finding in blocked:
            self._decide(version, finding, now)
        self.count.versions_held_up += bool(blocked)
        self.count.by_version = (*self.count.by_version, len(blocked))
        if left := self._judged(self._image(version)):
            raise RuntimeError(f"version {version} is still blocked by {left}")

    def _digest(self, version: int) -> str:
        return f"sha256:{1000 * len(self.count.scope) + version:064x}"

    def _image(self, version: int) -> Any:
        from secguard.images.models import Image

        return Image.objects.get(digest=self._digest(version))

    def _posted(self, version: int) -> Any:
        from secguard.scans import services

        found = [
            {
                "kind": "vulnerability",
                "id": flaw.name,
                "package": {"purl": f"pkg:deb/debian/{flaw.package}@1.{(version - 1) // 7}"},
                "severity": flaw.severity,
                "fixed_versions": ["2.0"] if flaw.severity == "critical" else [],
            }
            for flaw in FLAWS
            if flaw.at(version)
        ]
        document = {
            "schema": "secguard-report/v1",
            "scanner": {"name": "scanner"},
            "image": {"reference": f"{self.repository}:1.{version}", "digest": self._digest(version)},
            "covers": ["vulnerability"],
            "findings": found,
        }
        given = services.Submission(json.dumps(document).encode(), application=self.application.slug)
        scan, _ = services.submit(given, actor=self.people["developer"], max_bytes=10**7)
        services.take_in(scan.pk, progress=lambda *_: None)
        return self._image(version)

    def _judged(self, image: Any) -> list[Any]:
        """The findings that block at the promote gate."""
        from secguard.findings.models import Finding
        from secguard.policies.facts import Gate
        from secguard.policies.services import verdict_of

        document = verdict_of(image, Gate.PROMOTE).evaluation.kept_document
        ids = {
            finding["id"]
            for reason in document["reasons"]
            if reason["effect"] == "block"
            for finding in reason["findings"]
        }
        return list(Finding.objects.filter(pk__in=ids).select_related("risk").order_by("risk_id"))

    def _decide(self, version: int, finding: Any, now: datetime) -> None:
        """Asked for by the one, approved by as many others as the risk appetite wants."""
        from secguard.decisions import queries, services

        asker = self.people["developer"]
        where = self.repository if self.count.scope == "repository" else self._digest(version)
        scope = queries.find_scope(asker, self.count.scope, where)
        ends = now + (LONGEST_EXPLOITED if finding.risk.known_exploited else LONGEST)
        ask = services.Ask(finding.risk_id, "accept", scope, "Cannot be mended this week.", ends)
        decision = services.request_decision(ask, actor=asker)
        self.count.decisions += 1
        for role in ("security-reviewer", "business-approver"):
            if decision.status == "requested":
                decision = services.approve(decision.pk, actor=self.people[role])
                self.count.votes += 1


@contextmanager
def _moment(at: datetime) -> Iterator[datetime]:
    with mock.patch("django.utils.timezone.now", return_value=at):
        yield at


def _work() -> None:
    from secguard.jobs import services as jobs
    from secguard.jobs.lifecycle import Queue

    while sum(jobs.work(queue, seconds=60) for queue in Queue):
        pass


def _exploited(version: int) -> None:
    """The catalogue of what is exploited, where it has news."""
    from secguard.advisories.kev import Catalogue, Exploited
    from secguard.advisories.services.facts import store_catalogue

    if any(flaw.exploited_from == version for flaw in FLAWS):
        listed = tuple(Exploited(flaw.name) for flaw in FLAWS if flaw.exploited_from <= version)
        store_catalogue(Catalogue(listed, is_counted=True))


def counts(versions: int = VERSIONS) -> tuple[Count, Count]:
    """With the lineage, and without: both in the same weeks, each with its own repository and people."""
    series = Series("repository"), Series("image")
    for version in range(1, versions + 1):
        with _moment(BEGIN + version * WEEK) as now:
            _exploited(version)
            _work()
            for one in series:
                one.step(version, now)
    return series[0].count, series[1].count


def table(with_lineage: Count, without: Count) -> str:
    rows = [
        ("decisions people make", with_lineage.decisions, without.decisions),
        ("votes on them", with_lineage.votes, without.votes),
        (f"of {VERSIONS} versions, held up for a decision", with_lineage.versions_held_up, without.versions_held_up),
        ("most decisions for one version", max(with_lineage.by_version), max(without.by_version)),
    ]
    lines = ["| over 20 versions of one image | with the lineage | without |", "|---|---:|---:|"]
    return "\n".join([*lines, *(f"| {what} | {a} | {b} |" for what, a, b in rows)])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="secguard-lineage-") as folder:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "secguard.settings")
        os.environ.setdefault("SECGUARD_SECRET_KEY", secrets.token_urlsafe(48))
        os.environ["SECGUARD_DATA_DIR"] = folder
        os.environ["SECGUARD_DATABASE_URL"] = f"sqlite:///{Path(folder) / 'lineage.sqlite3'}"
        import django
        from django.core.management import call_command

        django.setup()
        (Path(folder) / "spool" / "messages").mkdir(parents=True)
        call_command("migrate", verbosity=0)
        print(table(*counts()))  # noqa: T201 - a command's output


if __name__ == "__main__":
    main()
