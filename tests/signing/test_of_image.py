"""What an image's page says of what lies beside it, and what is asked for from there."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.images.models import Image, ImageRepository, Registry, Repository
from secguard.jobs.models import Job
from secguard.signing import ecdsa, services, statements
from secguard.signing.models import Signature, SigningKey
from secguard.signing.services import Ask, Trust
from tests.dashboards.test_queries import assert_constant_queries
from tests.dashboards.test_workloads import said
from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import digest, report

IMAGE = f"/images/{digest(1)}/"
PATH = f"{IMAGE}signatures/"
WEB, THEIRS = "reg.example/shop/web", "reg.example/logistics/web"


@pytest.mark.parametrize(
    ("predicate_type", "words"),
    [
        ("", "Signature"),
        (statements.COSIGN_SIGNATURE, "Signature"),
        (statements.CYCLONEDX, "Bill of materials (CycloneDX)"),
        ("https://cyclonedx.org/bom/v1.6", "Bill of materials (CycloneDX)"),
        ("https://spdx.dev/Document/v2.3", "Bill of materials (SPDX)"),
        (statements.OPENVEX, "Decisions in force (OpenVEX)"),
        (statements.VERIFICATION_SUMMARY, "Verdict (verification summary)"),
        (statements.PROMOTION, "Promotion"),
        ("https://slsa.dev/provenance/v0.2", "Provenance (SLSA)"),
        ("https://example.org/other/v1", "Attestation"),
    ],
)
def test_what_a_statement_says_in_words(predicate_type: str, words: str) -> None:
    assert statements.told(predicate_type) == words


@pytest.fixture
def shop(post: Any, application: Any) -> Repository:
    """The image in a repository of the first team, whose registry is set up."""
    post(report(image=1), application=application.slug)
    Registry.objects.update(configured_at=timezone.now())
    return Repository.objects.get(name=WEB)


@pytest.fixture
def theirs(shop: Repository, post: Any, other_application: Any) -> Repository:
    """The same digest in a repository of the other team."""
    where = {"reference": f"{THEIRS}:1", "digest": digest(1)}
    post(report(image=where, covers=["secret"]), application=other_application.slug)
    return Repository.objects.get(name=THEIRS)


def seen(repository: Repository, **columns: Any) -> Signature:
    now = timezone.now()
    values = {
        "repository": repository, "digest": digest(1), "identity": f"{Signature.objects.count()}", "form": "tag",
        "place": "x", "first_seen_at": now - timedelta(days=3.5), "verified_at": now - timedelta(hours=2.5),
    }  # fmt: skip
    return Signature.objects.create(**values | columns)


def section(person: Person, path: str = IMAGE) -> str:
    """The image's signatures as the page shows them."""
    html = person.client.get(path).content.decode()
    found = re.search(r'<section class="card" aria-labelledby="signatures">.*?</section>', html, re.S)
    assert found is not None
    return found[0]


# --- what is shown ---


@pytest.mark.django_db
def test_each_with_its_kind_form_key_standing_and_times(shop: Repository, make_key: Any, viewer: Person) -> None:
    ours = make_key("production")
    vendor = services.trust_key(Trust("Base images", ecdsa.generate().public.pem, "reg.example/**"), actor=None)
    seen(shop, signing_key=ours)
    seen(shop, form="bundle", predicate_type=statements.CYCLONEDX, trusted_key=vendor)
    seen(shop, form="attestation-tag", predicate_type="https://example.org/own/v1")
    seen(shop, problem="It was made for another image.")
    seen(shop, signing_key=ours, predicate_type=statements.PROMOTION, gone_at=timezone.now() - timedelta(hours=5.5))
    words = said(section(viewer))
    for told in (
        "Trusted Signature by our key production In the image's signature tag, first seen 3 days ago, last looked at 2 "
        "hours ago.",
        "Trusted Bill of materials (CycloneDX) by Base images In a bundle that refers to the image",
        "Unknown Attestation by nobody known here No key that counts here made it. In the image's attestation tag",
        "https://example.org/own/v1",
        "Invalid Signature It was made for another image.",
        "Unknown Promotion by our key production It lies there no more.",
        "gone since 5 hours ago.",
    ):
        assert told in words.replace("&#x27;", "'"), told
    assert words.index("Promotion") > words.index("Invalid"), "what is gone comes last"


@pytest.mark.django_db
def test_a_key_or_trust_that_counts_no_more_is_said(shop: Repository, make_key: Any, viewer: Person) -> None:
    ours = make_key("production")
    vendor = services.trust_key(Trust("Base images", ecdsa.generate().public.pem, "reg.example/**"), actor=None)
    seen(shop, signing_key=ours)
    seen(shop, trusted_key=vendor)
    services.revoke_key(ours.pk, "lost", actor=None)
    services.withdraw_trust(vendor.pk, "over", actor=None)
    words = said(section(viewer))
    assert "Unknown Signature by our key production Our key production is revoked." in words
    assert "Unknown Signature by Base images The trust in Base images is withdrawn." in words


@pytest.mark.django_db
def test_of_what_was_called_back_nothing_counts(shop: Repository, make_key: Any, viewer: Person) -> None:
    seen(shop, signing_key=make_key("production"))
    services.recall(digest(1), "It has a back door.", actor=None)
    assert "Recalled Signature by our key production The image was called back." in said(section(viewer))


@pytest.mark.django_db
def test_what_others_wrote_is_shown_as_text(shop: Repository, viewer: Person) -> None:
    evil = "<script>alert(1)</script>"
    seen(shop, predicate_type=evil, docker_reference=evil)
    seen(shop, problem=evil)
    html = section(viewer)
    assert evil not in html
    assert html.count("&lt;script&gt;") == 3


@pytest.mark.django_db
def test_where_there_is_nothing_what_to_do_is_said(
    shop: Repository, make_key: Any, viewer: Person, operator: Person
) -> None:
    assert "Nobody has looked yet what lies beside it here. An operator of the team" in said(section(viewer))
    words = said(section(operator))
    assert "Nobody has looked yet" in words
    assert "An operator of the team" not in words
    assert "No key signs yet: an administrator adds one under Settings." in words
    make_key()
    job = services.ask(Image.objects.get(), Ask(WEB), actor=operator)
    Job.objects.filter(pk=job.pk).update(status="succeeded", finished_at=timezone.now())
    assert "When a worker last looked, just now, nothing lay beside it" in said(section(viewer))
    assert "Sign it, so that" in said(section(operator))


@pytest.mark.django_db
def test_a_registry_that_nobody_set_up_is_named(shop: Repository, operator: Person, viewer: Person) -> None:
    Registry.objects.update(configured_at=None)
    html = section(operator)
    assert "Workers do not connect to reg.example" in html
    assert f"/settings/registries/{shop.registry_id}/" in html
    assert "<form" not in html
    assert "Workers do not connect" not in section(viewer)


# --- who sees and does what ---


@pytest.mark.django_db
def test_each_team_sees_what_lies_in_its_own_repository(
    theirs: Repository, shop: Repository, viewer: Person, stranger: Person, make_key: Any
) -> None:
    key = make_key("production")
    seen(shop, signing_key=key, docker_reference="named/by-the-shop")
    seen(theirs, signing_key=key, docker_reference="named/by-the-others")
    mine, others = section(viewer), section(stranger)
    assert ("by-the-shop" in mine, "by-the-others" in mine, THEIRS in mine) == (True, False, False)
    assert ("by-the-shop" in others, "by-the-others" in others, "shop" in others) == (False, True, False)


@pytest.mark.django_db
def test_a_stranger_gets_nothing(shop: Repository, stranger: Person) -> None:
    assert stranger.client.get(PATH).status_code == 404
    assert stranger.client.post(PATH, {"repository": WEB, "act": "look"}).status_code == 404
    assert not Job.objects.filter(kind=services.WORK).exists()


@pytest.mark.django_db
def test_buttons_are_for_who_may_and_where_they_may(
    theirs: Repository, shop: Repository, viewer: Person, developer: Person, reviewer: Person, operator: Person,
    make_person: MakePerson, make_key: Any, team: Any,
) -> None:  # fmt: skip
    make_key()
    both = make_person("both", "viewer")
    near = make_person("near", "operator", team=team)
    for person in (viewer, developer, reviewer, both):
        assert "<form" not in section(person), person
    assert section(operator).count("<form") == 2
    assert section(near).count("<form") == 1
    assert near.client.post(PATH, {"repository": THEIRS, "act": "look"}).status_code == 404
    assert reviewer.client.post(PATH, {"repository": WEB, "act": "look"}).status_code == 403
    assert near.client.post(PATH, {"repository": WEB, "act": "look"}).status_code == 303


# --- asking ---


@pytest.mark.django_db
def test_signing_is_asked_for_as_over_rest(shop: Repository, operator: Person, make_key: Any) -> None:
    for name in ("production", "second"):
        make_key(name)
    html = section(operator)
    assert re.findall(r'<option value="(\w+)">', html) == ["production", "second"]
    words = {"repository": WEB, "act": "sign", "key": "second", "attest": "on"}
    answer = operator.client.post(PATH, words)
    assert (answer.status_code, answer["Location"]) == (303, f"{IMAGE}#signatures")
    job = Job.objects.get(kind=services.WORK)
    assert (job.args["key"], job.args["attest"]) == (SigningKey.objects.get(name="second").pk, True)
    assert AuditEntry.objects.get(action="signature:request").details["key"] == "second"
    html = section(operator)
    assert f'hx-get="{PATH}?place={shop.pk}"' in html
    assert "Waiting for a worker" in html
    assert "<form" not in html
    fragment = operator.client.get(f"{PATH}?place={shop.pk}", headers={"HX-Request": "true"}).content.decode()
    assert fragment.lstrip().startswith(f'<div class="card-body signature-place" id="signatures-{shop.pk}"')
    Job.objects.update(status="failed", error="The registry is away.", finished_at=timezone.now())
    assert "What was asked for last did not succeed, just now: The registry is away." in said(section(operator))
    assert "hx-get" not in section(operator)


@pytest.mark.django_db
def test_looking_signs_nothing_whatever_else_is_sent(shop: Repository, operator: Person, make_key: Any) -> None:
    make_key("production")
    operator.client.post(PATH, {"repository": WEB, "act": "look", "key": "production", "attest": "on"})
    job = Job.objects.get(kind=services.WORK)
    assert (job.args["key"], job.args["attest"]) == (None, False)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"act": "sign", "key": ""}, "Choose the key to sign with."),
        ({"act": "sign", "key": "gone"}, "Select a valid choice"),
        ({"act": "dance"}, "Select a valid choice"),
        ({"act": ""}, "This field is required."),
    ],
)
def test_what_makes_no_sense_comes_back_with_the_reason(
    shop: Repository, operator: Person, make_key: Any, changed: dict[str, str], told: str
) -> None:
    make_key("production")
    answer = operator.client.post(PATH, {"repository": WEB} | changed)
    assert answer.status_code == 422
    assert told in answer.content.decode()
    assert not Job.objects.filter(kind=services.WORK).exists()


@pytest.mark.django_db
def test_while_a_worker_does_something_else_that_is_said(shop: Repository, operator: Person, make_key: Any) -> None:
    make_key("production")
    operator.client.post(PATH, {"repository": WEB, "act": "look"})
    answer = operator.client.post(PATH, {"repository": WEB, "act": "sign", "key": "production"})
    assert answer.status_code == 422
    assert "Ask again in a moment." in answer.content.decode()


@pytest.mark.django_db
def test_a_fragment_of_a_place_that_one_may_not_see_is_not_there(
    theirs: Repository, shop: Repository, viewer: Person
) -> None:
    for place in (theirs.pk, 0, "", "x"):
        got = viewer.client.get(f"{PATH}?place={place}", headers={"HX-Request": "true"})
        assert got.status_code == 404, place


@pytest.mark.django_db
def test_as_many_queries_at_any_size(
    shop: Repository, operator: Person, viewer: Person, make_key: Any, application: Any
) -> None:
    numbers = iter(range(100))
    image = Image.objects.get()

    def grow() -> None:
        n = next(numbers)
        key = make_key(f"key-{n}")
        place = Repository.objects.create(
            registry=shop.registry, path=f"more/{n}", name=f"reg.example/more/{n}", application=application
        )
        ImageRepository.objects.create(image=image, repository=place)
        for number in range(3):
            seen(place, identity=f"{n}-{number}", signing_key=key)
            seen(shop, identity=f"of-shop-{n}-{number}", signing_key=key)
        services.ask(image, Ask(place.name), actor=operator)

    for person in (operator, viewer):
        assert_constant_queries(grow, [PATH, IMAGE], person.client.get)
