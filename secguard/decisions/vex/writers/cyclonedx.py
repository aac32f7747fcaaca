"""Decisions as CycloneDX 1.6 VEX (CycloneDX/specification, schema/bom-1.6.schema.json). Pure.

The images stand in it as components with the packages in them that something was decided on, so that each analysis
points into the document itself and needs no other.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec

from secguard.decisions.justifications import TO_CYCLONEDX, Justification
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.vex.judgements import Judgement, Product, Said, Told, rfc3339
from secguard.images.purl import coordinates

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json; version=1.6"
PAYLOAD_TYPE: Final = "application/vnd.cyclonedx+json"
"""Of a DSSE envelope around the document."""
ENDING: Final = "vex.cdx.json"
ALIAS_PURL: Final = "secguard:purl"
"""Our property of an image: another purl by which tools know it."""
JUSTIFICATION: Final = "secguard:justification"
"""Our property of a vulnerability: the justification in the words of OpenVEX and CSAF, which are not CycloneDX's."""
_NAMESPACE: Final = uuid.UUID("0c1ad0a5-3b0f-5f0d-8a55-7e7c6f2f5a10")
_RESPONSES: Final = {
    DecisionKind.FIX: ["update"],
    DecisionKind.MITIGATE: ["workaround_available"],
    DecisionKind.ACCEPT: ["will_not_fix"],
}


def document(told: Told) -> bytes:
    """The whole document; the same bytes for the same decisions."""
    return msgspec.json.encode(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, told.sha256)}",
            "version": 1,
            "metadata": {
                "timestamp": told.timestamp,
                "tools": {"components": [{"type": "application", "name": "SecGuard"}]},
            },
            "components": _components(told),
            "vulnerabilities": [_vulnerability(said) for said in told.said],
        }
    )


def _components(told: Told) -> list[dict[str, Any]]:
    inside: dict[Product, set[str]] = {}
    for _, places in told.said:
        for product, purls in places:
            inside.setdefault(product, set()).update(purls)
    return [_image(product, sorted(purls)) for product, purls in sorted(inside.items())]


def _image(product: Product, packages: list[str]) -> dict[str, Any]:
    algorithm, _, content = product.digest.partition(":")
    image: dict[str, Any] = {
        "type": "container",
        "bom-ref": _ref(product),
        "name": coordinates(product.purls[0].partition("?")[0]).name,
        "version": product.digest,
        "hashes": [{"alg": f"SHA-{algorithm.removeprefix('sha')}", "content": content}],
        "purl": product.purls[0],
    }
    if others := product.purls[1:]:
        image["properties"] = [{"name": ALIAS_PURL, "value": purl} for purl in others]
    if packages:
        image["components"] = [_package(product, purl) for purl in packages]
    return image


def _package(product: Product, purl: str) -> dict[str, Any]:
    found = coordinates(purl.partition("?")[0].partition("#")[0])
    return {
        "type": "library",
        "bom-ref": _ref(product, purl),
        "name": found.name,
        "version": found.version,
        "purl": purl,
    }


def _ref(product: Product, package: str = "") -> str:
    """One image is one digest; the packages in it are told apart by the image's reference before theirs."""
    return f"{product.digest}/{package}" if package else product.digest


def _vulnerability(said: Said) -> dict[str, Any]:
    one = said.judgement
    refs = [_ref(product, purl) for product, purls in said.places for purl in purls or ("",)]
    flaw: dict[str, Any] = {
        "bom-ref": f"{one.vulnerability}/decision-{one.decision}",
        "id": one.vulnerability,
        "source": {"name": _system(one.vulnerability)},
        "analysis": _analysis(one),
        "affects": [{"ref": ref} for ref in refs],
    }
    if names := one.other_names:
        flaw["references"] = [{"id": name, "source": {"name": _system(name)}} for name in names]
    if one.justification and not one.is_affected:
        flaw["properties"] = [{"name": JUSTIFICATION, "value": one.justification}]
    return flaw


def _system(name: str) -> str:
    """Who numbers flaws in this way: CVE, GHSA."""
    return name.partition("-")[0]


def _analysis(one: Judgement) -> dict[str, Any]:
    said: dict[str, Any] = {"state": "exploitable" if one.is_affected else "not_affected", "detail": one.words}
    if one.is_affected:
        said["response"] = _RESPONSES[one.kind]
    elif one.justification:
        said["justification"] = TO_CYCLONEDX[Justification(one.justification)]
    return said | {"firstIssued": rfc3339(one.approved_at), "lastUpdated": rfc3339(one.approved_at)}
