"""Syft JSON (``syft IMAGE --output json``): a bill of materials in Syft's own form, every version of its schema.

Source: anchore/syft, ``schema/json``: before schema 9 what was looked at is ``source.target``, since then
``source.metadata``; licences are texts, later objects.
"""

from __future__ import annotations

from msgspec import Struct, field

from secguard.scans.document import Document
from secguard.scans.readers._bounds import require_listed
from secguard.scans.readers._packages import distribution, purl_or
from secguard.scans.readers._values import LeftOut, Version, version_text
from secguard.scans.report import ReportedComponent, ScanReport, Subject


class _License(Struct, gc=False):
    value: str | None = None
    expression: str | None = field(default=None, name="spdxExpression")


class _Location(Struct, gc=False):
    path: str | None = None
    layer: str | None = field(default=None, name="layerID")


class _Artifact(Struct, gc=False):
    name: str | None = None
    version: Version = None
    type: str | None = None
    purl: str | None = None
    locations: list[_Location | str] | None = None
    licenses: list[_License | str] | None = None


class _Image(Struct, gc=False):
    input: str | None = field(default=None, name="userInput")
    image_id: str | None = field(default=None, name="imageID")
    manifest: str | None = field(default=None, name="manifestDigest")
    tags: list[str] | None = None
    repository_digests: list[str] | None = field(default=None, name="repoDigests")
    architecture: str | None = None
    os: str | None = None


class _Source(Struct, gc=False):
    type: str | None = None
    name: str | None = None
    target: _Image | str | None = None
    metadata: _Image | str | None = None


class _Distro(Struct, gc=False):
    id: str | None = None
    name: str | None = None
    version: Version = None
    version_id: Version = field(default=None, name="versionID")


class _Tool(Struct, gc=False):
    name: str | None = None
    version: str | None = None


class _Schema(Struct, gc=False):
    version: str | None = None


class _Document(Struct, gc=False):
    artifacts: list[_Artifact] | None = None
    source: _Source | None = None
    distro: _Distro | None = None
    descriptor: _Tool | None = None
    schema: _Schema | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` with an image's components; ``None`` where the document is not Syft's.

    Raises ``Invalid`` with the JSON path of a broken part, and past the bound.
    """
    if not document.has("artifacts", "source", "descriptor"):
        return None
    syft = document.decode(_Document)
    left_out = LeftOut()
    subject = _subject(syft.source or _Source(), syft.distro or _Distro())
    components = _components(syft.artifacts or [], subject.os_name, left_out)
    return ScanReport(
        format="syft",
        format_version=(syft.schema.version or "") if syft.schema else "",
        scanner="syft",
        scanner_version=(syft.descriptor.version or "") if syft.descriptor else "",
        subject=subject,
        components=components,
        inventory=bool(components),
        warnings=left_out.warnings(),
    )


def _subject(source: _Source, distro: _Distro) -> Subject:
    os_name = distribution(distro.id or "") or distribution(distro.name or "") or (distro.id or "").lower()
    os_version = version_text(distro.version_id) or version_text(distro.version)
    image = source.metadata if isinstance(source.metadata, _Image) else source.target
    if source.type != "image" or not isinstance(image, _Image):
        kind = "filesystem" if source.type in ("directory", "file") else source.type or "image"
        return Subject(kind=kind, reference=source.name or "", os_name=os_name, os_version=os_version)
    listed = tuple(image.repository_digests or ())
    # From a local daemon, Syft computes a manifest of its own: that digest names nothing in any registry.
    is_confirmed = any(d.endswith(f"@{image.manifest}") for d in listed)
    return Subject(
        reference=image.input or next(iter(image.tags or ()), ""),
        digest=(image.manifest or "") if is_confirmed else "",
        image_id=image.image_id or "",
        repository_digests=listed,
        os_name=os_name,
        os_version=os_version,
        architecture=image.architecture or "",
        platform_os=image.os or "",
    )


def _components(artifacts: list[_Artifact], os_name: str, left_out: LeftOut) -> list[ReportedComponent]:
    """Every package version once."""
    found: dict[str, ReportedComponent] = {}
    for a in artifacts:
        if not a.name:
            left_out["packages without a name were left out"] += 1
            continue
        version = version_text(a.version)
        purl = purl_or(a.purl, a.type or "", a.name, version, os_name)
        # Before schema 1.1 the namespace stood where the type belongs: pkg:alpine/…
        if purl.startswith(("pkg:alpine/", "pkg:debian/", "pkg:ubuntu/", "pkg:rpmdb/")):
            purl = purl_or(None, a.type or "", a.name, version, os_name)
        places = [p for p in a.locations or () if isinstance(p, _Location)]
        found.setdefault(
            purl,
            ReportedComponent(
                purl=purl,
                name=a.name,
                version=version,
                licenses=tuple(t for x in a.licenses or () if (t := _license(x))),
                layer=next((p.layer for p in places if p.layer), ""),
                paths=tuple(p.path for p in places[:1] if p.path),
            ),
        )
        require_listed(len(found))
    return list(found.values())


def _license(license_: _License | str) -> str:
    return license_ if isinstance(license_, str) else license_.expression or license_.value or ""
