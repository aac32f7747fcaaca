"""Whose signature it is: what was seen beside an image, held against the keys that count. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from secguard.signing.ecdsa import PublicKey
from secguard.signing.statements import COSIGN_SIGNATURE


class Form(StrEnum):
    """Where a signature lies: a layer of the ``.sig`` or ``.att`` tag, or a bundle that refers to the image."""

    TAG = "tag"
    ATTESTATION_TAG = "attestation-tag"
    BUNDLE = "bundle"


class Standing(StrEnum):
    """``unknown``: no key that counts made it, somebody else's or forged. ``invalid``: it is not about this image.
    ``recalled``: the image was called back, whoever signed it."""

    TRUSTED = "trusted"
    RECALLED = "recalled"
    UNKNOWN = "unknown"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody whose signature counts: one of our keys, or a trusted one. Exactly one of the ids is set."""

    name: str
    key: PublicKey
    signing_key_id: int | None = None
    trusted_key_id: int | None = None

    @property
    def is_ours(self) -> bool:
        return self.signing_key_id is not None


@dataclass(frozen=True, slots=True)
class Seen:
    """One signature as it lies in a registry. ``problem`` says why nothing of it can be read."""

    form: Form
    place: str
    signed: bytes = b""
    signature: bytes = b""
    claims: tuple[str, ...] = ()
    docker_reference: str = ""
    predicate_type: str = ""
    problem: str = ""

    @property
    def identity(self) -> str:
        """The same for the same signature at the same place, whenever it is seen."""
        return hashlib.sha256(f"{self.form} {self.place} ".encode() + self.signature).hexdigest()

    @property
    def is_attestation(self) -> bool:
        """Whether it says more than that the image was signed."""
        return self.predicate_type not in ("", COSIGN_SIGNATURE)


@dataclass(frozen=True, slots=True)
class Judged:
    seen: Seen
    standing: Standing
    party: Party | None = None
    why: str = ""


def judge(seen: Seen, digest: str, parties: Iterable[Party]) -> Judged:
    """What a signature is worth for ``digest``. A signature over another digest is worth nothing, whoever made it."""
    if seen.problem:
        return Judged(seen, Standing.INVALID, why=seen.problem)
    if digest not in seen.claims:
        found = ", ".join(seen.claims)[:300] or "nothing"
        return Judged(seen, Standing.INVALID, why=f"It was made for {found}, not for this image.")
    for party in parties:
        if party.key.verifies(seen.signature, seen.signed):
            return Judged(seen, Standing.TRUSTED, party)
    return Judged(seen, Standing.UNKNOWN, why="No key that counts here made it.")
