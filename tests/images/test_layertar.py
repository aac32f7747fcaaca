"""Layers: what is read, what is flagged, what is refused, and that nothing costs more than its limit."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid, SecGuardError, TooLarge
from secguard.images.adapters.layertar import Entry, Kind, LayerReader, Limits
from secguard.images.adapters.tarreader import normalised
from tests.imagebuilding import compressed, entry, sha256, tar_of

KINDS = {
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.FIFOTYPE: Kind.FIFO,
    tarfile.CHRTYPE: Kind.CHARACTER_DEVICE,
    tarfile.BLKTYPE: Kind.BLOCK_DEVICE,
}


def read(raw: bytes, **limits: Any) -> list[Entry]:
    return list(LayerReader(io.BytesIO(raw), limits=Limits(**limits)))


def ours(raw: bytes) -> list[Any]:
    return [
        (e.path, e.kind, e.mode, e.uid, e.gid, e.size, e.mtime, e.link, e.read(2**30))
        for e in LayerReader(io.BytesIO(raw))
    ]


def theirs(raw: bytes) -> list[Any]:
    if raw[:4] == b"\x28\xb5\x2f\xfd":
        raw = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)).read()
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return [_theirs(tar, member) for member in tar]


def _theirs(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    kind = KINDS.get(member.type, Kind.FILE)
    link = normalised(member.linkname)[0] if kind is Kind.HARDLINK else member.linkname
    content = tar.extractfile(member) if kind is Kind.FILE else None
    return (
        _text(normalised(member.name)[0]),
        kind,
        member.mode & 0o7777,
        member.uid,
        member.gid,
        member.size if kind is Kind.FILE else 0,
        int(member.mtime),
        _text(link) if kind in (Kind.HARDLINK, Kind.SYMLINK) else "",
        content.read() if content else b"",
    )


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@pytest.mark.corpus
def test_it_agrees_with_tarfile_on_every_archive_of_the_corpus(image_corpus: Path) -> None:
    compared = 0
    for path in sorted(p for p in image_corpus.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        try:
            expected = theirs(raw)
        except (tarfile.ReadError, zstandard.ZstdError):
            continue
        assert ours(raw) == expected, path
        compared += 1
    assert compared >= 40


names = st.text(
    st.characters(blacklist_characters="\0/", blacklist_categories=["Cs"]), min_size=1, max_size=140
).filter(lambda n: n not in (".", "..") and not n.startswith(".wh."))
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(paths))
    info.type = draw(st.sampled_from([tarfile.REGTYPE, *KINDS]))
    content = draw(st.binary(max_size=2000)) if info.type == tarfile.REGTYPE else b""
    info.size = len(content)
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, 2**40)), draw(st.integers(0, 2**21))
    info.mtime = draw(st.integers(-(2**33), 2**33))
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(paths)
    return info, content


@given(st.lists(members(), max_size=6), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
@settings(max_examples=150, deadline=None)
def test_it_agrees_with_tarfile_on_whatever_tarfile_writes(
    entries: list[tuple[tarfile.TarInfo, bytes]], form: int
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form, encoding="utf-8") as tar:
        for info, content in entries:
            tar.addfile(info, io.BytesIO(content))
    assert ours(out.getvalue()) == theirs(out.getvalue())


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_damage_is_read_or_refused_in_words(data: st.DataObject) -> None:
    raw = bytearray(DAMAGEABLE)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    with suppress(SecGuardError):
        for found in LayerReader(io.BytesIO(bytes(raw[:cut])), limits=Limits(file_bytes=2**20)):
            assert len(found.read(2**20)) <= 2**20


def _sparse(folder: Path, form: str, size: str = "10G") -> bytes:
    """What GNU tar writes for a file of 10 GB with a few bytes in it."""
    file = folder / "sparse"
    with file.open("wb") as out:
        out.write(b"begin")
        out.seek(5_000_000)
        out.write(b"middle")
    subprocess.run(["truncate", "-s", size, file], check=True)
    command = ["tar", "--sparse", f"--format={form.partition('-')[0]}", "-C", folder, "-cf", "-", "sparse"]
    if "-" in form:
        command.insert(2, f"--sparse-version={form.partition('-')[2]}")
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.mark.parametrize("form", ["gnu", "pax-0.0", "pax-0.1", "pax-1.0"])
def test_a_sparse_file_of_10_gb_costs_what_is_in_it(tmp_path: Path, form: str) -> None:
    raw = _sparse(tmp_path, form)
    assert len(raw) < 200_000
    (found,) = ((e.path, e.size, e.stored < 100_000, e.read(5_000_010)) for e in LayerReader(io.BytesIO(raw)))
    assert found == ("sparse", 10 * 2**30, True, b"begin" + bytes(4_999_995) + b"middle" + bytes(4))


@pytest.mark.parametrize("form", ["gnu", "pax-0.0", "pax-0.1", "pax-1.0"])
def test_a_sparse_file_is_read_as_tarfile_reads_it(tmp_path: Path, form: str) -> None:
    raw = _sparse(tmp_path, form, "6M")
    assert [e[8] for e in ours(raw)] == [e[8] for e in theirs(raw)]


DAMAGEABLE = tar_of(
    {"a/" + "long" * 60: b"x" * 1000, "b": b"y" * 600, "é": b""}, entry("l", tarfile.SYMTYPE, "t" * 200)
) + tar_of({"c" * 120: b"z"}, form=tarfile.GNU_FORMAT)


@pytest.mark.parametrize("how", ["plain", "gzip", "zstd"])
def test_every_compression_gives_the_same(how: str) -> None:
    raw = tar_of({"etc/os-release": b"ID=x\n"})
    reader = LayerReader(io.BytesIO(compressed(raw, how)), diff_id=sha256(raw))
    assert [(e.path, e.read(100)) for e in reader] == [("etc/os-release", b"ID=x\n")]
    assert (reader.diff_id, reader.unpacked_bytes) == (sha256(raw), len(raw))


def test_gzip_members_and_zstd_frames_may_follow_each_other() -> None:
    raw = tar_of({"a": b"a" * 2000})
    index = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"toc!"  # a frame to skip, as zstd:chunked has
    zstd = zstandard.ZstdCompressor().compress
    for packed in (
        gzip.compress(raw[:700]) + gzip.compress(raw[700:]) + bytes(512),
        zstd(raw[:700]) + index + zstd(raw[700:]) + index,
        index + zstd(raw),
    ):
        assert [e.path for e in LayerReader(io.BytesIO(packed), diff_id=sha256(raw))] == ["a"]


def test_a_layer_that_is_not_the_one_named_is_refused_at_its_end() -> None:
    raw = tar_of({"a": b"a"})
    for other in (tar_of({"a": b"b"}), raw + bytes(512), raw[:-512]):
        with pytest.raises(Invalid, match="configuration names"):
            list(LayerReader(io.BytesIO(gzip.compress(other)), diff_id=sha256(raw)))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (gzip.compress(tar_of({"a": b"a"}))[:-20], "broken compression"),
        (gzip.compress(tar_of({"a": b"a"})) + b"more", "broken compression"),
        (zstandard.ZstdCompressor().compress(tar_of({"a": b"a"})) + b"more", "broken compression"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "broken compression"),
        (tar_of({"a": b"a" * 3000})[:2000], "ends in the middle of an entry"),
        (tar_of({"a": b""})[:700], "ends in the middle of a header|single block"),
        (b"BZh91AY", "bzip2; expected a tar"),
        (b"PK\x03\x04", "a zip archive; expected a tar"),
        (bytes(32) + b"SIF_MAGIC", "Singularity"),
        (b"root:x:0:0:root" * 100, "does not begin like one, with b'root"),
        (tar_of({"a": b""})[:512] + bytes(512) + tar_of({"b": b""}), "single block of zeros"),
    ],
)
def test_what_is_no_layer_is_refused_in_words(raw: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        read(raw)


@pytest.mark.parametrize("raw", [b"", bytes(512), bytes(1024), bytes(10240)])
def test_an_empty_layer_has_no_entries(raw: bytes) -> None:
    assert read(raw) == []


@pytest.mark.parametrize(
    ("name", "path", "escapes"),
    [
        ("./etc/passwd", "etc/passwd", False),
        ("/etc/passwd", "etc/passwd", False),
        ("etc//./passwd", "etc/passwd", False),
        ("a/../b", "b", False),
        ("..", "", True),
        ("../../etc/passwd", "etc/passwd", True),
        ("a/../../etc/passwd", "etc/passwd", True),
        ("./", "", False),
        (".hidden", ".hidden", False),
        ("..data", "..data", False),
        ("new\nline\x1b[31m", "new\nline\x1b[31m", False),
    ],
)
def test_names_are_paths_below_the_root(name: str, path: str, escapes: bool) -> None:
    (found,) = read(tar_of({}, entry(name, tarfile.DIRTYPE)))
    assert (found.path, found.escapes) == (path, escapes)


def test_bytes_that_are_no_text_can_still_be_stored_and_shown() -> None:
    raw = tar_of({}, entry("caf\udce9", tarfile.SYMTYPE, "\udcff"), form=tarfile.GNU_FORMAT)
    (found,) = read(raw)
    assert (found.path, found.link) == ("caf\\xe9", "\\xff")


@pytest.mark.parametrize(
    ("name", "kind", "target", "link", "escapes"),
    [
        ("a/l", tarfile.SYMTYPE, "../b", "../b", False),
        ("a/l", tarfile.SYMTYPE, "/etc/passwd", "/etc/passwd", False),
        ("a/l", tarfile.SYMTYPE, "../../etc/passwd", "../../etc/passwd", True),
        ("l", tarfile.SYMTYPE, "l", "l", False),
        ("a/l", tarfile.LNKTYPE, "./b/c", "b/c", False),
        ("a/l", tarfile.LNKTYPE, "/b/c", "b/c", False),
        ("a/l", tarfile.LNKTYPE, "../../host", "host", True),
    ],
)
def test_links_that_leave_the_root_are_flagged(name: str, kind: bytes, target: str, link: str, escapes: bool) -> None:
    (found,) = read(tar_of({}, entry(name, kind, target)))
    assert (found.link, found.escapes, found.content) == (link, escapes, None)


@pytest.mark.parametrize(
    ("name", "is_whiteout", "is_opaque", "hides", "escapes"),
    [
        ("etc/.wh.passwd", True, False, "etc/passwd", False),
        (".wh.top", True, False, "top", False),
        ("etc/.wh..wh..opq", False, True, "etc", False),
        (".wh..wh..opq", False, True, "", False),
        ("etc/.wh.", False, False, "", True),
        ("etc/.wh..", False, False, "", True),
        ("etc/.wh...", False, False, "", True),
        (".wh..wh.plnk", False, False, "", False),
        ("etc/not.wh.x", False, False, "", False),
    ],
)
def test_whiteouts(name: str, is_whiteout: bool, is_opaque: bool, hides: str, escapes: bool) -> None:
    (found,) = read(tar_of({name: b""}))
    assert (found.is_whiteout, found.is_opaque, found.hides, found.escapes) == (is_whiteout, is_opaque, hides, escapes)


def test_devices_setuid_bits_and_capabilities_are_told() -> None:
    device = entry("dev/mem", tarfile.CHRTYPE, mode=0o666)
    powerful = entry("bin/ping", mode=0o4755)
    powerful.pax_headers = {"SCHILY.xattr.security.capability": "\x01\x02"}
    found = read(tar_of({}, device, powerful, entry("run/pipe", tarfile.FIFOTYPE)))
    assert [(e.kind, e.mode) for e in found] == [
        (Kind.CHARACTER_DEVICE, 0o666),
        (Kind.FILE, 0o4755),
        (Kind.FIFO, 0o644),
    ]
    assert found[1].xattrs == {"security.capability": b"\x01\x02"}


def test_a_name_with_nul_in_an_extended_header_is_refused() -> None:
    info = entry("x")
    info.pax_headers = {"path": "a\0b"}
    with pytest.raises(Invalid, match="NUL"):
        read(tar_of({}, info))


def test_content_is_only_there_while_its_entry_is_the_current_one() -> None:
    reader = iter(LayerReader(io.BytesIO(tar_of({"a": b"abc", "b": b"def"}))))
    first = next(reader)
    assert first.read(2) == b"ab"
    second = next(reader)
    with pytest.raises(ValueError, match="before the next entry"):
        first.read(1)
    assert b"".join(second.chunks()) == b"def"


@pytest.mark.parametrize(
    ("raw", "limits", "words"),
    [
        (tar_of({str(i): b"" for i in range(11)}), {"entries": 10}, "more than 10 entries"),
        (tar_of({"a": b"x" * 3000}), {"total_bytes": 2000}, "more than 2,000 bytes"),
        (tar_of({"a": b"x" * 3000}), {"file_bytes": 2000}, "a file of 3,000 bytes"),
        (tar_of({"a" * 300: b""}), {"path_bytes": 256}, "a name of 300 bytes"),
        (tar_of({}, entry("a", tarfile.SYMTYPE, "b" * 300)), {"path_bytes": 256}, "link to a name of 300 bytes"),
        (tar_of({"a/" * 60 + "b": b""}), {"path_parts": 50}, "more than 50 folders"),
        (tar_of({"a" * 3000: b""}), {"header_bytes": 2000}, "extended header of 3"),
        (gzip.compress(bytes(10**7)), {"ratio_from": 10**6}, "decompression bomb"),
        (zstandard.compress(bytes(10**7)), {"ratio_from": 10**6}, "decompression bomb"),
        (tar_of({"a": b""}), {"seconds": -1}, "more than -1 seconds"),
    ],
)
def test_every_limit_holds(raw: bytes, limits: dict[str, Any], words: str) -> None:
    with pytest.raises(TooLarge, match=words):
        read(raw, **limits)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_bomb_is_refused_in_little_memory(how: str) -> None:
    """2 GB of zeros in one file, in a few kilobytes or megabytes."""
    header = entry("bomb")
    header.size = 2**31
    raw = header.tobuf()
    if how == "gzip":
        out = io.BytesIO()
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed:
            packed.write(raw)
            for _ in range(12):
                packed.write(bytes(2**24))
        bomb = out.getvalue()
    else:
        packer = zstandard.ZstdCompressor().compressobj()
        bomb = packer.compress(raw) + b"".join(packer.compress(bytes(2**24)) for _ in range(12)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="decompression bomb"):
            read(bomb, ratio_from=2**27)
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


def test_a_million_entries_are_refused_in_little_memory() -> None:
    class Endless(io.RawIOBase):
        block = entry("same/name/again").tobuf() * 200

        def read(self, size: int = -1) -> bytes:
            return self.block

    def count(reader: Iterator[Entry]) -> int:
        return sum(1 for _ in reader)

    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="more than 20,000 entries"):
            count(iter(LayerReader(Endless(), limits=Limits(entries=20_000))))  # type: ignore[arg-type]
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
    assert Limits().entries < 1_000_000
