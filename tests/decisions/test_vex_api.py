"""VEX over REST: what is in force, where it applies, to whom it may be told, and only as often as it changes."""

from __future__ import annotations

import re
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from secguard.decisions import queries, services, vex_api
from secguard.decisions.models import Decision
from secguard.findings.services import refresh_exposures
from secguard.images.models import Image, ImageRepository, Index, IndexImage
from tests.decisions import vexreaders as readers

pytestmark = pytest.mark.django_db

PACKAGE = "pkg:deb/debian/openssl@1.1.1n"
SECRET = "Only the flawed cipher is in it, and the shop has it switched off."


@pytest.fixture
def decide(ask: Any, developer: Any, reviewer: Any) -> Any:
    """Asks and has it approved: in force now."""

    def make(actor: Any = developer, **changed: Any) -> Decision:
        now = timezone.now()
        values = {
            "kind": "not_affected",
            "reason": SECRET,
            "expires_at": now + timedelta(days=20),
            "now": now,
        } | changed
        return services.approve(ask(actor, **values).pk, actor=reviewer)

    return make


def of(image: Image) -> str:
    return f"/api/v1/images/{image.digest}/vex/"


def purl(image: Image, name: str) -> str:
    return f"pkg:oci/api@{image.digest.replace(':', '%3A')}?repository_url=registry.example.org/{name}&arch=arm64"


def vulnerabilities(document: Any) -> set[str]:
    return {s["vulnerability"]["name"] for s in document["statements"]}


@pytest.mark.parametrize("address", ["image", "?repository=registry.example.org/shop/api", "?application={}", ""])
def test_a_scanner_finds_the_decision_by_the_image_and_the_package(decide, image, application, developer, address):
    decision = decide()
    url = of(image) if address == "image" else f"/api/v1/vex/{address.format(application.slug)}"
    document = developer.api.get(url).json()
    readers.check_openvex(document)
    asked = purl(image, "shop/api")
    assert readers.openvex_statuses(document, "CVE-2026-0001", asked, f"{PACKAGE}?distro=debian-12") == ["not_affected"]
    assert readers.openvex_statuses(document, "CVE-2026-0001", asked, "pkg:deb/debian/openssl@3") == []
    assert readers.openvex_statuses(document, "CVE-2026-0001", asked.replace("shop", "other"), PACKAGE) == []
    assert document["statements"][0]["impact_statement"].startswith(f"{SECRET} (Decision {decision.pk}, until ")


@pytest.mark.parametrize(
    ("form", "media_type", "ending"),
    [
        ("openvex", "application/json", "openvex.json"),
        ("cyclonedx", "application/vnd.cyclonedx+json; version=1.6", "vex.cdx.json"),
        ("csaf", "application/json", "csaf.json"),
    ],
)
def test_each_format_is_valid_and_a_file(decide, image, developer, form, media_type, ending):
    decide()
    answer = developer.api.get(f"{of(image)}?format={form}")
    assert (answer.status_code, answer["Content-Type"]) == (200, media_type)
    assert answer["Content-Disposition"] == f'attachment; filename="{image.digest.replace(":", "-")[:23]}.{ending}"'
    if form == "cyclonedx":
        readers.check_cyclonedx(answer.content.decode())
        assert list(readers.cyclonedx_statuses(answer.json())) == [
            ("CVE-2026-0001", "not_affected", image.digest, PACKAGE)
        ]
    elif form == "csaf":
        readers.check_csaf(answer.json())
        asked = purl(image, "shop/api")
        assert readers.csaf_statuses(answer.json(), "CVE-2026-0001", asked, PACKAGE) == ["known_not_affected"]
    else:
        readers.check_openvex(answer.json())


def test_what_does_not_hold_is_not_in_it(ask, image, developer, reviewer, monkeypatch):
    """Asked for, ended by its date whatever its status says, revoked: not in force."""
    waiting = ask(developer, now=timezone.now(), expires_at=timezone.now() + timedelta(days=5))
    assert developer.api.get(of(image)).json()["statements"] == []
    decision = services.approve(waiting.pk, actor=reviewer)
    assert len(developer.api.get(of(image)).json()["statements"]) == 1
    with monkeypatch.context() as its_end:
        its_end.setattr(vex_api, "timezone", SimpleNamespace(now=lambda: decision.expires_at))
        assert developer.api.get(of(image)).json()["statements"] == []
        assert developer.api.get("/api/v1/vex/").json()["statements"] == []
    services.revoke(decision.pk, actor=developer, reason="It is called after all.")
    assert developer.api.get(of(image)).json()["statements"] == []


def test_the_narrowest_scope_is_told_and_the_next_image_is_in_it_at_once(
    decide, estate, image, repository, risk, application, developer
):
    wide = decide(kind="accept", scope=queries.find_scope(developer, "application", application.slug))
    newer = estate.image(repository, [risk])
    narrow = decide(scope=queries.find_scope(developer, "image", image.digest))
    document = developer.api.get("/api/v1/vex/").json()
    said = {readers_of(document, one): one.digest for one in (image, newer)}
    assert said == {
        ("not_affected", f"Decision {narrow.pk}"): image.digest,
        ("affected", f"Decision {wide.pk}"): newer.digest,
    }


def readers_of(document: Any, image: Image) -> tuple[str, str]:
    (found,) = (
        s
        for s in document["statements"]
        if readers.openvex_statuses({"statements": [s]}, "CVE-2026-0001", purl(image, "shop/api"), PACKAGE)
    )
    words = found.get("impact_statement") or found["action_statement"]
    return found["status"], words[words.index("Decision") :].partition(",")[0].rstrip(".)")


def test_strangers_see_nothing(decide, image, repository, application, stranger):
    decide()
    for url in (
        of(image),
        f"/api/v1/vex/?repository={repository.name}",
        f"/api/v1/vex/?application={application.slug}",
    ):
        answer = stranger.api.get(url)
        assert answer.status_code == 404, url
        assert SECRET not in answer.content.decode()
    for form in ("openvex", "cyclonedx", "csaf"):
        answer = stranger.api.get(f"/api/v1/vex/?format={form}")
        assert answer.status_code == 200
        assert not any(word in answer.content.decode() for word in ("CVE-2026-0001", "shop", image.digest[-10:]))


def test_of_a_shared_image_each_team_reads_its_own_names_and_no_others_reasons(
    decide, image, repository, other_repository, developer, stranger, make_person, other_team, reviewer
):
    ImageRepository.objects.create(image=image, repository=other_repository)
    other_repository.newest_image = image
    other_repository.save(update_fields=["newest_image"])
    refresh_exposures(other_repository, at=timezone.now())
    decide()
    # One of the two teams has decided: it holds for neither.
    assert developer.api.get(of(image)).json()["statements"] == []
    decide(stranger, scope=queries.find_scope(stranger, "repository", other_repository.name), reason="Theirs alone.")
    for person, own, others in ((developer, "shop/api", "logistics"), (stranger, "logistics/api", "shop")):
        for url in (of(image), "/api/v1/vex/"):
            text = person.api.get(url).content.decode()
            assert own in text
            assert others not in text
            assert SECRET not in text
            assert "Theirs alone" not in text
    whole = reviewer.api.get(of(image)).content.decode()
    assert "shop/api" in whole
    assert "logistics/api" in whole


def test_reasons_of_several_teams_do_not_meet_in_one_document(
    decide, estate, image, other_repository, stranger, reviewer, developer
):
    decide()
    theirs = estate.risk("CVE-2026-0002")
    estate.image(other_repository, [theirs])
    scope = queries.find_scope(stranger, "repository", other_repository.name)
    decide(stranger, risk_id=theirs.pk, scope=scope, reason="Theirs alone.")
    whole = reviewer.api.get("/api/v1/vex/")
    assert vulnerabilities(whole.json()) == {"CVE-2026-0001", "CVE-2026-0002"}
    assert SECRET not in whole.content.decode()
    assert "Theirs alone" not in whole.content.decode()
    assert SECRET in reviewer.api.get("/api/v1/vex/?repository=registry.example.org/shop/api").content.decode()
    assert vulnerabilities(developer.api.get("/api/v1/vex/").json()) == {"CVE-2026-0001"}


def test_it_is_sent_once_while_nothing_changes(decide, image, developer, monkeypatch):
    decision = decide()
    for url in (of(image), f"{of(image)}?format=csaf", f"{of(image)}?format=cyclonedx", "/api/v1/vex/"):
        first = developer.api.get(url)
        again = developer.api.get(url, headers={"If-None-Match": first["ETag"]})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
        assert developer.api.get(url).content == first.content
        assert "Last-Modified" not in first
    first = developer.api.get(of(image))
    assert developer.api.get(f"{of(image)}?format=csaf", headers={"If-None-Match": first["ETag"]}).status_code == 200
    monkeypatch.setattr(vex_api, "timezone", SimpleNamespace(now=lambda: decision.expires_at))
    changed = developer.api.get(of(image), headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed.json()["@id"] != first.json()["@id"]


def test_an_index_names_the_image_of_an_architecture_that_is_in_it_once(
    decide, estate, repository, risk, image, developer
):
    decide()
    variants = [estate.image(repository, [risk]) for _ in range(2)]
    index = Index.objects.create(digest="sha256:" + "e" * 64)
    platforms = ((image, "linux/amd64"), (variants[0], "linux/arm/v6"), (variants[1], "linux/arm/v7"))
    for one, platform in platforms:
        IndexImage.objects.create(index=index, image=one, platform=platform)
    document = developer.api.get("/api/v1/vex/").json()
    named = [p["@id"] for s in document["statements"] for p in s["products"] if "e" * 64 in p["@id"]]
    assert named == [f"pkg:oci/api@sha256%3A{'e' * 64}?arch=amd64&repository_url=registry.example.org/shop/api"]


@pytest.mark.parametrize(
    ("query", "status", "word"),
    [
        ("?format=xml", 400, "expected one of openvex, cyclonedx, csaf"),
        ("?repository=registry.example.org/shop/api&application=x", 400, "expected one of them"),
        ("?repository=no/such", 404, "There is no repository no/such"),
        ("?application=none", 404, "There is no application none"),
        ("?image=x", 400, "no query parameter"),
        ("?repository=" + "x" * 800, 400, "800 characters"),
    ],
)
def test_a_wrong_question_is_told_what_is_right(developer, query, status, word):
    answer = developer.api.get(f"/api/v1/vex/{query}")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert word in answer.json()["detail"]


def test_more_than_one_document_holds_is_refused_with_what_to_ask_for(
    decide, estate, repository, risk, developer, monkeypatch
):
    decide()
    estate.image(repository, [risk])
    monkeypatch.setattr("secguard.decisions.queries.vex.MOST", 1)
    answer = developer.api.get("/api/v1/vex/")
    assert (answer.status_code, answer.json()["code"]) == (413, "vex-too-large")
    assert "?repository=" in answer.json()["detail"]


def test_the_number_of_queries_does_not_grow(decide, estate, repository, application, developer, image):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def count() -> int:
        with CaptureQueriesContext(connection) as made:
            assert developer.api.get("/api/v1/vex/").status_code == 200
        return len(made)

    decide()
    count()
    before = count()
    for number in range(3):
        other = estate.risk()
        where = estate.repository(f"shop/more{number}", application)
        estate.image(where, [other])
        decide(risk_id=other.pk, scope=queries.find_scope(developer, "repository", where.name))
    assert len(vulnerabilities(developer.api.get("/api/v1/vex/").json())) == 4
    assert count() == before


@pytest.mark.parametrize("place", ["image", "application"])
def test_the_pages_offer_what_they_show_as_a_file(decide, image, application, developer, place):
    decide()
    page = f"/images/{image.digest}/" if place == "image" else f"/applications/{application.slug}/"
    html = developer.client.get(page).content.decode()
    links = re.findall(r'href="(/api/v1/[^"]*vex/[^"]*)" download', html)
    assert len(links) == (1 if place == "image" else 3)
    for link in links:
        answer = developer.client.get(link.replace("&amp;", "&"))
        assert answer.status_code == 200
        assert "CVE-2026-0001" in answer.content.decode()
