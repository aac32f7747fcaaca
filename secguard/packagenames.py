"""How ecosystems and their packages are written, so that who stores a name and who looks it up write it one way. Pure.

The words are those of the OSV schema ("Defined Ecosystems", ossf.github.io/osv-schema). Where one release of a
distribution goes by several ecosystems there (Red Hat's repositories, SUSE's modules), it has one here.
"""

from __future__ import annotations

import re
from functools import lru_cache

RPM = frozenset(
    {
        "AlmaLinux",
        "Azure Linux",
        "Amazon Linux",
        "Mageia",
        "Oracle Linux",
        "Photon OS",
        "Red Hat",
        "Rocky Linux",
        "SUSE",
        "TuxCare",
        "openEuler",
        "openSUSE",
    }
)
DEB = frozenset({"Debian", "Ubuntu", "Echo"})
APK = frozenset({"Alpine", "Alpaquita", "BellSoft Hardened Containers", "Chainguard", "CleanStart", "MinimOS", "Wolfi"})
DISTRIBUTIONS = RPM | DEB | APK
"""Their packages are built from others' sources: only their own advisories judge them."""

DEBIAN_SERIES = {
    "buzz": "1.1", "rex": "1.2", "bo": "1.3", "hamm": "2.0", "slink": "2.1", "potato": "2.2", "woody": "3.0",
    "sarge": "3.1", "etch": "4.0", "lenny": "5.0", "squeeze": "6.0", "wheezy": "7", "jessie": "8", "stretch": "9",
    "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13", "forky": "14", "duke": "15",
}  # fmt: skip
"""distro-info-data, debian.csv."""

_OTHER_WORDS = {
    "mariner": "Azure Linux",
    "cbl-mariner": "Azure Linux",
    "azurelinux": "Azure Linux",
    "rocky": "Rocky Linux",
    "kubernetes": "Kubernetes",
    "crates": "crates.io",
    "cargo": "crates.io",
    "pip": "PyPI",
    "redhat": "Red Hat",
}
_NAMES = {
    **{n.lower(): n for n in DISTRIBUTIONS},
    **{n.lower(): n for n in ("PyPI", "npm", "Go", "Maven", "RubyGems", "crates.io", "NuGet", "Packagist", "Hex")},
    **{n.lower(): n for n in ("Pub", "Bitnami", "SwiftURL", "ConanCenter", "Hackage", "CRAN", "GitHub Actions")},
    **_OTHER_WORDS,
}
_SUSE = re.compile(
    r"Linux Enterprise (?:Server(?: for SAP Applications)?|Desktop|High Performance Computing|Module for .+?)"
    r" (\d+(?:\.\d+| SP\d+)?)"
)
_RHEL = re.compile(r"enterprise_linux:(\d+)\b.*")


def base(ecosystem: str) -> str:
    """The ecosystem without its release: ``Debian`` of ``Debian:12``."""
    return ecosystem.partition(":")[0]


@lru_cache(maxsize=4096)
def ecosystem(text: str) -> str:
    """An ecosystem as it is looked up: ``PyPI`` of ``pypi``, ``Red Hat:enterprise_linux:9`` of
    ``Red Hat:enterprise_linux:9::appstream``, ``SUSE:Linux Enterprise 15 SP5`` of each of its modules. What is not
    known stays as it is written."""
    first, colon, release = text.strip().partition(":")
    name = _NAMES.get(first.strip().lower(), first.strip())
    release = release.strip()
    if name == "Red Hat":
        found = _RHEL.fullmatch(release)
        release = f"enterprise_linux:{found.group(1)}" if found else release.partition("::")[0]
    elif name == "SUSE":
        found = _SUSE.fullmatch(release)
        release = f"Linux Enterprise {found.group(1)}" if found else release
    elif name in ("Maven", "Packagist") and release.startswith("http"):
        release = ""  # where it may be fetched from; the name is the same package
    return f"{name}:{release}" if colon and release else name


@lru_cache(maxsize=65536)
def package(ecosystem: str, name: str) -> str:
    """A package's name as it is looked up: normalised where the ecosystem takes several spellings for one package.

    PyPI: PEP 503. npm, NuGet, Packagist, Hex, Pub: case is of no account in what they serve today. Go: package URLs
    write modules in small letters (purl-spec, golang). SwiftURL: the repository without scheme, ``.git`` and
    credentials. Others as written, outer space removed.
    """
    name = name.strip()
    kind = base(ecosystem)
    if kind == "PyPI":
        return re.sub(r"[-_.]+", "-", name).lower()
    if kind in ("npm", "Go", "NuGet", "Packagist", "Hex", "Pub", "GitHub Actions", "Bitnami"):
        return name.lower()
    if kind == "SwiftURL":
        return re.sub(r"^[a-z+]+://(?:[^@/]*@)?|\.git$", "", name).rstrip("/").lower()
    return name
