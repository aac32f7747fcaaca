"""Stops a reader at the bound, before a hostile report of a million entries has become a million objects."""

from __future__ import annotations

from secguard.errors import Invalid
from secguard.scans.document import Document
from secguard.scans.readers import MAX_COMPONENTS, MAX_FINDINGS


def require_few(document: Document, *, findings: bytes = b"", components: bytes = b"") -> None:
    """Raises ``Invalid`` where the report has more entries than one may have, told before any of it is decoded.

    ``findings`` and ``components``: a key that every one of them has, with its quotes. Inside a text it could only
    stand with escaped quotes, so that no text is mistaken for a key.
    """
    if findings:
        require_bounded(document.raw.count(findings))
    if components:
        require_listed(document.raw.count(components))


def require_bounded(count: int) -> None:
    """Raises ``Invalid`` where ``count`` findings are more than one report may have."""
    if count > MAX_FINDINGS:
        raise Invalid(
            f"The report has more than {MAX_FINDINGS:,} findings; one report may have {MAX_FINDINGS:,}. Scan images "
            "one by one, or narrow the scan.",
            code="too-many-findings",
            where="$",
        )


def require_listed(count: int) -> None:
    """Raises ``Invalid`` where ``count`` components are more than one report may list."""
    if count > MAX_COMPONENTS:
        raise Invalid(
            f"The report lists more than {MAX_COMPONENTS:,} components; one report may list {MAX_COMPONENTS:,}.",
            code="too-many-components",
            where="$",
        )
