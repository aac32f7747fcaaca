"""A bill of materials as SPDX 2.3 JSON (SPDX specification 2.3, schemas/spdx-schema.json). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from secguard.images import licenses
from secguard.images.bill import Bill, BillComponent

MEDIA_TYPE = "application/spdx+json"
_DOCUMENT, _IMAGE, _SYSTEM = "SPDXRef-DOCUMENT", "SPDXRef-Image", "SPDXRef-OperatingSystem"
_UNSAID = "NOASSERTION"


def document(bill: Bill) -> bytes:
    """The whole document; the same bytes for the same bill."""
    parts = [*_system(bill), *(_component(c) for c in bill.components)]
    texts = sorted({name for c in bill.components for name in c.licenses if name and not licenses.is_expression(name)})
    relationships = [_related(_DOCUMENT, "DESCRIBES", _IMAGE)]
    relationships += [_related(_IMAGE, "CONTAINS", part["SPDXID"]) for part in parts]
    written = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": bill.title,
        "documentNamespace": f"urn:uuid:{bill.id}",
        "creationInfo": {"created": bill.moment, "creators": [f"Tool: SecGuard-{bill.tool_version or '0'}"]},
        "packages": [_image(bill), *parts],
        "relationships": relationships,
    }
    if texts:
        written["hasExtractedLicensingInfos"] = [
            {"licenseId": _reference(text), "extractedText": text, "name": text} for text in texts
        ]
    return msgspec.json.encode(written)


def _related(element: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": other}


def _package(id_: str, name: str, version: str, purpose: str = "", purl: str = "", **more: Any) -> dict[str, Any]:
    written: dict[str, Any] = {
        "SPDXID": id_,
        "name": name,
        "downloadLocation": _UNSAID,
        "filesAnalyzed": False,
        "licenseConcluded": _UNSAID,
        "licenseDeclared": _UNSAID,
        "copyrightText": _UNSAID,
        **more,
    }
    if version:
        written["versionInfo"] = version
    if purpose:
        written["primaryPackagePurpose"] = purpose
    if purl:
        reference = {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}
        written["externalRefs"] = [reference]
    return written


def _image(bill: Bill) -> dict[str, Any]:
    algorithm, _, content = bill.digest.partition(":")
    checksums = [{"algorithm": algorithm.upper(), "checksumValue": content}]
    return _package(_IMAGE, bill.title, bill.digest, "CONTAINER", bill.purl, checksums=checksums)


def _system(bill: Bill) -> list[dict[str, Any]]:
    return [_package(_SYSTEM, bill.os_name, bill.os_version, "OPERATING-SYSTEM")] if bill.os_name else []


def _component(component: BillComponent) -> dict[str, Any]:
    more: dict[str, Any] = {"licenseDeclared": _declared(component.licenses)}
    said = (("LayerDigest", component.layer), ("Path", component.path), ("Owner", component.owner))
    where = [f"{word}: {value}" for word, value in said if value]
    if where:
        more["attributionTexts"] = where
    id_ = f"SPDXRef-Package-{hashlib.sha256(component.key.encode()).hexdigest()[:24]}"
    name = f"{component.group}/{component.name}" if component.group else component.name
    return _package(id_, name, component.version, "LIBRARY", component.purl, **more)


def _declared(names: Sequence[str]) -> str:
    """One expression of everything said; a text that is no known licence by a reference to it (section 10)."""
    said = [name if licenses.is_expression(name) else _reference(name) for name in names if name]
    if len(said) > 1:
        said = [f"({name})" if " " in name else name for name in said]
    return " AND ".join(said) or _UNSAID


def _reference(text: str) -> str:
    return f"LicenseRef-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
