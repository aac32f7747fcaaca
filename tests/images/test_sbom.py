"""Bills of materials over REST: by who may see the image, the same while nothing changes, and read back as stored."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.images.models import Image, ImageComponent, ImageLayer, ImageRepository, Layer, Repository
from secguard.scans.readers import read_report
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db

URL = f"/api/v1/images/{digest(1)}/sbom/"
PURLS = ["pkg:deb/debian/openssl@1.1.1?arch=amd64&distro=debian-12", "pkg:pypi/six@1.15.0"]
LAYER = "sha256:" + "b" * 64


@pytest.fixture
def image(post: Any, developer: Person, application: Any) -> Image:
    """An image of the developer's team with two packages, one of which has a flaw."""
    components = [{"purl": purl, "layer": LAYER, "paths": ["x"], "licenses": ["MIT"]} for purl in PURLS]
    post(report(flaw("CVE-2026-1"), components=components), developer, application=application.slug)
    image = Image.objects.get(digest=digest(1))
    layer = Layer.objects.create(digest="sha256:" + "c" * 64, diff_id=LAYER, size_bytes=1)
    ImageLayer.objects.create(image=image, position=0, layer=layer, created_by="ADD file")
    return image


@pytest.mark.parametrize(
    ("query", "media_type", "name"),
    [
        ("", "application/vnd.cyclonedx+json; version=1.6", "sha256-0000000000000000.cdx.json"),
        ("?format=cyclonedx", "application/vnd.cyclonedx+json; version=1.6", "sha256-0000000000000000.cdx.json"),
        ("?format=spdx", "application/spdx+json", "sha256-0000000000000000.spdx.json"),
    ],
)
def test_it_says_what_is_stored(image: Image, developer: Person, query: str, media_type: str, name: str) -> None:
    answer = developer.api.get(URL + query)
    assert answer.status_code == 200
    assert answer["Content-Type"] == media_type
    assert answer["Content-Disposition"] == f'attachment; filename="{name}"'
    read = read_report(answer.content)
    stored = ImageComponent.objects.filter(image=image).order_by("component__purl")
    assert [(c.purl, c.layer, c.paths) for c in read.components] == [(c.purl, c.layer, (c.path,)) for c in stored]
    assert [c.purl for c in read.components] == PURLS
    assert read.subject.digest == image.digest
    assert read.inventory


@pytest.mark.parametrize("query", ["?format=cyclonedx", "?format=spdx"])
def test_it_is_sent_once_while_nothing_changes(image: Image, developer: Person, query: str) -> None:
    first = developer.api.get(URL + query)
    again = developer.api.get(URL + query, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    ImageComponent.objects.filter(image=image).first().delete()  # type: ignore[union-attr]
    changed = developer.api.get(URL + query, headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_a_stranger_is_told_nothing(image: Image, stranger: Person) -> None:
    for query in ("", "?format=spdx"):
        assert stranger.api.get(URL + query).status_code == 404


def test_it_names_only_repositories_that_one_may_see(
    image: Image, developer: Person, stranger: Person, other_application: Any
) -> None:
    """The same image in another team's repository is the same image, and does not tell of the first team's."""
    registry = Repository.objects.get().registry
    theirs = Repository.objects.create(
        registry=registry, path="z/own", name="reg.example/z/own", application=other_application
    )
    ImageRepository.objects.create(image=image, repository=theirs)
    assert b"shop/web" in developer.api.get(URL).content
    assert b"z/own" not in developer.api.get(URL).content
    body = stranger.api.get(URL).content
    assert b"z/own" in body
    assert b"shop/web" not in body


def test_another_format_is_refused_in_words(image: Image, developer: Person) -> None:
    answer = developer.api.get(URL + "?format=swid")
    assert answer.status_code == 400
    assert "expected one of cyclonedx, spdx" in answer.json()["detail"]


def test_where_nobody_listed_anything_it_is_not_empty_but_missing(
    post: Any, developer: Person, application: Any
) -> None:
    post(report(flaw("CVE-2026-1")), developer, application=application.slug)
    answer = developer.api.get(URL)
    assert (answer.status_code, answer.json()["code"]) == (404, "no-inventory")
    assert "Scan it" in answer.json()["detail"]
