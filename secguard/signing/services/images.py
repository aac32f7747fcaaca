"""Sign what lies in a registry, and look at who signed it. The caller brings the client, and may do all of it again."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import ImageIndex
from secguard.images.models import Repository
from secguard.signing import dsse, ecdsa, simplesigning, statements
from secguard.signing.adapters import attached
from secguard.signing.models import SigningKey
from secguard.signing.queries import parties
from secguard.signing.services.keys import require_signing, sign
from secguard.signing.simplesigning import Payload
from secguard.signing.statements import COSIGN_SIGNATURE, Statement, Subject
from secguard.signing.verification import Form, Judged, judge


def sign_image(client: PushingClient, repository: Repository, digest: str, key: SigningKey) -> list[str]:
    """Sign an image or index, and of an index every image in it; returns the digests that are signed now.

    Both forms are written, under the repository's own name. What the key has signed already is not signed again.
    Raises ``Conflict`` where the key signs no more, ``NotFound``, ``NotAllowed``, ``Unavailable`` as the registry does.
    """
    key = require_signing(key)
    whole = client.resolve(repository.path, digest)
    found = [whole, *_images_in(client, repository.path, whole)]
    for one in found:
        _sign_one(client, repository, one, key, timezone.now())
    return [one.digest for one in found]


def attest(client: PushingClient, repository: Repository, digest: str, statement: Statement, key: SigningKey) -> None:
    """Put a statement beside an image, signed, in both forms. The same statement is put there once."""
    key = require_signing(key)
    image, public = client.resolve(repository.path, digest), ecdsa.load_public(key.public_pem)
    envelope = dsse.signed(dsse.IN_TOTO, statements.encode(statement), lambda data: sign(key, data))
    signed, there = dsse.pae(envelope.payload_type, envelope.payload), attached.read(client, repository.path, digest)
    forms = {s.form for s in there if s.signed == signed and public.verifies(s.signature, s.signed)}
    if Form.ATTESTATION_TAG not in forms:
        attached.put_attestation(client, repository.path, digest, envelope, statement.predicate_type)
    if Form.BUNDLE not in forms:
        attached.put_bundle(
            client,
            repository.path,
            image,
            envelope,
            public,
            predicate_type=statement.predicate_type,
            at=timezone.now(),
        )


def look(client: RegistryClient, repository: Repository, digest: str, now: datetime | None = None) -> list[Judged]:
    """Every signature and attestation of an image, and what each is worth in this repository now."""
    who = parties(repository.name, now or timezone.now())
    return [judge(seen, digest, who) for seen in attached.read(client, repository.path, digest)]


def _images_in(client: RegistryClient, path: str, whole: Resolved) -> list[Resolved]:
    document = whole.parse()
    if not isinstance(document, ImageIndex):
        return []
    return [client.resolve(path, child.digest) for child in document.manifests if not child.is_attestation]


def _sign_one(client: PushingClient, repository: Repository, image: Resolved, key: SigningKey, now: datetime) -> None:
    public, path = ecdsa.load_public(key.public_pem), repository.path
    there = [
        seen
        for seen in attached.read(client, path, image.digest)
        if image.digest in seen.claims and public.verifies(seen.signature, seen.signed)
    ]
    if not any(s.form == Form.TAG and Payload(s.docker_reference, image.digest).names(repository.name) for s in there):
        payload = simplesigning.encode(Payload(repository.name, image.digest))
        attached.put_signature(client, path, image.digest, payload, sign(key, payload))
    if not any(s.form == Form.BUNDLE and s.predicate_type == COSIGN_SIGNATURE for s in there):
        statement = statements.signature_of(Subject(image.digest, repository.name))
        envelope = dsse.signed(dsse.IN_TOTO, statements.encode(statement), lambda data: sign(key, data))
        attached.put_bundle(client, path, image, envelope, public, predicate_type=COSIGN_SIGNATURE, at=now)
