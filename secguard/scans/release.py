"""Which release of which distribution an image is, by the files that distributions tell it in. Pure.

os-release(5) where there is one; before it (RHEL and CentOS 6, SLES 11, Ubuntu 12.04), or where it was left out, each
distribution's own file. What is told is that of os-release: ``ID`` and ``VERSION_ID``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple


class System(NamedTuple):
    """A distribution's release; all empty where nothing tells it."""

    name: str = ""
    """``ID``: ``debian``, ``rhel``; small letters."""
    version: str = ""
    """``VERSION_ID``; empty for a rolling one."""
    text: str = ""
    """As os-release would say it, or says it."""


def system_of(texts: Mapping[str, str]) -> System:
    """The first of the files ``RELEASE_FILES`` that tells a name. ``texts``: those the image shows, by path."""
    for path, read in _READERS.items():
        name, version = read(texts.get(path, ""))
        name, version = name.lower()[:50], version[:50]
        if re.fullmatch(r"[a-z0-9._-]+", name):
            whole = texts[path] if read is _os_release else _written(name, version)
            return System(name, version, whole)
    return System()


def _written(name: str, version: str) -> str:
    said = re.sub(r"[^\w./~+-]", "", version, flags=re.ASCII)
    return f'ID="{name}"\n' + (f'VERSION_ID="{said}"\n' if said else "")


Told = tuple[str, str]


def _os_release(text: str) -> Told:
    words = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and name in ("ID", "VERSION_ID"):
            words[name] = value.strip().strip("\"'")
    return words.get("ID", ""), words.get("VERSION_ID", "")


_RELEASE = re.compile(r"(?P<name>\S.*?)\s+release\s+(?P<version>\d+(?:\.\d+)*)")
_NAMES = {
    "almalinux": "almalinux",
    "amazon": "amzn",
    "centos": "centos",
    "fedora": "fedora",
    "oracle": "ol",
    "red hat enterprise": "rhel",
    "rocky": "rocky",
    "scientific": "scientific",
}


def _redhat_release(text: str) -> Told:
    """``CentOS release 6.10 (Final)``, ``Red Hat Enterprise Linux Server release 6.10 (Santiago)``."""
    found = _RELEASE.match(text)
    if found is None:
        return "", ""
    name = found["name"].lower()
    return next((id_ for begin, id_ in _NAMES.items() if name.startswith(begin)), ""), found["version"]


_CPE = re.compile(r"cpe:/o:(?P<vendor>[^:\s]+):[^:\s]+:(?P<version>\d+(?:\.\d+)*)")
_VENDORS = {"amazon": "amzn", "centos": "centos", "fedoraproject": "fedora", "oracle": "ol", "redhat": "rhel"}


def _release_cpe(text: str) -> Told:
    """``cpe:/o:redhat:enterprise_linux:6server:ga:server``."""
    found = _CPE.match(text.strip())
    return (_VENDORS.get(found["vendor"], ""), found["version"]) if found else ("", "")


def _suse_release(text: str) -> Told:
    """``SUSE Linux Enterprise Server 11 (x86_64)``, then ``VERSION = 11`` and ``PATCHLEVEL = 4``."""
    words = dict(re.findall(r"^(VERSION|PATCHLEVEL) *= *(\d[\d.]*)", text, re.M))
    if not words.get("VERSION"):
        return "", ""
    if text.startswith("openSUSE"):
        return "opensuse", words["VERSION"]
    level = words.get("PATCHLEVEL", "0")
    name = "sles" if text.startswith("SUSE Linux Enterprise") else ""
    return name, words["VERSION"] if level == "0" else f"{words['VERSION']}.{level}"


def _alpine_release(text: str) -> Told:
    found = re.match(r"\d+\.\d+\S*", text)
    return ("alpine", found[0]) if found else ("", "")


def _lsb_release(text: str) -> Told:
    words = dict(re.findall(r"^(DISTRIB_ID|DISTRIB_RELEASE)=\"?([^\"\n]*)", text, re.M))
    return words.get("DISTRIB_ID", "").strip(), words.get("DISTRIB_RELEASE", "").strip()


def _debian_version(text: str) -> Told:
    """``6.0.10``; ``wheezy/sid`` before a release."""
    found = re.match(r"\d+(?:\.\d+)*|[a-z]+/sid", text.strip())
    return ("debian", found[0]) if found else ("", "")


_READERS: Mapping[str, Callable[[str], Told]] = {
    "etc/os-release": _os_release,
    "usr/lib/os-release": _os_release,
    # Oracle's redhat-release says Red Hat.
    "etc/oracle-release": _redhat_release,
    # CentOS' redhat-release is a link to it.
    "etc/centos-release": _redhat_release,
    "etc/redhat-release": _redhat_release,
    "etc/system-release": _redhat_release,
    "etc/system-release-cpe": _release_cpe,
    "etc/SuSE-release": _suse_release,
    "etc/alpine-release": _alpine_release,
    # Ubuntu's debian_version names the Debian that it was made from.
    "etc/lsb-release": _lsb_release,
    "etc/debian_version": _debian_version,
}
RELEASE_FILES = tuple(_READERS)
"""Where a release may stand, relative to the root, the better word first. A link among them needs no following: what
it leads to is another one."""
