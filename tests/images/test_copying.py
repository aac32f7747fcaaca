"""Copying between real registries by digest, with all that refers to an image."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import httpx
import pytest

from secguard.errors import Invalid, NotFound, TooLarge
from secguard.images import cosigntags, referrers
from secguard.images.adapters import gathering
from secguard.images.adapters.copying import copy, tree
from secguard.images.adapters.exchange import Exchange
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from secguard.images.referrers import Referrer
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import as_json, index_of, sha256
from tests.images.pushed import (
    BUNDLE,
    SBOM,
    Two,
    copied,
    described,
    fresh,
    has_nothing,
    image,
    is_whole,
    part,
    place,
    put_tag,
    refer,
    statement,
    with_attestation,
)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that change something, as they are sent."""
    sent: list[str] = []
    before = Exchange.write

    def write(self: Exchange, method: str, path: str, *rest: Any, **more: Any) -> httpx.Response:
        sent.append(f"{method} {path}")
        return before(self, method, path, *rest, **more)

    monkeypatch.setattr(Exchange, "write", write)
    return sent


# What goes over -------------------------------------------------------------------------------------------------------


def test_an_image_goes_over_byte_for_byte_and_under_no_tag(pair: Two) -> None:
    built = image(3_000_000, 10)
    done, to = copied(*pair, built)
    assert is_whole(pair[1], to, built)
    assert done.digests == (built.digest,)
    assert (done.blobs, done.bytes) == (3, sum(map(len, built.blobs.values())))
    assert (done.mounted, done.present, done.referrers, done.left_out) == (0, 0, 0, ())
    assert not pair[1].writer.get(f"/v2/{to}/tags/list").json().get("tags")


def test_an_index_goes_over_with_all_platforms_and_what_buildkit_attested(pair: Two) -> None:
    built = with_attestation(image(), image(architecture="arm64"))
    done, to = copied(*pair, built)
    assert is_whole(pair[1], to, built)
    assert done.digests[0] == built.digest
    assert set(done.digests) == {built.digest, *(child.digest for child in built.children)}
    assert done.blobs == 3 + 3 + 2


def test_within_one_registry_blobs_are_mounted_and_not_sent(pair: Two) -> None:
    built = index_of(image(100_000), image(5, architecture="arm64"))
    done, to = copied(pair[0], pair[0], built)
    assert is_whole(pair[0], to, built)
    assert (done.mounted, done.blobs, done.bytes) == (4, 0, 0)


def test_doing_it_again_sends_and_changes_nothing(pair: Two, writes: list[str]) -> None:
    built = with_attestation(image(500_000), image(architecture="arm64"))
    with place(pair[0], "from/one").client() as client:
        pair[0].push("from/one", "latest", built)
        bundle = refer(client, "from/one", described(built.raw, OCI_INDEX), BUNDLE, os.urandom(20))
        put_tag(client, "from/one", cosigntags.tags_of(built.digest)[0], statement(client, "from/one", b"signed"))
    first, to = copied(*pair, built)
    assert bundle.digest in first.digests
    writes.clear()
    again = copy(place(pair[0], "from/one"), place(pair[1], to), built.digest)
    assert writes == []
    assert (again.blobs, again.bytes, again.mounted) == (0, 0, 0)
    assert again.present == first.blobs + first.present
    assert again.digests == first.digests


def test_an_image_that_is_there_in_part_is_completed(pair: Two) -> None:
    built = image(50_000, 60_000)
    pair[0].push("from/one", "latest", built)
    to = fresh()
    digest, raw = max(built.blobs.items(), key=lambda item: len(item[1]))
    with place(pair[1], to).client() as client:
        client.push_blob(to, Descriptor("", digest, len(raw)), lambda: [raw])
    done = copy(place(pair[0], "from/one"), place(pair[1], to), built.digest)
    assert (done.blobs, done.present) == (2, 1)
    assert is_whole(pair[1], to, built)


def test_a_layer_that_may_not_be_distributed_stays_where_it_is(start_registry: Any) -> None:
    allowed = {"manifests": {"urls": {"allow": [".*"]}}}
    source, destination = start_registry(validation=allowed), start_registry(validation=allowed)
    for kind, media_type in (
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", DOCKER_MANIFEST),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", OCI_MANIFEST),
    ):
        built = image()
        document = json.loads(built.raw) | {"mediaType": media_type}
        document["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
        document["layers"].append(part(b"elsewhere", kind) | {"urls": ["https://mcr.example/layer"]})
        built = replace(built, raw=as_json(document), media_type=media_type)
        done, to = copied(source, destination, built)
        assert is_whole(destination, to, built)
        assert done.blobs == 3
        assert [words for words in done.left_out if sha256(b"elsewhere") in words and "mcr.example" in words]


# What refers to it ----------------------------------------------------------------------------------------------------


def test_everything_that_refers_to_it_goes_along(pair: Two) -> None:
    source, destination = pair
    built = index_of(image(), image(architecture="arm64"))
    source.push("from/one", "latest", built)
    child, path = built.children[0], "from/one"
    with place(source, path).client() as client:
        bundle = refer(client, path, described(built.raw, OCI_INDEX), BUNDLE, os.urandom(9))
        bill = refer(client, path, described(child.raw), SBOM, os.urandom(9))
        of_bill = refer(client, path, bill, BUNDLE, os.urandom(9))
        tags = cosigntags.tags_of(child.digest)
        under = {tag: put_tag(client, path, tag, statement(client, path, tag.encode())) for tag in tags}
        # cosign signs a bill of materials under its own digest.
        of_tag = cosigntags.tags_of(sha256(under[tags[2]]))[0]
        under[of_tag] = put_tag(client, path, of_tag, statement(client, path, b"of the bill"))
    done, to = copied(source, destination, built)
    assert done.referrers == 3 + 4
    assert done.digests[0] == built.digest
    assert set(done.digests[-3:]) == {bundle.digest, bill.digest, of_bill.digest}
    with place(destination, to).client() as client:
        for subject, listed, kind in (
            (built.digest, bundle, BUNDLE),
            (child.digest, bill, SBOM),
            (bill.digest, of_bill, BUNDLE),
        ):
            expected = Referrer(replace(listed, annotations={"about": kind}), kind)
            assert client.referrers(to, subject) == [expected]
        for tag, raw in under.items():
            assert client.resolve(to, tag).raw == raw


def test_statements_of_both_sides_stand_under_the_tag_afterwards(pair: Two) -> None:
    source, destination = pair
    built = image()
    source.push("from/one", "latest", built)
    to, tag = fresh(), cosigntags.tags_of(built.digest)[0]
    with place(source, "from/one").client() as there, place(destination, to).client() as here:
        shared, theirs = statement(there, "from/one", b"shared"), statement(there, "from/one", b"theirs")
        put_tag(there, "from/one", tag, shared, theirs)
        ours = statement(here, to, b"ours")
        put_tag(here, to, tag, ours, statement(here, to, b"shared"))
        for _ in range(2):
            copy(place(source, "from/one"), place(destination, to), built.digest)
            found = here.resolve(to, tag)
            assert cosigntags.read(found.raw, found.media_type) == (ours, shared, theirs)
        assert here.small_blob(to, theirs) == b"theirs"


def test_what_was_deleted_or_lost_at_the_destination_is_in_nobodys_way(
    secure_registry: RunningRegistry, plain_registry: RunningRegistry, plain: PushingClient
) -> None:
    """docker-registry takes no list of referrers, and no signatures, that name what it does not have."""
    built, to = image(), fresh()
    secure_registry.push("from/one", "latest", built)
    tag, subject = cosigntags.tags_of(built.digest)[0], described(built.raw)
    with place(secure_registry, "from/one").client() as client:
        bill = refer(client, "from/one", subject, SBOM, os.urandom(9))
        signed = statement(client, "from/one", os.urandom(9))
        put_tag(client, "from/one", tag, signed)
    deleted, lost = refer(plain, to, subject, SBOM, b"deleted"), os.urandom(9)
    assert plain.delete_manifest(to, deleted.digest)
    put_tag(plain, to, tag, statement(plain, to, lost))
    plain_registry.blob_file(sha256(lost)).unlink()
    done = copy(place(secure_registry, "from/one"), place(plain_registry, to), built.digest)
    assert done.left_out == ()
    assert [r.descriptor.digest for r in plain.referrers(to, built.digest)] == [bill.digest]
    found = plain.resolve(to, tag)
    assert cosigntags.read(found.raw, found.media_type) == (signed,)


def test_a_referrer_that_is_gone_broken_or_of_another_image_is_left_and_said(
    plain_registry: RunningRegistry, secure_registry: RunningRegistry, plain: PushingClient
) -> None:
    built, path = image(), fresh("from")
    plain_registry.push(path, "latest", built)
    subject = described(built.raw)
    good = refer(plain, path, subject, SBOM, b"good")
    gone = refer(plain, path, subject, SBOM, b"gone")
    other = refer(plain, path, described(b"some other image"), SBOM, b"of another")
    hollow = refer(plain, path, subject, SBOM, hollow_content := os.urandom(30))
    listed = [Referrer(d, SBOM) for d in (good, gone, other, hollow)]
    plain.push_manifest(path, referrers.encode(listed), OCI_INDEX, referrers.fallback_tag(built.digest))
    sig = cosigntags.tags_of(built.digest)[0]
    plain.push_manifest(path, referrers.encode([]), OCI_INDEX, sig)
    assert plain.delete_manifest(path, gone.digest)
    plain_registry.blob_file(sha256(hollow_content)).unlink()
    to = fresh()
    done = copy(place(plain_registry, path), place(secure_registry, to), built.digest)
    assert done.digests == (built.digest, good.digest)
    for words in ((gone.digest, "has no"), (other.digest, "refers to"), (hollow.digest, "source"), (sig, "index")):
        assert [line for line in done.left_out if all(word in line for word in words)], words
    assert len(done.left_out) == 4
    with place(secure_registry, to).client() as client:
        assert [r.descriptor.digest for r in client.referrers(to, built.digest)] == [good.digest]


def test_referrers_without_end_are_refused(
    plain_registry: RunningRegistry, plain: PushingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, path, to = image(), fresh("from"), fresh()
    plain_registry.push(path, "latest", built)
    at = described(built.raw)
    for _ in range(gathering.MAX_DEPTH + 1):
        at = refer(plain, path, at, SBOM, b"of the former")
    with pytest.raises(Invalid, match=r"At the source.*more than 4 levels deep"):
        copy(place(plain_registry, path), place(plain_registry, to), built.digest)
    monkeypatch.setattr(gathering, "MAX_REFERRERS", 3)
    with pytest.raises(Invalid, match="More than 3 manifests refer"):
        copy(place(plain_registry, path), place(plain_registry, to), built.digest)
    assert has_nothing(plain_registry, to, built)


# Trees ----------------------------------------------------------------------------------------------------------------


class Shelf:
    """A client that has these manifests, whatever digest they are asked by."""

    def __init__(self) -> None:
        self.kept: dict[str, Resolved] = {}

    def put(self, document: dict[str, Any], media_type: str, digest: str = "") -> dict[str, Any]:
        raw = as_json({"schemaVersion": 2, "mediaType": media_type} | document)
        digest = digest or sha256(raw)
        self.kept[digest] = Resolved(digest, media_type, raw)
        return {"mediaType": media_type, "digest": digest, "size": len(raw)}

    def index(self, *rows: dict[str, Any], digest: str = "") -> dict[str, Any]:
        return self.put({"manifests": list(rows)}, OCI_INDEX, digest)

    def resolve(self, path: str, digest: str) -> Resolved:
        if digest not in self.kept:
            raise NotFound("not here")
        return self.kept[digest]

    def tree(self, row: dict[str, Any]) -> list[str]:
        return [one.digest for one in tree(self, "a", row["digest"])]  # type: ignore[arg-type]


def test_a_tree_has_children_first_and_each_once() -> None:
    shelf = Shelf()
    leaf = shelf.put({"config": part(b"{}"), "layers": []}, OCI_MANIFEST)
    inner = shelf.index(leaf, leaf)
    outer = shelf.index(inner, leaf)
    assert shelf.tree(outer) == [leaf["digest"], inner["digest"], outer["digest"]]


def test_a_tree_without_end_or_sense_is_refused() -> None:
    shelf = Shelf()
    leaf = shelf.put({"config": part(b"{}"), "layers": []}, OCI_MANIFEST)
    round_trip = sha256(b"round")
    size = len(as_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [leaf | {"digest": round_trip}]}))
    row = shelf.index({"mediaType": OCI_INDEX, "digest": round_trip, "size": size}, digest=round_trip)
    with pytest.raises(Invalid, match="in a circle"):
        shelf.tree(row)
    deep = leaf
    for _ in range(5):
        deep = shelf.index(deep)
    with pytest.raises(TooLarge, match="levels deep"):
        shelf.tree(deep)
    with pytest.raises(Invalid, match=r"of type 'application/x-tar'; expected manifests"):
        shelf.tree(shelf.index(part(b"layer", "application/x-tar")))
    with pytest.raises(Invalid, match=r"has \d+ bytes; the index .* names 7"):
        shelf.tree(shelf.index(leaf | {"size": 7}))
    with pytest.raises(NotFound, match="Push the image again, with all its platforms"):
        shelf.tree(shelf.index(leaf | {"digest": sha256(b"gone")}))


def test_a_tree_of_very_many_manifests_is_refused() -> None:
    shelf = Shelf()
    halves = [
        shelf.index(
            *(shelf.put({"config": part(b"%d" % n), "layers": []}, OCI_MANIFEST) for n in range(first, first + 300))
        )
        for first in (0, 300)
    ]
    with pytest.raises(TooLarge, match="more than 512 manifests"):
        shelf.tree(shelf.index(*halves))
