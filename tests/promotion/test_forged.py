"""What others have put beside an image, at either end of a promotion, to make it pass for signed by us."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.utils import timezone

from secguard.admission.queries import signed_by
from secguard.images import services as images
from secguard.images.adapters.pushing import PushingClient
from secguard.images.models import Repository
from secguard.images.reference import parse
from secguard.signing import attachments, dsse, ecdsa, simplesigning, statements
from secguard.signing.adapters import attached
from secguard.signing.ecdsa import PrivateKey
from secguard.signing.models import SigningKey
from secguard.signing.services import keep, look, sign
from secguard.signing.simplesigning import Payload
from secguard.signing.statements import COSIGN_SIGNATURE, Promoted, Subject
from tests.signing.putting import put_attestations, put_bundles, put_signature

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]


class Stranger:
    """Somebody who may push to both registries, and has a key of their own and everything that we ever signed."""

    def __init__(self, estate: Any, digest: str, other: str) -> None:
        self.estate, self.digest, self.other = estate, digest, other
        self.key: PrivateKey = ecdsa.generate()
        self.ours = SigningKey.objects.get(name="release")

    def beside(self, place: Repository) -> None:
        """All of it, at one end: forged, and truly ours but made for another image."""
        with images.pusher_of(place.registry) as client:
            for digest, by in ((self.digest, self.key.sign), (self.other, self._by_us)):
                payload = simplesigning.encode(Payload(place.name, digest))
                put_signature(client, place.path, self.digest, payload, by(payload))
                self._statements(client, place, digest, by)
            self._garbage(client, place)

    def _by_us(self, data: bytes) -> bytes:
        return sign(self.ours, data)

    def _statements(self, client: PushingClient, place: Repository, digest: str, by: Any) -> None:
        about = Subject(digest, place.name)
        told = Promoted("staging", "x", place.name, digest, timezone.now(), "nobody")
        said = [statements.promotion(about, told), statements.signature_of(about)]
        made = [(dsse.signed(dsse.IN_TOTO, statements.encode(s), by), s.predicate_type) for s in said]
        image = client.resolve(place.path, self.digest)
        put_attestations(client, place.path, self.digest, made)
        put_bundles(client, place.path, image, made, ecdsa.load_public(self.ours.public_pem), at=timezone.now())

    def _garbage(self, client: PushingClient, place: Repository) -> None:
        """Our signature of the right payload, as it would be, with r and s that libraries once took for anybody's."""
        payload = simplesigning.encode(Payload(place.name, self.digest))
        put_signature(client, place.path, self.digest, payload, bytes.fromhex("3006020100020100"))


def place_of(name: str) -> Repository:
    return images.ensure_repository(parse(name), application=None)


def seen(name: str, digest: str) -> Counter[tuple[str, str]]:
    """(standing, whose) of what lies there, kept as a worker keeps it who looks."""
    place, now = place_of(name), timezone.now()
    with images.pusher_of(place.registry) as client:
        found = look(client, place, digest, now)
    keep(place, digest, found, now)
    return Counter((j.standing.value, j.party.name if j.party else "") for j in found)


@pytest.fixture
def stranger_there(estate: Any, promote: Any) -> Stranger:
    """They come before us, at both ends. The other image went the same way, so that we have signed it."""
    other = estate.scanned(tag="2")
    assert promote(f"{estate.name}:2").status == "promoted"
    built = estate.scanned()
    estate.staging.push(f"staging/{estate.path}", built.digest, built)
    made = Stranger(estate, built.digest, other.digest)
    for name in (estate.name, estate.staged):
        made.beside(place_of(name))
    return made


FORGED = Counter({("unknown", ""): 6, ("invalid", ""): 5})
"""The stranger's: a signature, two statements twice, and garbage. Ours of the other image: the same but for that."""


def test_what_others_forge_or_replay_counts_for_nothing_and_stops_nothing(estate, promote, stranger_there):
    digest, now = stranger_there.digest, timezone.now()
    assert seen(estate.staged, digest) == seen(estate.name, digest) == FORGED
    assert signed_by([digest], now) == {}
    made = promote(f"{estate.name}:1.4")
    assert made.status == "promoted", made.why
    there = seen(estate.staged, digest)
    # What lies at the source came along; what was there already is there once, and the others' own bundles twice.
    assert there["trusted", "release"] == 2 + 2 * 3
    assert {standing for standing, whose in there if not whose} == {"unknown", "invalid"}
    assert signed_by([digest], timezone.now()) == {(estate.staged, digest): ("release",)}
    assert seen(estate.name, digest) == FORGED, "nothing was written at the source"


def test_a_tag_of_signatures_that_somebody_filled_is_told(estate, promote):
    built = estate.scanned()
    estate.staging.push(f"staging/{estate.path}", built.digest, built)
    place, key = place_of(estate.staged), ecdsa.generate()
    payload = simplesigning.encode(Payload(place.name, built.digest))
    with images.pusher_of(place.registry) as client:
        blob = client.push_bytes(place.path, payload, simplesigning.MEDIA_TYPE)
        layers = [attachments.signature_layer(blob, key.sign(payload)) for _ in range(200)]
        attached.join(client, place.path, attachments.signature_tag(built.digest), layers)
    made = promote(f"{estate.name}:1.4")
    assert made.status == "failed"
    assert f"At the destination, {place.name}: " in made.why
    assert "at most 200 are read. Take those away that nobody needs." in made.why
    assert estate.points(estate.staged, "1.4") == ""
    assert COSIGN_SIGNATURE not in dict(seen(estate.staged, built.digest))
