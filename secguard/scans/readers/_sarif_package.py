"""Which packages a SARIF result speaks of. SARIF has no word for a package, so every tool has its own way:

* ``properties.purls`` or ``purl`` of the rule: Docker Scout, Grype (since 0.74)
* a logical location that is a purl: OWASP Dependency-Check, Dependency-Track
* a sentence in the message: Grype (both wordings)
* ``Package: …`` lines in the message or the rule's help: Trivy, Grype
* the rule's id, tags and full description: Snyk
* ``properties.component`` and ``componentVersion``: Black Duck
"""

from __future__ import annotations

import re

from msgspec import Struct

from secguard.scans.readers._packages import package_url
from secguard.scans.readers._sarif_log import Result, Rule, message_text, text_of, texts_of
from secguard.scans.readers._snyk import snyk_purl

_LINE = re.compile(
    r"^\s*(Package|Installed Version|Version|Fixed Version|Fix Version|Type|Severity|Location|Data Namespace)"
    r"[ \t]*:[ \t]*(.*?)[ \t]*$",
    re.M,
)
_GRYPE = re.compile(r"vulnerability in (\S+) package: (\S+), version (\S+) was found in image (.+?) at: ")
_GRYPE_PATH = re.compile(r"^The path (.+?) reports (\S+) at version (\S+)\s.*vulnerable \((\S+)\) package", re.S)
_SNYK_PACKAGE = re.compile(r"^(?:\((?P<cves>[^)]*)\)\s*)?(?P<name>\S+)@(?P<version>\S+)$")
_NO_VERSION = frozenset({"", "not fixed", "none", "n/a", "unknown"})


class SarifPackage(Struct, frozen=True):
    """One affected package; ``purl`` as the tool gives it, or made of what it tells."""

    purl: str
    name: str = ""
    version: str = ""
    path: str = ""


class Labels(dict[str, str]):
    """The ``Name: value`` lines of a text; the first of each name."""

    @classmethod
    def of(cls, text: str) -> Labels:
        found = cls()
        for name, value in _LINE.findall(text):
            found.setdefault(name, value)
        return found

    def first(self, *names: str) -> str:
        return next((self[n] for n in names if self.get(n)), "")


def packages_of(result: Result, rule: Rule | None, own: Labels, rule_labels: Labels) -> list[SarifPackage]:
    """The packages one result speaks of; empty where it tells of none. ``own``: the labels of its message."""
    purls = _purls(result, rule)
    if purls:
        return [SarifPackage(purl=p) for p in purls]
    text = message_text(result.message, rule)
    package = _from_sentence(text) or _from_labels(own, rule_labels) or _from_rule(rule)
    package = package or _from_component(result)
    return [package] if package else []


def fixes_of(result: Result, rule: Rule | None, own: Labels, rule_labels: Labels) -> tuple[str, ...]:
    """The versions that fix it, as the tool lists them."""
    for bag in (result.properties, rule.properties if rule else None):
        if bag and text_of(bag.fixed_version):
            return split_versions(text_of(bag.fixed_version))
    names = ("Fixed Version", "Fix Version")
    return split_versions(own.first(*names) or rule_labels.first(*names))


def split_versions(text: str) -> tuple[str, ...]:
    """``"1.2.1, 2.1.3"`` as two versions; ``"not fixed"`` and its like as none."""
    versions = (v.strip() for v in text.replace("||", ",").split(","))
    return tuple(dict.fromkeys(v for v in versions if v.lower() not in _NO_VERSION))


def image_named(text: str) -> str:
    """The image that a Grype message says it looked at, or ``""``."""
    found = _GRYPE.search(text)
    return found.group(4) if found else ""


def _purls(result: Result, rule: Rule | None) -> tuple[str, ...]:
    found: list[str] = []
    for bag in (result.properties, rule.properties if rule else None):
        if bag:
            found += [*texts_of(bag.purls), *texts_of(bag.purl)]
    for location in result.locations or ():
        found += [name for logical in location.logical or () if (name := logical.full_name or "").startswith("pkg:")]
    return tuple(dict.fromkeys(p for p in found if p.startswith("pkg:")))


def _from_sentence(text: str) -> SarifPackage | None:
    if found := _GRYPE.search(text):
        type_, name, version, _ = found.groups()
        return SarifPackage(purl=package_url(type_, name, version), name=name, version=version)
    if found := _GRYPE_PATH.search(text):
        path, name, version, type_ = found.groups()
        return SarifPackage(purl=package_url(type_, name, version), name=name, version=version, path=path)
    return None


def _from_labels(own: Labels, of_rule: Labels) -> SarifPackage | None:
    labels = own if own.get("Package") else of_rule
    name = labels.get("Package", "")
    if not name:
        return None
    version = labels.first("Installed Version", "Version")
    # Grype's feed namespace is "debian:distro:debian:11"; its first word is the distribution.
    distribution = (
        labels.get("Data Namespace", "").partition(":")[0] if "distro" in labels.get("Data Namespace", "") else ""
    )
    purl = package_url(labels.get("Type", ""), name, version, distribution)
    return SarifPackage(purl=purl, name=name, version=version, path=labels.get("Location", ""))


def _from_rule(rule: Rule | None) -> SarifPackage | None:
    if rule is None or not (rule.id or "").startswith(("SNYK-", "npm:")):
        return None
    found = _SNYK_PACKAGE.match(message_text(rule.full).strip())
    if not found:
        return None
    tags = texts_of(rule.properties.tags) if rule.properties else ()
    return SarifPackage(purl=snyk_purl(rule.id or "", tags[-1] if tags else "", found["name"], found["version"]))


def _from_component(result: Result) -> SarifPackage | None:
    bag = result.properties
    name = text_of(bag.component) if bag else ""
    if bag is None or not name:
        return None
    version = text_of(bag.component_version)
    return SarifPackage(purl=package_url(text_of(bag.component_origin), name, version), name=name, version=version)
