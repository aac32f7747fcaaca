"""The pages that have a worker look at an image."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from secguard.images.services import RegistryEdit, add_registry
from secguard.jobs.models import Job
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def registry(operator: Any) -> Any:
    return add_registry("reg.example", RegistryEdit(), actor=operator)


def test_the_form_asks_for_a_scan_and_leads_to_it(developer, application):
    answer = developer.client.post("/scans/new/", {"image": "reg.example/shop/web:1", "application": application.slug})
    scan = Scan.objects.get()
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/scans/{scan.pk}/")
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
    assert developer.api.get(f"/api/v1/scans/{scan.pk}/").json()["is_complete"] is False
    assert developer.client.post(f"/scans/{scan.pk}/cancel/").status_code == 302
    page = developer.client.get(f"/scans/{scan.pk}/").content.decode()
    assert "It was called off" in page
    assert page.count("Nothing was closed or changed") == 1
    told = developer.api.get(f"/api/v1/scans/{scan.pk}/").json()
    assert (told["status"], told["is_complete"]) == ("cancelled", False)
    assert "every 1s" not in page
    assert f'action="/scans/{scan.pk}/again/"' in page


def words_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def asked(person: Any, application: Any, image: str = "reg.example/shop/web:1") -> Scan:
    person.client.post("/scans/new/", {"image": image, "application": application.slug})
    return Scan.objects.order_by("-pk")[0]


def test_a_registry_that_nobody_set_up_leads_to_where_it_is_done(developer, operator):
    wanted = {"image": "other.example:5000/a:1"}
    assert "Ask an operator" in words_of(developer.client.post("/scans/new/", wanted))
    page = operator.client.post("/scans/new/", wanted).content.decode()
    assert "/settings/registries/new/?host=other.example%3A5000" in page
    form = operator.client.get("/settings/registries/new/?host=other.example%3A5000").content.decode()
    assert 'value="other.example:5000"' in form


def test_the_page_says_how_far_an_open_look_is(developer, application):
    scan = asked(developer, application)
    page = words_of(developer.client.get(f"/scans/{scan.pk}/"))
    assert "Waiting for a worker" in page
    told = {"progress_text": "pulling 120 of 340 MB", "progress_done": 120_000_000, "progress_total": 340_000_000}
    Job.objects.filter(pk=scan.job_id).update(**told)
    Scan.objects.filter(pk=scan.pk).update(status=ScanStatus.RUNNING)
    fragment = developer.client.get(f"/scans/{scan.pk}/", headers={"HX-Request": "true"})
    page = words_of(fragment)
    assert page.startswith('<section class="card" id="scan"')
    assert "Pulling 120 of 340 MB" in page
    assert "35 %" in page
    assert 'max="340000000" value="120000000"' in page
    assert page.count('aria-current="step"') == 1


def test_a_failed_look_says_what_to_do_and_is_asked_for_again(developer, operator, application, stranger, viewer):
    scan = asked(developer, application)
    problem = {"code": "registry-refused", "detail": "The registry refuses the user robot (401)."}
    Scan.objects.filter(pk=scan.pk).update(status=ScanStatus.FAILED, problem=problem)
    page = words_of(developer.client.get(f"/scans/{scan.pk}/"))
    assert "The registry refuses the user robot (401)." in page
    assert "What to do:" in page
    assert "An operator or an administrator does it" in page
    assert "every 1s" not in page
    assert 'href="/settings/registries/"' in words_of(operator.client.get(f"/scans/{scan.pk}/"))
    assert stranger.client.post(f"/scans/{scan.pk}/again/").status_code == 404
    assert viewer.client.post(f"/scans/{scan.pk}/again/").status_code == 403
    answer = developer.client.post(f"/scans/{scan.pk}/again/")
    new = Scan.objects.order_by("-pk")[0]
    assert new.pk != scan.pk
    assert answer.headers["Location"] == f"/scans/{new.pk}/"
    assert (new.named, new.application, new.status) == (scan.named, application, ScanStatus.QUEUED)
    assert developer.client.post(f"/scans/{new.pk}/again/").status_code == 409, "it is open"


def test_an_index_is_one_page_with_a_row_for_each_platform(plain_registry, developer, operator, application, run_jobs):
    from secguard.images.models import Image
    from tests.imagebuilding import image_of, index_of, tar_of

    add_registry(plain_registry.host, RegistryEdit(uses_plain_http=True), actor=operator)
    images = [image_of(tar_of({"a": b"1"}), architecture=a) for a in ("arm64", "amd64")]
    plain_registry.push("shop/many", "1", index_of(*images))
    scan = asked(developer, application, f"{plain_registry.host}/shop/many:1")
    run_jobs()
    page = words_of(developer.client.get(f"/scans/{scan.pk}/"))
    for platform in ("linux/amd64", "linux/arm64"):
        assert page.count(f"{platform}</a>") == 1
    amd64 = Image.objects.get(architecture="amd64")
    page = words_of(developer.client.get(f"/images/{amd64.digest}/"))
    arm64 = Image.objects.get(architecture="arm64")
    assert '<strong aria-current="true">linux/amd64</strong>' in page
    assert f'<a href="/images/{arm64.digest}/">linux/arm64</a>' in page
    child = scan.children.order_by("pk")[0]
    assert f'href="/scans/{scan.pk}/"' in words_of(developer.client.get(f"/scans/{child.pk}/"))
    again = developer.client.post(f"/scans/{child.pk}/again/")
    assert Scan.objects.get(pk=again.headers["Location"].split("/")[2]).named == scan.named, "the whole index"
    listed = words_of(developer.client.get(f"/scans/?repository={plain_registry.host}/shop/many"))
    assert f'/scans/{scan.pk}/"' in listed
    assert f'/scans/{child.pk}/"' not in listed
    place = amd64.places.get().repository_id
    assert words_of(developer.client.get(f"/repositories/{place}/")).count("linux/arm64</a>") == 1


def archive() -> SimpleUploadedFile:
    from tests.imagebuilding import docker_archive, image_of, tar_of

    return SimpleUploadedFile("image.tar", docker_archive(image_of(tar_of({"a": b"1"}))))


def test_an_uploaded_archive_is_scanned(developer, application, run_jobs):
    wanted = {"image": "made.example/shop/up:1", "application": application.slug, "archive": archive()}
    answer = developer.client.post("/scans/upload/", wanted, headers={"HX-Request": "true"})
    scan = Scan.objects.get()
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, f"/scans/{scan.pk}/")
    assert scan.trigger == "upload"
    run_jobs()
    scan.refresh_from_db()
    assert (scan.status, scan.problem) == (ScanStatus.FINISHED, None)


@pytest.mark.parametrize(
    ("image", "content", "words"),
    [
        ("made.example/shop/up:1", b"", "expected an image archive"),
        ("No Image", b"x", "is not an image reference"),
    ],
)
def test_an_upload_that_cannot_be_taken_says_why_in_the_form(developer, application, image, content, words):
    wanted = {"image": image, "application": application.slug, "archive": SimpleUploadedFile("image.tar", content)}
    answer = developer.client.post("/scans/upload/", wanted, headers={"HX-Request": "true"})
    page = words_of(answer)
    assert answer.status_code == 422
    assert page.startswith('<form method="post" action="/scans/upload/"')
    assert words in page
    assert not Scan.objects.exists()


def test_nobody_uploads_who_may_not_scan_and_nothing_is_read_of_theirs(viewer, settings):
    from django.test import Client

    answer = viewer.client.post("/scans/upload/", {"image": "made.example/a:1", "archive": archive()})
    assert answer.status_code == 403
    careful = Client(enforce_csrf_checks=True)
    careful.cookies = viewer.client.cookies
    assert careful.post("/scans/upload/", {"image": "made.example/a:1", "archive": archive()}).status_code == 403


def test_an_upload_without_the_form_s_token_is_refused(developer, application):
    from django.test import Client

    careful = Client(enforce_csrf_checks=True)
    careful.cookies = developer.client.cookies
    wanted = {"image": "made.example/a:1", "application": application.slug, "archive": archive()}
    assert careful.post("/scans/upload/", wanted).status_code == 403
    assert not Scan.objects.exists()


def test_the_list_of_scans_is_narrowed_and_written_as_csv(developer, application, stranger):
    first, second = asked(developer, application), asked(developer, application, "reg.example/shop/api:2")
    Scan.objects.filter(pk=second.pk).update(status=ScanStatus.FAILED, problem={"detail": "It broke off."})
    page = words_of(developer.client.get("/scans/"))
    assert f"/scans/{first.pk}/" in page
    assert "It broke off." in page
    for query, shown in (
        ("status=failed", [second]),
        ("status=queued&origin=worker", [first]),
        ("origin=report", []),
        ("scanner=secguard&q=api", [second]),
        ("scanner=trivy", []),
        ("q=shop/web", [first]),
    ):
        answer = developer.client.get(f"/scans/?{query}&format=csv")
        lines = b"".join(answer.streaming_content).decode().strip().splitlines()[1:]
        assert [int(line.split(",")[0]) for line in lines] == [s.pk for s in shown], query
    assert "shop/web" not in words_of(stranger.client.get("/scans/"))
    assert "shop/web" not in words_of(stranger.client.get("/scans/?q=shop/web")).replace(
        'value="shop/web"', ""
    ).replace("</span> shop/web", "")


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
    assert "layer 2" in page
    assert "shop/base:1" in page, "the base is named"
    listed = developer.client.get(f"/images/{web.digest}/?layer={diff_id}&format=csv")
    rows = b"".join(listed.streaming_content) if listed.streaming else listed.content
    assert rows.decode().count("github-token") == 1
    assert b"SG-CFG-001" not in rows
