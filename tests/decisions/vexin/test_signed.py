"""Signed documents: of an author whose key is known only what it signed counts; ours can be checked with cosign's."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from django.utils import timezone

from secguard.decisions import services
from secguard.decisions.models import Decision, VexDocument
from secguard.decisions.queries import find_scope
from secguard.decisions.services import vexin as taking
from secguard.signing import dsse, ecdsa
from tests.decisions.vexin.test_services import AUTHOR, document, of

if TYPE_CHECKING:
    from secguard.images.models import Image
    from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db
OPENVEX = "application/vnd.openvex+json"


@pytest.fixture
def key(db: None) -> ecdsa.PrivateKey:
    made = ecdsa.generate()
    taking.trust_author(AUTHOR, actor=None, public_key=made.public.pem)
    return made


def sealed(raw: bytes, key: ecdsa.PrivateKey, kind: str = OPENVEX) -> bytes:
    return dsse.signed(kind, raw, key.sign).encode()


def post(person: Person, raw: bytes, query: str = "") -> Any:
    return person.api.generic("POST", f"/api/v1/vex/{query}", raw, content_type="application/json")


def test_what_the_author_signed_counts(developer: Person, image: Image, key: ecdsa.PrivateKey) -> None:
    answer = post(developer, raw := sealed(document(of(image)), key))
    assert answer.status_code == 200, answer.content
    assert (answer.json()["requested"], answer.json()["signed_by"]) == (1, key.public.fingerprint)
    kept = VexDocument.objects.get()
    assert kept.signed_by == key.public.fingerprint
    assert developer.api.get(f"/api/v1/vex-documents/{kept.pk}/raw/").content == raw
    assert "by the author's key" in developer.client.get(f"/vex/{kept.pk}/").content.decode()


def test_a_signature_beside_it_counts_as_well(developer: Person, image: Image, key: ecdsa.PrivateKey) -> None:
    raw = document(of(image))
    beside = quote(base64.b64encode(key.sign(raw)).decode())
    assert post(developer, raw, f"?signature={beside}").json()["signed_by"] == key.public.fingerprint
    assert post(developer, raw + b" ", f"?signature={beside}").json()["code"] == "vex-signature"
    assert post(developer, raw, "?signature=%25").status_code == 400


def test_an_attestation_of_openvex_is_read(developer: Person, image: Image, key: ecdsa.PrivateKey) -> None:
    statement = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://openvex.dev/ns/v0.2.0"}
    statement |= {"subject": [], "predicate": json.loads(document(of(image)))}
    assert post(developer, sealed(json.dumps(statement).encode(), key, dsse.IN_TOTO)).json()["requested"] == 1
    other = statement | {"predicateType": "https://slsa.dev/provenance/v1"}
    refused = post(developer, sealed(json.dumps(other).encode(), key, dsse.IN_TOTO))
    assert (refused.status_code, refused.json()["code"]) == (422, "vex-unknown-format")


def test_what_the_author_did_not_sign_is_refused_and_leaves_nothing(
    developer: Person, image: Image, key: ecdsa.PrivateKey
) -> None:
    raw = document(of(image))
    changed = json.loads(sealed(raw, key))
    changed["payload"] = base64.b64encode(raw.replace(b"is never called", b"is always called")).decode()
    retyped = json.loads(sealed(raw, key)) | {"payloadType": "text/plain"}
    forged = [raw, sealed(raw, ecdsa.generate()), json.dumps(changed).encode(), json.dumps(retyped).encode()]
    for one in forged:
        answer = post(developer, one)
        assert (answer.status_code, answer.json()["code"]) == (403, "vex-signature"), one[:80]
    assert post(developer, json.dumps(changed | {"signatures": []}).encode()).status_code == 422
    assert not VexDocument.objects.exists()
    assert not Decision.objects.exists()


def test_a_name_without_a_key_does_not_stand_in_for_one_with_a_key(
    developer: Person, image: Image, key: ecdsa.PrivateKey
) -> None:
    taking.trust_author("*psirt@example.org*", actor=None)
    assert post(developer, document(of(image))).json()["code"] == "vex-signature"
    taking.trust_author("Another <vex@example.net>", actor=None)
    answer = post(developer, document(of(image), author="Another <vex@example.net>"))
    assert (answer.json()["requested"], answer.json()["signed_by"]) == (1, "")


def test_words_about_envelopes_make_no_envelope(developer: Person, image: Image) -> None:
    taking.trust_author(AUTHOR, actor=None)
    raw = document(of(image), statement={"impact_statement": 'The member "payloadType" is not read.'})
    raw = raw.replace(b'\\"payloadType\\"', b'\\"payloadType\\"')
    assert post(developer, raw).json()["requested"] == 1


@pytest.mark.parametrize("pem", ["no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
def test_a_key_that_is_none_is_refused(administrator: Person, pem: str) -> None:
    answer = administrator.api.post("/api/v1/vex-authors/", {"pattern": AUTHOR, "public_key": pem})
    assert answer.status_code == 422
    assert administrator.client.post("/vex/authors/", {"pattern": AUTHOR, "public_key": pem}).status_code == 422


# --- given out ---


@pytest.fixture
def decided(developer: Person, reviewer: Person, risk: Any, image: Image) -> None:
    scope = find_scope(developer, "image", image.digest)
    ask = services.Ask(risk.pk, "not_affected", scope, "Not called.", timezone.now() + timedelta(days=9))
    services.approve(services.request_decision(ask, actor=developer).pk, actor=reviewer)


@pytest.fixture
def ours(db: None) -> ecdsa.PublicKey:
    from secguard.signing.services import NewKey, create_key

    return ecdsa.load_public(create_key("production", NewKey(), actor=None).public_pem)


@pytest.mark.parametrize("name", ["openvex", "cyclonedx", "csaf"])
def test_ours_are_signed_where_asked(
    developer: Person, image: Image, decided: None, ours: ecdsa.PublicKey, name: str
) -> None:
    path = f"/api/v1/images/{image.digest}/vex/?format={name}"
    plain = developer.api.get(path)
    assert "X-Signature" not in plain
    envelope = dsse.decode(developer.api.get(f"{path}&signed=dsse").content)
    assert envelope.payload == plain.content
    assert envelope.signers([ours]) == (ours,)
    beside = developer.api.get(f"{path}&signed=detached&key=production")
    assert beside.content == plain.content
    assert ours.verifies(base64.b64decode(beside["X-Signature"]), beside.content)
    assert beside["X-Signature-Key"] == f"production {ours.fingerprint}"
    tags = {plain["ETag"], beside["ETag"], developer.api.get(f"{path}&signed=dsse")["ETag"]}
    assert len(tags) == 3


def test_without_a_key_nothing_is_given_out_as_signed(developer: Person, image: Image, decided: None) -> None:
    for how in ("dsse", "detached"):
        answer = developer.api.get(f"/api/v1/images/{image.digest}/vex/?signed={how}")
        assert (answer.status_code, answer.json()["code"]) == (404, "no-such-key")
    assert developer.api.get(f"/api/v1/images/{image.digest}/vex/?signed=other").status_code == 400


def test_ours_come_in_again_signed(
    developer: Person, image: Image, decided: None, ours: ecdsa.PublicKey, settings: Any
) -> None:
    taking.trust_author(f"{settings.PUBLIC_URL.rstrip('/')}/", actor=None, public_key=ours.pem)
    raw = developer.api.get(f"/api/v1/images/{image.digest}/vex/?signed=dsse").content
    (item,) = post(developer, raw).json()["results"]
    assert item["outcome"] == "decided"
