"""Words brought to many images at once are what taking each image in again would write, whatever stood before."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from django.db.models.lookups import IsNull
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.advisories.reading import items
from secguard.advisories.services.storing import store
from secguard.findings import services as finding_services
from secguard.findings.models import Exposure, Finding, Observation, Risk
from secguard.images import services as image_services
from secguard.images.models import Component, Image
from secguard.scans import services
from secguard.scans.models import ChangedMatch
from secguard.scans.services import matching, rematching
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db

PACKAGES = [("alpha", "1.0-1"), ("alpha", "2.0-1"), ("beta", "1.0-1"), ("gamma", "1.0-1")]
FLAWS = [f"CVE-2026-1000{n}" for n in range(4)]


class Quiet:
    """A job's run that nobody watches."""

    job_id, attempt = 0, 1
    args: dict[str, Any] = {}

    def progress(self, text: str, done: int = 0, total: int = 0) -> None: ...


advisories = st.lists(
    st.tuples(
        st.sampled_from(FLAWS),
        st.sampled_from(["alpha", "beta", "gamma"]),
        st.sampled_from(["", "1.0-1", "1.5-1", "3.0-1"]),
        st.sampled_from(["L", "H"]),
        st.booleans(),
    ),
    max_size=6,
    unique_by=lambda a: a[:2],
)
inventories = st.lists(st.sets(st.sampled_from(PACKAGES), min_size=1), min_size=2, max_size=4)
others = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(FLAWS), st.sampled_from(PACKAGES), st.booleans()), max_size=5
)


def published(said: list[tuple[str, str, str, str, bool]], day: int) -> None:
    lines = []
    for cve, package, fixed, impact, is_withdrawn in said:
        events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
        where = {"ecosystem": "Debian:12", "name": package}
        at = f"2026-01-{day:02}T00:00:00Z"
        entry = {
            "schema_version": "1.7.0",
            "id": f"DEBIAN-{cve}-{package}",
            "upstream": [cve],
            "modified": at,
            "severity": [{"type": "CVSS_V3", "score": f"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:{impact}/I:N/A:N"}],
            "affected": [{"package": where, "ranges": [{"type": "ECOSYSTEM", "events": events}]}],
            **({"withdrawn": at} if is_withdrawn and day > 1 else {}),
        }
        lines.append(json.dumps(entry))
    store(list(items(io.BytesIO("\n".join(lines).encode()), "feed.jsonl")))


def posted(raw: bytes, actor: Any) -> None:
    scan, _ = services.submit(services.Submission(raw), actor=actor, max_bytes=10**6)
    services.take_in(scan.pk, progress=lambda *_: None)


def inventory(number: int, packages: set[tuple[str, str]]) -> bytes:
    image = {"reference": f"reg.example/shop/app{number % 2}:{number}", "digest": digest(number + 1)}
    parts = [
        {"purl": f"pkg:deb/debian/{n}@{v}?distro=debian-12", "paths": [f"/p{number}"]} for n, v in sorted(packages)
    ]
    return report(scanner="syft", image=image, covers=[], components=parts)


def by_another(number: int, cve: str, package: tuple[str, str], is_vague: bool) -> bytes:
    name, version = package
    where = {"name": name, "version": version} if is_vague else {"purl": f"pkg:deb/debian/{name}@{version}"}
    image = {"reference": f"reg.example/shop/app{number % 2}:{number}", "digest": digest(number + 1)}
    return report(flaw(cve, where, severity="medium"), scanner="trivy", image=image)


def again() -> None:
    """Every image taken in again, one after the other."""
    for image in Image.objects.order_by("pk"):
        with transaction.atomic():
            locked = image_services.lock(image, None)
            matched = matching.matches_of(locked, known_builds=matching.newest_build())
            if matched is None:
                continue
            finding_services.take_in(
                locked,
                matched.entries,
                flaws=matched.flaws,
                components=dict(Component.objects.values_list("purl", "pk")),
                scanner="secguard",
                scan_id=0,
                covers=["vulnerability"],
                is_complete=True,
                at=timezone.now(),
            )


def standing() -> dict[str, Any]:
    """Everything that depends on what is said, but for times, ids and the words of the reason."""
    finding = ("image__digest", "risk__key", "component__purl", "status", "severity", "severity_source")
    word = ("finding__image__digest", "finding__risk__key", "finding__component__purl", "scanner", "severity")
    found: dict[str, Any] = {
        "findings": Finding.objects.values_list(
            *finding, "fixed_versions", "path", "layer", IsNull(F("closed_at"), True)
        ),
        "words": Observation.objects.values_list(
            *word, "reported_id", "fixed_versions", IsNull(F("withdrawn_at"), True)
        ),
        "risks": Risk.objects.values_list("key", "severity", "fix_available"),
        "exposures": Exposure.objects.values_list(
            "risk__key", "repository__name", "severity", "fix_available", IsNull(F("resolved_at"), True)
        ),
        "images": Image.objects.values_list("digest", "open_findings", "worst_severity", "severity_counts"),
    }
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def undone(step: Any) -> dict[str, Any]:
    """What stands after ``step``, which is then undone."""
    with transaction.atomic():
        step()
        found = standing()
        transaction.set_rollback(True)
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inventories, advisories, others, advisories)
def test_it_is_what_taking_every_image_in_again_writes(administrator, images, before, said, after):
    with transaction.atomic():
        published(before, 1)
        for number, packages in enumerate(images):
            posted(inventory(number, packages), administrator)
        rematching.rematch(Quiet())
        for number, cve, package, is_vague in said:
            if number < len(images):
                posted(by_another(number, cve, package, is_vague), administrator)
        published(after, 2)
        one_by_one = undone(again)
        at_once = undone(lambda: rematching.rematch(Quiet()))
        transaction.set_rollback(True)
    assert at_once == one_by_one


@pytest.mark.parametrize("size", [1, 2, 1000])
def test_it_does_not_matter_how_many_images_are_written_at_once(administrator, monkeypatch, size):
    monkeypatch.setattr(rematching, "IMAGES", size)
    monkeypatch.setattr(rematching, "ROUND", size)
    monkeypatch.setattr(rematching, "BUILDS", size)
    published([], 1)
    for number in range(3):
        posted(inventory(number, set(PACKAGES)), administrator)
    published([(cve, package, "", "H", False) for cve in FLAWS for package in ("alpha", "beta")], 1)
    hits: list[tuple[int, int]] = []
    monkeypatch.setattr(rematching, "HIT", [lambda images, risks: hits.extend(zip(images, risks, strict=True))])
    rematching.rematch(Quiet())
    assert Finding.objects.filter(status="open").count() == 3 * len(FLAWS) * 3
    assert set(hits) == set(Finding.objects.values_list("image_id", "risk_id"))
    assert len(hits) == Finding.objects.count()
    assert not ChangedMatch.objects.exists()
    assert set(Image.objects.values_list("open_findings", flat=True)) == {12}
