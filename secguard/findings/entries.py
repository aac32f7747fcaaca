"""A report's entries by identity: what one scanner says of one image, without the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from secguard.errors import Invalid
from secguard.findings.changes import Identity, Said
from secguard.findings.identity import GENERIC, FindingKind, canonical_purl, make_purl, package_of, risk_key
from secguard.images.purl import coordinates

MAX_PURL = 700
MAX_FIXES = 20


class PackageWords(Protocol):
    """The part of a reported vulnerability or component that names a package version."""

    @property
    def purl(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


class Entry(Struct, frozen=True, gc=False):
    """One finding to be: its identity, what the scanner says, and the attributes of its risk."""

    kind: FindingKind
    risk_key: str
    said: Said
    purl: str = ""
    package: str = ""
    vulnerability: str = ""
    rule: str = ""
    target: str = ""
    title: str = ""
    description: str = ""
    remediation: str = ""
    path: str = ""
    layer: str = ""

    @property
    def identity(self) -> Identity:
        return self.risk_key, self.purl


Inventory = Callable[[], Mapping[tuple[str, str], str]]
"""(name, version) to the one purl in the image that has them. Asked for only where a report is that vague."""


def component_purl(words: PackageWords, inventory: Inventory) -> str:
    """The canonical purl of a reported package.

    A tool that told no more than name and version means the one package of the image's inventory with that name and
    version, where there is exactly one.
    """
    try:
        purl = canonical_purl(words.purl)
    except Invalid:
        purl = make_purl(GENERIC, words.name or "unknown", words.version)
    if len(purl) > MAX_PURL:
        raise Invalid(f"A package URL has {len(purl):,} characters; {MAX_PURL} are allowed: {purl[:80]}…", where="purl")
    if purl.startswith(f"pkg:{GENERIC}/"):
        return inventory().get((words.name, words.version), purl)
    return purl


def worse(a: Entry, b: Entry) -> Entry:
    """Of two entries of one identity in one report, the one that counts: not ignored before ignored, then the worse."""
    return max(a, b, key=lambda e: (not e.said.suppressed, e.said.severity, len(e.said.fixed_versions)))


def by_identity(entries: Iterator[Entry]) -> dict[Identity, Entry]:
    found: dict[Identity, Entry] = {}
    for entry in entries:
        known = found.get(entry.identity)
        found[entry.identity] = entry if known is None else worse(known, entry)
    return found


def vulnerability_entry(*, name: str, purl: str, said: Said, path: str = "", layer: str = "", title: str = "") -> Entry:
    """``name`` is the canonical id."""
    package = package_of(purl)
    key = risk_key(FindingKind.VULNERABILITY, name, package)
    return Entry(
        FindingKind.VULNERABILITY, key, said, purl, package, vulnerability=name, path=path, layer=layer, title=title
    )


def adoptions(entries: Mapping[Identity, Entry], standing: Iterable[tuple[Identity, str]]) -> dict[Identity, Identity]:
    """Findings that stand under no more than a name and a version, of which a report now tells the precise package.

    ``standing``: identities with their flaws' canonical ids. Returns old identity to new one, where exactly one new
    identity has the same flaw, package name and version.
    """
    vague = {
        (flaw, c.name, c.version): identity
        for identity, flaw in standing
        if (c := coordinates(identity[1])).type == GENERIC
    }
    if not vague:
        return {}
    found: dict[Identity, list[Identity]] = {}
    for identity, e in entries.items():
        c = coordinates(e.purl)
        old = vague.get((e.vulnerability, c.name, c.version)) if e.purl and c.type != GENERIC else None
        if old is not None and old not in entries:
            found.setdefault(old, []).append(identity)
    return {old: new[0] for old, new in found.items() if len(new) == 1}
