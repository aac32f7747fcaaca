"""What the readers of configuration checks share: which checks are about leanness, and one finding a target."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from secguard.findings.identity import FindingKind
from secguard.scans.readers._bounds import require_bounded
from secguard.scans.report import ReportedCheck

LEANNESS = frozenset(
    {
        # hadolint: left-over package caches and packages nobody asked for (github.com/hadolint/hadolint/wiki)
        *("DL3009", "DL3015", "DL3019", "DL3032", "DL3036", "DL3040", "DL3042", "DL3060"),
        # Dockle: caches and unnecessary files (github.com/goodwithtech/dockle, CHECKPOINT.md)
        *("DKL-DI-0003", "DKL-DI-0004", "DKL-DI-0005", "DKL-LI-0003"),
    }
)
"""Check ids that speak of what an image need not carry; every other check is about configuration."""

_DRIVE = re.compile(r"^/(?=[A-Za-z]:/)")


def check_kind(check_id: str) -> FindingKind:
    """``HYGIENE`` for a check about leanness, else ``MISCONFIGURATION``."""
    return FindingKind.HYGIENE if check_id in LEANNESS else FindingKind.MISCONFIGURATION


def clean_path(uri: str) -> str:
    """A path as people write it, from a path or a ``file:`` URI (RFC 8089): forward slashes, no scheme, no ``./``."""
    if uri[:5].lower() == "file:":
        path = uri[5:]
        path = path[2:] if path.startswith("//") else path
        uri = _DRIVE.sub("", unquote(path))
    elif "%" in uri:
        uri = unquote(uri)
    uri = uri.replace("\\", "/")
    while uri.startswith("./"):
        uri = uri[2:]
    return uri


def distinct_checks(checks: Iterable[ReportedCheck]) -> tuple[list[ReportedCheck], int]:
    """The first of each (check id, target), and how many were joined to one: a line number is no identity.

    Raises ``Invalid`` past the bound.
    """
    seen: dict[tuple[str, str], ReportedCheck] = {}
    joined = 0
    for check in checks:
        if seen.setdefault((check.check_id, check.target), check) is not check:
            joined += 1
        require_bounded(len(seen))
    return list(seen.values()), joined


def joined_warning(joined: int) -> tuple[str, ...]:
    """For ``ScanReport.warnings``: nothing where nothing was joined."""
    if not joined:
        return ()
    return (f"{joined} results repeat a check on the same target and are shown as one, with the first line.",)
