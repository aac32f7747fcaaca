"""Decisions as CSAF 2.0, profile VEX (docs.oasis-open.org/csaf/csaf/v2.0, 4.5: ``csaf_vex``). Pure.

A package in an image is a product of its own: the relationship of both (3.2.2.4), as Trivy looks for it. A document of
that profile must have a vulnerability; one that says nothing is of the base profile (4.1).
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any, Final

import msgspec

from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.vex.judgements import Product, Said, Told, package_name

MEDIA_TYPE: Final = "application/json"
PAYLOAD_TYPE: Final = "application/vnd.csaf+json"
"""Of a DSSE envelope around the document."""
ENDING: Final = "csaf.json"
_CVE: Final = re.compile(r"CVE-[0-9]{4}-[0-9]{4,}")
_REMEDIES: Final = {
    # "Will be fixed": so far there is no image with the fix. CSAF 2.0 has no word for one that is planned.
    DecisionKind.FIX: "none_available",
    DecisionKind.MITIGATE: "mitigation",
    DecisionKind.ACCEPT: "no_fix_planned",
}


def document(told: Told) -> bytes:
    """The whole document; the same bytes for the same decisions."""
    made: dict[str, Any] = {"document": _head(told)}
    if told.said:
        tree = _Tree(told)
        made |= {"product_tree": tree.document(), "vulnerabilities": _vulnerabilities(told, tree)}
    return msgspec.json.encode(made)


def _head(told: Told) -> dict[str, Any]:
    moment = told.timestamp
    return {
        "category": "csaf_vex" if told.said else "csaf_base",
        "csaf_version": "2.0",
        "lang": "en",
        "notes": [
            {"category": "summary", "text": "The decisions in force, as SecGuard holds them.", "title": "Summary"}
        ],
        "publisher": {"category": "user", "name": "SecGuard", "namespace": told.author},
        "title": f"Decisions in force: {told.about}",
        "tracking": {
            "current_release_date": moment,
            "generator": {"date": moment, "engine": {"name": "SecGuard"}},
            "id": f"secguard-vex-{told.sha256}",
            "initial_release_date": moment,
            "revision_history": [{"date": moment, "number": "1", "summary": "What is in force."}],
            "status": "final",
            "version": "1",
        },
    }


class _Tree:
    """The products of a document, under short ids: images by name, packages, and packages in images."""

    def __init__(self, told: Told) -> None:
        pairs = {
            (image, package) for _, where in told.said for p, packages in where for image, package in _in(p, packages)
        }
        self._images = {purl: f"image-{n}" for n, purl in enumerate(sorted({i for i, _ in pairs}), 1)}
        self._packages = {purl: f"package-{n}" for n, purl in enumerate(sorted({p for _, p in pairs if p}), 1)}
        self._inside = sorted((image, package) for image, package in pairs if package)

    def id(self, image: str, package: str) -> str:
        whole = self._images[image]
        return f"{self._packages[package]}-in-{whole}" if package else whole

    def document(self) -> dict[str, Any]:
        named = {purl: _image_name(purl) for purl in self._images} | {p: package_name(p) for p in self._packages}
        tree: dict[str, Any] = {
            "full_product_names": [
                {"name": named[purl], "product_id": id_, "product_identification_helper": {"purl": purl}}
                for purl, id_ in (self._images | self._packages).items()
            ]
        }
        if self._inside:
            tree["relationships"] = [
                {
                    "category": "default_component_of",
                    "full_product_name": {
                        "name": f"{named[package]} in {named[image]}",
                        "product_id": self.id(image, package),
                    },
                    "product_reference": self._packages[package],
                    "relates_to_product_reference": self._images[image],
                }
                for image, package in self._inside
            ]
        return tree


def _in(product: Product, packages: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(image, package) for image in product.purls for package in packages or ("",)]


def _image_name(purl: str) -> str:
    """``registry/path@sha256:…``, of an image's purl as ``judgements.product`` makes it."""
    head, _, qualifiers = purl.partition("?")
    _, _, repository = qualifiers.partition("repository_url=")
    name, _, digest = head.removeprefix("pkg:oci/").partition("@")
    return f"{repository or name}@{digest.replace('%3A', ':')}"


def _vulnerabilities(told: Told, tree: _Tree) -> list[dict[str, Any]]:
    """One entry for each flaw: tools look a flaw up once, and read the first that they find."""
    by_flaw: dict[str, list[Said]] = defaultdict(list)
    for said in told.said:
        by_flaw[said.judgement.vulnerability].append(said)
    return [_vulnerability(name, rows, tree) for name, rows in by_flaw.items()]


def _vulnerability(name: str, rows: list[Said], tree: _Tree) -> dict[str, Any]:
    status: dict[str, list[str]] = defaultdict(list)
    threats, remedies, flags = [], [], []
    for one, places in rows:
        ids = [tree.id(image, package) for product, packages in places for image, package in _in(product, packages)]
        if one.is_affected:
            status["known_affected"] += ids
            remedies.append({"category": _REMEDIES[one.kind], "details": one.words, "product_ids": ids})
        else:
            status["known_not_affected"] += ids
            threats.append({"category": "impact", "details": one.words, "product_ids": ids})
            if one.justification:
                flags.append({"label": one.justification, "product_ids": ids})
    told: dict[str, Any] = {
        "notes": [{"category": "description", "text": f"What was decided on {name} in these images."}],
        "product_status": {key: sorted(set(ids)) for key, ids in status.items()},
    }
    if flags:
        told["flags"] = flags
    if threats:
        told["threats"] = threats
    if remedies:
        told["remediations"] = remedies
    return _names(name, rows[0].judgement.other_names) | told


def _names(name: str, others: list[str]) -> dict[str, Any]:
    """The CVE where it has one, the other names as ids of those who gave them."""
    known = [name, *others]
    cve = next((n for n in known if _CVE.fullmatch(n)), "")
    ids = [{"system_name": n.partition("-")[0] or "SecGuard", "text": n} for n in known if n != cve]
    return ({"cve": cve} if cve else {}) | ({"ids": ids} if ids else {})
