"""How values read on a page: times, sizes, counts, digests, package URLs. Pure; secguard_web stands on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

SEVERITIES = {0: "unknown", 1: "negligible", 2: "low", 3: "medium", 4: "high", 5: "critical"}

_STEPS = (
    (365 * 86_400, "year"),
    (30 * 86_400, "month"),
    (7 * 86_400, "week"),
    (86_400, "day"),
    (3_600, "hour"),
    (60, "minute"),
)


def severity_word(value: object) -> str:
    """``critical`` from 5, "Critical" or a Severity."""
    if isinstance(value, int):
        return SEVERITIES.get(value, "unknown")
    word = str(value or "").lower()
    return word if word in SEVERITIES.values() else "unknown"


def relative(moment: datetime, now: datetime) -> str:
    """``3 days ago``, ``in 2 hours``, ``just now``: one unit, rounded down."""
    seconds = int((now - moment).total_seconds())
    size = abs(seconds)
    for step, unit in _STEPS:
        if size >= step:
            count = size // step
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {words}" if seconds < 0 else f"{words} ago"
    return "just now" if seconds >= 0 else "in a moment"


def exact(moment: datetime) -> str:
    """``24 Nov 2026, 03:45:10 UTC``."""
    zone = moment.tzname() or ""
    return f"{moment.day} {moment:%b %Y, %H:%M:%S} {zone}".rstrip()


def size(count: int | float | None) -> str:
    """Bytes in binary units (IEC 80000-13): ``64 MiB``."""
    if count is None:
        return "unknown"
    left = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(left) < 1024 or unit == "TiB":
            return f"{left:.0f} {unit}" if unit == "B" or left >= 100 else f"{left:.1f} {unit}"
        left /= 1024
    raise AssertionError("the last unit takes everything")


def count(number: int | None, *, is_exact: bool = True) -> str:
    """``1,234``; ``10,000+`` where counting stopped."""
    if number is None:
        return "–"
    return f"{number:,}" if is_exact else f"{number:,}+"


def short_digest(digest: str, length: int = 12) -> str:
    """``sha256:4a1c…`` to its first ``length`` hex digits, as people read them out."""
    _, _, digits = digest.rpartition(":")
    return digits[:length]


def split_host(name: str) -> tuple[str, str]:
    """A repository's name as (registry host, path): the first part is a host if it has a dot, a port or is localhost.

    That is how the reference grammar of container images tells the two apart.
    """
    first, slash, rest = name.partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return (first, rest) if is_host else ("", name)


@dataclass(frozen=True)
class Package:
    """What a package URL says, for reading: ``deb``, ``debian/openssl``, ``3.0.1-1``."""

    kind: str
    name: str
    version: str


def package(purl: str) -> Package:
    """Splits a purl (package-url specification, "Parse") as far as a page needs; anything else is only a name."""
    if not purl.startswith("pkg:"):
        return Package("", purl, "")
    bare = purl[4:].lstrip("/").split("#", 1)[0].split("?", 1)[0]
    kind, slash, rest = bare.partition("/")
    if not slash:
        return Package("", purl, "")
    name, at, version = rest.rpartition("@")
    if not at or "/" in version:  # npm scopes begin with a bare @ in the wild
        name, version = rest, ""
    return Package(kind, unquote(name), unquote(version))
