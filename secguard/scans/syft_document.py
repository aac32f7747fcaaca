"""Syft's own JSON (schema 16) to what each layer tells of packages. Pure; the document is not trusted.

The document is of a run over all layers at once (``--scope all-layers``): a package that several layers tell of stands
in it once, with a place in each of them. What another layer tells beside (the licence text of a Debian package, the
list of its files) is left to that layer, so that what is kept of one is the same whichever others were looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from secguard.errors import Invalid, TooLarge
from secguard.scans.layers import LayerPackage, LayerPackages, Role
from secguard.scans.readers import MAX_COMPONENTS
from secguard.scans.readers._packages import purl_or

MAX_PURL, MAX_NAME, MAX_PATH, MAX_LICENSE, MAX_LICENSES, MAX_OWNED = 1000, 300, 1000, 200, 100, 100_000

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


class _Owning(Struct):
    files: list[Any] | None = None


_decoder = msgspec.json.Decoder(_Document)
_owning = msgspec.json.Decoder(_Owning)


def layer_packages(raw: bytes, diff_ids: Collection[str]) -> dict[str, LayerPackages]:
    """What each of the layers ``diff_ids`` tells, in one fixed order; a layer that tells nothing is there too.

    Raises ``Invalid`` where ``raw`` is no such document, ``TooLarge`` where it has too many packages.
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
    for artifact in artifacts:
        for location in _telling(artifact.locations):
            if location.layerID in told:
                told[location.layerID].append(_package(artifact, location))
    return {d: LayerPackages(tuple(sorted(set(packages), key=_order))) for d, packages in told.items()}


def _order(package: LayerPackage) -> tuple[Any, ...]:
    return package.purl, package.path, package.group, package.licenses, package.owns


def _telling(locations: Sequence[_Location]) -> list[_Location]:
    return [place for place in locations if place.is_primary] or list(locations)


def _package(artifact: _Artifact, location: _Location) -> LayerPackage:
    role = _role(artifact)
    purl = purl_or(artifact.purl, artifact.type, artifact.name, artifact.version)
    return LayerPackage(
        purl=purl[:MAX_PURL],
        name=artifact.name[:MAX_NAME],
        version=artifact.version[:MAX_NAME],
        path=_relative(location.path),
        role=role,
        licenses=tuple(sorted(set(_licenses(artifact, location.layerID))))[:MAX_LICENSES],
        owns=tuple(_owned(artifact, role, location.layerID)),
        group=_group(artifact, role, purl, location),
    )


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


def _owned(artifact: _Artifact, role: Role, layer: str) -> Iterator[str]:
    """The files that a distribution's package or a Java installation owns, where this layer is the one that says so."""
    if role not in (Role.DISTRIBUTION, Role.JAVA):
        return
    if artifact.metadataType == _DEBIAN and not any(
        place.layerID == layer and place.path.endswith(_FILE_LISTS) for place in artifact.locations
    ):
        return
    try:
        files = _owning.decode(artifact.metadata).files or []
    except (msgspec.DecodeError, RecursionError):
        return
    for file in files[:MAX_OWNED]:
        path = file.get("path") if isinstance(file, dict) else file
        if isinstance(path, str) and path:
            yield _relative(path)
