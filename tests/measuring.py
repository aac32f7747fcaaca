"""What the tests of measured checks stand on: rows of an application's images and workloads, and every check there is.

Rows are made as ingestion leaves them. ``EVERY`` is read off the apps' own modules, so that a check that its app forgot
to register is missed by ``tests/planning/test_measured.py``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.fixtures_reports import digest

if TYPE_CHECKING:
    from secguard.images.models import Image, Repository
    from secguard.planning.checks import Check, Outcome
    from secguard.planning.counting import Counting
    from secguard.workloads.models import Workload

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
_NUMBERS = count(100_000)


def countings() -> dict[str, Counting]:
    from secguard.admission import planning as admission
    from secguard.events import planning as events
    from secguard.incidents import planning as incidents
    from secguard.network import planning as network
    from secguard.planning import own_checks as own
    from secguard.runtime import planning as runtime
    from secguard.scans import planning as scans
    from secguard.signing import planning as signing

    apps = (own, scans, signing, events, admission, network, runtime, incidents)
    return {c.name: c for app in apps for c in app.COUNTINGS}


def every() -> dict[str, Check]:
    from secguard.decisions import planning as decisions
    from secguard.events import planning as events
    from secguard.exports import planning as exports
    from secguard.planning import own_checks as own
    from secguard.policies import planning as policies
    from secguard.promotion import planning as promotion

    plain = [c for app in (own, decisions, policies, promotion, events, exports) for c in app.CHECKS]
    return {c.name: c for c in plain} | {name: c.check for name, c in countings().items()}


def outcomes(name: str, applications: Sequence[Any], now: datetime = NOW) -> list[Outcome]:
    """What the check says of each; it says something of all of them, and of nothing else."""
    found = every()[name].ask([a.pk for a in applications], now)
    assert set(found) == {a.pk for a in applications}
    return [found[a.pk] for a in applications]


def outcome(name: str, application: Any, now: datetime = NOW) -> Outcome:
    return outcomes(name, [application], now)[0]


def rows_behind(person: Any, path: str) -> list[dict[str, str]]:
    """The rows of the page that a link leads to, of all its pages; the page itself must answer."""
    assert person.client.get(path).status_code == 200, path
    answer = person.client.get(f"{path}&format=csv" if "?" in path else f"{path}?format=csv")
    assert answer.status_code == 200, path
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def names_behind(person: Any, path: str, column: str) -> list[str]:
    """One column of those rows, sorted."""
    return sorted(row[column] for row in rows_behind(person, path))


# --- rows ---


def repository_of(application: Any, *, host: str = "reg.example", **registry: Any) -> Repository:
    from secguard.images.models import Registry, Repository

    place, _ = Registry.objects.get_or_create(host=host, defaults=registry)
    path = f"{application.slug}/r{next(_NUMBERS)}"
    return Repository.objects.create(registry=place, path=path, name=f"{host}/{path}", application=application)


def image_in(repository: Repository, **columns: Any) -> Image:
    """A new image of the repository, its newest."""
    from secguard.images.models import Image, ImageRepository

    image = Image.objects.create(digest=digest(next(_NUMBERS)), **columns)
    ImageRepository.objects.create(image=image, repository=repository)
    repository.newest_image = image
    repository.save(update_fields=["newest_image"])
    return image


def run(application: Any, *images: Image, cluster: str = "prod", namespace: str = "shop", **columns: Any) -> Workload:
    """A workload of the application that runs the images."""
    from secguard.workloads.models import Cluster, Workload

    place, _ = Cluster.objects.get_or_create(name=cluster)
    made = Workload.objects.create(
        cluster=place, namespace=namespace, name=f"w{next(_NUMBERS)}", application=application, **columns
    )
    made.images.set(images)
    return made


def scan_of(image: Image, *covers: str, at: datetime = NOW, **columns: Any) -> None:
    """A scan that finished at ``at`` and looked for findings of the kinds ``covers``."""
    from secguard.scans.models import Scan

    values = {"status": "finished", "finished_at": at, "scanner": "trivy", "dedup_key": str(next(_NUMBERS))} | columns
    Scan.objects.create(image=image, reference="reg.example/x:1", covers=list(covers), **values)
    image.last_scanned_at = at
    image.save(update_fields=["last_scanned_at"])


def find_in(image: Image, kind: str, *, severity: int = 4, **risk: Any) -> Any:
    """An open finding of that kind in the image, with its exposure where the image leads; returns its risk."""
    from secguard.advisories.models import Vulnerability
    from secguard.findings.models import Finding, Risk
    from secguard.findings.services import refresh_exposures
    from secguard.images.models import Repository

    number = next(_NUMBERS)
    flaw = Vulnerability.objects.create(name=f"CVE-2026-{number}") if kind == "vulnerability" else None
    columns = {"rule": f"rule-{number}"} | risk
    made = Risk.objects.create(key=f"{number:064}", kind=kind, vulnerability=flaw, severity=severity, **columns)
    Finding.objects.create(image=image, risk=made, severity=severity, first_seen_at=NOW)
    for repository in Repository.objects.filter(newest_image=image).select_related("application"):
        refresh_exposures(repository, at=NOW)
    return made


def cover(risk: Any, until: datetime) -> None:
    """A decision covers the risk wherever it stands, until then."""
    from secguard.findings.models import Exposure

    Exposure.objects.filter(risk=risk).update(decision_id=1, decided_until=until)
