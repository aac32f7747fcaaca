"""Signatures in real registries: ours, others', forged, replayed and damaged; and what other verifiers say of ours."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from secguard.errors import Conflict, NotAllowed, NotFound
from secguard.images.adapters.pushing import PushingClient
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from secguard.images.models import Registry, Repository
from secguard.images.reference import parse
from secguard.images.services import ensure_repository
from secguard.signing import attachments, bundle, dsse, ecdsa, services, simplesigning, statements
from secguard.signing.keylife import Provider
from secguard.signing.services import Trust
from secguard.signing.simplesigning import Payload
from secguard.signing.statements import Subject
from secguard.signing.verification import Form, Standing
from tests.imagebuilding import image_of, index_of, tar_of
from tests.signing.putting import put_bundles, put_signature

pytestmark = pytest.mark.django_db
AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture(params=["plain_registry", "secure_registry", "token_registry"])
def running(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(running):
    with PushingClient(running.access, sleep=lambda _: None) as made:
        yield made


@pytest.fixture
def plain(plain_registry):
    with PushingClient(plain_registry.access, sleep=lambda _: None) as made:
        yield made


def repository(host: str, path: str = "signed/api") -> Repository:
    Registry.objects.get_or_create(host=host)
    return ensure_repository(parse(f"{host}/{path}:x"), application=None)


def pushed(running, path: str = "signed/api", built=None) -> str:
    """A new image each time."""
    return running.push(path, "latest", built or image_of(tar_of({"etc/id": os.urandom(8)})))


def shown(judged) -> list[tuple[str, str, str]]:
    return sorted((j.seen.form.value, j.standing.value, j.party.name if j.party else "") for j in judged)


OURS = [("bundle", "trusted", "production"), ("tag", "trusted", "production")]


def test_an_image_is_signed_in_both_forms_and_found_again(running, client, make_key):
    key, place, digest = make_key(), repository(running.host), pushed(running)
    assert services.look(client, place, digest) == []
    assert services.sign_image(client, place, digest, key) == [digest]
    found = services.look(client, place, digest)
    assert shown(found) == OURS
    assert {j.seen.docker_reference for j in found} == {place.name}
    assert all(j.party.signing_key_id == key.pk for j in found)


def test_signing_again_adds_nothing(running, client, make_key):
    key, place, digest = make_key(), repository(running.host), pushed(running)
    services.sign_image(client, place, digest, key)
    before = client.resolve(place.path, attachments.signature_tag(digest)).digest
    services.sign_image(client, place, digest, key)
    assert client.resolve(place.path, attachments.signature_tag(digest)).digest == before
    assert shown(services.look(client, place, digest)) == OURS


def test_of_an_index_that_names_what_is_not_there_nothing_is_signed(plain, make_key, monkeypatch, plain_registry):
    images = [image_of(tar_of({"a": os.urandom(8)}), architecture=a) for a in ("amd64", "arm64")]
    whole, place = index_of(*images), repository(plain_registry.host, "signed/hole")
    pushed(plain_registry, place.path, whole)
    whole_way = plain.resolve

    def resolve(path, reference):
        if reference == images[1].digest:
            raise NotFound("It is not there.")
        return whole_way(path, reference)

    monkeypatch.setattr(plain, "resolve", resolve)
    with pytest.raises(NotFound):
        services.sign_image(plain, place, whole.digest, make_key())
    monkeypatch.undo()
    assert services.look(plain, place, whole.digest) == []


def test_of_an_index_every_image_is_signed(plain_registry, plain, make_key):
    images = [image_of(tar_of({"a": os.urandom(8)}), architecture=a) for a in ("amd64", "arm64")]
    whole = index_of(*images)
    place = repository(plain_registry.host, "signed/index")
    pushed(plain_registry, place.path, whole)
    signed = services.sign_image(plain, place, whole.digest, make_key())
    assert signed == [whole.digest, *(one.digest for one in images)]
    assert all(shown(services.look(plain, place, one)) == OURS for one in signed)


def test_a_key_in_the_token_signs_the_same_way(token, plain_registry, plain, make_key):
    key, place, digest = (
        make_key("hsm", provider=Provider.PKCS11),
        repository(plain_registry.host),
        pushed(plain_registry),
    )
    services.sign_image(plain, place, digest, key)
    assert [s for _, s, _ in shown(services.look(plain, place, digest))] == ["trusted", "trusted"]


def test_a_rotated_key_counts_beside_the_new_one_and_a_revoked_one_does_not(plain_registry, plain, make_key):
    old, place, digest = make_key(), repository(plain_registry.host), pushed(plain_registry)
    services.sign_image(plain, place, digest, old)
    new = services.rotate_key(old.pk, actor=None)
    assert shown(services.look(plain, place, digest)) == OURS
    services.sign_image(plain, place, digest, new)
    assert shown(services.look(plain, place, digest)) == sorted(OURS * 2)
    services.revoke_key(old.pk, "lost", actor=None)
    assert [s for _, s, _ in shown(services.look(plain, place, digest))].count("unknown") == 2
    old.refresh_from_db()
    with pytest.raises(Conflict):
        services.sign_image(plain, place, digest, old)


# Others ---------------------------------------------------------------------------------------------------------------


def sign_by(client, place, key: ecdsa.PrivateKey, digest: str, *, claims: str = "", damage: bytes = b"") -> None:
    """Somebody else's signature of ``claims`` under the tag of ``digest``; ``damage`` is put in after signing."""
    payload = simplesigning.encode(Payload(place.name, claims or digest))
    put_signature(client, place.path, digest, payload + damage, key.sign(payload))


def test_another_s_signature_counts_by_their_key_and_where_they_are_trusted(plain_registry, plain):
    vendor, place, digest = ecdsa.generate(), repository(plain_registry.host), pushed(plain_registry)
    sign_by(plain, place, vendor, digest)
    assert shown(services.look(plain, place, digest)) == [("tag", "unknown", "")]
    pem = vendor.public.pem
    services.trust_key(Trust("Elsewhere", pem, f"{plain_registry.host}/other/*"), actor=None)
    assert shown(services.look(plain, place, digest)) == [("tag", "unknown", "")]
    trusted = services.trust_key(Trust("Vendor", pem, f"{plain_registry.host}/signed/*"), actor=None)
    assert shown(services.look(plain, place, digest)) == [("tag", "trusted", "Vendor")]
    services.withdraw_trust(trusted.pk, "over", actor=None)
    assert shown(services.look(plain, place, digest)) == [("tag", "unknown", "")]


def test_ours_stands_beside_another_s_and_neither_takes_the_other_away(plain_registry, plain, make_key):
    place, digest = repository(plain_registry.host), pushed(plain_registry)
    sign_by(plain, place, ecdsa.generate(), digest)
    services.sign_image(plain, place, digest, make_key())
    sign_by(plain, place, ecdsa.generate(), digest)
    assert shown(services.look(plain, place, digest)) == [*OURS, ("tag", "unknown", ""), ("tag", "unknown", "")]


def test_a_forged_a_replayed_and_a_damaged_signature_are_worth_nothing(plain_registry, plain, make_key):
    key, place = make_key(), repository(plain_registry.host)
    good, bad = pushed(plain_registry), pushed(plain_registry)
    services.sign_image(plain, place, good, key)
    sign_by(plain, place, ecdsa.generate(), bad)  # forged: says our name, by another key
    (real,) = (j.seen for j in services.look(plain, place, good) if j.seen.form == Form.TAG)
    put_signature(plain, place.path, bad, real.signed, real.signature)  # replayed: ours, of another image
    about_bad = simplesigning.encode(Payload(place.name, bad))
    put_signature(plain, place.path, bad, about_bad, real.signature)  # swapped: our signature, other payload
    for broken in (b"", ecdsa.from_raw(b"\0" * 64), real.signature[:-1]):  # degenerate and malformed
        put_signature(plain, place.path, bad, about_bad, broken)
    put_signature(plain, place.path, bad, b"no payload", real.signature)
    found = services.look(plain, place, bad)
    assert len(found) == 7
    assert Standing.TRUSTED not in {j.standing for j in found}
    why = " ".join(j.why for j in found)
    assert f"It was made for {good}" in why
    assert "not JSON" in why


def test_a_replayed_bundle_is_worth_nothing(plain_registry, plain, make_key):
    """One that speaks of another image, pushed as if it referred to this one; and one whose manifest was swapped."""
    key, place = make_key(), repository(plain_registry.host)
    good, bad = pushed(plain_registry), pushed(plain_registry)
    services.sign_image(plain, place, good, key)
    (manifest_of_good,) = (r.descriptor.digest for r in plain.referrers(place.path, good))
    raw = plain.resolve(place.path, manifest_of_good).raw
    plain.push_referrer(place.path, raw.replace(good.encode(), bad.encode()), OCI_MANIFEST, bundle.MEDIA_TYPE)
    (replayed,) = services.look(plain, place, bad)
    assert (replayed.standing, replayed.party) == (Standing.INVALID, None)
    assert good in replayed.why


def test_a_list_that_names_another_image_s_bundle_is_found_out(plain_registry, plain, make_key):
    from secguard.images import referrers
    from secguard.images.manifest import OCI_INDEX

    key, place = make_key(), repository(plain_registry.host)
    good, bad = pushed(plain_registry), pushed(plain_registry)
    services.sign_image(plain, place, good, key)
    listed = referrers.encode(plain.referrers(place.path, good))
    plain.push_manifest(place.path, listed, OCI_INDEX, referrers.fallback_tag(bad))
    (found,) = services.look(plain, place, bad)
    assert (found.standing, "refers to" in found.why) == (Standing.INVALID, True)


def test_a_payload_that_the_registry_altered_is_found_out(plain_registry, plain, make_key):
    place, digest = repository(plain_registry.host), pushed(plain_registry)
    services.sign_image(plain, place, digest, make_key())
    (real,) = (j.seen for j in services.look(plain, place, digest) if j.seen.form == Form.TAG)
    file = plain_registry.blob_file(real.place)
    file.write_bytes(real.signed.replace(b"signed/api", b"signed/ape"))
    found = {j.seen.form: j for j in services.look(plain, place, digest)}
    assert found[Form.TAG].standing == Standing.INVALID
    assert "altered" in found[Form.TAG].why
    assert found[Form.BUNDLE].standing == Standing.TRUSTED


def test_a_bundle_by_a_certificate_is_somebody_unknown(plain_registry, plain, make_key):
    key, place, digest = ecdsa.generate(), repository(plain_registry.host), pushed(plain_registry)
    said = statements.encode(statements.signature_of(Subject(digest, place.name)))
    image, envelope = plain.resolve(place.path, digest), dsse.signed(dsse.IN_TOTO, said, key.sign)
    put_bundles(plain, place.path, image, [(envelope, statements.COSIGN_SIGNATURE)], key.public, at=AT)
    assert shown(services.look(plain, place, digest)) == [("bundle", "unknown", "")]


def test_other_artifacts_beside_the_image_are_left_alone(plain_registry, plain, make_key):
    place, digest = repository(plain_registry.host), pushed(plain_registry)
    blob = plain.push_bytes(place.path, b"words", "text/plain")
    image = plain.resolve(place.path, digest)
    subject = Descriptor(image.media_type, digest, len(image.raw))
    raw = attachments.referrer_manifest(subject, blob, {}).replace(bundle.MEDIA_TYPE.encode(), b"text/plain")
    plain.push_bytes(place.path, b"{}", "application/vnd.oci.empty.v1+json")
    plain.push_referrer(place.path, raw, OCI_MANIFEST, "")
    assert services.look(plain, place, digest) == []
    services.sign_image(plain, place, digest, make_key())
    assert shown(services.look(plain, place, digest)) == OURS


def test_what_is_not_there_or_may_not_be_written_is_told(secure_registry, plain_registry, plain, make_key):
    from dataclasses import replace

    key, place = make_key(), repository(plain_registry.host)
    with pytest.raises(NotFound):
        services.sign_image(plain, place, "sha256:" + "0" * 64, key)
    with PushingClient(replace(secure_registry.access, username="", password="")) as nobody, pytest.raises(NotAllowed):
        services.look(nobody, place, "sha256:" + "0" * 64)


# Attestations ---------------------------------------------------------------------------------------------------------


def test_statements_are_attached_in_both_forms_and_are_no_mere_signatures(running, client, make_key):
    key, place, digest = make_key(), repository(running.host), pushed(running)
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}
    said = statements.bill(Subject(digest, place.name), bom)
    for _ in range(2):
        services.attest(client, place, digest, [said], key)
    found = services.look(client, place, digest)
    assert shown(found) == [("attestation-tag", "trusted", "production"), ("bundle", "trusted", "production")]
    assert all(j.seen.is_attestation and j.seen.predicate_type == statements.CYCLONEDX for j in found)
    services.sign_image(client, place, digest, key)
    assert [j.seen.is_attestation for j in services.look(client, place, digest)].count(False) == 2


def test_what_was_said_before_is_said_once_and_what_is_lacking_is_told(plain_registry, plain, make_key):
    key, other = make_key(), make_key("another")
    place, digest = repository(plain_registry.host), pushed(plain_registry)
    told = [
        statements.vex(Subject(digest, place.name), {"@context": statements.OPENVEX, "timestamp": at, "statements": []})
        for at in ("2026-11-25T12:00:00Z", "2026-11-26T12:00:00Z")
    ]
    first, second = (services.attest(plain, place, digest, [one], key) for one in told)
    assert first == second, "the one that was made first"
    services.sign_image(plain, place, digest, key)
    found = services.look(plain, place, digest)
    assert len(found) == 4
    assert services.lacking(found, place, digest, key, first) == []
    without = [one for one in found if one.seen.form == Form.BUNDLE]
    assert services.lacking(without, place, digest, key, first) == [
        "the signature under its tag", "Decisions in force (OpenVEX), under the tag of attestations",
    ]  # fmt: skip
    assert len(services.lacking(found, place, digest, other, first)) == 4, "another key's is not ours"
    elsewhere = repository(plain_registry.host, "signed/elsewhere")
    assert services.lacking(found, elsewhere, digest, key) == ["the signature under its tag"]


# What others say of ours ----------------------------------------------------------------------------------------------


def test_openssl_verifies_the_tag_s_signature_and_no_altered_one(plain_registry, plain, make_key, tmp_path: Path):
    key, place, digest = make_key(), repository(plain_registry.host), pushed(plain_registry)
    services.sign_image(plain, place, digest, key)
    tag = plain_registry.writer.get(
        f"/v2/{place.path}/manifests/{attachments.signature_tag(digest)}", headers={"Accept": OCI_MANIFEST}
    ).json()
    (layer,) = tag["layers"]
    payload = plain_registry.writer.get(f"/v2/{place.path}/blobs/{layer['digest']}").content
    (tmp_path / "key.pem").write_text(key.public_pem)
    (tmp_path / "sig").write_bytes(base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"]))
    verify = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "sig"]
    good = subprocess.run(verify, input=payload, cwd=tmp_path, capture_output=True)
    bad = subprocess.run(verify, input=payload.replace(b"sha256:", b"sha256;"), cwd=tmp_path, capture_output=True)
    assert (good.returncode, bad.returncode) == (0, 1), good.stderr
    assert json.loads(payload)["critical"]["image"]["docker-manifest-digest"] == digest


def test_securesystemslib_verifies_the_bundle_s_envelope_and_no_altered_one(plain_registry, plain, make_key):
    key, place, digest = make_key(), repository(plain_registry.host), pushed(plain_registry)
    services.sign_image(plain, place, digest, key)
    writer = plain_registry.writer
    listed = writer.get(
        f"/v2/{place.path}/manifests/{digest.replace(':', '-')}",
        headers={"Accept": "application/vnd.oci.image.index.v1+json"},
    ).json()
    held = writer.get(
        f"/v2/{place.path}/manifests/{listed['manifests'][0]['digest']}", headers={"Accept": OCI_MANIFEST}
    )
    found = writer.get(f"/v2/{place.path}/blobs/{held.json()['layers'][0]['digest']}").json()["dsseEnvelope"]
    theirs = TheirEnvelope.from_dict(found | {"signatures": [found["signatures"][0] | {"keyid": "ours"}]})
    public = SSlibKey("ours", "ecdsa", "ecdsa-sha2-nistp256", {"public": key.public_pem})
    assert list(theirs.verify([public], 1)) == ["ours"]
    theirs.payload = theirs.payload.replace(digest[7:20].encode(), b"0" * 13)
    with pytest.raises(VerificationError):
        theirs.verify([public], 1)


@pytest.fixture
def cosign(tmp_path: Path):
    """``cosign verify`` and the like, offline; (arguments) to whether it accepts."""
    program = shutil.which("cosign")
    if program is None:
        pytest.skip("needs cosign on the PATH (Debian has it from trixie on)")

    def run(verb: str, key, reference: str, *more: str) -> bool:
        (tmp_path / "key.pub").write_text(key.public_pem)
        options = ["--key", str(tmp_path / "key.pub"), "--insecure-ignore-tlog=true", "--allow-http-registry=true"]
        done = subprocess.run([program, verb, *options, *more, reference], capture_output=True, text=True)
        return done.returncode == 0

    return run


def test_cosign_accepts_our_signature_and_refuses_tampered_ones(cosign, plain_registry, plain, make_key):
    key, other, place = make_key(), make_key("other"), repository(plain_registry.host)
    good, bad = pushed(plain_registry), pushed(plain_registry)
    services.sign_image(plain, place, good, key)
    assert cosign("verify", key, f"{place.name}@{good}")
    assert not cosign("verify", other, f"{place.name}@{good}")
    (real,) = (j.seen for j in services.look(plain, place, good) if j.seen.form == Form.TAG)
    put_signature(plain, place.path, bad, real.signed, real.signature)
    put_signature(plain, place.path, bad, simplesigning.encode(Payload(place.name, bad)), real.signature)
    assert not cosign("verify", key, f"{place.name}@{bad}")


def test_cosign_accepts_our_attestation_and_refuses_another_key_s(cosign, plain_registry, plain, make_key):
    key, other, place, digest = make_key(), make_key("other"), repository(plain_registry.host), pushed(plain_registry)
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []}
    services.attest(plain, place, digest, [statements.bill(Subject(digest, place.name), bom)], key)
    assert cosign("verify-attestation", key, f"{place.name}@{digest}", "--type", "cyclonedx")
    assert not cosign("verify-attestation", other, f"{place.name}@{digest}", "--type", "cyclonedx")
    assert not cosign("verify-attestation", key, f"{place.name}@{digest}", "--type", "openvex")


def test_what_cosign_signed_counts_by_its_key(cosign, plain_registry, plain, tmp_path, monkeypatch):
    """The other way round: cosign writes, we read."""
    place, digest = repository(plain_registry.host), pushed(plain_registry)
    monkeypatch.setenv("COSIGN_PASSWORD", "")
    made = [shutil.which("cosign"), "generate-key-pair", "--output-key-prefix", str(tmp_path / "theirs")]
    subprocess.run(made, check=True, capture_output=True)
    sign = ["sign", "--key", str(tmp_path / "theirs.key"), "--tlog-upload=false", "--allow-http-registry=true", "--yes"]
    subprocess.run([made[0], *sign, f"{place.name}@{digest}"], check=True, capture_output=True)
    pem = (tmp_path / "theirs.pub").read_text()
    services.trust_key(Trust("Them", pem, f"{plain_registry.host}/signed/*"), actor=None)
    assert shown(services.look(plain, place, digest)) == [("tag", "trusted", "Them")]
    (seen,) = (j.seen for j in services.look(plain, place, digest))
    assert seen.signed == simplesigning.encode(Payload(place.name, digest))
