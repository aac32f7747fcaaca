"""The pages of repositories, and what rebuilding on a newer base would change, on images that our workers scanned."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from secguard.images.models import Image, Repository
from secguard.images.services import RegistryEdit, add_registry
from secguard.scans.models import Watch
from tests.imagebuilding import image_of, tar_of

KEY = f"ghp_{'a' * 36}".encode()
OTHER = f"ghp_{'b' * 36}".encode()

pytestmark = pytest.mark.django_db


@pytest.fixture
def scanned(plain_registry: Any, developer: Any, operator: Any, application: Any, run_jobs: Any) -> Any:
    """``scanned("shop/web", "1", layer, …)``: pushes an image, has it scanned, and gives it."""
    add_registry(plain_registry.host, RegistryEdit(uses_plain_http=True), actor=operator)

    def scan(path: str, tag: str, *layers: bytes) -> Image:
        digest = plain_registry.push(path, tag, image_of(*layers))
        wanted = {"image": f"{plain_registry.host}/{path}:{tag}", "application": application.slug}
        assert developer.client.post("/scans/new/", wanted).status_code == 303
        run_jobs()
        return Image.objects.get(digest=digest)

    return scan


@pytest.fixture
def rebuilt(scanned: Any) -> tuple[Image, Image, Image]:
    """A base with a secret, an image on it with another one, and a newer base with a third in place of the first."""
    old = tar_of({"etc/old": KEY})
    base = scanned("base/os", "1", old)
    image = scanned("shop/web", "1", old, tar_of({"app/own": OTHER}))
    newer = scanned("base/os", "2", tar_of({"etc/new": f"ghp_{'c' * 36}".encode()}))
    return base, image, newer


def page_of(person: Any, url: str) -> str:
    return " ".join(html.unescape(person.client.get(url).content.decode()).split())


def rows_of(person: Any, url: str) -> list[str]:
    answer = person.client.get(url)
    return b"".join(answer.streaming_content).decode().strip().splitlines()[1:]


def test_a_repository_says_what_rebuilding_would_change(rebuilt, developer):
    _, image, newer = rebuilt
    repository = Repository.objects.get(path="shop/web")
    page = page_of(developer, f"/repositories/{repository.pk}/")
    assert "base/os:1" in re.sub("<wbr>", "", page)
    offer = f"/images/{image.digest}/rebuild/"
    said = {
        which: int(number) for which, number in re.findall(rf'href="{offer}\?change=(\w+)"><?(?:strong>)?(\d+)', page)
    }
    assert said["goes"] == said["comes"] == 1
    assert said["now"] == said["after"]
    for which, number in said.items():
        assert len(rows_of(developer, f"{offer}?change={which}&format=csv")) == number, which
    assert "/etc/old" in rows_of(developer, f"{offer}?change=goes&format=csv")[0]
    assert "/etc/new" in rows_of(developer, f"{offer}?change=comes&format=csv")[0]
    stays = "\n".join(rows_of(developer, f"{offer}?change=stays&format=csv"))
    assert "/app/own" in stays
    assert "SG-CFG" in stays, "the image's own configuration is its own"
    assert developer.client.get(f"/images/{newer.digest}/rebuild/").status_code == 404


def test_a_base_of_another_team_is_not_told_of(rebuilt, developer, other_application):
    image = rebuilt[1]
    Repository.objects.filter(path="base/os").update(application=other_application)
    page = page_of(developer, f"/images/{image.digest}/")
    assert "base/os" not in page
    assert "Rebuilding" not in page
    assert developer.client.get(f"/images/{image.digest}/rebuild/").status_code == 404


def test_findings_are_told_by_where_they_came_from(rebuilt, developer):
    image = rebuilt[1]
    base = rows_of(developer, f"/images/{image.digest}/?brought=base&format=csv")
    assert len(base) == 1
    assert "/etc/old" in base[0]
    own = "\n".join(rows_of(developer, f"/images/{image.digest}/?brought=own&format=csv"))
    assert "/app/own" in own
    assert "/etc/old" not in own
    digest = image.layers.order_by("position")[0].layer.digest
    assert rows_of(developer, f"/images/{image.digest}/?layer={digest}&format=csv") == base, "by its other name too"


def test_a_repository_shows_its_images_tags_and_growth(scanned, developer, stranger):
    scanned("shop/web", "1", tar_of({"a": b"1"}))
    second = scanned("shop/web", "2", tar_of({"a": b"1"}), tar_of({"b": bytes(range(256)) * 4000}))
    repository = Repository.objects.get(path="shop/web")
    page = page_of(developer, f"/repositories/{repository.pk}/")
    assert second.digest in page
    assert "Size to pull, in MB" in page
    assert len(rows_of(developer, f"/repositories/{repository.pk}/?format=csv")) == 2
    assert len(rows_of(developer, f"/repositories/{repository.pk}/?q={second.digest[7:19]}&format=csv")) == 1
    moves = rows_of(developer, f"/repositories/{repository.pk}/tags/?tag=2&format=csv")
    assert [second.digest in row for row in moves] == [True]
    assert "shop/web" in page_of(developer, "/repositories/")
    assert "shop/web" not in page_of(stranger, "/repositories/")
    for path in ("", "tags/"):
        assert stranger.client.get(f"/repositories/{repository.pk}/{path}").status_code == 404


def test_a_watch_is_set_changed_and_ended_on_its_page(scanned, developer, viewer, stranger):
    scanned("shop/web", "1", tar_of({"a": b"1"}))
    url = f"/repositories/{Repository.objects.get(path='shop/web').pk}/"
    assert "Only when somebody asks" in page_of(developer, url)
    assert developer.client.post(f"{url}watch/", {"every_hours": "24", "tags": "v*"}).status_code == 302
    watch = Watch.objects.get()
    assert (watch.every_hours, watch.tags) == (24, "v*")
    assert "Now every 24 hours, tags v*" in page_of(developer, url)
    assert [row.count("every 24 hours") for row in rows_of(developer, "/repositories/?watched=true&format=csv")] == [1]
    Watch.objects.update(problem="The registry stalls.")
    assert "The registry stalls." in page_of(developer, url)
    refused = developer.client.post(f"{url}watch/", {"every_hours": "0", "tags": "v*"})
    assert refused.status_code == 422
    assert "greater than or equal to 1" in refused.content.decode()
    assert viewer.client.post(f"{url}watch/", {"every_hours": "1"}).status_code == 403
    assert stranger.client.post(f"{url}watch/", {"every_hours": "1"}).status_code == 404
    assert "Change it" not in page_of(viewer, url)
    assert developer.client.post(f"{url}watch/", {"every_hours": "", "tags": ""}).status_code == 302
    assert not Watch.objects.exists()
