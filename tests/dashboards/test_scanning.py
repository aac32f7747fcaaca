"""The pages that have a worker look at an image."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.images.services import RegistryEdit, add_registry
from secguard.scans.models import Scan

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def registry(operator: Any) -> Any:
    return add_registry("reg.example", RegistryEdit(), actor=operator)


def test_the_form_asks_for_a_scan_and_leads_to_it(developer, application):
    answer = developer.client.post("/scans/new/", {"image": "reg.example/shop/web:1", "application": application.slug})
    scan = Scan.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/scans/{scan.pk}/")
    assert (scan.trigger, scan.application) == ("page", application)
    page = developer.client.get(f"/scans/{scan.pk}/").content.decode()
    assert "Call it off" in page
    assert 'hx-trigger="every 1s"' in page


@pytest.mark.parametrize(
    ("image", "words"),
    [("other.example/a:1", "nobody has set that registry up"), ("No Image", "is not an image reference")],
)
def test_what_cannot_be_scanned_is_said_in_the_form(developer, image, words):
    answer = developer.client.post("/scans/new/", {"image": image})
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Scan.objects.exists()


def test_a_scan_is_called_off_by_its_page(developer, application, stranger, viewer):
    developer.client.post("/scans/new/", {"image": "reg.example/shop/web:1", "application": application.slug})
    scan = Scan.objects.get()
    assert stranger.client.post(f"/scans/{scan.pk}/cancel/").status_code == 404
    assert viewer.client.post(f"/scans/{scan.pk}/cancel/").status_code == 403
    assert developer.client.post(f"/scans/{scan.pk}/cancel/").status_code == 302
    page = developer.client.get(f"/scans/{scan.pk}/").content.decode()
    assert "It was called off" in page
    assert "every 1s" not in page
    assert "/scans/new/?image=reg.example/shop/web%3A1" in page


def test_a_viewer_has_no_form(viewer):
    assert viewer.client.get("/scans/new/").status_code == 403
    assert "Scan an image" not in viewer.client.get("/images/").content.decode()


def test_layers_lead_to_their_findings(plain_registry, developer, operator, application, run_jobs):
    from secguard.images.models import Image
    from tests.imagebuilding import image_of, tar_of

    add_registry(plain_registry.host, RegistryEdit(uses_plain_http=True), actor=operator)
    base = tar_of({"etc/os-release": b"ID=debian\nVERSION_ID=12\n"})
    key = f"ghp_{'a' * 36}".encode()
    plain_registry.push("shop/base", "1", image_of(base))
    plain_registry.push("shop/web", "1", image_of(base, tar_of({"app/key": key})))
    for path in ("base", "web"):
        image = f"{plain_registry.host}/shop/{path}:1"
        developer.client.post("/scans/new/", {"image": image, "application": application.slug})
        run_jobs()
    web = Image.objects.get(places__repository__path="shop/web")
    assert web.base_image == Image.objects.get(places__repository__path="shop/base")
    page = developer.client.get(f"/images/{web.digest}/").content.decode()
    diff_id = web.layers.order_by("position")[1].layer.diff_id
    assert f"?status=open&amp;layer={diff_id.replace(':', '%3A')}#findings" in page
    assert "Built on" in page
    assert page.count('<span class="badge">base</span>') == 1
    listed = developer.client.get(f"/images/{web.digest}/?layer={diff_id}&format=csv")
    rows = b"".join(listed.streaming_content) if listed.streaming else listed.content
    assert rows.decode().count("github-token") == 1
    assert b"SG-CFG-001" not in rows
