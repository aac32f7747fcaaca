"""Images in files: every archive of the corpus is read or refused in words, and hostile ones of our own."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from secguard.errors import Invalid, NotFound, SecGuardError, TooLarge
from secguard.images import configuration, manifest
from secguard.images.adapters.archives import open_archive
from secguard.images.adapters.decompression import Limits
from secguard.images.adapters.layertar import LayerReader
from secguard.images.adapters.source import ImageSource, images_of, read_config
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.manifest import ImageIndex
from tests.imagebuilding import (
    BuiltImage,
    as_json,
    compressed,
    docker_archive,
    entry,
    image_of,
    index_of,
    sha256,
    tar_of,
    write_layout,
)

IMAGE = image_of(tar_of({"etc/os-release": b"ID=a\n"}), tar_of({"opt/app": b"app"}))
GGCR = "google+go-containerregistry/pkg/v1"
TRIVY = "aquasecurity+trivy/pkg/fanal/test/testdata"


def content_of(source: ImageSource, reference: str = "") -> list[str]:
    """The paths in all layers of an image, each proven by its diff id."""
    document = source.resolve(reference).parse()
    if isinstance(document, ImageIndex):
        document = source.resolve(images_of(source, document)[0].digest).parse()
    assert not isinstance(document, ImageIndex)
    manifest.require_image(document)
    _, config = read_config(source, document)
    found = []
    for layer in configuration.layers_of(document, config):
        buffer = io.BytesIO()
        source.blob(VerifiedFile(buffer, layer.descriptor))
        buffer.seek(0)
        found += [e.path for e in LayerReader(buffer, diff_id=layer.diff_id)]
    return found


_open: list[ImageSource] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _open:
        _open.pop().close()


def opened(path: Path, **limits: int) -> ImageSource:
    _open.append(open_archive(path, scratch=path.parent, limits=Limits(**limits)))
    return _open[-1]


def written(folder: Path, raw: bytes, name: str = "image.tar") -> Path:
    (folder / name).write_bytes(raw)
    return folder / name


def layout(folder: Path, **images: BuiltImage) -> Path:
    write_layout(folder / "layout", images)
    return folder / "layout"


def tarred(folder: Path) -> bytes:
    return tar_of({str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()})


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "reference", "expected"),
    [
        (f"{GGCR}/tarball/testdata/test_image_1.tar", "", 3),
        (f"{GGCR}/tarball/testdata/test_image_2.tar", "", 3),
        (f"{GGCR}/tarball/testdata/test_load_manifest.tar", "", 3),
        (f"{GGCR}/tarball/testdata/test_link.tar", "", "holds 2 images; say which one"),
        (f"{GGCR}/tarball/testdata/test_link.tar", "bazel/v1/tarball:test_image_3", 4),
        (f"{GGCR}/tarball/testdata/no_manifest.tar", "", "neither an index.json"),
        (f"{GGCR}/mutate/testdata/source_image.tar", "", 3),
        (f"{GGCR}/mutate/testdata/source_image_with_empty_layer_history.tar", "", 3),
        (f"{GGCR}/mutate/testdata/whiteout_image.tar", "", 5),
        (f"{GGCR}/layout/testdata/test_gc_image_unknown_mediatype", "", "has no blobs/sha256/3258"),
        (f"{GGCR}/layout/testdata/test_index_one_image", "", 1),
        (f"{GGCR}/layout/testdata/test_gc_index", "", "holds 3 images; say which one: 1, 3, 4"),
        (f"{GGCR}/layout/testdata/test_gc_index", "1", 3),
        (f"{GGCR}/layout/testdata/test_index", "", "holds 4 images; say which one"),
        ("google+go-containerregistry/pkg/crane/testdata/content.tar.zst", "", "neither an index.json"),
        ("quay+claircore/pkg/tarfs/testdata/concat.tar", "", "neither an index.json"),
        ("google+osv-scalibr/artifact/image/layerscanning/image/testdata/symlink-attack.tar", "", 3),
        ("google+osv-scalibr/artifact/image/layerscanning/image/testdata/symlink-depth-exceeded.tar", "", 9),
        ("google+osv-scalibr/artifact/image/layerscanning/image/testdata/empty.tar", "", "neither an index.json"),
        ("google+osv-scalibr/artifact/image/unpack/testdata/escape.tar", "", "neither an index.json"),
        ("anchore+stereoscope/pkg/image/sif/testdata/empty.sif", "", "Singularity image"),
        ("anchore+stereoscope/pkg/image/oci/testdata/valid-oci.tar", "", 1),
        ("anchore+stereoscope/pkg/image/oci/testdata/multiplatform_oci_dir", "", 3),
        ("anchore+stereoscope/pkg/image/oci/testdata/valid_manifest", "", "altered or cut off"),
        ("anchore+stereoscope/pkg/image/oci/testdata/no_manifests", "", "an image manifest; expected an index"),
        ("anchore+stereoscope/pkg/image/oci/testdata/invalid_file", "", "not JSON"),
        (f"{TRIVY}/alpine-310.tar.gz", "", 482),
        (f"{TRIVY}/test.oci", "", 1),
        (f"{TRIVY}/test_image_tag.oci", "0.0.1", 1),
        (f"{TRIVY}/test_image_tag.oci", "9", "no image '9'; it names: 0.0.1"),
        (f"{TRIVY}/test_bad_index_json.oci", "", "not JSON"),
        (f"{TRIVY}/test_no_valid_manifests.oci", "", "schemaVersion is missing"),
        (f"{TRIVY}/test_invalid_oci_image.oci", "", "has no blobs/sha256/bad7"),
    ],
)
def test_an_archive_of_the_corpus(
    image_corpus: Path, tmp_path: Path, name: str, reference: str, expected: int | str
) -> None:
    def take() -> int:
        source = open_archive(image_corpus / name, scratch=tmp_path)
        try:
            return len(content_of(source, reference))
        finally:
            source.close()

    if isinstance(expected, int):
        assert take() == expected
    else:
        with pytest.raises(SecGuardError, match=expected):
            take()
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.corpus
def test_every_file_of_the_corpus_is_read_or_refused(image_corpus: Path, tmp_path: Path) -> None:
    outcomes = {"read": 0, "refused": 0}
    for path in image_corpus.rglob("*"):
        try:
            _open.append(open_archive(path, scratch=tmp_path))
            for name in _open[-1].references() or [""]:
                content_of(_open[-1], name)
        except SecGuardError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["read"] >= 15
    assert outcomes["refused"] >= 100


@pytest.mark.parametrize("form", ["folder", "tar", "tar.gz", "tar.zst"])
def test_an_oci_layout_gives_what_a_registry_gives(tmp_path: Path, form: str) -> None:
    path = layout(tmp_path, v1=IMAGE)
    if form != "folder":
        how = {"tar": "plain", "tar.gz": "gzip", "tar.zst": "zstd"}[form]
        path = written(tmp_path, compressed(tarred(path), how), f"image.{form}")
    source = opened(path)
    for reference in ("", "v1", IMAGE.digest):
        resolved = source.resolve(reference)
        assert (resolved.raw, resolved.digest, resolved.is_digest_asserted) == (IMAGE.raw, IMAGE.digest, True)
    assert content_of(source) == ["etc/os-release", "opt/app"]
    assert source.references() == ["v1"]


def test_a_docker_archive_is_known_by_its_configuration(tmp_path: Path) -> None:
    source = opened(written(tmp_path, docker_archive(IMAGE, "shop/web:1")))
    resolved = source.resolve("shop/web:1")
    config = json.loads(IMAGE.raw)["config"]["digest"]
    assert (resolved.digest, resolved.is_digest_asserted) == (config, False)
    assert resolved == source.resolve() == source.resolve("1") == source.resolve(config)
    assert content_of(source) == ["etc/os-release", "opt/app"]
    assert opened(written(tmp_path, docker_archive(IMAGE), "again.tar")).resolve().raw == resolved.raw


def test_several_images_are_chosen_from_by_name(tmp_path: Path) -> None:
    other = image_of(tar_of({"b": b"b"}))
    source = opened(layout(tmp_path, v1=IMAGE, v2=other))
    assert source.resolve("v2").digest == other.digest
    with pytest.raises(NotFound, match="no image 'v3'; it names: v1, v2"):
        source.resolve("v3")


def test_an_index_in_a_layout(tmp_path: Path) -> None:
    both = [image_of(tar_of({a: b""}), architecture=a) for a in ("amd64", "arm64")]
    source = opened(layout(tmp_path, latest=index_of(*both)))
    index = source.resolve().parse()
    assert isinstance(index, ImageIndex)
    assert [d.digest for d in images_of(source, index)] == [i.digest for i in both]


def test_an_index_that_contains_itself_is_refused(tmp_path: Path) -> None:
    """Its digest cannot be its own: the bytes under that name are another document's."""
    path = layout(tmp_path, v1=index_of(IMAGE))
    name = sha256(b"circle")
    child = {"mediaType": manifest.OCI_INDEX, "digest": name, "size": 300}
    circle = as_json({"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": [child]})
    (path / "blobs/sha256" / name[7:]).write_bytes(circle)
    (path / "index.json").write_bytes(as_json({"schemaVersion": 2, "manifests": [child]}))
    with pytest.raises(Invalid, match="altered or cut off"):
        content_of(opened(path))


@pytest.mark.parametrize("damage", ["altered", "cut off", "missing"])
def test_a_damaged_layer_is_refused(tmp_path: Path, damage: str) -> None:
    path = layout(tmp_path, v1=IMAGE)
    blob = path / "blobs/sha256" / json.loads(IMAGE.raw)["layers"][0]["digest"][7:]
    raw = blob.read_bytes()
    blob.unlink()
    if damage != "missing":
        blob.write_bytes(raw[:-1] + b"?" if damage == "altered" else raw[:-1])
    with pytest.raises((Invalid, NotFound), match=r"exactly that digest|cut off"):
        content_of(opened(path))


@pytest.mark.parametrize("where", ["blob", "blobs", "index.json", "fifo", "device"])
def test_links_and_devices_in_a_folder_are_not_followed(tmp_path: Path, where: str) -> None:
    outside = tmp_path / "outside"
    path = layout(tmp_path, v1=IMAGE)
    blob = path / "blobs/sha256" / IMAGE.digest[7:]
    if where == "blobs":
        shutil.move(path / "blobs", outside)
        (path / "blobs").symlink_to(outside)
    elif where in ("blob", "index.json"):
        at = blob if where == "blob" else path / "index.json"
        shutil.move(at, outside)
        at.symlink_to(outside)
    elif where == "fifo":
        blob.unlink()
        os.mkfifo(blob)
    else:
        blob.unlink()
        blob.symlink_to("/dev/zero")
    with pytest.raises(Invalid):
        content_of(opened(path))


@pytest.mark.parametrize(
    ("link", "kind", "words"),
    [
        ("../../../../../etc/passwd", tarfile.SYMTYPE, "has no manifest.json"),
        ("/etc/passwd", tarfile.SYMTYPE, "has no manifest.json"),
        ("manifest.json", tarfile.SYMTYPE, "a link in a circle"),
        ("b", tarfile.SYMTYPE, "has no manifest.json"),
        ("../../etc/passwd", tarfile.LNKTYPE, "neither an index.json"),
    ],
)
def test_links_in_a_tar_stay_inside_it(tmp_path: Path, link: str, kind: bytes, words: str) -> None:
    raw = tar_of({"a": b""}, entry("manifest.json", kind, link))
    with pytest.raises((Invalid, NotFound), match=words.replace("has no", "has neither|has no")):
        opened(written(tmp_path, raw))


def test_a_layer_may_be_a_link_to_another(tmp_path: Path) -> None:
    same = tar_of({"a": b""})
    image = image_of(same, same)
    first = f"{sha256(same)[7:]}/layer.tar"
    config = json.loads(image.raw)["config"]["digest"]
    rows = [{"Config": "c.json", "RepoTags": None, "Layers": [first, "second/layer.tar"]}]
    raw = tar_of(
        {"c.json": image.blobs[config], first: same, "manifest.json": as_json(rows)},
        entry("second/layer.tar", tarfile.SYMTYPE, f"../{first}"),
    )
    assert content_of(opened(written(tmp_path, raw))) == ["a", "a"]


def test_two_manifests_in_one_tar_are_refused(tmp_path: Path) -> None:
    raw = docker_archive(IMAGE)[:-1024].rstrip(b"\0")
    raw += bytes(-len(raw) % 512) + tar_of({"manifest.json": b"[]"})
    with pytest.raises(Invalid, match="stands twice"):
        opened(written(tmp_path, raw))


def test_the_same_blob_twice_is_read(tmp_path: Path) -> None:
    raw = tarred(layout(tmp_path, v1=IMAGE))
    raw = raw.rstrip(b"\0")
    raw += bytes(-len(raw) % 512) + tar_of({f"blobs/sha256/{IMAGE.digest[7:]}": IMAGE.raw})
    assert content_of(opened(written(tmp_path, raw))) == ["etc/os-release", "opt/app"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "a list of 1 to"),
        ({}, "a list of 1 to"),
        ([7], "expected an object"),
        ([{"Config": "", "RepoTags": [], "Layers": []}], "Config is empty"),
        ([{"Config": "missing.json", "Layers": []}], "has no missing.json"),
        ([{"Config": "../../etc/passwd", "Layers": []}], "has no etc/passwd"),
        ([{"Config": "c.json", "Layers": ["x"]}], "names 1 layers, and the configuration 0"),
        ([{"Config": "c.json", "Layers": "x" * 5000}], "names 1 layers"),
        ([{"Config": "c.json", "Layers": [1]}], "a number; expected a text"),
        ([{"Config": ["c.json"]}], "a list; expected a text"),
    ],
)
def test_an_odd_manifest_json_is_refused(tmp_path: Path, rows: object, words: str) -> None:
    raw = tar_of({"manifest.json": as_json(rows), "c.json": b"{}"})
    with pytest.raises((Invalid, NotFound), match=words):
        opened(written(tmp_path, raw)).resolve()


@pytest.mark.parametrize(
    ("raw", "limits", "words"),
    [
        (gzip.compress(bytes(10**7)), {"ratio_from": 10**6}, "decompression bomb"),
        (gzip.compress(tar_of({"a": b"x" * 10**6})), {"total_bytes": 10**5}, "unpacks to more than"),
        (tar_of({str(i): b"" for i in range(20)}), {"entries": 10}, "more than 10 entries"),
        (tar_of({"index.json": b" " * (5 * 2**20)}), {}, "more than 4,194,304 bytes"),
        (b"PK\x03\x04zip", {}, "a zip archive; expected a tar"),
        (b"<html>" * 200, {}, "does not begin like one"),
        (b"", {}, "neither an index.json"),
        (tar_of({"index.json": b"x" * 2000})[:1000], {}, "ends in the middle"),
        (tar_of({"oci-layout": b'{"imageLayoutVersion":"2.0.0"}', "index.json": b"{}"}), {}, "version '2.0.0'"),
    ],
)
def test_hostile_files_are_refused_and_leave_nothing(
    tmp_path: Path, raw: bytes, limits: dict[str, int], words: str
) -> None:
    path = written(tmp_path, raw)
    with pytest.raises((Invalid, TooLarge), match=words):
        opened(path, **limits)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file or folder"):
        opened(tmp_path / "missing")
