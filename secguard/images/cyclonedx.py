"""A bill of materials as CycloneDX 1.6 JSON (CycloneDX/specification, schema/bom-1.6.schema.json). Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from secguard.images import licenses
from secguard.images.bill import Bill, BillComponent

MEDIA_TYPE = "application/vnd.cyclonedx+json; version=1.6"
LAYER, PATH, OWNER = "secguard:layer", "secguard:path", "secguard:owner"
"""Our properties of a component, beside ``evidence.occurrences`` (where the path stands, too)."""


def document(bill: Bill) -> bytes:
    """The whole document; the same bytes for the same bill."""
    image = _image(bill)
    components = [*_system(bill), *(_component(c) for c in bill.components)]
    return msgspec.json.encode(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{bill.id}",
            "version": 1,
            "metadata": {
                "timestamp": bill.moment,
                "tools": {
                    "components": [_without_empty(type="application", name="SecGuard", version=bill.tool_version)]
                },
                "component": image,
            },
            "components": components,
            "dependencies": [{"ref": image["bom-ref"], "dependsOn": sorted({c["bom-ref"] for c in components})}],
        }
    )


def _without_empty(**members: Any) -> dict[str, Any]:
    return {key.replace("_", "-"): value for key, value in members.items() if value}


def _tool(version: str) -> dict[str, Any]:
    return _without_empty(type="application", name="SecGuard", version=version)


def _image(bill: Bill) -> dict[str, Any]:
    algorithm, _, content = bill.digest.partition(":")
    said = [("secguard:architecture", bill.architecture), ("secguard:tag", bill.tag)]
    for number, layer in enumerate(bill.layers):
        said += [(f"secguard:layer:{number}:digest", layer.digest), (f"secguard:layer:{number}:by", layer.created_by)]
    return _without_empty(
        type="container",
        bom_ref=bill.purl,
        name=bill.title,
        version=bill.digest,
        hashes=[{"alg": f"SHA-{algorithm.removeprefix('sha')}", "content": content}],
        purl=bill.purl,
        properties=[{"name": name, "value": value} for name, value in said if value],
    )


def _system(bill: Bill) -> list[dict[str, Any]]:
    if not bill.os_name:
        return []
    ref = f"os:{bill.os_name}@{bill.os_version}"
    return [_without_empty(type="operating-system", bom_ref=ref, name=bill.os_name, version=bill.os_version)]


def _component(component: BillComponent) -> dict[str, Any]:
    said = ((LAYER, component.layer), (PATH, component.path), (OWNER, component.owner))
    return _without_empty(
        type="library",
        bom_ref=component.key,
        group=component.group,
        name=component.name,
        version=component.version,
        licenses=_licenses(component.licenses),
        purl=component.purl,
        properties=[{"name": name, "value": value} for name, value in said if value],
        evidence={"occurrences": [{"location": component.path}]} if component.path else None,
    )


def _licenses(names: Any) -> list[dict[str, Any]]:
    """One expression, or any number of licences by id or name: the schema lets them not stand beside each other."""
    said = [name for name in names if name]
    if len(said) == 1 and not licenses.is_known(said[0]) and licenses.is_expression(said[0]):
        return [{"expression": said[0]}]
    return [{"license": {"id" if licenses.is_known(name) else "name": name}} for name in said]
