"""Bringing a document on a page: looked at, then sent; what came in; and whose documents count."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from secguard.decisions.models import Decision, VexAuthor, VexDocument
from secguard.decisions.services import vexin as taking
from secguard.decisions.vexin_forms import MAX_CARRIED, packed
from tests.decisions.conftest import Estate
from tests.decisions.vexin.test_services import AUTHOR, document, of

if TYPE_CHECKING:
    from secguard.images.models import Image, Repository
    from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def trusted(db: None) -> None:
    taking.trust_author(AUTHOR, actor=None)


def bring(person: Person, raw: bytes, **fields: Any) -> Any:
    return person.client.post("/vex/", {"file": SimpleUploadedFile("vendor.openvex.json", raw), **fields})


def hidden(page: str) -> dict[str, str]:
    return dict(re.findall(r'<input type="hidden" name="(about|name|until|signature|carried)" value="([^"]*)"', page))


def test_a_document_is_looked_at_and_then_sent(developer: Person, image: Image) -> None:
    answer = bring(developer, document(of(image)))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Would be asked for" in page
    assert "Ask for 1 decision" in page
    assert (Decision.objects.count(), VexDocument.objects.count()) == (0, 0)
    sent = developer.client.post("/vex/", {**hidden(page), "send": "1"})
    kept = VexDocument.objects.get()
    assert (sent.status_code, sent["Location"]) == (303, f"/vex/{kept.pk}/")
    assert zlib.decompress(kept.body) == document(of(image))
    shown = developer.client.get(f"/vex/{kept.pk}/").content.decode()
    decision = Decision.objects.get()
    assert f"/decisions/{decision.pk}/" in shown
    assert "The vulnerable code is never run" in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "1 asked for" in developer.client.get("/vex/").content.decode()
    again = bring(developer, document(of(image))).content.decode()
    assert "Asked for already" in again
    assert f"No. {decision.pk}" in again
    assert "Keep the document" in again


def test_each_is_told_by_itself_with_why(developer: Person, image: Image) -> None:
    page = bring(developer, document(of(image), {"@id": "pkg:oci/other@sha256:" + "f" * 64})).content.decode()
    assert "What asks for nothing" in page
    assert "no image, repository or package that you may ask about is the product" in page


def test_brought_for_one_place_it_asks_for_nothing_outside(
    developer: Person, estate: Estate, image: Image, repository: Repository, application: Any, risk: Any
) -> None:
    elsewhere = estate.repository("shop/other", application)
    other = estate.image(elsewhere, [risk])
    raw = document(of(image), of(other))
    page = bring(developer, raw, about="repository", name=repository.name).content.decode()
    assert "Ask for 1 decision" in page
    assert f"what it is about lies outside of repository {repository.name}" in page
    assert "Ask for 2 decisions" in bring(developer, raw, about="application", name=application.slug).content.decode()
    assert "Ask for 1 decision" in bring(developer, raw, about="image", name=image.digest).content.decode()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"about": "repository"}, "Name it, or choose all images."),
        ({"about": "repository", "name": "reg.example/no"}, "There is no repository reg.example/no"),
        ({"signature": "%%%"}, "That is no base64"),
        ({"until": "2020-01-01"}, "The end has passed"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(
    developer: Person, image: Image, fields: dict[str, str], words: str
) -> None:
    answer = bring(developer, document(of(image)), **fields)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not VexDocument.objects.exists()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "The VEX document"),
        (b"", "The submitted file is empty"),
        (document(author="Nobody <no@example.org>"), "is trusted here"),
    ],
)
def test_a_document_that_is_none_is_refused_with_words(developer: Person, raw: bytes, words: str) -> None:
    answer = bring(developer, raw)
    assert answer.status_code == 422
    assert words in answer.content.decode()


def test_what_is_carried_is_bounded_and_never_believed(developer: Person) -> None:
    import base64

    bomb = base64.b64encode(zlib.compress(b" " * (64 * 2**20))).decode()
    for carried in ("no base64!", base64.b64encode(b"no zlib").decode(), bomb):
        assert developer.client.post("/vex/", {"carried": carried, "send": "1"}).status_code == 422
    assert not VexDocument.objects.exists()
    assert packed(b"x" * 1000) != ""
    import random

    assert packed(random.Random(1).randbytes(MAX_CARRIED)) == ""


def test_a_stranger_sees_no_document_and_no_image(stranger: Person, developer: Person, image: Image) -> None:
    page = bring(developer, document(of(image))).content.decode()
    developer.client.post("/vex/", {**hidden(page), "send": "1"})
    kept = VexDocument.objects.get()
    assert stranger.client.get(f"/vex/{kept.pk}/").status_code == 404
    assert AUTHOR.partition(" <")[0] not in stranger.client.get("/vex/").content.decode()
    told = bring(stranger, document(of(image))).content.decode()
    assert "Keep the document" in told
    assert "shop/api" not in told
    refused = bring(stranger, document(of(image)), about="image", name=image.digest)
    assert refused.status_code == 422
    assert "shop/api" not in refused.content.decode()


def test_authors_are_managed_by_who_manages_keys(administrator: Person, developer: Person, application: Any) -> None:
    assert "Trust an author" not in developer.client.get("/vex/authors/").content.decode()
    assert developer.client.post("/vex/authors/", {"pattern": "Example"}).status_code == 403
    fields = {"pattern": "https://vendor.example", "application": application.pk, "note": "by contract"}
    assert administrator.client.post("/vex/authors/", fields).status_code == 303
    page = administrator.client.get("/vex/authors/").content.decode()
    assert "https://vendor.example" in page
    assert "by contract" in page
    refused = administrator.client.post("/vex/authors/", {"pattern": "*"})
    assert refused.status_code == 422
    assert "names no author" in refused.content.decode()
    made = VexAuthor.objects.get(pattern="https://vendor.example")
    path = f"/vex/authors/{made.pk}/withdraw/"
    assert developer.client.post(path, {"reason": "no"}).status_code == 403
    assert administrator.client.post(path, {"reason": "The contract ended."}).status_code == 303
    assert "The contract ended." in administrator.client.get("/vex/authors/").content.decode()


def test_a_preview_over_rest_keeps_nothing(developer: Person, image: Image) -> None:
    path = "/api/v1/vex/?preview=true&repository=registry.example.org/shop/api"
    answer = developer.api.generic("POST", path, document(of(image)), content_type="application/json").json()
    assert (answer["requested"], answer["document"], answer["results"][0]["decision"]) == (1, None, None)
    assert (Decision.objects.count(), VexDocument.objects.count()) == (0, 0)
