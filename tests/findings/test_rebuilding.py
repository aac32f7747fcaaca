"""What rebuilding on the newest base would remove, from what is stored, as each person may see it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.findings.models import Finding
from secguard.findings.queries import RebuildOffer, rebuild_offer
from secguard.images.models import Image, ImageComponent, ImageLayer, Layer
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db

BASE_LAYER, APP_LAYER = "sha256:" + "b" * 64, "sha256:" + "a" * 64


def _layers(image: Image, *diff_ids: str) -> None:
    for position, diff_id in enumerate(diff_ids):
        layer, _ = Layer.objects.get_or_create(
            digest=diff_id.replace("sha256:", "sha256:0")[:71], defaults={"diff_id": diff_id, "size_bytes": 1}
        )
        ImageLayer.objects.create(image=image, position=position, layer=layer)


@pytest.fixture
def estate(post: Any, developer: Person, application: Any) -> tuple[Image, Image, Image]:
    """A base (1), its successor (2) that fixed two of three flaws and has a new one, and an image (3) on the base."""

    def posted(number: int, name: str, *flaws: dict[str, Any], days: int) -> Image:
        subject = {"reference": f"reg.example/shop/{name}", "digest": digest(number)}
        post(report(*flaws, image=subject), developer, application=application.slug)
        image = Image.objects.get(digest=digest(number))
        image.places.update(first_seen_at=timezone.now() - timedelta(days=days))
        return image

    old = [flaw("CVE-2026-1"), flaw("CVE-2026-2", "zlib"), flaw("CVE-2026-3", "bash", severity="critical")]
    base = posted(1, "base:1", *old, days=9)
    newest = posted(2, "base:2", flaw("CVE-2026-2", "zlib"), flaw("CVE-2026-4", "tar", severity="low"), days=1)
    image = posted(3, "web:1", *old, flaw("CVE-2026-1", "own"), days=5)
    _layers(base, BASE_LAYER)
    _layers(newest, "sha256:" + "c" * 64)
    _layers(image, BASE_LAYER, APP_LAYER)
    for finding in Finding.objects.filter(image=image).select_related("component", "risk"):
        assert finding.component is not None
        layer = APP_LAYER if finding.component.name == "own" else BASE_LAYER
        ImageComponent.objects.update_or_create(
            image=image, component=finding.component, defaults={"purl": finding.component.purl, "layer": layer}
        )
    image.base_image = base
    image.save(update_fields=["base_image"])
    return base, newest, image


def _offer(image: Image, person: Person) -> RebuildOffer:
    offer = rebuild_offer(image, person)
    assert offer is not None
    return offer


def test_it_says_what_would_go_stay_and_come(estate: tuple[Image, Image, Image], developer: Person) -> None:
    base, newest, image = estate
    offer = _offer(image, developer)
    assert (offer.base, offer.newest) == (base, newest)
    assert (offer.change.moves_from, offer.change.moves_to) == (4, 3)
    gone = Finding.objects.filter(pk__in=offer.change.removed)
    assert {f.risk.name for f in gone} == {"CVE-2026-1", "CVE-2026-3"}
    assert {f.component.name for f in gone if f.component} == {"openssl", "bash"}
    assert [f.risk.name for f in Finding.objects.filter(pk__in=offer.change.added)] == ["CVE-2026-4"]


def test_the_same_number_of_queries_whatever_stands(
    estate: tuple[Image, Image, Image], developer: Person, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(8):
        _offer(estate[2], developer)


def test_a_stranger_gets_no_offer(estate: tuple[Image, Image, Image], stranger: Person) -> None:
    assert rebuild_offer(estate[2], stranger) is None


def test_nothing_to_offer(estate: tuple[Image, Image, Image], developer: Person) -> None:
    base, newest, image = estate
    assert rebuild_offer(base, developer) is None
    image.base_image = newest
    assert rebuild_offer(image, developer) is None


def test_another_platform_is_no_newer_base(estate: tuple[Image, Image, Image], developer: Person) -> None:
    base, newest, image = estate
    Image.objects.filter(pk=base.pk).update(architecture="amd64")
    Image.objects.filter(pk=newest.pk).update(architecture="arm64")
    image.refresh_from_db()
    assert rebuild_offer(image, developer) is None


def test_what_was_never_looked_at_is_no_better_base(estate: tuple[Image, Image, Image], developer: Person) -> None:
    Image.objects.filter(pk=estate[1].pk).update(last_scanned_at=None)
    assert rebuild_offer(estate[2], developer) is None
