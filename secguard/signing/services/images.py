"""Sign what lies in a registry, and look at who signed it. The caller brings the client, and may do all of it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from secguard.signing.verification import Form, Judged, Seen, judge

STATED = {Form.ATTESTATION_TAG: "under the tag of attestations", Form.BUNDLE: "as a bundle"}
"""The forms of a statement, and where each lies."""


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
) -> list[bytes]:
    """Put statements beside an image, signed, in both forms; returns what is signed of each (its ``pae``).

    What was said before is said once, whenever that was: one that differs in nothing but its instant is there already.
    """
    key = require_signing(key)
    image, public = client.resolve(repository.path, digest), ecdsa.load_public(key.public_pem)
    there = [s for s in attached.read(client, repository.path, digest) if public.verifies(s.signature, s.signed)]
    known = {(s.form, s.signed) for s in there}
    payloads = [(s.predicate_type, _once(statements.encode(s), s.predicate_type, there)) for s in said]
    missing: dict[Form, list[attached.Said]] = {form: [] for form in STATED}
    for kind, payload in payloads:
        forms = [form for form in missing if (form, dsse.pae(dsse.IN_TOTO, payload)) not in known]
        if forms:
            envelope = dsse.signed(dsse.IN_TOTO, payload, partial(sign, key))
            for form in forms:
                missing[form].append((envelope, kind))
    path, now = repository.path, timezone.now()
    writes: list[Callable[[], None]] = []
    if under_tag := missing[Form.ATTESTATION_TAG]:
        writes.append(lambda: attached.put_attestations(client, path, digest, under_tag))
    if bundles := missing[Form.BUNDLE]:
        writes.append(lambda: attached.put_bundles(client, path, image, bundles, public, at=now))
    _both(writes)
    return [dsse.pae(dsse.IN_TOTO, payload) for _, payload in payloads]


def lacking(
    found: Iterable[Judged], repository: Repository, digest: str, key: SigningKey, said: Iterable[bytes] = ()
) -> list[str]:
    """Which of our own signatures was not ``found`` beside an image, in words: by ``key``, in both forms, the one for
    this repository and those of the statements ``said`` (as ``attest`` returns them)."""
    ours = [j.seen for j in found if j.party and j.party.key.fingerprint == key.fingerprint]
    forms = {(s.form, s.signed) for s in ours}
    wanted = {
        "the signature under its tag": any(_is_signature(s, repository, digest) for s in ours),
        "the signature's bundle": any(s.form == Form.BUNDLE and s.predicate_type == COSIGN_SIGNATURE for s in ours),
    }
    lost = [(signed, form) for signed in said for form in STATED if (form, signed) not in forms]
    kinds = (statements.told(statements.decode(dsse.body(signed)).predicate_type) for signed, _ in lost)
    return [
        *(what for what, is_there in wanted.items() if not is_there),
        *(f"{kind}, {STATED[form]}" for kind, (_, form) in zip(kinds, lost, strict=True)),
    ]


def look(client: RegistryClient, repository: Repository, digest: str, now: datetime | None = None) -> list[Judged]:
    """Every signature and attestation of an image, and what each is worth in this repository now."""
    who = parties(repository.name, now or timezone.now())
    return [judge(seen, digest, who) for seen in attached.read(client, repository.path, digest)]


def _once(payload: bytes, kind: str, there: Iterable[Seen]) -> bytes:
    """The statement as it was made first, where it was."""
    if kind not in statements.INSTANTS:
        return payload
    said = statements.timeless(payload)
    before = (dsse.body(seen.signed) for seen in there if seen.predicate_type == kind)
    return next((one for one in before if statements.timeless(one) == said), payload)


def _is_signature(seen: Seen, repository: Repository, digest: str) -> bool:
    return seen.form == Form.TAG and Payload(seen.docker_reference, digest).names(repository.name)


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
    if not any(_is_signature(s, repository, image.digest) for s in there):
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
