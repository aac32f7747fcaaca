"""Which of two versions is newer, as the packaging system that made them says. Pure.

The orders of PyPI, Maven and RubyGems are univers'; the others stand in ``orders``. A version that cannot be parsed is
*unknown*: it is never taken for an unaffected one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from univers.versions import MavenVersion, PypiVersion, RubygemsVersion

from secguard import packagenames
from secguard.advisories import orders
from secguard.advisories.orders import Unparsable

LONGEST = 300
"""Characters of a version; a longer one is no version."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version that was read once, to be compared often; only with those of the same order."""

    text: str
    key: Any
    order: str


def _pypi(text: str) -> Any:
    """PEP 440."""
    return PypiVersion(text).value


_RELEASE_WORD = re.compile(r"(?<![a-z])release(?![a-z])", re.I)


def _maven(text: str) -> Any:
    """Maven's ComparableVersion. ``release`` is another word for ``ga`` there, which univers does not know."""
    return MavenVersion(_RELEASE_WORD.sub("ga", text)).value


def _gem(text: str) -> Any:
    """Gem::Version."""
    return RubygemsVersion(text).value


def _go(text: str) -> Any:
    """Semantic versions; the toolchain's own are written ``go1.21.3`` and ``go1.21rc2``."""
    return orders.semver(text.removeprefix("go"))


_ORDERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(packagenames.DEB, orders.deb),
    **dict.fromkeys(packagenames.RPM, orders.rpm),
    **dict.fromkeys(packagenames.APK, orders.apk),
    "PyPI": _pypi,
    "Maven": _maven,
    "RubyGems": _gem,
    "Go": _go,
    "Kubernetes": _go,
    "NuGet": orders.nuget,
    "Packagist": orders.composer,
    "Pub": orders.pub,
    "Bitnami": orders.bitnami,
    "Hackage": orders.dotted,
    "CRAN": orders.cran,
    "Bioconductor": orders.cran,
    **dict.fromkeys(("npm", "crates.io", "Hex", "SwiftURL", "ConanCenter", "GitHub Actions", "Julia"), orders.semver),
}


def order_of(ecosystem: str) -> str:
    """The order in which versions of ``ecosystem`` (``Debian:12``) stand; ``""`` where none is known."""
    name = packagenames.base(ecosystem)
    return name if name in _ORDERS else ""


def parse(order: str, text: str) -> Version:
    """Read ``text`` as a version of ``order`` (from ``order_of``). Raises ``Unparsable``."""
    found = _parsed(order, text)
    if found is None:
        raise Unparsable(f"{text[:LONGEST]!r} is no version of {order or 'an ecosystem that is known'}")
    return found


@lru_cache(maxsize=200_000)
def _parsed(order: str, text: str) -> Version | None:
    make = _ORDERS.get(order)
    if make is None or not text or len(text) > LONGEST:
        return None
    try:
        return Version(text, make(text), order)
    except (ValueError, TypeError, AttributeError, IndexError):  # univers raises what its regular expressions miss
        return None


def compare(version: Version, bound: Version) -> int:
    """-1, 0 or 1: ``version`` is older than, the same as, or newer than ``bound``.

    An rpm bound without a release stands for all its releases (rpm's EVR comparison in dependencies).
    """
    a, b = version.key, bound.key
    if bound.order in packagenames.RPM and not b[2]:
        a, b = a[:2], b[:2]
    return -1 if a < b else 1 if b < a else 0
