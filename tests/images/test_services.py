"""Images, where they lie, what their tags point to, and what is installed in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from secguard.images import services
from secguard.images.models import Component, Image, ImageComponent, ImageRepository, Repository, Tag, TagMove
from secguard.images.reference import parse
from secguard.images.services import Installed
from tests.fixtures_reports import digest

pytestmark = pytest.mark.django_db
AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def repository():
    return services.ensure_repository(parse("reg.example/shop/web"), application=None)


def image(number, **more):
    return services.ensure_image(digest(number), at=AT, **more)


def test_a_repository_is_made_once_and_keeps_its_application(application, other_application):
    first = services.ensure_repository(parse("reg.example/shop/web:1"), application=application)
    again = services.ensure_repository(parse("reg.example/shop/web:2"), application=other_application)
    assert first == again
    assert again.application == application
    assert Repository.objects.get().name == "reg.example/shop/web"


def test_an_image_is_its_digest(repository):
    assert image(1) == image(1)
    assert image(1) != image(2)


def test_an_image_known_by_its_config_digest_becomes_the_one_with_the_manifest_digest():
    built = services.ensure_image(digest(9), config_digest=digest(9), is_asserted=False, at=AT)
    pushed = image(1, config_digest=digest(9))
    assert (pushed.pk, pushed.digest, pushed.is_digest_asserted) == (built.pk, digest(1), True)


def test_an_asserted_image_is_never_renamed():
    first = image(1, config_digest=digest(9))
    second = image(2, config_digest=digest(9))
    assert first.pk != second.pk


def test_the_newest_arrival_leads_whatever_the_order_of_taking_in(repository):
    assert services.place(image(2), repository, "2", at=AT + timedelta(hours=1), by=None) is True
    assert services.place(image(1), repository, "1", at=AT, by=None) is True
    assert services.place(image(1), repository, "1", at=AT + timedelta(hours=2), by=None) is False
    repository.refresh_from_db()
    assert repository.newest_image == image(2)
    assert ImageRepository.objects.count() == 2


def test_a_tag_points_to_one_image_and_its_history_stays(repository):
    for number in (1, 2, 2, 1):
        services.point(repository, "latest", image(number), at=AT, by=None)
    assert Tag.objects.get().image == image(1)
    assert list(TagMove.objects.order_by("pk").values_list("image_id", flat=True)) == [
        image(1).pk,
        image(2).pk,
        image(1).pk,
    ]


def test_locking_reads_the_image_anew(repository):
    stale = image(1)
    services.place(stale, repository, "", at=AT, by=None)
    Image.objects.update(os_name="debian")
    with transaction.atomic():
        assert services.lock(stale, repository).os_name == "debian"


def test_components_are_made_once_with_their_parts():
    purls = ["pkg:deb/debian/libstdc%2B%2B6@12.2-1%2Bb1", "pkg:npm/%40angular/core@1.0", "pkg:generic/x"]
    with transaction.atomic():
        first = services.ensure_components(purls)
        assert services.ensure_components([*purls, *purls]) == first
    rows = {c.purl: (c.package, c.type, c.name, c.version) for c in Component.objects.all()}
    assert rows == {
        purls[0]: ("pkg:deb/debian/libstdc%2B%2B6", "deb", "libstdc++6", "12.2-1+b1"),
        purls[1]: ("pkg:npm/%40angular/core", "npm", "core", "1.0"),
        purls[2]: ("pkg:generic/x", "generic", "x", ""),
    }


def test_an_inventory_is_replaced_by_its_difference():
    with transaction.atomic():
        ids = services.ensure_components([f"pkg:npm/p{n}@1" for n in range(4)])
        rows = [Installed(pk, purl, "", f"/{purl}", ["MIT"]) for purl, pk in sorted(ids.items())]
        assert services.replace_inventory(image(1), rows[:3]) == 3
        before = dict(ImageComponent.objects.values_list("component_id", "pk"))
        assert services.replace_inventory(image(1), rows[:3]) == 0
        assert services.replace_inventory(image(1), [rows[0]._replace(path="/moved"), rows[1], rows[3]]) == 3
    after = {c.component_id: c for c in ImageComponent.objects.all()}
    assert set(after) == {rows[0].component_id, rows[1].component_id, rows[3].component_id}
    assert after[rows[0].component_id].path == "/moved"
    assert after[rows[1].component_id].pk == before[rows[1].component_id]
    assert after[rows[3].component_id].licenses == ["MIT"]
