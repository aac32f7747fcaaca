"""Which ecosystem's advisories judge a package, and under which name and version: in the OSV schema's words. Pure.

A distribution's package is judged by its own release's advisories alone: those know what was backported. Most name
the source package ("Defined Ecosystems" of the OSV schema), some the binary one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from packageurl import PackageURL

from secguard import packagenames


class Build(NamedTuple):
    """What advisories call a component; all empty where no ecosystem is known that speaks of it."""

    ecosystem: str = ""
    """As looked up: ``Debian:12``, ``Ubuntu:22.04:LTS``, ``PyPI``."""
    source_name: str = ""
    source_version: str = ""
    stream: str = ""
    """Of a module's package: ``nodejs:16`` (Red Hat's modularity), where the purl tells it."""


def build_of(purl: str, os_name: str = "", os_version: str = "") -> Build:
    """The build of a component by its purl as reported, with its qualifiers.

    ``os_name`` and ``os_version`` are the image's (os-release ID and VERSION_ID); they count where the purl's own
    ``distro`` qualifier does not tell. A purl that cannot be read has no build.
    """
    try:
        parsed = PackageURL.from_string(purl)
    except ValueError:
        return Build()
    if not parsed.version:
        return Build()
    if parsed.type in _SOURCES:
        return _distribution_build(parsed, os_name, os_version)
    ecosystem, name = _language(parsed)
    return Build(ecosystem, packagenames.package(ecosystem, name), parsed.version) if ecosystem else Build()


def _full_name(p: PackageURL) -> str:
    return f"{p.namespace}/{p.name}" if p.namespace else p.name


def _maven_name(p: PackageURL) -> str:
    return f"{p.namespace or p.name}:{p.name}"


def _name(p: PackageURL) -> str:
    return p.name


_LANGUAGES: dict[str, tuple[str, Callable[[PackageURL], str]]] = {
    "bitnami": ("Bitnami", _name),
    "cargo": ("crates.io", _name),
    "composer": ("Packagist", _full_name),
    "conan": ("ConanCenter", _name),
    "cran": ("CRAN", _name),
    "gem": ("RubyGems", _name),
    "githubactions": ("GitHub Actions", _full_name),
    "github": ("GitHub Actions", _full_name),
    "golang": ("Go", _full_name),
    "hackage": ("Hackage", _name),
    "hex": ("Hex", _full_name),
    "maven": ("Maven", _maven_name),
    "npm": ("npm", _full_name),
    "nuget": ("NuGet", _name),
    "pub": ("Pub", _name),
    "pypi": ("PyPI", _name),
    "swift": ("SwiftURL", _full_name),
}


def _language(p: PackageURL) -> tuple[str, str]:
    ecosystem, name = _LANGUAGES.get(p.type, ("", _name))
    return ecosystem, name(p)


def _distribution_build(p: PackageURL, os_name: str, os_version: str) -> Build:
    qualifiers = p.qualifiers if isinstance(p.qualifiers, Mapping) else {}
    version = str(p.version)
    if (epoch := qualifiers.get("epoch", "")).isdigit() and ":" not in version and epoch != "0":
        version = f"{epoch}:{version}"
    ecosystem = _release(qualifiers.get("distro", ""), p.namespace or "", os_name, os_version, version)
    if packagenames.base(ecosystem) not in _FAMILIES[p.type]:
        return Build()
    name, version = _SOURCES[p.type](ecosystem, p.name, version, qualifiers.get("upstream", ""))
    return Build(ecosystem, name, version, _stream(qualifiers))


_LABEL = re.compile(r"[\w+.-]{1,100}:[\w+.-]{1,100}(?=:|$)")


def _stream(qualifiers: Mapping[str, str]) -> str:
    """Of the label that rpm records, ``nodejs:16:8060020220523160029:ad008a3a``: its module and stream. Red Hat writes
    it as ``rpmmod``, Trivy as ``modularitylabel``."""
    found = _LABEL.match(qualifiers.get("rpmmod", "") or qualifiers.get("modularitylabel", ""))
    return found[0] if found else ""


_REBUILD = re.compile(r"\+b\d+$")


def _deb_source(ecosystem: str, name: str, version: str, upstream: str) -> tuple[str, str]:
    """``upstream=glibc`` or ``glibc@2.36-9``; a rebuild (``+b1``, Debian's binNMU) has its source's version without."""
    source, _, source_version = upstream.partition("@")
    return source or name, source_version or _REBUILD.sub("", version)


def _apk_source(ecosystem: str, name: str, version: str, upstream: str) -> tuple[str, str]:
    """``upstream`` is the origin; every package of it has its version."""
    return upstream.partition("@")[0] or name, version


_SOURCE_RPM = re.compile(r"(.+)-([^-]+)-([^-]+?)(?:\.(?:no)?src\.rpm)?")
_BY_BINARY = frozenset({"AlmaLinux", "Amazon Linux", "Oracle Linux", "Red Hat"})
"""Their advisories list the packages that are installed, so no source needs to be known."""


def _rpm_source(ecosystem: str, name: str, version: str, upstream: str) -> tuple[str, str]:
    """``upstream=openssl-1.1.1k-9.el8_7.src.rpm``; the source's epoch is not told there: it is the package's."""
    found = _SOURCE_RPM.fullmatch(upstream)
    if found is None or packagenames.base(ecosystem) in _BY_BINARY:
        return name, version
    epoch, colon, _ = version.rpartition(":")
    return found[1], f"{epoch}{colon}{found[2]}-{found[3]}"


_FAMILIES = {"deb": packagenames.DEB, "apk": packagenames.APK, "rpm": packagenames.RPM}
_SOURCES = {"deb": _deb_source, "apk": _apk_source, "rpm": _rpm_source}

_NAMESPACES = {"redhat": "rhel", "opensuse": "opensuse-leap", "suse": "sles", "oracle": "ol", "oraclelinux": "ol"}
_SAME = {
    "redhat": "rhel",
    "alma": "almalinux",
    "suse": "sles",
    "sles_sap": "sles",
    "oracle": "ol",
    "amazon": "amzn",
    "opensuse.leap": "opensuse-leap",
    "opensuse.tumbleweed": "opensuse-tumbleweed",
    "cbl-mariner": "mariner",
    "openeuler": "openEuler",
}


def _release(distro: str, namespace: str, os_name: str, os_version: str, version: str) -> str:
    """The release of a distribution: by the purl's ``distro=debian-12``, else by the image's os-release.

    Syft writes ``distro=ID-VERSION_ID``, Trivy the version alone in apk's.
    """
    name, release = os_name or _NAMESPACES.get(namespace, namespace), os_version
    if known := next((k for k in _IDS if distro == k or distro.startswith(f"{k}-")), ""):
        same = not os_name or _SAME.get(os_name, os_name) == _SAME.get(known, known)
        name, release = known, distro[len(known) + 1 :] or (os_version if same else "")
    elif distro[:1].isdigit() or distro.partition("/")[0] in packagenames.DEBIAN_SERIES:
        release = distro
    elif distro:
        return ""
    name = name.lower()
    write = _RELEASES.get(_SAME.get(name, name))
    return write(release.strip(), version) if write else ""


def _debian(release: str, version: str) -> str:
    first = release.partition("/")[0].lower()
    major = packagenames.DEBIAN_SERIES.get(first) or first.partition(".")[0]
    return (
        f"Debian:{major}" if major.partition(".")[0].isdigit() else "Debian:sid" if first in ("sid", "unstable") else ""
    )


_PRO = re.compile(r"[+~]esm\d|\besm\d")


def _ubuntu(release: str, version: str) -> str:
    """Every other April's release is an LTS; a build of Ubuntu Pro is judged by what Pro says."""
    found = re.match(r"(\d{1,2})\.(\d{2})", release)
    if found is None:
        return ""
    lts = ":LTS" if found[2] == "04" and int(found[1]) % 2 == 0 else ""
    return f"Ubuntu:{'Pro:' if _PRO.search(version) else ''}{found[0]}{lts}"


def _alpine(release: str, version: str) -> str:
    if "_alpha" in release or release in ("edge", "latest-stable"):
        return "Alpine:edge"
    found = re.match(r"v?(\d+\.\d+)", release)
    return f"Alpine:v{found[1]}" if found else ""


def _major(name: str) -> Callable[[str, str], str]:
    def write(release: str, version: str) -> str:
        found = re.match(r"\d+", release)
        return f"{name}:{found[0]}" if found else ""

    return write


def _as_told(name: str) -> Callable[[str, str], str]:
    def write(release: str, version: str) -> str:
        return f"{name}:{release}" if release else ""

    return write


def _rolling(name: str) -> Callable[[str, str], str]:
    return lambda release, version: name


def _sles(release: str, version: str) -> str:
    found = re.match(r"(\d+)(?:\.(\d+))?", release)
    if found is None:
        return ""
    if int(found[1]) >= 16:
        return f"SUSE:Linux Enterprise {found[0]}"
    pack = f" SP{found[2]}" if found[2] and found[2] != "0" else ""
    return f"SUSE:Linux Enterprise {found[1]}{pack}"


_OPENEULER = re.compile(r"\.oe(\d{2})(\d{2})(?:sp(\d+))?")


def _openeuler(release: str, version: str) -> str:
    """The service pack is told by the package's own release (``.oe2203sp3``), not by VERSION_ID."""
    if found := _OPENEULER.search(version):
        return f"openEuler:{found[1]}.{found[2]}-LTS" + (f"-SP{found[3]}" if found[3] else "")
    return f"openEuler:{release}" if "LTS" in release else ""


_RELEASES: dict[str, Callable[[str, str], str]] = {
    "debian": _debian,
    "ubuntu": _ubuntu,
    "alpine": _alpine,
    "alpaquita": _as_told("Alpaquita"),
    "wolfi": _rolling("Wolfi"),
    "chainguard": _rolling("Chainguard"),
    "minimos": _rolling("MinimOS"),
    "rhel": _major("Red Hat:enterprise_linux"),
    "centos": _major("Red Hat:enterprise_linux"),
    "almalinux": _major("AlmaLinux"),
    "rocky": _major("Rocky Linux"),
    "ol": _major("Oracle Linux"),
    "amzn": _as_told("Amazon Linux"),
    "sles": _sles,
    "opensuse-leap": lambda release, version: f"openSUSE:Leap {release}" if release else "",
    "opensuse-tumbleweed": _rolling("openSUSE:Tumbleweed"),
    "openEuler": _openeuler,
    "photon": _as_told("Photon OS"),
    "mariner": _major("Azure Linux"),
    "azurelinux": _major("Azure Linux"),
    "mageia": _major("Mageia"),
}
_IDS = sorted((*_RELEASES, *_SAME), key=len, reverse=True)
