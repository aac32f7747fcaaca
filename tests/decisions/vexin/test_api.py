"""Documents over REST: taken item by item, kept as they came, and shown to nobody else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from secguard.decisions import vexin
from secguard.decisions.services import vexin as taking
from tests.decisions.vexin.test_services import AUTHOR, document, of

if TYPE_CHECKING:
    from secguard.images.models import Image
    from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def trusted(db: None) -> None:
    taking.trust_author(AUTHOR, actor=None)


def post(person: Person, raw: bytes, path: str = "vex/", kind: str = "application/json") -> Any:
    return person.api.generic("POST", f"/api/v1/{path}", raw, content_type=kind)


def test_each_item_has_its_outcome(developer: Person, image: Image) -> None:
    answer = post(developer, document(of(image), {"@id": "pkg:oci/other@sha256:" + "f" * 64}))
    assert answer.status_code == 200, answer.content
    told = answer.json()
    assert (told["requested"], told["statements"], told["author"]) == (1, 2, AUTHOR)
    (item,) = told["results"]
    assert (item["outcome"], item["scope"], item["scope_label"]) == ("requested", "image", image.digest)
    assert [(t["count"], len(t["statements"])) for t in told["told"]] == [(1, 1)]
    decision = developer.api.get(f"/api/v1/decisions/{item['decision']}/").json()
    assert (decision["kind"], decision["status"]) == ("not_affected", "requested")


def test_posted_to_an_image_an_ignore_list_is_about_it(developer: Person, image: Image) -> None:
    path = f"images/{image.digest}/vex/"
    answer = post(developer, b"CVE-2026-0001 # not reachable\n", path, "text/plain")
    assert [i["outcome"] for i in answer.json()["results"]] == ["requested"]
    again = post(developer, b"CVE-2026-0001 # not reachable\n", path, "text/plain").json()
    assert [i["outcome"] for i in again["results"]] == ["open"]
    assert again["results"][0]["decision"] == answer.json()["results"][0]["decision"]


def test_a_stranger_is_told_nothing_of_the_image(stranger: Person, image: Image) -> None:
    assert post(stranger, document(of(image)), f"images/{image.digest}/vex/").status_code == 404
    answer = post(stranger, document(of(image)))
    assert (answer.status_code, answer.json()["results"]) == (200, [])


def test_the_document_is_kept_as_it_came_and_goes_out_as_a_file(
    developer: Person, stranger: Person, image: Image
) -> None:
    raw = document(of(image))
    kept = post(developer, raw).json()["document"]
    answer = developer.api.get(f"/api/v1/vex-documents/{kept}/raw/")
    assert answer.content == raw
    assert answer["Content-Disposition"].startswith("attachment")
    for path in ("", "raw/"):
        assert stranger.api.get(f"/api/v1/vex-documents/{kept}/{path}").status_code == 404


def test_markup_in_a_statement_is_text_on_the_decisions_page(developer: Person, image: Image) -> None:
    (item,) = post(developer, document(of(image))).json()["results"]
    page = developer.client.get(f"/decisions/{item['decision']}/").content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert(1)" not in page


@pytest.mark.parametrize(
    ("raw", "kind", "status", "code"),
    [
        (b"", "application/json", 422, "vex-empty"),
        (b"{", "application/json", 422, "bad-document"),
        (b"x=1", "application/x-www-form-urlencoded", 422, "form-upload"),
        (document(author="Somebody"), "application/json", 403, "vex-author"),
        (b" " * (vexin.MAX_BYTES + 1), "application/json", 413, "document-too-large"),
    ],
)
def test_what_cannot_be_taken_says_why(developer: Person, raw: bytes, kind: str, status: int, code: str) -> None:
    answer = post(developer, raw, kind=kind)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content[:300]


def test_an_end_may_be_asked_for_and_must_be_a_time(developer: Person, image: Image) -> None:
    assert post(developer, document(of(image)), "vex/?expires_at=tomorrow").status_code == 400
    assert post(developer, document(of(image)), "vex/?expires_at=2020-01-01T00:00:00Z").status_code == 422


def test_what_goes_out_can_be_read_in(reviewer: Person, developer: Person, image: Image) -> None:
    (item,) = post(developer, document(of(image))).json()["results"]
    assert reviewer.api.post(f"/api/v1/decisions/{item['decision']}/approve/").status_code == 200
    for kind in ("openvex", "cyclonedx", "csaf"):
        out = developer.api.get(f"/api/v1/images/{image.digest}/vex/?format={kind}")
        read = vexin.read(b"".join(out.streaming_content) if out.streaming else out.content)
        assert {s.status for s in read.statements} == {vexin.Status.NOT_AFFECTED}, kind
        assert {s.vulnerability for s in read.statements} == {"CVE-2026-0001"}


def test_authors_over_rest(administrator: Person, developer: Person) -> None:
    made = administrator.api.post("/api/v1/vex-authors/", {"pattern": "Somebody", "note": "base images"})
    assert made.status_code == 201, made.content
    assert administrator.api.post("/api/v1/vex-authors/", {"pattern": "Somebody"}).status_code == 409
    unknown = {"pattern": "Other", "application": "nothing"}
    assert administrator.api.post("/api/v1/vex-authors/", unknown).status_code == 404
    url = f"/api/v1/vex-authors/{made.json()['id']}/"
    assert developer.api.post(f"{url}withdraw/", {"reason": "x"}).status_code == 403
    assert administrator.api.post(f"{url}withdraw/", {"reason": "gone"}).json()["reason"] == "gone"
    assert json.loads(developer.api.get(url).content)["withdrawn_at"]
