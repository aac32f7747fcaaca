"""Ranges of versions in documents: ``vers:deb/>=1.2|<2`` (package-url/vers-spec), and CSAF's ``<2``. Pure.

A range that cannot be read, or is of another ecosystem than the package, holds for no version: never more than was
said.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import unquote

from secguard.advisories import versions
from secguard.advisories.orders import Unparsable
from secguard.advisories.versions import Version

ORDERS: Final = {
    "alpine": "Alpine",
    "apk": "Alpine",
    "cargo": "crates.io",
    "composer": "Packagist",
    "conan": "ConanCenter",
    "deb": "Debian",
    "gem": "RubyGems",
    "golang": "Go",
    "hex": "Hex",
    "maven": "Maven",
    "npm": "npm",
    "nuget": "NuGet",
    "pypi": "PyPI",
    "rpm": "Red Hat",
}
"""The order in which an ecosystem's versions stand, by the type of its purls, which is also the scheme of ``vers``."""
MAX_LENGTH: Final = 2_000
MAX_CONSTRAINTS: Final = 100
_COMPARATORS: Final = (">=", "<=", "!=", "<", ">", "=")
_SCHEMES: Final = {"alpine": "apk"}


class Constraint(NamedTuple):
    comparator: str
    version: Version


def is_range(text: str) -> bool:
    """Whether it speaks of more than one version: ``vers:…``, ``<2``, ``>=1|<2``."""
    return text.startswith(("vers:", "<", ">", "!="))


def holds(package: str, version: str, text: str) -> bool:
    """Whether ``version`` of the package (its purl) lies in the range."""
    kind = package.removeprefix("pkg:").partition("/")[0]
    scheme, said = _parted(text) if text.startswith("vers:") else (kind, text)
    order = versions.order_of(ORDERS.get(kind, ""))
    if scheme != kind or not order:
        return False
    if said.strip() == "*":
        return True
    constraints = _constraints(order, said)
    try:
        return bool(constraints) and _contains(constraints, versions.parse(order, version))
    except Unparsable:
        return False


def _parted(text: str) -> tuple[str, str]:
    scheme, _, said = text.removeprefix("vers:").partition("/")
    return _SCHEMES.get(scheme.strip().lower(), scheme.strip().lower()), said


@lru_cache(maxsize=10_000)
def _constraints(order: str, said: str) -> tuple[Constraint, ...]:
    """In the order of their versions; none where one of them cannot be read, or stands twice."""
    parts = "".join(said.split()).split("|")
    if len(said) > MAX_LENGTH or len(parts) > MAX_CONSTRAINTS:
        return ()
    found: list[Constraint] = []
    for part in parts:
        comparator = next((c for c in _COMPARATORS if part.startswith(c)), "")
        try:
            version = versions.parse(order, unquote(part[len(comparator) :]))
        except Unparsable:
            return ()
        at = next((n for n, c in enumerate(found) if versions.compare(version, c.version) <= 0), len(found))
        if at < len(found) and versions.compare(version, found[at].version) == 0:
            return ()
        found.insert(at, Constraint(comparator or "=", version))
    ways = [c.comparator[0] for c in found if c.comparator not in ("=", "!=")]
    # Two bounds of one kind beside each other mean nothing that is sure (the specification refuses them as well).
    return () if any(a == b for a, b in pairwise(ways)) else tuple(found)


def _contains(constraints: tuple[Constraint, ...], version: Version) -> bool:
    """As the specification says it, "Checking if a version is contained within a range"."""
    for one in constraints:
        if versions.compare(version, one.version) == 0:
            return one.comparator in ("=", ">=", "<=")
    bounds = [c for c in constraints if c.comparator not in ("=", "!=")]
    if not bounds:
        return any(c.comparator == "!=" for c in constraints) and not any(c.comparator == "=" for c in constraints)
    below = [c for c in bounds if versions.compare(c.version, version) < 0]
    above = [c for c in bounds if versions.compare(c.version, version) > 0]
    is_after = not below or below[-1].comparator.startswith(">")
    is_before = not above or above[0].comparator.startswith("<")
    if not below:
        return is_before and bool(above)
    return is_after and is_before
