"""What readers of vulnerability reports share: the words for "nothing", digests, and one finding a package."""

from __future__ import annotations

import re
from collections.abc import Iterable

from secguard.scans.readers._bounds import require_bounded
from secguard.scans.report import ReportedVulnerability

_NOTHING = frozenset({"", "none", "n/a", "null", "unknown", "notavailable", "not available"})
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def told(text: str | None) -> str:
    """``text`` without what tools write where they have nothing to say: ``None``, ``N/A``, ``NotAvailable`` …"""
    return "" if text is None or text.strip().lower() in _NOTHING else text.strip()


def links(*urls: str | None) -> tuple[str, ...]:
    """The URLs that are told, once each."""
    return tuple(dict.fromkeys(u for u in (told(url) for url in urls) if u))


def digest_in(text: str | None) -> str:
    """``sha256:<64 hex>`` where ``text`` is one, with or without the prefix; else ``""`` (OCI image-spec, digests)."""
    found = _DIGEST.fullmatch((text or "").strip().lower())
    return f"sha256:{found.group(1)}" if found else ""


def distinct(vulnerabilities: Iterable[ReportedVulnerability]) -> list[ReportedVulnerability]:
    """The first of each (id, purl): tools repeat a package for each path or dependency that leads to it.

    A flaw without an id is left out: nobody could look it up or decide on it. Raises ``Invalid`` past the bound.
    """
    seen: dict[tuple[str, str], ReportedVulnerability] = {}
    for vulnerability in vulnerabilities:
        if vulnerability.id:
            seen.setdefault((vulnerability.id, vulnerability.purl), vulnerability)
            require_bounded(len(seen))
    return list(seen.values())
