"""CycloneDX 1.4 to 1.6 with ``vulnerabilities[].analysis``: alone, or within a bill of materials. Pure.

A vulnerability without analysis states nothing and is counted. ``affects[].ref`` names a component of the same
document, or by BOM-Link one of another, whose reference is often its purl.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from secguard.decisions.vex.writers.cyclonedx import JUSTIFICATION
from secguard.decisions.vexin.document import (
    MAX_NAME,
    MAX_STATEMENTS,
    MAX_TEXT,
    Document,
    Product,
    Statement,
    Status,
    at_version,
    settled,
    unfit,
)
from secguard.decisions.vexin.openvex import digest
from secguard.images.strictjson import Node

VERSIONS: Final = ("1.4", "1.5", "1.6")
MAX_COMPONENTS: Final = 100_000
_STATES: Final = {
    "resolved": Status.FIXED,
    "resolved_with_pedigree": Status.FIXED,
    "exploitable": Status.AFFECTED,
    "in_triage": Status.UNDER_INVESTIGATION,
    "false_positive": Status.NOT_AFFECTED,
    "not_affected": Status.NOT_AFFECTED,
}


def is_cyclonedx(members: dict[str, Any]) -> bool:
    return members.get("bomFormat") == "CycloneDX"


def read(root: Node) -> Document:
    """The document. Raises ``Invalid`` with the member at fault."""
    version = root.text("specVersion", most=20)
    if version not in VERSIONS:
        raise unfit(
            root.what, f"it is CycloneDX {version[:20]!r}; read are {', '.join(VERSIONS)}", "vex-version", "specVersion"
        )
    metadata = root.node("metadata")
    flaws = root.nodes("vulnerabilities", most=MAX_STATEMENTS)
    bare = [flaw for flaw in flaws if flaw.node("analysis") is None]
    known = _Components(root, metadata)
    said = [one for flaw in flaws if flaw.node("analysis") is not None for one in _statements(flaw, known)]
    if not said:
        raise unfit(root.what, "no vulnerability in it has an analysis, so it states nothing", "vex-empty")
    return Document(
        format="cyclonedx",
        author=_author(metadata),
        id=root.text("serialNumber", most=MAX_NAME),
        version=str(root.get("version", int, 1)),
        at=metadata.instant("timestamp") if metadata else None,
        statements=settled(said, root.what),
        left_out=(f"vulnerabilities without an analysis: {len(bare)}",) if bare else (),
    )


def _author(metadata: Node | None) -> str:
    if metadata is None:
        return ""
    for holder in ("supplier", "manufacturer", "manufacture"):
        if (found := metadata.node(holder)) and (name := found.text("name", most=300).strip()):
            return name
    names = (author.text("name", most=300).strip() for author in metadata.nodes("authors", most=100))
    return next((name for name in names if name), "")


class _Components:
    """The document's components by their references; the subject itself among them."""

    def __init__(self, root: Node, metadata: Node | None) -> None:
        self.subject = metadata.node("component") if metadata else None
        self.by_ref: dict[str, Node] = {}
        self.images: dict[str, Node] = {}
        """By the references of what lies inside: the innermost image around it."""
        rest: list[tuple[Node, Node | None]] = [(c, None) for c in root.nodes("components", most=MAX_COMPONENTS)]
        rest += [(self.subject, None)] if self.subject else []
        while rest:
            component, image = rest.pop()
            if ref := component.text("bom-ref", most=MAX_NAME):
                before = self.by_ref.get(ref)
                if before is not None and _product(before) != _product(component):
                    raise component.wrong("bom-ref", f"is {ref[:80]!r}, which another component has already")
                self.by_ref[ref] = component
                if image is not None:
                    self.images[ref] = image
            around = component if component.text("type", most=40) == "container" else image
            rest += [(inner, around) for inner in component.nodes("components", most=MAX_COMPONENTS)]
            if len(self.by_ref) > MAX_COMPONENTS:
                raise root.wrong("components", f"has more than {MAX_COMPONENTS:,} entries")

    def product(self, ref: str, versions: tuple[str, ...]) -> Product:
        """What a reference means. A part of an image, or of a subject, that is known by purl or digest is meant inside
        it alone."""
        component = self.by_ref.get(ref)
        if component is None:
            target = unquote(ref.partition("#")[2]) if ref.startswith("urn:cdx:") else ref
            purls = (target,) if target.startswith("pkg:") else ()
            return Product(purls=purls, name="" if purls else ref, versions=versions)
        own = _product(component)
        outer = self.images.get(ref) or self.subject
        if outer is None or component is self.subject:
            return _with_versions(own, versions)
        whole = _product(outer)
        if not whole.purls and not whole.digests:
            return _with_versions(own, versions)
        # A list of versions is about the part; no purl tells that of a part, so each version becomes one.
        parts = own.purls or (own.name or "a part without a name",)
        return Product(
            purls=whole.purls,
            digests=whole.digests,
            name=whole.name,
            subcomponents=tuple(dict.fromkeys(at_version(p, v) for p in parts for v in versions)) or parts,
        )


def _product(component: Node) -> Product:
    purl = component.text("purl", most=MAX_NAME).strip()
    hashes = component.nodes("hashes", most=50) if component.text("type", most=40) == "container" else []
    digests = {digest(h.text("alg", most=40), h.text("content", most=200)) for h in hashes} - {""}
    name, version = component.text("name", most=MAX_NAME), component.text("version", most=300)
    return Product(
        purls=(purl,) if purl.startswith("pkg:") else (),
        digests=tuple(sorted(digests)),
        name=f"{name} {version}".strip(),
    )


def _with_versions(product: Product, versions: tuple[str, ...]) -> Product:
    return Product(purls=product.purls, digests=product.digests, name=product.name, versions=versions)


def _statements(flaw: Node, known: _Components) -> Iterator[Statement]:
    analysis = flaw.node("analysis")
    name = flaw.text("id", most=200).strip()
    if analysis is None or not name:
        raise flaw.wrong("id", "is missing; a statement names its vulnerability")
    state = analysis.text("state", most=100)
    status = _STATES.get(state)
    if status is None:
        raise analysis.wrong("state", f"is {state[:40]!r}; expected one of {', '.join(_STATES)}")
    others = {r.text("id", most=200).strip() for r in flaw.nodes("references", most=1_000)} - {"", name}
    detail = analysis.text("detail").strip()[:MAX_TEXT]
    responses = ", ".join(analysis.texts("response", most=20))
    # What SecGuard wrote itself names the justification in the words that CycloneDX has not.
    properties = flaw.nodes("properties", most=1_000)
    ours = next((p.text("value", most=100) for p in properties if p.text("name", most=300) == JUSTIFICATION), "")
    for affected in flaw.nodes("affects", most=MAX_STATEMENTS):
        for of, versions in _by_status(affected, status):
            yield Statement(
                vulnerability=name,
                aliases=tuple(sorted(others)),
                product=known.product(affected.text("ref", most=MAX_NAME), versions),
                status=of,
                justification=ours or analysis.text("justification", most=100),
                impact=detail,
                action=(responses or flaw.text("recommendation"))[:MAX_TEXT],
                at=analysis.instant("lastUpdated") or analysis.instant("firstIssued") or flaw.instant("updated"),
            )


def _by_status(affected: Node, status: Status) -> Iterator[tuple[Status, tuple[str, ...]]]:
    """(status, versions), once where no versions are told.

    "unaffected" beside another state than not_affected says which versions the flaw is not in at all: no analysis
    was made of them, so they are told as under investigation rather than proposed as not affected.
    """
    found: dict[Status, list[str]] = {}
    entries = affected.nodes("versions", most=MAX_STATEMENTS)
    for entry in entries:
        word = entry.text("status", most=20) or "affected"
        if word not in ("affected", "unaffected", "unknown"):
            raise entry.wrong("status", f"is {word!r}; expected affected, unaffected or unknown")
        is_own = word == "affected" or (word == "unaffected" and status is Status.NOT_AFFECTED)
        of = status if is_own else Status.UNDER_INVESTIGATION
        found.setdefault(of, []).append(entry.text("version", most=300) or entry.text("range", most=MAX_NAME))
    if not entries:
        yield status, ()
    for of, versions in found.items():
        yield of, tuple(dict.fromkeys(v for v in versions if v))
