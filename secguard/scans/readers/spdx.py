"""SPDX 2.1 to 2.3 JSON: a bill of materials; GitHub's export too, which puts it under ``sbom``.

Source: SPDX specification 2.3, sections 6 (document), 7 (package) and 11 (relationship), ``schemas/spdx-schema.json``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.scans.document import Document, decode
from secguard.scans.readers._bill import digest_of, image_subject, is_image_purl, split_tool, tagged
from secguard.scans.readers._bounds import require_few, require_listed
from secguard.scans.readers._packages import distribution, package_url
from secguard.scans.readers._values import LeftOut, Version, moment, version_text
from secguard.scans.report import ReportedComponent, ScanReport, Subject

_NO_PACKAGES = frozenset({"CONTAINER", "OPERATING-SYSTEM", "OPERATING_SYSTEM", "FILE", "DEVICE", "ARCHIVE", "SOURCE"})
_UNSAID = frozenset({"", "NOASSERTION", "NONE"})
_ROOT_IMAGES = ("SPDXRef-ContainerImage", "SPDXRef-DocumentRoot-Image")
"""How Trivy and Syft begin the id of the package that stands for the image."""

_SOURCE = re.compile(
    r".*/(?:syft|trivy|trivy\.dev)/(?P<kind>image|container|container_image|dir|file|filesystem|repository)/"
)
"""How they say in the document's namespace what they looked at, which some versions say nowhere else."""

_IMAGE_ID = re.compile(r"ImageID: (?P<digest>sha256:[0-9a-f]{64})")


class _Ref(Struct, gc=False):
    type: str | None = field(default=None, name="referenceType")
    locator: str | None = field(default=None, name="referenceLocator")


class _Note(Struct, gc=False):
    comment: str | None = None


class _Package(Struct, gc=False):
    id: str | None = field(default=None, name="SPDXID")
    name: str | None = None
    version: Version = field(default=None, name="versionInfo")
    purpose: str | None = field(default=None, name="primaryPackagePurpose")
    refs: list[_Ref] | None = field(default=None, name="externalRefs")
    concluded: str | None = field(default=None, name="licenseConcluded")
    declared: str | None = field(default=None, name="licenseDeclared")
    attributions: list[str] | None = field(default=None, name="attributionTexts")
    annotations: list[_Note] | None = None

    @property
    def purl(self) -> str:
        locators = (r.locator or "" for r in self.refs or () if (r.type or "").rpartition("/")[2].lower() == "purl")
        return next((x for x in locators if x.startswith("pkg:")), "")


class _Relationship(Struct, gc=False):
    element: str | None = field(default=None, name="spdxElementId")
    type: str | None = field(default=None, name="relationshipType")
    related: str | None = field(default=None, name="relatedSpdxElement")


class _Creation(Struct, gc=False):
    creators: list[str] | None = None
    created: str | None = None


class _Document(Struct, gc=False):
    version: str | None = field(default=None, name="spdxVersion")
    name: str | None = None
    namespace: str | None = field(default=None, name="documentNamespace")
    creation: _Creation | None = field(default=None, name="creationInfo")
    describes: list[str] | None = field(default=None, name="documentDescribes")
    packages: list[_Package] | None = None
    relationships: list[_Relationship] | None = None


def read(document: Document) -> ScanReport | None:
    """An SPDX 2 document; ``None`` for anything else.

    Raises ``Invalid`` for SPDX 3, naming what to post instead, and where a field is of another type than in SPDX 2.
    """
    if _is_spdx3(document):
        raise Invalid(
            "The report is SPDX 3 (JSON-LD), which is not read. Let the tool write SPDX 2.3 JSON or CycloneDX JSON "
            "instead; Syft and Trivy call them spdx-json and cyclonedx.",
            code="unknown-version",
            where="$.@context" if document.has("@context") else "$.spdxVersion",
        )
    if document.has("spdxVersion"):
        require_few(document, components=b'"versionInfo"')
        return _report(document.decode(_Document)) if document.text("spdxVersion").startswith("SPDX-2.") else None
    if document.has("sbom") and len(document.keys or ()) == 1:
        require_few(document, components=b'"versionInfo"')
        wrapped = decode((document.keys or {})["sbom"], _Document, "$.sbom")
        return _report(wrapped) if (wrapped.version or "").startswith("SPDX-2.") else None
    return None


def _is_spdx3(document: Document) -> bool:
    if document.text("spdxVersion").startswith("SPDX-3"):
        return True
    return document.has("@context") and b"spdx.org/rdf/3" in bytes((document.keys or {})["@context"])[:4096]


def _report(spdx: _Document) -> ScanReport:
    packages = spdx.packages or []
    creation = spdx.creation or _Creation()
    scanner, version = _tool(creation.creators or [])
    root = _root(spdx)
    subject = _subject(spdx, root)
    left_out = LeftOut()
    components = _components(packages, root, subject.os_name, left_out)
    return ScanReport(
        format="spdx",
        format_version=(spdx.version or "").removeprefix("SPDX-"),
        scanner=scanner or "spdx",
        scanner_version=version,
        subject=subject,
        components=components,
        inventory=bool(components),
        generated_at=moment(creation.created),
        warnings=left_out.warnings(),
    )


def _tool(creators: list[str]) -> tuple[str, str]:
    for creator in creators:
        kind, _, text = creator.partition(":")
        if kind.strip().lower() == "tool" and text.strip():
            return split_tool(text)
    return "", ""


def _root(spdx: _Document) -> _Package | None:
    """The one package that the document describes; ``None`` where it describes several or something else."""
    packages = spdx.packages or []
    described = dict.fromkeys((*(spdx.describes or ()), *_described(spdx.relationships or [])))
    roots = [p for p in packages if p.id in described] or [p for p in packages if (p.id or "").startswith(_ROOT_IMAGES)]
    return roots[0] if len(roots) == 1 else None


def _described(relationships: list[_Relationship]) -> Iterator[str]:
    for r in relationships:
        # Old versions of Trivy write DESCRIBE.
        if r.type in ("DESCRIBES", "DESCRIBE") and (r.element or "").endswith("SPDXRef-DOCUMENT"):
            yield r.related or ""
        elif r.type == "DESCRIBED_BY" and (r.related or "").endswith("SPDXRef-DOCUMENT"):
            yield r.element or ""


def _subject(spdx: _Document, root: _Package | None) -> Subject:
    os = next((p for p in spdx.packages or () if _is_os(p)), _Package())
    os_name = distribution(os.name or "") or (os.name or "").lower()
    if root is None:
        subject = _named(spdx)
    elif root.purpose == "CONTAINER" or is_image_purl(root.purl) or (root.id or "").startswith(_ROOT_IMAGES):
        subject = _image(root)
    else:
        subject = Subject(reference=root.name or "", kind=(root.purpose or "application").lower())
    return msgspec.structs.replace(subject, os_name=os_name, os_version=version_text(os.version))


def _is_os(package: _Package) -> bool:
    return (package.purpose or "").startswith("OPERATING") or (package.id or "").startswith("SPDXRef-OperatingSystem")


def _named(spdx: _Document) -> Subject:
    """By the document's own name, where no package stands for what it is about."""
    source = _SOURCE.match(spdx.namespace or "")
    name = spdx.name or ""
    if source is None:
        return Subject()
    if not source["kind"].startswith(("image", "container")):
        return Subject(reference=name, kind="repository" if source["kind"] == "repository" else "filesystem")
    # Old versions of Syft write '-' for the ':' before a tag; what cannot be told from a name is not guessed.
    is_whole = "@" in name or ":" in name.rpartition("/")[2]
    return Subject(reference=name if is_whole else "")


def _image(root: _Package) -> Subject:
    """Of an image. A digest given as its version is not taken: Syft computes it anew for images of a local daemon."""
    name = tagged(root.name or "", version_text(root.version))
    subject = image_subject(root.purl, name) if root.purl else Subject(reference=name)
    said = [*(root.attributions or ()), *(n.comment or "" for n in root.annotations or ())]
    return msgspec.structs.replace(
        subject,
        image_id=next((m["digest"] for t in said if (m := _IMAGE_ID.search(t))), ""),
        repository_digests=tuple(r for t in said if (r := t.partition("RepoDigest: ")[2]) and digest_of(r)),
    )


def _components(
    packages: list[_Package], root: _Package | None, os_name: str, left_out: LeftOut
) -> list[ReportedComponent]:
    """Every package version once. What the document is about is no part of it, unless it is itself a package."""
    found: dict[str, ReportedComponent] = {}
    for p in packages:
        purl, version = p.purl, version_text(p.version)
        is_package = bool(purl) or (p is not root and p.purpose not in _NO_PACKAGES and not _is_os(p))
        if not p.name or not is_package or is_image_purl(purl):
            continue
        if not purl and version in _UNSAID:
            left_out["packages without a package URL or a version were left out"] += 1
            continue
        purl = purl or package_url("", p.name, version, os_name)
        found.setdefault(purl, _component(p, purl, p.name, version))
        require_listed(len(found))
    return list(found.values())


def _component(package: _Package, purl: str, name: str, version: str) -> ReportedComponent:
    """Trivy and SecGuard tell layer and path by attribution texts: ``LayerDigest: sha256:…``."""
    said = dict(text.split(": ", 1) for text in package.attributions or () if ": " in text)
    path = said.get("Path", "")
    return ReportedComponent(
        purl=purl,
        name=name,
        version=version,
        licenses=_licenses(package),
        layer=said.get("LayerDigest") or said.get("LayerDiffID") or "",
        paths=(path,) if path else (),
    )


def _licenses(package: _Package) -> tuple[str, ...]:
    for said in (package.concluded, package.declared):
        if said and said not in _UNSAID:
            return (said,)
    return ()
