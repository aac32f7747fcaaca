"""Anchore's image vulnerabilities, in every shape that Engine, Enterprise and their command lines write:

* Engine ``anchore-cli --json image vuln``: an object with ``imageDigest`` or ``image_digest``, snake_case matches
* ``anchorectl image vulnerabilities -o json``: the same in camelCase; bare, in ``vulnerabilities``, or one level
  deeper beside ``sbom`` and ``policyEvaluation``
* ``anchorectl app`` lists: ``vulnerability_id``, ``package_name``, ``purl``, ``fix_state``
* Enterprise's "security evaluation" download: ``metadata`` and ``securityEvaluation``
* Engine's policy-engine report: ``artifact``, ``fix``, ``match``, ``nvd``, ``vulnerability``

Policy evaluations are verdicts of Anchore's own policy, not findings, and are refused with that reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.scans.document import Document, decode
from secguard.scans.readers import _anchore_shapes as shapes
from secguard.scans.readers._vulnerabilities import digest_in, distinct
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

T = TypeVar("T")
_WHOLE = frozenset({"", "all"})
_PROBED = 5


class _Metadata(msgspec.Struct):
    registry: str | None = None
    repository: str | None = None
    tag: str | None = None
    digest: str | None = msgspec.field(name="imageDigest", default=None)


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities, or ``None`` where the document is none of Anchore's.

    A report of one ``vulnerability_type`` (``os`` or ``non-os``) is not complete. Raises ``Invalid`` with the JSON
    path of a broken match, or saying that a policy evaluation was posted.
    """
    _refuse_policy(document)
    located = _locate(document)
    if located is None:
        return None
    raw, where = located
    matches, without_id = _matches(raw, where)
    looked_for = document.text("vulnerability_type")
    whole = looked_for in _WHOLE
    warnings = [] if whole else [f"The report lists only {looked_for!r} packages; nothing is closed by it."]
    warnings += [f"{without_id} matches without a vulnerability id were left out."] if without_id else []
    return ScanReport(
        format="anchore",
        scanner="anchore",
        subject=_subject(document),
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=distinct(matches),
        complete=whole,
        warnings=tuple(warnings),
    )


def _locate(document: Document) -> tuple[msgspec.Raw | bytes, str] | None:
    """The array of matches and its place, or ``None`` where this is not Anchore's."""
    if document.items is not None:
        return (document.raw, "$") if document.items and _shape_of(document.items) else None
    keys = document.keys or {}
    if "securityEvaluation" in keys:
        return keys["securityEvaluation"], "$.securityEvaluation"
    raw, where = keys.get("vulnerabilities"), "$.vulnerabilities"
    if raw is None:
        return None
    inner = _try(raw, dict[str, msgspec.Raw])
    if inner and "vulnerabilities" in inner and "sbomId" in inner:
        return inner["vulnerabilities"], f"{where}.vulnerabilities"
    items = _try(raw, list[msgspec.Raw])
    own = document.has("sbomId") or document.has("imageDigest") or document.has("image_digest")
    return (raw, where) if items is not None and (_shape_of(items) or (own and not items)) else None


def _try(raw: msgspec.Raw, type_: type[T]) -> T | None:
    try:
        found: T = decode(raw, type_, "$")
    except Invalid:
        return None
    return found


def _shape_of(items: list[msgspec.Raw]) -> type[shapes.Match] | None:
    for raw in items[:_PROBED]:
        keys = (_try(raw, dict[str, msgspec.Raw]) or {}).keys()
        for shape in shapes.SHAPES:
            if keys >= shape.told_by:
                return shape
    return None


def _matches(raw: msgspec.Raw | bytes, where: str) -> tuple[list[ReportedVulnerability], int]:
    items: list[msgspec.Raw] = decode(raw, list[msgspec.Raw], where)
    shape = _shape_of(items)
    if shape is None:
        return [], 0
    decoded: list[shapes.Match] = decode(raw, list[shape], where)  # type: ignore[valid-type]
    found = [m.reported() for m in decoded if m.named()]
    return found, len(decoded) - len(found)


def _subject(document: Document) -> Subject:
    if document.has("metadata"):
        found = decode((document.keys or {})["metadata"], _Metadata | None, "$.metadata") or _Metadata()
        path = "/".join(part for part in (found.registry, found.repository) if part)
        return Subject(reference=f"{path}:{found.tag}" if path and found.tag else path, digest=digest_in(found.digest))
    digest = digest_in(document.text("imageDigest") or document.text("image_digest"))
    return Subject(reference=document.text("imageFullTag"), digest=digest)


def _refuse_policy(document: Document) -> None:
    keys = set(document.keys or ())
    for first in _first_items(document):
        keys |= first
    if {"policyId", "evaluations"} <= keys or {"finalAction", "detail"} <= keys or _is_old_policy(document, keys):
        raise Invalid(
            "The report is an Anchore policy evaluation: the verdict of Anchore's policy, not what Anchore found. Post "
            "the vulnerabilities instead: anchorectl image vulnerabilities IMAGE -o json.",
            code="policy-evaluation",
            where="$",
        )


def _is_old_policy(document: Document, keys: set[str]) -> bool:
    """``anchore-cli evaluate check``: one object whose only key is the image's digest."""
    return document.items is not None and len(keys) == 1 and digest_in(next(iter(keys))) != ""


def _first_items(document: Document) -> Iterator[set[str]]:
    for raw in (document.items or ())[:1]:
        yield set(_try(raw, dict[str, msgspec.Raw]) or ())
