"""Issue an image's passport: the document, signed by a key of ours where there is one."""

from __future__ import annotations

import base64
import json
from datetime import datetime

from secguard.accounts.models import User
from secguard.errors import NotFound
from secguard.history import pdf
from secguard.history.passport import PAYLOAD_TYPE, canonical
from secguard.history.queries.passport import passport_of
from secguard.images.models import Image
from secguard.policies.facts import Gate
from secguard.policies.services import verdict_of
from secguard.signing import dsse
from secguard.signing.dsse import Envelope
from secguard.signing.models import SigningKey
from secguard.signing.services import sign


def issue(image: Image, key_name: str, now: datetime, *, actor: User) -> Envelope:
    """The passport of ``image`` as ``actor`` may see it, judged at ``now`` at every gate.

    Signed with the key ``key_name``, or with the newest that signs; where none does, an envelope without a signature
    whose payload says so. Raises ``NotFound`` where no key of that name signs, ``Unavailable`` where its private part
    cannot be had.
    """
    key = _key(key_name)
    for gate in Gate:
        verdict_of(image, gate, now)
    payload = canonical(passport_of(image, actor, now, key))
    if key is None:
        return Envelope(PAYLOAD_TYPE, payload, ())
    return dsse.signed(PAYLOAD_TYPE, payload, lambda data: sign(key, data), key.fingerprint)


def printed(envelope: Envelope) -> bytes:
    """The passport in ``envelope`` as PDF, with the envelope attached."""
    signatures = [base64.b64encode(s.sig).decode() for s in envelope.signatures]
    return pdf.document(json.loads(envelope.payload), envelope.payload, envelope.encode(), signatures)


def signing_key(name: str) -> SigningKey:
    """The key of that name, or the newest that signs. Raises ``NotFound`` where none does."""
    key = _key(name)
    if key is None:
        raise NotFound(
            "No key signs here, so nothing can be given out signed. An administrator makes one: "
            "`secguard keys create NAME`.",
            code="no-such-key",
            where="key",
        )
    return key


def _key(name: str) -> SigningKey | None:
    active = SigningKey.objects.signing_images().order_by("-created_at", "-pk")
    if not name:
        return active.first()
    found = active.filter(name=name).first()
    if found is None:
        raise NotFound(
            f"No key {name[:63]!r} signs here. `secguard keys list` shows those that do; without a name the newest "
            "of them signs.",
            code="no-such-key",
            where="key",
        )
    return found
