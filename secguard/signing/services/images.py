"""Sign what lies in a registry, and look at who signed it. The caller brings the client, and may do all of it again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

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


def attest(
    client: PushingClient, repository: Repository, digest: str, said: Sequence[Statement], key: SigningKey
) -> None:
    """Put statements beside an image, signed, in both forms. The same statement is put there once."""
    key = require_signing(key)
    image, public = client.resolve(repository.path, digest), ecdsa.load_public(key.public_pem)
    there = attached.read(client, repository.path, digest)
    known = {(s.form, s.signed) for s in there if public.verifies(s.signature, s.signed)}
    missing: dict[Form, list[attached.Said]] = {Form.ATTESTATION_TAG: [], Form.BUNDLE: []}
    for statement in said:
        payload = statements.encode(statement)
        forms = [form for form in missing if (form, dsse.pae(dsse.IN_TOTO, payload)) not in known]
        if forms:
            envelope = dsse.signed(dsse.IN_TOTO, payload, partial(sign, key))
            for form in forms:
                missing[form].append((envelope, statement.predicate_type))
    path, now = repository.path, timezone.now()
    writes: list[Callable[[], None]] = []
    if under_tag := missing[Form.ATTESTATION_TAG]:
        writes.append(lambda: attached.put_attestations(client, path, digest, under_tag))
    if bundles := missing[Form.BUNDLE]:
        writes.append(lambda: attached.put_bundles(client, path, image, bundles, public, at=now))
    _both(writes)


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
    writes: list[Callable[[], None]] = []
    if not any(s.form == Form.TAG and Payload(s.docker_reference, image.digest).names(repository.name) for s in there):
        payload = simplesigning.encode(Payload(repository.name, image.digest))
        signature = sign(key, payload)
        writes.append(lambda: attached.put_signature(client, path, image.digest, payload, signature))
    if not any(s.form == Form.BUNDLE and s.predicate_type == COSIGN_SIGNATURE for s in there):
        statement = statements.signature_of(Subject(image.digest, repository.name))
        envelope = dsse.signed(dsse.IN_TOTO, statements.encode(statement), partial(sign, key))
        said = [(envelope, COSIGN_SIGNATURE)]
        writes.append(lambda: attached.put_bundles(client, path, image, said, public, at=now))
    _both(writes)


def _both(writes: Sequence[Callable[[], None]]) -> None:
    """Both forms at once: they lie in different places, and nothing here is the database's."""
    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(write) for write in writes]:
            done.result()
