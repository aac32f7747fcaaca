"""VEX as others' tools read it, and what the standards ask of a document: independent of what writes them.

``JSON schemas``: CycloneDX's own comes with cyclonedx-python-lib. Those of OpenVEX 0.2.0 (openvex_json_schema.json) and
CSAF 2.0 (csaf_json_schema.json with the tests of 6.1.27 for the profile VEX) are written down here as far as we write
such documents, stricter than the originals: nothing beyond the members named here may be in a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator
from packageurl import PackageURL

JUSTIFICATIONS = [
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
]
_TEXT = {"type": "string", "minLength": 1}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
_PURL = {"type": "string", "pattern": "^pkg:"}


def _object(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": False,
    } | more


def _list(items: Any, least: int = 1) -> dict[str, Any]:
    return {"type": "array", "minItems": least, "uniqueItems": True, "items": items}


_HASHES = {"type": "object", "minProperties": 1, "additionalProperties": False}
_HASHES |= {"properties": {f"sha-{bits}": {"pattern": f"^[0-9a-f]{{{bits // 4}}}$"} for bits in (256, 512)}}
_OPENVEX_PRODUCT = _object({"@id": _PURL}, {"hashes": _HASHES, "subcomponents": _list(_object({"@id": _PURL}))})
_OPENVEX_COMMON = {
    "vulnerability": _object({"name": _TEXT}, {"aliases": _list(_TEXT)}),
    "timestamp": _TIME,
    "products": _list(_OPENVEX_PRODUCT),
}
OPENVEX = _object(
    {
        "@context": {"const": "https://openvex.dev/ns/v0.2.0"},
        "@id": {"type": "string", "pattern": "^urn:"},
        "author": _TEXT,
        "timestamp": _TIME,
        "version": {"type": "integer", "minimum": 1},
        # The published schema wants one at least; a document that says nothing has none, which tools read as such.
        "statements": _list(
            {
                "oneOf": [
                    _object({**_OPENVEX_COMMON, "status": {"const": "affected"}, "action_statement": _TEXT}),
                    _object(
                        {**_OPENVEX_COMMON, "status": {"const": "not_affected"}, "impact_statement": _TEXT},
                        {"justification": {"enum": JUSTIFICATIONS}},
                    ),
                ]
            },
            least=0,
        ),
    },
    {"tooling": _TEXT},
)
_IDS = _list(_TEXT)
_NOTE = _object({"category": {"enum": ["description", "summary"]}, "text": _TEXT}, {"title": _TEXT})
_NAMED = _object({"name": _TEXT, "product_id": _TEXT}, {"product_identification_helper": _object({"purl": _PURL})})
_VERSION = {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){0,3}$"}
CSAF = _object(
    {
        "document": _object(
            {
                "category": {"enum": ["csaf_vex", "csaf_base"]},
                "csaf_version": {"const": "2.0"},
                "publisher": _object(
                    {
                        "category": {"enum": ["coordinator", "discoverer", "other", "translator", "user", "vendor"]},
                        "name": _TEXT,
                        "namespace": {"type": "string", "pattern": "^https?://"},
                    }
                ),
                "title": _TEXT,
                "tracking": _object(
                    {
                        "current_release_date": _TIME,
                        "id": {"type": "string", "pattern": r"^[\S](.*[\S])?$"},
                        "initial_release_date": _TIME,
                        "revision_history": _list(_object({"date": _TIME, "number": _VERSION, "summary": _TEXT})),
                        "status": {"enum": ["draft", "final", "interim"]},
                        "version": _VERSION,
                    },
                    {"generator": _object({"engine": _object({"name": _TEXT})}, {"date": _TIME})},
                ),
            },
            {"lang": {"type": "string", "pattern": "^[a-z]{2,3}$"}, "notes": _list(_NOTE)},
        )
    },
    {
        "product_tree": _object(
            {"full_product_names": _list(_NAMED)},
            {
                "relationships": _list(
                    _object(
                        {
                            "category": {"const": "default_component_of"},
                            "full_product_name": _NAMED,
                            "product_reference": _TEXT,
                            "relates_to_product_reference": _TEXT,
                        }
                    )
                )
            },
        ),
        "vulnerabilities": _list(
            _object(
                {
                    "notes": _list(_NOTE),
                    "product_status": _object(
                        {}, {"known_affected": _IDS, "known_not_affected": _IDS}, minProperties=1
                    ),
                },
                {
                    "cve": {"type": "string", "pattern": "^CVE-[0-9]{4}-[0-9]{4,}$"},
                    "ids": _list(_object({"system_name": _TEXT, "text": _TEXT})),
                    "flags": _list(_object({"label": {"enum": JUSTIFICATIONS}, "product_ids": _IDS})),
                    "threats": _list(_object({"category": {"const": "impact"}, "details": _TEXT, "product_ids": _IDS})),
                    "remediations": _list(
                        _object(
                            {
                                "category": {"enum": ["mitigation", "no_fix_planned", "none_available"]},
                                "details": _TEXT,
                                "product_ids": _IDS,
                            }
                        )
                    ),
                },
                anyOf=[{"required": ["cve"]}, {"required": ["ids"]}],
            )
        ),
    },
)


def check_openvex(document: Any) -> None:
    jsonschema.validate(document, OPENVEX)


def check_cyclonedx(text: str) -> None:
    """Against CycloneDX's own schema, and that each reference points to something in the document."""
    problem = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6).validate_str(text)
    assert problem is None, problem


def check_csaf(document: Any) -> None:
    """The schema, and of the mandatory tests those that a schema cannot say: 6.1.1, 6.1.2, 6.1.6, 6.1.27.4 to 10."""
    jsonschema.validate(document, CSAF)
    is_vex = document["document"]["category"] == "csaf_vex"
    assert is_vex == ("product_tree" in document) == ("vulnerabilities" in document)
    tree = document.get("product_tree", {})
    plain = [p["product_id"] for p in tree.get("full_product_names", [])]
    pairs = [r["full_product_name"]["product_id"] for r in tree.get("relationships", [])]
    assert len(plain + pairs) == len(set(plain + pairs))
    for r in tree.get("relationships", []):
        assert {r["product_reference"], r["relates_to_product_reference"]} <= set(plain)
    for flaw in document.get("vulnerabilities", []):
        affected, not_affected = (
            set(flaw["product_status"].get(f"known_{s}", [])) for s in ("affected", "not_affected")
        )
        assert affected | not_affected <= set(plain + pairs)
        assert not affected & not_affected
        assert affected == {p for r in flaw.get("remediations", []) for p in r["product_ids"]}
        assert not_affected == {p for t in flaw.get("threats", []) for p in t["product_ids"]}


# --- readers ---


def purl_matches(general: str, special: str) -> bool:
    """go-vex's PurlMatches: what the first leaves out matches anything in the second."""
    a, b = PackageURL.from_string(general), PackageURL.from_string(special)
    same = (a.type, a.namespace, a.name) == (b.type, b.namespace, b.name)
    held = {**b.qualifiers}  # type: ignore[dict-item]
    return same and a.version in (None, b.version) and all(held.get(k) == v for k, v in dict(a.qualifiers).items())  # type: ignore[arg-type]


def openvex_statuses(document: Any, flaw: str, image: str, package: str) -> list[str]:
    """As Trivy and Grype ask go-vex (``Statement.Matches``): ``image`` is a purl or the hex of a hash."""

    def names(component: Any, asked: str) -> bool:
        if asked.startswith("pkg:"):
            return purl_matches(component["@id"], asked)
        return asked in component.get("hashes", {}).values()

    def holds(product: Any) -> bool:
        inside = product.get("subcomponents")
        return names(product, image) and (not inside or any(names(part, package) for part in inside))

    return [
        s["status"]
        for s in document["statements"]
        if flaw in (s["vulnerability"]["name"], *s["vulnerability"].get("aliases", ()))
        and any(holds(product) for product in s["products"])
    ]


def csaf_statuses(document: Any, cve: str, image: str, package: str) -> list[str]:
    """As Trivy's pkg/vex/csaf.go: the first entry of the CVE; the image's purl, or a relationship's two."""
    found = next((v for v in document.get("vulnerabilities", []) if v.get("cve") == cve), None)
    if found is None:
        return []
    tree = document["product_tree"]
    purl_of = {p["product_id"]: p["product_identification_helper"]["purl"] for p in tree["full_product_names"]}
    parts = {r["full_product_name"]["product_id"]: r for r in tree.get("relationships", [])}

    def holds(id_: str) -> bool:
        if id_ in purl_of:
            return purl_matches(purl_of[id_], image)
        part = parts[id_]
        whole, inside = purl_of[part["relates_to_product_reference"]], purl_of[part["product_reference"]]
        return purl_matches(whole, image) and purl_matches(inside, package)

    return [status for status, ids in found["product_status"].items() for id_ in ids if holds(id_)]


def cyclonedx_statuses(document: Any) -> Iterator[tuple[str, str, str, str]]:
    """(flaw, state, image's digest, package's purl or ""), by following each reference."""
    at: dict[str, tuple[str, str]] = {}
    for image in document["components"]:
        assert image["bom-ref"] not in at
        at[image["bom-ref"]] = (image["version"], "")
        for part in image.get("components", []):
            assert part["bom-ref"] not in at
            at[part["bom-ref"]] = (image["version"], part["purl"])
    for flaw in document["vulnerabilities"]:
        for place in flaw["affects"]:
            yield flaw["id"], flaw["analysis"]["state"], *at[place["ref"]]
