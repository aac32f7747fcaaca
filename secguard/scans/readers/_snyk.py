"""Snyk's way of naming packages and flaws, shared by its JSON and its SARIF."""

from __future__ import annotations

import re

from secguard.scans.readers._packages import package_url

_OS_MANAGERS = frozenset({"deb", "apk", "rpm", "linux"})
_DISTRIBUTION = re.compile(r"^SNYK-([A-Z]+?)(\d*)-")
_LANGUAGES = {
    "JS": "npm",
    "JAVA": "maven",
    "PYTHON": "pypi",
    "GOLANG": "golang",
    "DOTNET": "nuget",
    "PHP": "composer",
    "RUBY": "gem",
    "RUST": "cargo",
    "COCOAPODS": "cocoapods",
    "SWIFT": "swift",
    "HEX": "hex",
    "PUB": "pub",
}
_DISTRIBUTIONS = {"AMZN": "amzn", "ORACLE": "ol", "SLES": "sles", "CENTOS": "centos"}


def snyk_purl(id_: str, manager: str, name: str, version: str, distribution: str = "") -> str:
    """The purl of a package in Snyk's words.

    ``id_`` is ``SNYK-<language or distribution and its version>-…``. For operating-system packages ``name`` is
    ``source/binary`` (the binary is what is installed) or the one name that both have.
    """
    found = _DISTRIBUTION.match(id_)
    word = found.group(1) if found else ""
    if manager.lower() in _OS_MANAGERS:
        distro = distribution or _DISTRIBUTIONS.get(word, word.lower())
        return package_url("os" if manager.lower() == "linux" else manager, name.rpartition("/")[2], version, distro)
    return package_url(manager or _LANGUAGES.get(word, ""), name, version)
