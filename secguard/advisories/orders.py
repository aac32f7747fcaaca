"""Keys that order versions as each packaging system orders them: made once, compared by tuples. Pure.

Each function takes a version's text and returns its key, or raises ``Unparsable``. They stand beside univers where that
splits the texts anew at every comparison (deb, rpm), refuses what the system takes (apk's ``_git``, leading zeros), or
knows no such order (Composer's pre-releases, Pub's builds, Bitnami's revisions).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

Key = Any
"""Comparable with the keys of the same order only."""


class Unparsable(ValueError):
    """No version of this kind: what it is compared with stays unknown."""


_DEB = re.compile(r"(?:(\d{1,9}):)?([A-Za-z0-9][A-Za-z0-9.+~:_-]*)", re.ASCII)
_DEB_PARTS = re.compile(r"([^0-9]*)([0-9]*)", re.ASCII)


def deb(text: str) -> Key:
    """Debian policy section 5.6.12: epoch, upstream version, revision; ``~`` before everything, even the end."""
    found = _DEB.fullmatch(text)
    if found is None:
        raise Unparsable(text)
    upstream, _, revision = found[2].rpartition("-") if "-" in found[2] else (found[2], "", "")
    return int(found[1] or 0), _deb_key(upstream), _deb_key(revision)


def _deb_key(text: str) -> Key:
    pairs = [p for p in _DEB_PARTS.findall(text) if p != ("", "")] or [("", "")]
    return (*(part for letters, digits in pairs for part in (_deb_letters(letters), int(digits or 0))), (0,))


@lru_cache(maxsize=4096)
def _deb_letters(text: str) -> tuple[int, ...]:
    """Letters before all else, ``~`` before the end; the 0 is the end (dpkg, lib/dpkg/version.c, ``order``)."""
    return (*(-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in text), 0)


_RPM = re.compile(r"(?:(\d{1,9}):)?([^\s:-]+)(?:-([^\s:-]+))?", re.ASCII)
_RPM_PARTS = re.compile(r"[0-9]+|[A-Za-z]+|~|\^", re.ASCII)
_RPM_END = (1,)


def rpm(text: str) -> Key:
    """rpm-version(7): epoch, version, release; a missing epoch is 0, a missing release comes before every other.

    What stands behind ``.module`` tells which build service made a module's package when, differently for the same
    source at Red Hat and at its rebuilders: it is of no account.
    """
    found = _RPM.fullmatch(text)
    if found is None:
        raise Unparsable(text)
    release = () if found[3] is None else _rpm_key(found[3].partition(".module")[0])
    return int(found[1] or 0), _rpm_key(found[2]), release


def _rpm_key(text: str) -> Key:
    return (*map(_rpm_part, _RPM_PARTS.findall(text)), _RPM_END)


@lru_cache(maxsize=8192)
def _rpm_part(part: str) -> Key:
    """``~`` before the end, ``^`` after it and before all else, letters before numbers (rpmio/rpmvercmp.c)."""
    if part == "~":
        return (0,)
    if part == "^":
        return (2,)
    return (4, int(part)) if part[0].isdigit() else (3, part)


_APK = re.compile(
    r"(\d+)((?:\.\d+)*)([a-z]?)((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*)(?:~([0-9a-f]+))?(?:-r(\d+))?",
    re.ASCII,
)
_APK_SUFFIX = re.compile(r"_([a-z]+)(\d*)", re.ASCII)
_APK_SUFFIXES = {w: i for i, w in enumerate(("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p"))}


def apk(text: str) -> Key:
    """apk-tools 3, src/version.c: what comes earlier in its list of token kinds is greater, pre-releases least."""
    found = _APK.fullmatch(text)
    if found is None:
        raise Unparsable(text)
    parts: list[Any] = [(8, 1, int(found[1]))]
    # A number with a leading zero compares as text, so before every other (as Gentoo's does).
    parts += ((8, 0, n) if n[0] == "0" else (8, 1, int(n)) for n in found[2].split(".")[1:])
    if found[3]:
        parts.append((7, found[3]))
    for word, number in _APK_SUFFIX.findall(found[4]):
        rank = _APK_SUFFIXES[word]
        parts.append((1 if rank < _APK_SUFFIXES[""] else 6, rank))
        if number:
            parts.append((5, int(number)))
    if found[5]:
        parts.append((4, found[5]))
    if found[6]:
        parts.append((3, int(found[6])))
    return (*parts, (2,))


_SEMVER = re.compile(
    r"[vV]?=?(\d+(?:\.\d+)*)(?:[-.]?((?<=-)[0-9A-Za-z.-]+|(?<=\d)[A-Za-z][0-9A-Za-z.-]*|(?<=\.)[A-Za-z][0-9A-Za-z.-]*))?"
    r"(?:\+([0-9A-Za-z.+_~-]*))?",
    re.ASCII,
)
_MOST_DIGITS = 40


def _semantic(text: str) -> tuple[tuple[int, ...], str, str]:
    """Numbers without trailing zeros, pre-release, build. More or fewer numbers than three are taken."""
    found = _SEMVER.fullmatch(text)
    if found is None or len(found[1]) > _MOST_DIGITS * 4:
        raise Unparsable(text)
    numbers = [int(n) for n in found[1].split(".")]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), found[2] or "", found[3] or ""


def _identifiers(text: str) -> Key:
    """Numbers before words, fewer before more (semver.org 2.0.0, 11.4)."""
    return tuple((0, int(p)) if p.isdigit() and p.isascii() else (1, p) for p in text.split("."))


_RELEASE: Key = ((2,),)
"""After every pre-release."""


def semver(text: str) -> Key:
    """Semantic Versioning 2.0.0 section 11; what stands after ``+`` is of no account."""
    numbers, pre, _ = _semantic(text)
    return numbers, _identifiers(pre) if pre else _RELEASE


def nuget(text: str) -> Key:
    """NuGet: as semantic versions with four numbers, and letters' case is of no account."""
    numbers, pre, _ = _semantic(text)
    return numbers, _identifiers(pre.lower()) if pre else _RELEASE


def pub(text: str) -> Key:
    """Dart's pub_semver: a build comes after the version without one, and builds are ordered."""
    numbers, pre, build = _semantic(text)
    return numbers, _identifiers(pre) if pre else _RELEASE, (1, _identifiers(build)) if build else (0,)


_REVISION = re.compile(r"r?(\d+)", re.ASCII)


def bitnami(text: str) -> Key:
    """Bitnami: a number alone behind the hyphen is the revision of their build, after the version, no pre-release."""
    numbers, pre, _ = _semantic(text)
    if revision := _REVISION.fullmatch(pre):
        return numbers, _RELEASE, int(revision[1])
    return numbers, _identifiers(pre) if pre else _RELEASE, 0


_COMPOSER = re.compile(r"[vV]?(\d+(?:\.\d+)*|(?=dev-))(.*)", re.ASCII)
_COMPOSER_PART = re.compile(r"\d+|[A-Za-z]+", re.ASCII)
_COMPOSER_WORDS = {"dev": 1, "alpha": 2, "a": 2, "beta": 3, "b": 3, "rc": 4, "pl": 7, "p": 7, "patch": 7}
_COMPOSER_END = (5,)


def composer(text: str) -> Key:
    """Composer: numbers padded to four (semver, VersionParser::normalize), then as PHP's version_compare does."""
    found = _COMPOSER.fullmatch(text.strip())
    if found is None or not re.fullmatch(r"[0-9A-Za-z.+_/#~-]*", found[2], re.ASCII):
        raise Unparsable(text)
    numbers = found[1].split(".") if found[1] else []
    numbers += ["0"] * (4 - len(numbers)) if numbers else []
    rest = "" if found[2].startswith("+") else found[2]
    parts = (*numbers, *(p for p in _COMPOSER_PART.findall(rest) if p.lower() != "stable"))
    return (*((6, int(p)) if p.isdigit() else (_COMPOSER_WORDS.get(p.lower(), 0),) for p in parts), _COMPOSER_END)


def _numbers(text: str, separators: str) -> Sequence[int]:
    parts = re.split(separators, text.strip())
    if not all(p.isdigit() and p.isascii() for p in parts):
        raise Unparsable(text)
    return tuple(int(p) for p in parts)


def dotted(text: str) -> Key:
    """Hackage's (Haskell PVP): numbers between dots; a longer one comes after its beginning."""
    return _numbers(text, r"\.")


def cran(text: str) -> Key:
    """R's package_version: numbers between dots or hyphens; a longer one comes after its beginning."""
    return _numbers(text, r"[.-]")
