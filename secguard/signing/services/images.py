"""Sign what lies in a registry, and look at who signed it. The caller brings the client, and may do all of it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.utils import timezone

from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import Descriptor, ImageIndex
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


@dataclass(frozen=True)
class Prepared:
    """What a key signed of an image and is not beside it yet; ``said`` is what is signed of each statement (``pae``),
    those among them that are there already."""

    image: Descriptor
    putting: attached.Putting
    said: list[bytes]

    def send(self, client: PushingClient) -> None:
        """Send what nobody sees before ``attach``. Asks no database, and may be called in a thread."""
        self.putting.send(client)

    def attach(self, client: PushingClient) -> None:
        """Put it beside the image."""
        self.putting.attach(client)


def sign_image(client: PushingClient, repository: Repository, digest: str, key: SigningKey) -> list[str]:
    """Sign an image or index, and of an index every image in it; returns the digests that are signed now.

    Both forms are written, under the repository's own name. What the key has signed already is not signed again.
    Raises ``Conflict`` where the key signs no more, ``NotFound``, ``NotAllowed``, ``Unavailable`` as the registry does.
    """
    images = images_of(client.resolve(repository.path, digest))
    for image in images[1:]:  # nothing is signed that an index names and nobody has
        client.resolve(repository.path, image.digest)
    for image in images:
        prepare(client, repository, image, key).attach(client)
    return [image.digest for image in images]


def attest(
    client: PushingClient, repository: Repository, digest: str, said: Sequence[Statement], key: SigningKey
) -> list[bytes]:
    """Put statements beside an image, signed, in both forms; returns what is signed of each (its ``pae``).

    What was said before is said once, whenever that was: one that differs in nothing but its instant is there already.
    """
    image = images_of(client.resolve(repository.path, digest))[0]
    prepared = prepare(client, repository, image, key, said, with_signature=False)
    prepared.attach(client)
    return prepared.said


def images_of(whole: Resolved) -> list[Descriptor]:
    """What is signed of an image or index: itself, and of an index the images that it names."""
    document = whole.parse()
    children = document.manifests if isinstance(document, ImageIndex) else ()
    return [
        Descriptor(whole.media_type, whole.digest, len(whole.raw)),
        *(Descriptor(child.media_type, child.digest, child.size) for child in children if not child.is_attestation),
    ]


def beside(client: RegistryClient, repository: Repository, digest: str) -> list[Seen]:
    """All that lies beside an image. Asks no database, and may be called in a thread."""
    return attached.read(client, repository.path, digest)


def prepare(
    client: RegistryClient,
    repository: Repository,
    image: Descriptor,
    key: SigningKey,
    said: Sequence[Statement] = (),
    *,
    with_signature: bool = True,
    seen: Sequence[Seen] | None = None,
) -> Prepared:
    """Sign what is missing of an image's signature and of the statements ``said``; ``seen`` is what lies beside it."""
    key, public = require_signing(key), ecdsa.load_public(key.public_pem)
    seen = beside(client, repository, image.digest) if seen is None else seen
    ours = [s for s in seen if public.verifies(s.signature, s.signed)]
    signature, bundles = _signature(repository, image, key, ours) if with_signature else ([], [])
    missing: dict[Form, list[attached.Said]] = {Form.ATTESTATION_TAG: [], Form.BUNDLE: bundles}
    payloads = [(s.predicate_type, _once(statements.encode(s), s.predicate_type, ours)) for s in said]
    known = {(s.form, s.signed) for s in ours}
    for kind, payload in payloads:
        forms = [form for form in missing if (form, dsse.pae(dsse.IN_TOTO, payload)) not in known]
        if forms:
            envelope = dsse.signed(dsse.IN_TOTO, payload, partial(sign, key))
            for form in forms:
                missing[form].append((envelope, kind))
    new = attached.New(signature, missing[Form.ATTESTATION_TAG], missing[Form.BUNDLE])
    putting = attached.Putting(repository.path, image, new, public, at=timezone.now())
    return Prepared(image, putting, [dsse.pae(dsse.IN_TOTO, payload) for _, payload in payloads])


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
    return [judge(seen, digest, who) for seen in beside(client, repository, digest)]


def _once(payload: bytes, kind: str, there: Iterable[Seen]) -> bytes:
    """The statement as it was made first, where it was."""
    if kind not in statements.INSTANTS:
        return payload
    said = statements.timeless(payload)
    before = (dsse.body(seen.signed) for seen in there if seen.predicate_type == kind)
    return next((one for one in before if statements.timeless(one) == said), payload)


def _is_signature(seen: Seen, repository: Repository, digest: str) -> bool:
    return seen.form == Form.TAG and Payload(seen.docker_reference, digest).names(repository.name)


def _signature(
    repository: Repository, image: Descriptor, key: SigningKey, ours: Iterable[Seen]
) -> tuple[list[tuple[bytes, bytes]], list[attached.Said]]:
    """What is missing of it, under its tag and as a bundle."""
    there = [s for s in ours if image.digest in s.claims]
    under_tag, bundles = [], []
    if not any(_is_signature(s, repository, image.digest) for s in there):
        payload = simplesigning.encode(Payload(repository.name, image.digest))
        under_tag.append((payload, sign(key, payload)))
    if not any(s.form == Form.BUNDLE and s.predicate_type == COSIGN_SIGNATURE for s in there):
        statement = statements.signature_of(Subject(image.digest, repository.name))
        envelope = dsse.signed(dsse.IN_TOTO, statements.encode(statement), partial(sign, key))
        bundles.append((envelope, COSIGN_SIGNATURE))
    return under_tag, bundles
