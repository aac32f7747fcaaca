"""The client against real registries: Debian's docker-registry, plain, behind TLS and behind a token server."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from secguard.errors import Invalid, NotAllowed, NotFound, Unavailable
from secguard.images import configuration
from secguard.images.adapters.archives import open_archive
from secguard.images.adapters.layertar import LayerReader
from secguard.images.adapters.registry import RegistryAccess, RegistryClient, RegistrySource
from secguard.images.adapters.source import images_of, read_config
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.manifest import DOCKER_CONFIG, Descriptor, ImageIndex, ImageManifest
from tests.fixtures_registries import USER, RunningRegistry, TokenServer, free_port
from tests.imagebuilding import BuiltImage, as_json, image_of, index_of, read_layout, sha256, tar_of

BIG = bytes(range(256)) * 20_000


@pytest.fixture(scope="module")
def image() -> BuiltImage:
    return image_of(tar_of({"etc/os-release": b"ID=tests\n"}), tar_of({"opt/app": b"app"}), config={"User": "app"})


@pytest.fixture(params=["plain_registry", "secure_registry", "token_registry"])
def registry(request: pytest.FixtureRequest) -> RunningRegistry:
    found: RunningRegistry = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def client(registry: RunningRegistry) -> Iterator[RegistryClient]:
    with RegistryClient(registry.access, sleep=lambda _: None) as client:
        yield client


def test_it_reads_an_image_byte_for_byte(client: RegistryClient, registry: RunningRegistry, image: BuiltImage) -> None:
    registry.push("team/app", "1.0", image)
    client.ping()
    resolved = client.resolve("team/app", "1.0")
    assert (resolved.raw, resolved.digest, resolved.media_type) == (image.raw, image.digest, image.media_type)
    assert resolved.is_digest_asserted
    assert client.peek("team/app", "1.0") == image.digest
    assert client.resolve("team/app", image.digest).raw == image.raw
    document = resolved.parse()
    assert isinstance(document, ImageManifest)
    source = RegistrySource(client, "team/app")
    raw, config = read_config(source, document)
    assert (sha256(raw), config.execution.user) == (document.config.digest, "app")
    for layer in configuration.layers_of(document, config):
        buffer = io.BytesIO()
        source.blob(VerifiedFile(buffer, layer.descriptor))
        assert buffer.getvalue() == image.blobs[layer.descriptor.digest]


def test_it_reads_an_index_and_its_platforms(client: RegistryClient, registry: RunningRegistry) -> None:
    both = [image_of(tar_of({"a": a.encode()}), architecture=a) for a in ("amd64", "arm64")]
    registry.push("team/multi", "latest", index_of(*both))
    index = client.resolve("team/multi", "latest").parse()
    assert isinstance(index, ImageIndex)
    found = images_of(RegistrySource(client, "team/multi"), index)
    assert [d.digest for d in found] == [i.digest for i in both]
    assert [str(d.platform) for d in found] == ["linux/amd64", "linux/arm64"]


def test_it_lists_tags_over_many_pages(
    client: RegistryClient, registry: RunningRegistry, image: BuiltImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secguard.images.adapters.registry._PAGE", 10)
    tags = [f"v{i}" for i in range(25)]
    for tag in tags:
        registry.push("team/many", tag, image)
    assert sorted(client.tags("team/many")) == sorted(tags)


def test_what_is_not_there_is_not_found(client: RegistryClient, registry: RunningRegistry, image: BuiltImage) -> None:
    registry.push("team/app", "1.0", image)
    with pytest.raises(NotFound, match=r"no /v2/team/app/manifests/9\.9"):
        client.resolve("team/app", "9.9")
    with pytest.raises(NotFound):
        client.blob("team/app", VerifiedFile(io.BytesIO(), Descriptor("", sha256(b"none"), 4)))


def test_a_transfer_goes_on_where_it_broke_off(client: RegistryClient, registry: RunningRegistry) -> None:
    image = image_of(BIG, how="plain")
    registry.push("team/big", "1", image)
    layer = Descriptor("", sha256(BIG), len(BIG))
    half = io.BytesIO(BIG[:1_000_000])
    half.seek(0, 2)
    seen: list[int] = []
    client.blob("team/big", VerifiedFile(half, layer), seen.append)
    assert half.getvalue() == BIG
    assert seen[0] > 1_000_000, "the beginning was not read again"
    assert seen[-1] == len(BIG)


def test_a_damaged_beginning_is_read_anew(client: RegistryClient, registry: RunningRegistry) -> None:
    registry.push("team/big", "1", image_of(BIG, how="plain"))
    damaged = io.BytesIO(b"x" * 1_000_000)
    client.blob("team/big", VerifiedFile(damaged, Descriptor("", sha256(BIG), len(BIG))))
    assert damaged.getvalue() == BIG


def test_what_was_altered_in_the_registry_is_refused(
    client: RegistryClient, registry: RunningRegistry, image: BuiltImage
) -> None:
    content = b"x" * 5000 + registry.host.encode()
    other = image_of(content, how="plain")
    registry.push("team/altered", "1", other)
    registry.blob_file(sha256(content)).write_bytes(b"y" * len(content))
    registry.blob_file(other.digest).write_bytes(other.raw.replace(b"COPY", b"EVIL") + b" ")
    into = io.BytesIO()
    with pytest.raises(Invalid, match=r"expected .* bytes of exactly that digest"):
        client.blob("team/altered", VerifiedFile(into, Descriptor("", sha256(content), len(content))))
    assert into.getvalue() == b"", "nothing of it is kept"
    with pytest.raises((Invalid, NotFound, Unavailable)):
        client.resolve("team/altered", other.digest)


def test_a_real_image_of_the_script_is_the_same_in_a_layout_and_in_a_registry(
    plain_registry: RunningRegistry, real_image: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = real_image("alpine")
    ((tag, built),) = read_layout(folder)
    plain_registry.push("alpine", tag, built)
    layout = open_archive(folder, scratch=tmp_path)
    with RegistryClient(plain_registry.access) as client:
        assert client.resolve("alpine", "3.10") == layout.resolve("3.10")
        (layer,) = json.loads(built.raw)["layers"]
        copies = [io.BytesIO(), io.BytesIO()]
        for source, copy in zip((layout, RegistrySource(client, "alpine")), copies, strict=True):
            source.blob(VerifiedFile(copy, Descriptor("", layer["digest"], layer["size"])))
            copy.seek(0)
    names = [entry.path for entry in LayerReader(copies[0])]
    assert "etc/alpine-release" in names
    assert names == [entry.path for entry in LayerReader(copies[1])]
    layout.close()


def test_a_digest_holds_while_its_tag_moves(client: RegistryClient, registry: RunningRegistry) -> None:
    old, new = image_of(tar_of({"v": b"1"})), image_of(tar_of({"v": b"2"}))
    registry.push("team/moving", "latest", old)
    resolved = client.resolve("team/moving", "latest")
    registry.push("team/moving", "latest", new)
    assert client.resolve("team/moving", resolved.digest).raw == old.raw
    assert client.peek("team/moving", "latest") == new.digest


def test_the_catalogue_is_listed(plain_registry: RunningRegistry, image: BuiltImage) -> None:
    plain_registry.push("a/b/c", "1", image)
    with RegistryClient(plain_registry.access) as client:
        assert "a/b/c" in client.catalog()


def test_a_docker_manifest_is_read(plain_registry: RunningRegistry) -> None:
    layer, config = b"layer", as_json({"rootfs": {"diff_ids": []}})
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": DOCKER_CONFIG, "digest": sha256(config), "size": len(config)},
        "layers": [
            {
                "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                "digest": sha256(layer),
                "size": len(layer),
            }
        ],
    }
    built = BuiltImage(as_json(document), document["mediaType"], {sha256(layer): layer, sha256(config): config})
    plain_registry.push("team/docker", "1", built)
    with RegistryClient(plain_registry.access) as client:
        assert client.resolve("team/docker", "1").media_type == document["mediaType"]


def test_a_wrong_password_is_refused_in_words(
    secure_registry: RunningRegistry, token_registry: RunningRegistry
) -> None:
    for registry in (secure_registry, token_registry):
        access = dataclasses.replace(registry.access, password="wrong")
        with RegistryClient(access) as client, pytest.raises(NotAllowed, match=rf"refuses the user '{USER}'.*password"):
            client.resolve("team/app", "1.0")
        anonymous = dataclasses.replace(registry.access, username="", password="")
        with RegistryClient(anonymous) as client, pytest.raises(NotAllowed, match="anonymous reading"):
            client.resolve("team/app", "1.0")


def test_the_password_is_never_shown(secure_registry: RunningRegistry) -> None:
    assert secure_registry.access.password not in repr(secure_registry.access)


def test_anonymous_tokens_read_what_is_public(token_registry: RunningRegistry, image: BuiltImage) -> None:
    token_registry.push("public/app", "1", image)
    anonymous = dataclasses.replace(token_registry.access, username="", password="")
    with RegistryClient(anonymous) as client:
        assert client.resolve("public/app", "1").digest == image.digest


def test_tokens_are_asked_for_reading_alone_and_kept(
    token_registry: RunningRegistry, token_server: TokenServer, image: BuiltImage
) -> None:
    token_registry.push("team/kept", "1", image)
    with RegistryClient(token_registry.access) as client:
        before = len(token_server.asked)
        for _ in range(3):
            client.resolve("team/kept", "1")
    assert token_server.asked[before:] == [f"{USER}@repository:team/kept:pull"]


def test_a_token_that_ended_is_renewed(token_registry: RunningRegistry, image: BuiltImage) -> None:
    token_registry.push("team/renewed", "1", image)
    with RegistryClient(token_registry.access) as client:
        client.resolve("team/renewed", "1")
        for scope in list(client._exchange._tokens):
            client._exchange._tokens[scope] = ("ended.or.revoked", float("inf"))
        assert client.resolve("team/renewed", "1").digest == image.digest


def test_an_unknown_ca_is_refused_at_once(secure_registry: RunningRegistry) -> None:
    access = dataclasses.replace(secure_registry.access, ca_certificate="")
    waits: list[float] = []
    with (
        RegistryClient(access, sleep=waits.append) as client,
        pytest.raises(Unavailable, match=r"is not trusted.*Enter the CA"),
    ):
        client.ping()
    assert not waits, "asking again would not help"


def test_a_ca_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="expected PEM"):
        RegistryClient(RegistryAccess("registry.example", ca_certificate="-----BEGIN NOTHING-----"))


def test_tls_and_plain_http_are_not_mixed_up(secure_registry: RunningRegistry, plain_registry: RunningRegistry) -> None:
    secret = dataclasses.replace(plain_registry.access, uses_plain_http=False)
    with RegistryClient(secret, sleep=lambda _: None) as client, pytest.raises(Unavailable, match="HTTPS with TLS"):
        client.ping()
    open_ = dataclasses.replace(secure_registry.access, uses_plain_http=True)
    with RegistryClient(open_, sleep=lambda _: None) as client, pytest.raises((Invalid, Unavailable)):
        client.ping()


def test_a_registry_that_is_away_is_asked_again_with_growing_waits() -> None:
    waits: list[float] = []
    access = RegistryAccess(f"127.0.0.1:{free_port()}", uses_plain_http=True)
    with RegistryClient(access, sleep=waits.append) as client, pytest.raises(Unavailable, match="No connection"):
        client.ping()
    assert len(waits) == 3
    assert waits[-1] > waits[0]
