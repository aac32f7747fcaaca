"""CycloneDX JSON 1.2 to 1.7: a bill of materials, with vulnerabilities or without.

Source: CycloneDX/specification, ``schema/bom-1.*.schema.json``; before 1.4 vulnerabilities came as an extension
(``schema/ext/vulnerability-1.0``), read as the tools of that time wrote it in JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from operator import itemgetter
from urllib.parse import unquote

import msgspec

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.scans.document import Document
from secguard.scans.readers._bill import digest_of, image_subject, is_image_purl, tagged, tool_word
from secguard.scans.readers._bounds import require_bounded, require_few, require_listed
from secguard.scans.readers._cyclonedx_shapes import (
    Advisory,
    Affected,
    Analysis,
    Bom,
    Component,
    License,
    LicenseChoice,
    Metadata,
    Rating,
    Source,
    Tool,
    Tools,
    Vulnerability,
)
from secguard.scans.readers._packages import distribution, purl_or
from secguard.scans.readers._values import (
    LeftOut,
    fix_state,
    moment,
    references,
    version_text,
    versions,
)
from secguard.scans.report import ReportedComponent, ReportedVulnerability, ScanReport, Subject

_NO_PACKAGES = frozenset(
    {
        *("container", "cryptographic-asset", "data", "device", "device-driver"),
        *("file", "machine-learning-model", "operating-system", "platform"),
    }
)
"""Component types that are no package (schema 1.6, ``component.type``)."""

_SCANNERS = ("trivy", "grype", "owasp-depscan", "dependency-track", "osv-scanner", "docker-scout", "snyk", "xeol")
_DECIDED = frozenset({"not_affected", "false_positive", "resolved", "resolved_with_pedigree"})
_METHODS = {"CVSSv31": 4, "CVSSv3": 3, "CVSSv4": 2, "CVSSv2": 1}
_ARCHIVE = re.compile(r".*\.(?:tar|tgz|tar\.gz|tar\.xz)")
_UPGRADE = re.compile(r"\bto version (?P<versions>\S+(?:, \S+)*)$")


def read(document: Document) -> ScanReport | None:
    """A CycloneDX document; ``None`` for anything else.

    Raises ``Invalid`` for another version than 1.x, for a document that is VEX alone, and where a field is of odd type.
    """
    if not _is_cyclonedx(document):
        return None
    require_few(document, components=b'"purl"')
    bom = document.decode(Bom)
    if not str(bom.version or "").startswith("1."):
        raise Invalid(
            f"The report says that it is CycloneDX {bom.version!r}; versions 1.2 to 1.7 are read.",
            code="unknown-version",
            where="$.specVersion",
        )
    _refuse_vex(bom)
    return _report(bom)


def _is_cyclonedx(document: Document) -> bool:
    if document.has("bomFormat"):
        return document.text("bomFormat").lower() == "cyclonedx"
    return document.has("specVersion") and "cyclonedx" in document.text("$schema").lower()


def _refuse_vex(bom: Bom) -> None:
    """A document without components, whose every vulnerability is analysed, tells decisions and reports nothing."""
    if not bom.components and bom.vulnerabilities and all(v.analysis for v in bom.vulnerabilities):
        raise Invalid(
            "This is a CycloneDX VEX document: it says what was decided about vulnerabilities and lists no components. "
            "Post the report of a scanner, or a bill of materials that lists the image's components.",
            code="vex-document",
            where="$.vulnerabilities",
        )


def _report(bom: Bom) -> ScanReport:
    metadata = bom.metadata or Metadata()
    every = list(_flat(bom.components))
    subject = _subject(metadata.component, every)
    left_out = LeftOut()
    flaws = list(_vulnerabilities(bom, every, subject, left_out))
    tool = _tool(metadata.tools, has_vulnerabilities=bool(flaws))
    packages = _packages(every, subject.os_name, left_out)
    return ScanReport(
        format="cyclonedx",
        format_version=str(bom.version),
        scanner=tool_word(tool.name or "") or "cyclonedx",
        scanner_version=version_text(tool.version),
        subject=subject,
        covers=frozenset({FindingKind.VULNERABILITY}) if flaws or _has_looked(bom, tool) else frozenset(),
        vulnerabilities=flaws,
        components=packages,
        inventory=bool(packages),
        generated_at=moment(metadata.timestamp),
        warnings=left_out.warnings(),
    )


def _has_looked(bom: Bom, tool: Tool) -> bool:
    """Whether no vulnerabilities means that none were found.

    Grype always looks. Trivy writes an empty array into every bill of materials, and by default does not look.
    """
    name = tool_word(tool.name or "")
    return name == "grype" or (bom.vulnerabilities is not None and name != "trivy")


def _flat(components: list[Component] | None) -> Iterator[Component]:
    """Every component, outer before inner, however deep."""
    waiting = list(reversed(components or ()))
    while waiting:
        component = waiting.pop()
        yield component
        waiting.extend(reversed(component.components or ()))


def _tool(tools: list[Tool] | Tools | None, *, has_vulnerabilities: bool) -> Tool:
    """Who found the vulnerabilities, of several tools; else who is named first."""
    named = tools if isinstance(tools, list) else [*(tools.components or ()), *(tools.services or ())] if tools else []
    named = [t for t in named if t.name]
    scanners = [t for t in named if tool_word(t.name or "") in _SCANNERS] if has_vulnerabilities else []
    return next(iter(scanners or named), Tool())


def _subject(component: Component | None, every: list[Component]) -> Subject:
    os = next((c for c in every if c.type == "operating-system"), Component())
    os_name = distribution(os.name or "") or (os.name or "").lower()
    if component is None:
        return Subject(os_name=os_name, os_version=version_text(os.version))
    purl = component.purl or ""
    if component.type == "container" or is_image_purl(purl):
        subject = _image(component, purl)
    else:
        kind = "filesystem" if component.type == "file" else component.type or "application"
        subject = Subject(reference=component.name or "", kind=kind)
    return msgspec.structs.replace(subject, os_name=os_name, os_version=version_text(os.version))


def _image(component: Component, purl: str) -> Subject:
    """Of an image. A digest given as its version is not taken: Syft computes it anew for images of a local daemon."""
    said = [(p.name, str(p.value)) for p in component.properties or () if p.value]
    name = tagged(component.name or "", version_text(component.version))
    if not name or _ARCHIVE.fullmatch(name):
        name = next((v for k, v in said if k == "aquasecurity:trivy:RepoTag"), "")
    subject = image_subject(purl, name) if is_image_purl(purl) else Subject(reference=name)
    return msgspec.structs.replace(
        subject,
        image_id=next((digest_of(v) for k, v in said if k == "aquasecurity:trivy:ImageID"), ""),
        repository_digests=tuple(v for k, v in said if k == "aquasecurity:trivy:RepoDigest"),
    )


def _packages(every: Iterable[Component], os_name: str, left_out: LeftOut) -> list[ReportedComponent]:
    found: dict[str, ReportedComponent] = {}
    for component in every:
        if component.type in _NO_PACKAGES or not component.name:
            continue
        if not component.purl and not component.version:
            left_out["components without a package URL or a version were left out"] += 1
            continue
        read = _package(component, os_name)
        found.setdefault(read.purl, read)
        require_listed(len(found))
    return list(found.values())


def _package(component: Component, os_name: str) -> ReportedComponent:
    said = {p.name: str(p.value) for p in component.properties or () if p.name and p.value}
    paths = ("secguard:path", "aquasecurity:trivy:FilePath", "syft:location:0:path", "SrcFile")
    path = next((said[k] for k in paths if k in said), "")
    trivy = "aquasecurity:trivy:"
    layers = ("secguard:layer", f"{trivy}LayerDigest", f"{trivy}LayerDiffID", "syft:location:0:layerID")
    return ReportedComponent(
        purl=_purl(component, os_name, said.get("syft:package:type") or said.get("aquasecurity:trivy:PkgType") or ""),
        name=_full_name(component),
        version=version_text(component.version),
        licenses=tuple(t for c in component.licenses or () if (t := _license(c))),
        layer=next((said[k] for k in layers if k in said), ""),
        paths=(path,) if path else (),
    )


def _purl(component: Component, os_name: str, kind: str = "") -> str:
    return purl_or(component.purl, kind, _full_name(component), version_text(component.version), os_name)


def _full_name(component: Component) -> str:
    if not component.group:
        return component.name or ""
    separator = ":" if (component.purl or "").startswith("pkg:maven/") else "/"
    return f"{component.group}{separator}{component.name or ''}"


def _license(choice: LicenseChoice) -> str:
    if isinstance(choice.license, License):
        return choice.license.id or choice.license.name or ""
    return choice.expression or choice.license or ""


def _vulnerabilities(
    bom: Bom, every: list[Component], subject: Subject, left_out: LeftOut
) -> Iterator[ReportedVulnerability]:
    """One for each vulnerability and affected component, the first of each."""
    known = {c.ref: c for c in every if c.ref}
    root = bom.metadata.component if bom.metadata else None
    if root is not None:
        known.update((c.ref, c) for c in _flat([root]) if c.ref and c.ref not in known)
    seen: set[tuple[str, str]] = set()
    for v, affected in _affected(bom, every):
        component = _resolve(affected, known)
        id_ = v.id or next((r.id for r in v.references or () if r.id), "")
        if not id_:
            left_out["vulnerabilities without an id were left out"] += 1
            continue
        if component is None:
            left_out["affected components are not in the document: shown against an unknown package"] += 1
            component = Component(name="unknown")
        purl = _purl(component, subject.os_name)
        if (id_, purl) not in seen:
            seen.add((id_, purl))
            require_bounded(len(seen))
            yield _vulnerability(v, id_, purl, component, affected)


def _affected(bom: Bom, every: list[Component]) -> Iterator[tuple[Vulnerability, Affected | Component]]:
    for v in bom.vulnerabilities or ():
        for affected in v.affects or (Affected(ref=v.ref),):
            yield v, affected
    for component in every:
        for v in component.vulnerabilities or ():
            yield v, component


def _resolve(affected: Affected | Component, known: dict[str, Component]) -> Component | None:
    """The component that a reference means: its bom-ref, a BOM-Link to it, or a package URL by itself."""
    if isinstance(affected, Component):
        return affected
    ref = affected.ref or ""
    found = known.get(ref) or known.get(unquote(ref.rpartition("#")[2]))
    if found is None and ref.startswith("pkg:"):
        name, _, version = ref.partition("?")[0].rpartition("/")[2].partition("@")
        return Component(ref=ref, purl=ref, name=unquote(name), version=unquote(version))
    return found


def _vulnerability(
    v: Vulnerability, id_: str, purl: str, component: Component, affected: Affected | Component
) -> ReportedVulnerability:
    rated = _rating(v)
    scored = _score(v, rated)
    fixed = _fixed(v, affected)
    source = _name(v.source)
    return ReportedVulnerability(
        id=id_,
        purl=purl,
        name=_full_name(component),
        version=version_text(component.version),
        aliases=tuple(dict.fromkeys(r.id for r in v.references or () if r.id and r.id != id_)),
        severity=rated.rated if rated else Severity.UNKNOWN,
        severity_source=(_name(rated.source) if rated else "") or source,
        cvss_score=scored.base if scored else None,
        cvss_vector=(scored.vector or "") if scored else "",
        fixed_versions=fixed,
        fix_state=fix_state(None, fixed),
        description=v.description or v.detail or "",
        references=references((_url(v.source),), (_url(a) for a in v.advisories or ())),
        published_at=moment(v.published),
        suppressed=_suppressed(v.analysis),
    )


def _name(source: Source | str | None) -> str:
    return ((source.name if isinstance(source, Source) else source) or "").lower()


def _url(source: Source | Advisory | str | None) -> str | None:
    return source if isinstance(source, str) or source is None else source.url


def _rating(v: Vulnerability) -> Rating | None:
    """The vulnerability's own source rates it, else NVD, else whoever rates it worst."""
    own = _name(v.source)
    rated = [
        ((name := _name(r.source)) == own != "", name == "nvd", severity, r)
        for r in v.ratings or ()
        if (severity := r.rated)
    ]
    return max(rated, key=itemgetter(0, 1, 2))[3] if rated else None


def _score(v: Vulnerability, rated: Rating | None) -> Rating | None:
    """The CVSS that goes with the chosen rating: by the same source where it gives one, version 3 before others."""
    source = _name(rated.source) if rated else ""
    scored = [
        (_name(r.source) == source, _METHODS.get(r.method or "", 0), base, r)
        for r in v.ratings or ()
        if (r.method in _METHODS or not r.method) and (base := r.base) is not None
    ]
    return max(scored, key=itemgetter(0, 1, 2))[3] if scored else None


def _fixed(v: Vulnerability, affected: Affected | Component) -> tuple[str, ...]:
    """Versions marked unaffected; else what the recommendation names in Trivy's words."""
    if isinstance(affected, Affected):
        marked = tuple(version_text(a.version) for a in affected.versions or () if a.status == "unaffected")
        if any(marked):
            return tuple(m for m in marked if m)
    found = _UPGRADE.search(v.recommendation or "")
    return versions(found["versions"].rstrip(".")) if found else ()


def _suppressed(analysis: Analysis | None) -> str:
    if analysis is None or analysis.state not in _DECIDED:
        return ""
    return " ".join(p for p in (analysis.state, analysis.justification, analysis.detail) if p)
