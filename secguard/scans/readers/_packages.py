"""A package URL from what a tool says of a package when it gives none: its word for the ecosystem, the distribution.

Sources: purl-spec PURL-SPECIFICATION and PURL-TYPES; the words are those that Trivy, Grype/Syft, Anchore, Clair, Snyk,
AWS Inspector and Harbor write.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

from secguard.findings.identity import GENERIC

_TYPE_WORDS = {
    "deb": "deb dpkg debian-package",
    "apk": "apk apkg",
    "rpm": "rpm rpm-archive",
    "alpm": "alpm",
    "npm": "npm node nodejs js javascript yarn pnpm node-pkg bun npm-lock packagelock yarn-lock",
    "pypi": "pypi python python-pkg pip pipenv poetry uv pylock pythonpkg egg wheel python-index",
    "maven": "maven java jar war ear pom gradle gradle-lockfile sbt-lockfile java-archive jenkins-plugin"
    " jenkins_plugin graalvm-native-image maven-lock",
    "golang": "golang go gomod gomodules go-module gobinary dep govendor go-mod go-binary",
    "gem": "gem gems ruby rubygems bundler gemspec rubygem",
    "nuget": "nuget dotnet dotnet-core dotnet-deps packages-props .net packages-config packages-lock msbuild",
    "composer": "composer php php-composer composer-vendor packagist php-composer-installed-json",
    "cargo": "cargo rust rust-binary rustbinary rust-crate crates.io crates",
    "conan": "conan c++ cpp",
    "conda": "conda conda-pkg conda-environment",
    "cocoapods": "cocoapods pod",
    "swift": "swift swiftpm",
    "pub": "pub dart dart-pub",
    "hex": "hex erlang elixir mix mix-lock erlang-otp beam",
    "hackage": "hackage haskell",
    "cran": "cran r r-package",
    "julia": "julia",
    "luarocks": "luarocks lua lua-rocks",
    "github": "github-action github-actions githubactions",
    "bitnami": "bitnami",
    "opam": "opam ocaml",
    "wordpress-plugin": "wordpress-plugin",
}
_TYPES = {word: type_ for type_, words in _TYPE_WORDS.items() for word in words.split()}

_DISTRIBUTIONS = {
    "debian": "deb",
    "ubuntu": "deb",
    "raspbian": "deb",
    "kali": "deb",
    "alpine": "apk",
    "wolfi": "apk",
    "chainguard": "apk",
    "minimos": "apk",
    "redhat": "rpm",
    "centos": "rpm",
    "fedora": "rpm",
    "rocky": "rpm",
    "almalinux": "rpm",
    "amzn": "rpm",
    "ol": "rpm",
    "photon": "rpm",
    "mariner": "rpm",
    "azurelinux": "rpm",
    "sles": "rpm",
    "opensuse": "rpm",
    "openeuler": "rpm",
    "scientific": "rpm",
    "bottlerocket": "rpm",
    "arch": "alpm",
}
"""The distributions by the namespace that purls use (os-release ID, with few exceptions), and their purl type."""

_DISTRIBUTION_WORDS = {
    "rhel": "redhat",
    "red": "redhat",
    "alma": "almalinux",
    "amazon": "amzn",
    "amazonlinux": "amzn",
    "al2": "amzn",
    "oracle": "ol",
    "oraclelinux": "ol",
    "cbl-mariner": "mariner",
    "azure": "azurelinux",
    "suse": "sles",
    "sle": "sles",
    "slem": "sles",
    "slemicro": "sles",
    "rockylinux": "rocky",
    "archlinux": "arch",
}
_WORD_END = re.compile(r"[\s:/@_]|(?<=[a-z])-?(?=\d)")
_OS_WORDS = frozenset({"os", "os-pkgs", "operating-system", "linux", "distro"})
_NO_NAME = re.compile(r"[\s/]*")
_NAMESPACED = frozenset({"npm", "composer", "golang", "swift", "github"})


def distribution(text: str) -> str:
    """The purl namespace of a distribution from a tool's word for it; ``""`` where nobody knows it.

    ``debian``, ``Debian GNU/Linux 12``, ``debian:12``, ``ubuntu-22.04``, ``Red Hat Enterprise Linux``, ``rhel:8`` …
    """
    word = _WORD_END.split(text.strip().lower(), maxsplit=1)[0]
    word = "opensuse" if word.startswith("opensuse") else "sles" if word.startswith("suse") else word
    word = _DISTRIBUTION_WORDS.get(word, word)
    return word if word in _DISTRIBUTIONS else ""


@lru_cache(maxsize=4096)
def purl_type(kind: str, distro: str = "") -> str:
    """The purl type for a tool's word; ``""`` where the word says nothing known.

    ``kind`` may be an ecosystem (``gomod``, ``java``), a package manager (``dpkg``), a distribution (``debian``), or a
    word for "of the operating system" (``os``), which needs ``distro``.
    """
    word = kind.strip().lower()
    if word in _TYPES:
        return _TYPES[word]
    if word in _OS_WORDS:
        return _DISTRIBUTIONS.get(distribution(distro), "")
    return _DISTRIBUTIONS.get(distribution(word), "")


@lru_cache(maxsize=16384)
def package_url(kind: str, name: str, version: str, distro: str = "", arch: str = "") -> str:
    """A package URL from a tool's own words; ``pkg:generic/…`` where type or distribution stays unknown.

    ``kind``: see :func:`purl_type`. ``name``: as the ecosystem writes it (``group:artifact``, ``@scope/name``,
    ``github.com/owner/module``). ``version``: whole, with epoch and release (:func:`full_version`).
    """
    type_ = purl_type(kind, distro)
    if type_ in ("deb", "apk", "rpm", "alpm"):
        namespace = distribution(distro) or distribution(kind)
        type_ = type_ if namespace else GENERIC
    elif type_:
        namespace, name = _split(type_, name)
    else:
        type_, namespace = GENERIC, ""
    # A name of nothing but blanks and slashes is none (PURL-SPECIFICATION, "Name").
    parts = (*namespace.split("/"), "unknown" if _NO_NAME.fullmatch(name) else name)
    path = "/".join(quote(part, safe=":") for part in parts if not _NO_NAME.fullmatch(part))
    purl = f"pkg:{type_}/{path}"
    if version:
        purl = f"{purl}@{quote(version, safe=':')}"
    return f"{purl}?arch={quote(arch, safe='')}" if arch and type_ != GENERIC else purl


def _split(type_: str, name: str) -> tuple[str, str]:
    """Namespace and name of an ecosystem's package name (PURL-TYPES, each type's "namespace")."""
    if type_ == "maven":
        group, found, artifact = name.replace("/", ":").partition(":")
        return (group, artifact) if found and artifact else ("", name)
    if type_ in _NAMESPACED:
        namespace, _, rest = name.strip("/").rpartition("/")
        return namespace, rest
    if type_ == "pypi":
        return "", name.replace("_", "-").lower()
    return "", name


def full_version(version: str, release: str = "", epoch: str | int | None = None) -> str:
    """``epoch:version-release`` as the package manager writes it; an epoch of 0 or none is left out."""
    whole = f"{version}-{release}" if release and version else version
    return f"{epoch}:{whole}" if epoch not in (None, "", "0", 0) and whole and ":" not in whole else whole


def purl_or(purl: object, kind: str, name: str, version: str, distro: str = "", arch: str = "") -> str:
    """The tool's own package URL where it gives one, else a made one."""
    if isinstance(purl, str) and purl.startswith("pkg:"):
        return purl
    return package_url(kind, name, version, distro, arch)
