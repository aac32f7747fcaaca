"""Alpine's secdb, and Wolfi's and Chainguard's in the same form (secdb.alpinelinux.org): what fixes what. Pure.

A package's ``secfixes`` say in which of its versions a flaw was mended; version ``0`` says that it never was affected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from secguard import packagenames
from secguard.advisories.entry import Affected, Entry, Event, Malformed, flaws_of, tidy_name
from secguard.advisories.naming import is_cve


def is_secdb(document: Any) -> bool:
    return isinstance(document, Mapping) and "packages" in document and "reponame" in document


def read(document: Mapping[str, Any]) -> Iterator[Entry | str]:
    """One entry for each flaw in this repository of this release, or a text saying what could not be taken."""
    ecosystem = _ecosystem(document)
    repository = str(document["reponame"])[:40]
    listed: dict[str, dict[str, list[tuple[Event, ...]]]] = {}
    for package in document.get("packages") or ():
        fault = _package(package, listed)
        if fault:
            yield fault
    for flaw, packages in listed.items():
        yield Entry(
            id=f"{flaw} in {ecosystem} {repository}",
            flaws=flaws_of(flaw, ()),
            affected=tuple(
                Affected(ecosystem, packagenames.package(ecosystem, name), tuple(dict.fromkeys(ranges)))
                for name, ranges in sorted(packages.items())
            ),
        )


def _ecosystem(document: Mapping[str, Any]) -> str:
    release = document.get("distroversion")
    if isinstance(release, str) and (release.startswith("v") or release == "edge"):
        return packagenames.ecosystem(f"Alpine:{release}")
    place = f"{document.get('urlprefix')} {document.get('reponame')}".lower()
    for name in ("Wolfi", "Chainguard"):
        if name.lower() in place:
            return name
    raise Malformed("tells neither distroversion (Alpine) nor Wolfi's or Chainguard's address under urlprefix")


def _package(package: Any, listed: dict[str, dict[str, list[tuple[Event, ...]]]]) -> str:
    inner = package.get("pkg") if isinstance(package, Mapping) else None
    name = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(name, str) or not name:
        return "a package without a name"
    fixes = inner.get("secfixes") or {}
    if not isinstance(fixes, Mapping):
        return f"{name[:60]}: secfixes is no object"
    for version, flaws in fixes.items():
        for flaw in _flaws(flaws):
            events: tuple[Event, ...] = (("introduced", "0"), ("fixed", str(version).strip()))
            listed.setdefault(flaw, {}).setdefault(name, []).append(events)
    return ""


def _flaws(flaws: Any) -> Iterator[str]:
    """``CVE-2018-7540 XSA-252``: the CVE; what else stands beside it may be about several."""
    for text in flaws if isinstance(flaws, list) else ():
        names = [n for n in map(tidy_name, str(text).split()) if n]
        cves = [n for n in names if is_cve(n)]
        yield from cves or names[:1]
