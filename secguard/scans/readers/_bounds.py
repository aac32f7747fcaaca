"""Stops a reader at the bound, before a hostile report of a million entries has become a million objects."""

from __future__ import annotations

from secguard.errors import Invalid
from secguard.scans.readers import MAX_FINDINGS


def require_bounded(count: int) -> None:
    """Raises ``Invalid`` where ``count`` findings are more than one report may have."""
    if count > MAX_FINDINGS:
        raise Invalid(
            f"The report has more than {MAX_FINDINGS:,} findings; one report may have {MAX_FINDINGS:,}. Scan images "
            "one by one, or narrow the scan.",
            code="too-many-findings",
            where="$",
        )
