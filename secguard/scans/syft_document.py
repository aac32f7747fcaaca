"""Syft's own JSON (schema 16) to what each layer tells of packages. Pure; the document is not trusted.

The document is of a run over all layers at once (``--scope all-layers``): a package that several layers tell of stands
in it once, with a place in each of them. What another layer tells beside (the licence text of a Debian package, the
list of its files) is left to that layer, so that what is kept of one is the same whichever others were looked at.
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from secguard.errors import Invalid, TooLarge
from secguard.scans.layers import LayerPackage, LayerPackages, Role, places
from secguard.scans.readers import MAX_COMPONENTS
from secguard.scans.readers._packages import purl_or

MAX_PURL, MAX_NAME, MAX_PATH, MAX_LICENSE, MAX_LICENSES, MAX_OWNED = 1000, 300, 1000, 200, 100, 100_000
MAX_VENDOR = 200

_DISTRIBUTION_TYPES = frozenset({"alpm", "apk", "deb", "nix", "portage", "rpm"})
_ELF, _SIGNATURE, _JAVA = "elf-binary-package-note-json-payload", "binary-signature", "java-jvm-installation"
_DEBIAN = "dpkg-db-entry"
_FILE_LISTS = (".list", ".md5sums")


class _Location(Struct):
    path: str = ""
    layerID: str = ""
    annotations: dict[str, str] = {}

    @property
    def is_primary(self) -> bool:
        return self.annotations.get("evidence") == "primary"


class _License(Struct):
    value: str = ""
    spdxExpression: str = ""
    locations: list[_Location] = []


class _Artifact(Struct):
    name: str = ""
    version: str = ""
    type: str = ""
    purl: str = ""
    locations: list[_Location] = []
    licenses: list[_License] = []
    metadataType: str = ""
    metadata: msgspec.Raw = msgspec.Raw(b"null")


class _Document(Struct):
    artifacts: list[_Artifact]


class _Metadata(Struct):
    """Of a distribution's package or a Java installation."""

    files: list[Any] | None = None
    vendor: Any = None
    maintainer: Any = None
    modularityLabel: Any = None

    @property
    def built_by(self) -> str:
        told = self.vendor or self.maintainer
        return told[:MAX_VENDOR] if isinstance(told, str) else ""


_decoder = msgspec.json.Decoder(_Document)
_metadata = msgspec.json.Decoder(_Metadata)
_UNKNOWN = _Metadata()

Recorded = Mapping[str, set[str]]
"""By path, the digests that packages' databases record of a file: ``sha256:<hex>``, ``md5:…``, ``sha1:…``."""


def _unaltered(layer: str, recorded: Recorded) -> Collection[str]:
    return ()


def layer_packages(
    raw: bytes, diff_ids: Collection[str], altered: Callable[[str, Recorded], Collection[str]] = _unaltered
) -> dict[str, LayerPackages]:
    """What each of the layers ``diff_ids`` tells, in one fixed order; a layer that tells nothing is there too.

    ``altered`` is asked for each layer that has a file which tells of a package and which another package owns: the
    paths at which it has a content with none of the recorded digests. Raises ``Invalid`` where ``raw`` is no such
    document, ``TooLarge`` where it has too many packages.
    """
    try:
        artifacts = _decoder.decode(raw).artifacts
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise Invalid(f"syft's document could not be read: {str(error)[:300]}.", code="bad-sbom") from None
    if len(artifacts) > MAX_COMPONENTS:
        raise TooLarge(
            f"syft found {len(artifacts):,} packages; an image may have {MAX_COMPONENTS:,}.", code="too-many-components"
        )
    told: dict[str, list[LayerPackage]] = {diff_id: [] for diff_id in diff_ids}
    telling = _telling_paths(artifacts)
    recorded: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for artifact in artifacts:
        metadata = _metadata_of(artifact)
        for location in _telling(artifact.locations):
            if location.layerID in told:
                told[location.layerID].append(_package(artifact, metadata, location))
                for path, digest in _digests(artifact, metadata, location.layerID, telling[location.layerID]):
                    recorded[location.layerID][path].add(digest)
    for layer, digests in recorded.items():
        if changed := frozenset(altered(layer, digests)):
            told[layer] = [_noting(package, changed) for package in told[layer]]
    return {d: LayerPackages(tuple(sorted(set(packages), key=_order))) for d, packages in told.items()}


def _telling_paths(artifacts: Sequence[_Artifact]) -> Mapping[str, set[str]]:
    """By layer, the paths of files that tell of a language's package."""
    found: dict[str, set[str]] = defaultdict(set)
    for artifact in artifacts:
        if _role(artifact) is Role.PACKAGE:
            for location in _telling(artifact.locations):
                found[location.layerID].add(_relative(location.path))
    return found


def _noting(package: LayerPackage, changed: Collection[str]) -> LayerPackage:
    altered = tuple(path for path in package.owns if any(place in changed for place in places(path)))
    return msgspec.structs.replace(package, altered=altered) if altered else package


def _metadata_of(artifact: _Artifact) -> _Metadata:
    if _role(artifact) not in (Role.DISTRIBUTION, Role.JAVA):
        return _UNKNOWN
    try:
        return _metadata.decode(artifact.metadata)
    except (msgspec.DecodeError, RecursionError):
        return _UNKNOWN


def _order(package: LayerPackage) -> tuple[Any, ...]:
    return package.purl, package.path, package.group, package.licenses, package.owns, package.vendor, package.altered


def _telling(locations: Sequence[_Location]) -> list[_Location]:
    return [place for place in locations if place.is_primary] or list(locations)


def _package(artifact: _Artifact, metadata: _Metadata, location: _Location) -> LayerPackage:
    role = _role(artifact)
    purl = purl_or(artifact.purl, artifact.type, artifact.name, artifact.version)
    if isinstance(label := metadata.modularityLabel, str) and label:
        purl = _of_module(purl, label)
    return LayerPackage(
        purl=purl[:MAX_PURL],
        name=artifact.name[:MAX_NAME],
        version=artifact.version[:MAX_NAME],
        path=_relative(location.path),
        role=role,
        licenses=tuple(sorted(set(_licenses(artifact, location.layerID))))[:MAX_LICENSES],
        owns=tuple(path for path, _ in _owned(artifact, metadata, location.layerID)),
        group=_group(artifact, role, purl, location),
        vendor=metadata.built_by if role is Role.DISTRIBUTION else "",
    )


def _of_module(purl: str, label: str) -> str:
    """With the module that the package is of, as Red Hat writes it (``rpmmod``): syft 1.18 leaves it out."""
    before, _, qualifiers = purl.partition("?")
    words = [*(w for w in qualifiers.split("&") if w), f"rpmmod={quote(label[:MAX_NAME], safe=':')}"]
    return f"{before}?{'&'.join(sorted(words))}"


def _group(artifact: _Artifact, role: Role, purl: str, location: _Location) -> str:
    """The notes in several libraries tell of one package together; what is guessed from a program, of that one."""
    if role not in (Role.BINARY, Role.JAVA):
        return ""
    return purl[:MAX_PURL] if artifact.metadataType == _ELF else f"{purl[:MAX_PURL]} {_relative(location.path)}"


def _relative(path: str) -> str:
    return path.lstrip("/")[:MAX_PATH]


def _role(artifact: _Artifact) -> Role:
    """Syft's order of words: a distribution's package, a Java installation, a guess from bytes (v1.18,
    internal/relationship/exclude_binaries_by_file_ownership_overlap.go)."""
    if artifact.metadataType == _JAVA:
        return Role.JAVA
    if artifact.type == "binary" or artifact.metadataType in (_ELF, _SIGNATURE):
        return Role.BINARY
    return Role.DISTRIBUTION if artifact.type in _DISTRIBUTION_TYPES else Role.PACKAGE


def _licenses(artifact: _Artifact, layer: str) -> Iterator[str]:
    for found in artifact.licenses:
        if all(place.layerID in ("", layer) for place in found.locations) or any(
            place.layerID == layer for place in found.locations
        ):
            name = (found.spdxExpression or found.value).strip()
            if name:
                yield name[:MAX_LICENSE]


def _owned(artifact: _Artifact, metadata: _Metadata, layer: str) -> Iterator[tuple[str, Any]]:
    """The files that a distribution's package or a Java installation owns, where this layer is the one that says so;
    with each, what is recorded of its content."""
    if artifact.metadataType == _DEBIAN and not any(
        place.layerID == layer and place.path.endswith(_FILE_LISTS) for place in artifact.locations
    ):
        return
    for file in (metadata.files or [])[:MAX_OWNED]:
        path, digest = (file.get("path"), file.get("digest")) if isinstance(file, dict) else (file, None)
        if isinstance(path, str) and path:
            yield _relative(path), digest


def _digests(
    artifact: _Artifact, metadata: _Metadata, layer: str, telling: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Of the files ``telling`` of a language's package: where the layer has each, and its digest as recorded."""
    for path, told in _owned(artifact, metadata, layer) if telling and artifact.type in _DISTRIBUTION_TYPES else ():
        for place in places(path):
            if place in telling and (digest := _digest(told)):
                yield place, digest


_HEX_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}


def _digest(told: Any) -> str:
    """``sha256:<hex>`` of what syft says of a file; empty where it says nothing that can be compared.

    apk writes ``Q1`` and then SHA-1 in Base64 (apk-package(5), "pull checksum").
    """
    if not isinstance(told, dict) or not isinstance(value := told.get("value"), str):
        return ""
    if value.startswith("Q1"):
        try:
            return f"sha1:{base64.b64decode(value[2:], validate=True).hex()}"
        except binascii.Error:
            return ""
    algorithm = str(told.get("algorithm", "")).lower().replace("-", "")
    return f"{algorithm}:{value.lower()}" if len(value) == _HEX_DIGITS.get(algorithm) else ""
