"""What scans say of an application's checklist: kept, missing, not measured; never by another team's images."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from secguard.scans import planning
from secguard.scans.inspection.checks import ALL
from tests.measuring import (
    DAY,
    NOW,
    cover,
    find_in,
    image_in,
    names_behind,
    outcome,
    outcomes,
    repository_of,
    rows_behind,
    run,
    scan_of,
)

pytestmark = pytest.mark.django_db

LOOKED_FOR = {
    "no-secrets": ("secret", 1),
    "no-malware": ("malware", 5),
    "images-well-configured": ("misconfiguration", 4),
}


def test_nothing_is_measured_of_an_application_without_images(application: Any, other_application: Any) -> None:
    strange = image_in(repository_of(other_application))
    scan_of(strange, "secret", "malware", "misconfiguration")
    run(other_application, strange)
    for name in ("images-scanned", "sbom-known", *LOOKED_FOR):
        assert outcome(name, application).state == "unmeasured"
        assert outcome(name, application).links == ()


# --- scanned ---


def test_images_are_scanned_until_the_last_scan_is_thirty_days_old(application: Any, other_application: Any) -> None:
    newest, running = image_in(repository_of(application)), image_in(repository_of(other_application))
    scan_of(newest, at=NOW - 10 * DAY)
    scan_of(newest, at=NOW - 40 * DAY)
    scan_of(running, at=NOW - 5 * DAY)
    run(application, running)
    found = outcome("images-scanned", application)
    assert (found.state, found.says) == ("kept", "All 2 images: scanned within the last 30 days.")
    assert found.changes_at == NOW + 20 * DAY
    assert outcome("images-scanned", application, found.changes_at - timedelta(seconds=1)).state == "kept"
    assert outcome("images-scanned", application, found.changes_at).state == "missing"


@pytest.mark.parametrize("scan", [{"status": "failed"}, {"is_complete": False}, {"at": NOW - 31 * DAY}, None])
def test_an_image_is_not_scanned_by_what_failed_was_partial_or_is_old(
    application: Any, viewer: Any, scan: dict[str, Any] | None
) -> None:
    good, bad = (image_in(repository_of(application)) for _ in range(2))
    scan_of(good)
    if scan is not None:
        scan_of(bad, **scan)
    found = outcome("images-scanned", application)
    assert (found.state, found.says) == ("missing", "1 of 2 images: not scanned within the last 30 days.")
    ((_, path),) = found.links
    # The page measures now, when the good one's scan is still younger than the check's limit or both are old.
    assert bad.digest in {row["Digest"] for row in rows_behind(viewer, path)}


def test_another_teams_images_do_not_count(application: Any, other_application: Any) -> None:
    scan_of(image_in(repository_of(application)))
    image_in(repository_of(other_application))
    ours, theirs = outcomes("images-scanned", [application, other_application])
    assert (ours.state, theirs.state) == ("kept", "missing")


def test_what_runs_no_more_and_what_was_followed_by_a_newer_image_does_not_count(application: Any) -> None:
    repository = repository_of(application)
    former = image_in(repository)
    scan_of(image_in(repository))
    run(application, former, gone_at=NOW)
    assert outcome("images-scanned", application).says.startswith("1 image: scanned")


# --- contents ---


def test_contents_are_known_by_an_inventory(application: Any, viewer: Any) -> None:
    from secguard.images.models import Component, ImageComponent

    known, unknown = (image_in(repository_of(application)) for _ in range(2))
    component = Component.objects.create(purl="pkg:deb/debian/zlib@1", package="pkg:deb/debian/zlib", type="deb")
    ImageComponent.objects.create(image=known, component=component, purl=component.purl)
    found = outcome("sbom-known", application)
    assert (found.state, found.says) == ("missing", "1 of 2 images: without known contents.")
    ((_, path),) = found.links
    assert [row["Digest"] for row in rows_behind(viewer, path)] == [unknown.digest]
    ImageComponent.objects.create(image=unknown, component=component, purl=component.purl)
    assert outcome("sbom-known", application).state == "kept"


# --- what was found ---


@pytest.mark.parametrize("name", LOOKED_FOR)
def test_what_nobody_looked_for_is_not_known(application: Any, name: str) -> None:
    kind, _ = LOOKED_FOR[name]
    image = image_in(repository_of(application))
    scan_of(image, "vulnerability")
    scan_of(image, kind, status="failed")
    scan_of(image, kind, is_complete=False)
    assert outcome(name, application).state == "unmeasured"
    scan_of(image, "vulnerability", kind)
    assert outcome(name, application).state == "kept"


@pytest.mark.parametrize("name", LOOKED_FOR)
def test_one_finding_is_missing_in_the_image_that_has_it(
    application: Any, other_application: Any, viewer: Any, stranger: Any, name: str
) -> None:
    kind, severity = LOOKED_FOR[name]
    good, bad, strange = (image_in(repository_of(a)) for a in (application, application, other_application))
    for image in (good, bad, strange):
        scan_of(image, kind)
    find_in(bad, kind, severity=severity)
    ours, theirs = outcomes(name, [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    ((_, path),) = ours.links
    assert [row["Digest"] for row in rows_behind(viewer, path)] == [bad.digest]
    assert rows_behind(stranger, path) == []


def test_a_finding_counts_though_another_image_was_not_looked_at(application: Any) -> None:
    bad, _unknown = (image_in(repository_of(application)) for _ in range(2))
    find_in(bad, "secret")
    found = outcome("no-secrets", application)
    assert found.state == "missing"
    assert found.says == "1 of 2 images: with a secret in it. 1 of 2 images: not looked through for secrets."
    assert [path.partition("?")[2] for _, path in found.links] == ["lacking=shop:no-secrets", "untold=shop:no-secrets"]


def test_a_decision_covers_a_finding_until_it_ends(application: Any, other_application: Any) -> None:
    image = image_in(repository_of(application))
    scan_of(image, "secret")
    risk = find_in(image, "secret")
    cover(risk, NOW + 3 * DAY)
    found = outcome("no-secrets", application)
    assert (found.state, found.changes_at) == ("kept", NOW + 3 * DAY)
    assert outcome("no-secrets", application, NOW + 3 * DAY).state == "missing"
    # The same image in another team's hands: their decision is not ours.
    run(other_application, image)
    assert outcome("no-secrets", other_application).state == "missing"


def test_a_misconfiguration_that_is_not_severe_may_stand(application: Any) -> None:
    image = image_in(repository_of(application))
    scan_of(image, "misconfiguration")
    find_in(image, "misconfiguration", severity=3)
    assert outcome("images-well-configured", application).state == "kept"


def test_a_closed_finding_is_none(application: Any) -> None:
    from secguard.findings.models import Finding

    image = image_in(repository_of(application))
    scan_of(image, "secret")
    find_in(image, "secret")
    Finding.objects.update(status="closed", closed_at=NOW)
    assert outcome("no-secrets", application).state == "kept"


# --- what our own scan looks for ---

OWN = {name: (kind, checks) for name, kind, checks, *_ in planning._OWN_CHECKS}


@pytest.mark.parametrize("name", OWN)
def test_only_our_own_scan_tells_of_its_checks(
    application: Any, other_application: Any, viewer: Any, name: str
) -> None:
    kind, checks = OWN[name]
    good, bad, theirs = (image_in(repository_of(a)) for a in (application, application, other_application))
    for image in (good, bad, theirs):
        scan_of(image, kind.value)
    assert outcome(name, application).state == "unmeasured"
    for image in (good, bad, theirs):
        scan_of(image, kind.value, scanner="secguard")
    find_in(good, kind.value, rule="SG-CFG-999")
    assert outcome(name, application).state == "kept"
    risks = [find_in(bad, kind.value, rule=check, severity=1) for check in checks]
    ours, others = outcomes(name, [application, other_application])
    assert (ours.state, others.state) == ("missing", "kept")
    assert names_behind(viewer, ours.links[0][1], "Digest") == [bad.digest]
    for risk in risks:
        assert outcome(name, application).state == "missing"
        cover(risk, NOW + DAY)
    found = outcome(name, application)
    assert (found.state, found.changes_at) == ("kept", NOW + DAY)


def test_each_check_of_our_own_scan_is_one_that_there_is() -> None:
    assert {check for _, checks in OWN.values() for check in checks} <= {check.id for check in ALL}


# --- what they are built on ---


def test_an_image_is_built_anew_within_thirty_days_of_a_newer_base(
    application: Any, other_application: Any, viewer: Any
) -> None:
    from secguard.images.models import ImageRepository

    bases = repository_of(other_application)

    def base(days: int, **columns: Any) -> Any:
        image = image_in(bases, architecture="amd64", last_scanned_at=NOW, **columns)
        ImageRepository.objects.filter(image=image).update(first_seen_at=NOW - days * DAY)
        return image

    old = base(90)
    built = image_in(repository_of(application), base_image=old)
    assert outcome("images-base-current", application).state == "kept"
    base(40, variant="v8")
    base(10)
    found = outcome("images-base-current", application)
    assert (found.state, found.changes_at) == ("kept", NOW + 20 * DAY)
    newer = base(31)
    image_in(repository_of(other_application), base_image=newer)
    ours, theirs = outcomes("images-base-current", [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "unmeasured")
    assert names_behind(viewer, ours.links[0][1], "Digest") == [built.digest]
    image_in(repository_of(application))
    assert outcome("images-base-current", application).says.endswith("1 of 2 images: whose base is not known here.")
