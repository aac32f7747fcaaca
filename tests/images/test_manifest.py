"""Manifests, indexes and configurations: what they name, and every document that is refused."""

from __future__ import annotations

import datetime
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid, SecGuardError, TooLarge
from secguard.images import configuration, manifest
from secguard.images.configuration import ImageConfig
from secguard.images.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor, ImageIndex, ImageManifest
from tests.imagebuilding import BuiltImage, as_json, image_of, index_of, sha256, tar_of

IMAGE = image_of(tar_of({"a": b"a"}), config={"Env": ["A=1"]})
DIGEST = sha256(b"x")
PART = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 1}


def document(**members: Any) -> bytes:
    return as_json({"schemaVersion": 2, "config": PART, "layers": [], **members})


def test_an_image_manifest() -> None:
    parsed = manifest.parse(IMAGE.raw, OCI_MANIFEST)
    assert isinstance(parsed, ImageManifest)
    assert (parsed.media_type, len(parsed.layers)) == (OCI_MANIFEST, 1)
    manifest.require_image(parsed)


def test_an_index_with_platforms() -> None:
    parsed = manifest.parse(index_of(IMAGE).raw)
    assert isinstance(parsed, ImageIndex)
    assert [str(m.platform) for m in parsed.manifests] == ["linux/amd64"]


@pytest.mark.corpus
def test_the_manifests_of_the_corpus(image_corpus: Path) -> None:
    """Manifests and lists of the official images, as their registry served them."""
    kinds = {ImageManifest: 0, ImageIndex: 0}
    for path in (image_corpus / "anchore+anchore-engine/tests/unit/data/example_raw_manifests").glob("*.json"):
        kinds[type(manifest.parse(path.read_bytes()))] += 1
    assert min(kinds.values()) >= 7


@pytest.mark.parametrize(
    ("raw", "media_type", "words"),
    [
        (b"", "", "not JSON"),
        (b"\xff", "", "not UTF-8"),
        (b"[]", "", "a list; expected an object"),
        (b"{}", "", "schemaVersion is missing; expected 2"),
        (b'{"schemaVersion":1,"name":"x"}', "", "schema 1"),
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (b"{}", "text/html", "'text/html'; expected an image manifest"),
        (as_json({"schemaVersion": 2}), "", "neither 'manifests' nor 'config'"),
        (document(manifests=[]), "", "both 'manifests' and"),
        (document(mediaType=OCI_INDEX), "", "but it is an image manifest"),
        (document(mediaType=OCI_MANIFEST), OCI_INDEX, "but it is an image manifest"),
        (as_json({"schemaVersion": 2, "manifests": []}), OCI_MANIFEST, "but it is an index"),
        (b'{"schemaVersion":2,"schemaVersion":2}', "", "stands twice"),
        (b'{"schemaVersion":NaN}', "", "NaN is not a JSON number"),
        (document(config=None), "", r"config is missing"),
        (document(config={**PART, "digest": "sha256:x"}), "", r"config.digest is 'sha256:x'"),
        (document(config={**PART, "digest": 7}), "", r"config.digest is a number"),
        (document(config={**PART, "size": -1}), "", r"config.size is -1"),
        (document(config={**PART, "size": True}), "", r"config.size is a boolean"),
        (document(config={**PART, "size": 2**60}), "", r"config.size is"),
        (document(layers=[1]), "", r"layers\[0\] is a number; expected an object"),
        (document(layers={}), "", r"layers is an object; expected a list"),
        (document(annotations={"a": 1}), "", "annotations has for 'a' a number"),
        (b'{"schemaVersion":2,"mediaType":"a\\u0000b"}', "", "NUL"),
        (b'{"schemaVersion":2,"mediaType":"\\ud800"}', "", "surrogate"),
        (b'{"schemaVersion":' + b"9" * 5000 + b"}", "", "more digits than are read"),
    ],
)
def test_what_is_no_manifest_is_refused_in_words(raw: bytes, media_type: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        manifest.parse(raw, media_type)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b" " * (manifest.MAX_BYTES + 1), "4,194,305 bytes"),
        (b"[" * 100_000, "levels deep"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "levels deep"),
    ],
)
def test_a_manifest_has_bounds(raw: bytes, words: str) -> None:
    with pytest.raises(TooLarge, match=words):
        manifest.parse(raw)


def test_too_many_layers_are_refused() -> None:
    with pytest.raises(Invalid, match="513 entries; at most 512"):
        manifest.parse(document(layers=[PART] * 513))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"config": {**PART, "mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "helm.* not an image"),
        ({"config": {**PART, "mediaType": "application/vnd.oci.empty.v1+json"}, "artifactType": "sbom/x"}, "'sbom/x'"),
        ({"layers": [{**PART, "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"}]}, "encrypted"),
        ({"layers": [{**PART, "mediaType": "application/wasm"}]}, "not known here"),
    ],
)
def test_what_is_no_image_is_refused(members: dict[str, Any], words: str) -> None:
    parsed = manifest.parse(document(**members))
    assert isinstance(parsed, ImageManifest)
    with pytest.raises(Invalid, match=words):
        manifest.require_image(parsed)


def named(image: BuiltImage, **members: Any) -> dict[str, Any]:
    return {**image.described(), **members}


def index(*rows: dict[str, Any]) -> BuiltImage:
    raw = as_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(rows)})
    return BuiltImage(raw, OCI_INDEX)


def walked(top: BuiltImage, *others: BuiltImage) -> list[str]:
    known = {other.digest: other.raw for other in others}
    parsed = manifest.parse(top.raw)
    assert isinstance(parsed, ImageIndex)
    return [d.digest for d in manifest.images_of(parsed, lambda d: known[d.digest])]


def test_nested_indexes_are_flattened_and_attestations_left_out() -> None:
    other = image_of(tar_of({"b": b"b"}))
    unknown = {"os": "unknown", "architecture": "unknown"}
    note = {"vnd.docker.reference.type": "attestation-manifest"}
    attested = image_of(tar_of({"c": b"c"}))
    inner = index(named(other), named(IMAGE), named(attested, platform=unknown), named(attested, annotations=note))
    top = index(named(IMAGE), named(inner, platform=None), {**PART, "mediaType": "application/other"})
    assert walked(top, inner) == [IMAGE.digest, other.digest]


def test_circles_are_refused() -> None:
    self_named = {"mediaType": OCI_INDEX, "digest": DIGEST, "size": 1}
    circle = index(self_named)
    parsed = manifest.parse(circle.raw)
    assert isinstance(parsed, ImageIndex)
    with pytest.raises(Invalid, match="in a circle or twice"):
        manifest.images_of(parsed, lambda _: circle.raw)


def test_deep_and_empty_indexes_are_refused() -> None:
    deep, all_of_them = index_of(IMAGE), []
    for _ in range(6):
        all_of_them.append(deep)
        deep = index(named(deep, platform=None))
    with pytest.raises(TooLarge, match="levels deep"):
        walked(deep, *all_of_them)
    with pytest.raises(Invalid, match="names no image"):
        walked(index())


def test_a_configuration() -> None:
    config = configuration.parse(
        as_json(
            {
                "os": "linux",
                "architecture": "arm64",
                "variant": "v8",
                "created": "2024-02-03T04:05:06.123456789Z",
                "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
                "history": [{"created_by": "FROM scratch", "empty_layer": True}, {"created_by": "COPY . /"}],
                "config": {
                    "User": "1000",
                    "Env": ["PATH=/bin"],
                    "Cmd": ["sh"],
                    "Entrypoint": "legacy",
                    "ExposedPorts": {"443/tcp": {}, "22/tcp": {}},
                    "Volumes": {"/data": {}},
                    "Labels": {"a": "b"},
                    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000},
                },
            }
        )
    )
    assert str(config.platform) == "linux/arm64/v8"
    assert config.created == datetime.datetime(2024, 2, 3, 4, 5, 6, 123456, tzinfo=datetime.UTC)
    run = config.execution
    assert (run.user, run.env, run.cmd, run.entrypoint) == ("1000", ("PATH=/bin",), ("sh",), ("legacy",))
    assert (run.exposed_ports, run.volumes, run.labels) == (("22/tcp", "443/tcp"), ("/data",), {"a": "b"})
    assert run.healthcheck is not None
    assert run.healthcheck.test == ("CMD", "true")
    assert [(h.created_by, h.is_empty_layer) for h in config.history] == [("FROM scratch", True), ("COPY . /", False)]
    (layer,) = configuration.layers_of(one_layer(), config)
    assert (layer.diff_id, layer.created_by, layer.position) == (DIGEST, "COPY . /", 0)


def one_layer() -> ImageManifest:
    layer = Descriptor("application/vnd.oci.image.layer.v1.tar", DIGEST, 1)
    return ImageManifest(OCI_MANIFEST, layer, (layer,), {})


def test_layers_and_diff_ids_must_be_as_many() -> None:
    with pytest.raises(Invalid, match="names 1 layers and its configuration 0"):
        configuration.layers_of(one_layer(), configuration.parse(b"{}"))


def test_a_history_that_does_not_fit_blames_nothing() -> None:
    raw = as_json({"rootfs": {"diff_ids": [DIGEST]}, "history": [{"created_by": "a"}, {"created_by": "b"}]})
    (layer,) = configuration.layers_of(one_layer(), configuration.parse(raw))
    assert layer.created_by == ""


@pytest.mark.parametrize(
    "created", ["", "0001-01-01T00:00:00Z", "yesterday", "2024-01-01T00:00:00", "9999-12-31T23:59:59-23:00"]
)
def test_a_time_that_is_none_is_none(created: str) -> None:
    assert configuration.parse(as_json({"created": created})).created is None


@pytest.mark.parametrize(
    "members",
    [
        {"config": []},
        {"config": {"Env": {}}},
        {"config": {"Env": [1]}},
        {"config": {"Labels": {"a": []}}},
        {"config": {"User": 0}},
        {"rootfs": {"diff_ids": ["x"]}},
        {"history": [[]]},
        {"history": [{"empty_layer": "no"}]},
        {"os": 1},
        {"architecture": "x" * 51},
    ],
)
def test_a_configuration_of_other_types_is_refused_with_the_place(members: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=r"\$\."):
        configuration.parse(as_json(members))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_member_of_another_type_is_read_or_refused(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from([IMAGE.raw, index_of(IMAGE).raw, *IMAGE.blobs.values()][:3]))
    changed = json.loads(raw)
    holder = changed
    while True:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            holder[key] = data.draw(json_values)
            break
        holder = holder[key]
    for read in (manifest.parse, configuration.parse):
        with suppress(SecGuardError):
            assert isinstance(read(json.dumps(changed).encode()), ImageManifest | ImageIndex | ImageConfig)


def test_docker_and_oci_manifests_have_one_shape() -> None:
    """Old tools name one in an index and write the other; the bytes are an image either way."""
    assert manifest.parse(document(mediaType=DOCKER_MANIFEST), OCI_MANIFEST).media_type == DOCKER_MANIFEST
