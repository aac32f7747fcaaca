"""Packages with their releases, and the flaws in them: generated, with names that no real flaw has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

WEEKS: Final = 10
START: Final = -7 * WEEKS
"""Days are counted from the day of loading; the history begins here."""

_RELEASES: Final = 7
_BETWEEN_RELEASES: Final = 20


@dataclass(frozen=True, slots=True)
class Package:
    """A package of one ecosystem, and the days on which its versions came out."""

    name: str
    prefix: str
    """Its purl up to the name."""
    pattern: str
    first: int
    released: tuple[int, ...]
    license: str

    def version(self, index: int) -> str:
        return self.pattern.format(self.first + index)

    def purl(self, index: int) -> str:
        return f"{self.prefix}{self.name}@{self.version(index)}"

    def newest(self, day: float) -> int:
        """The index of the newest version that was out on ``day``."""
        return max((i for i, out in enumerate(self.released) if out <= day), default=0)


@dataclass(frozen=True, slots=True)
class Weakness:
    """A flaw: which versions have it, and from when on the world knew what of it. Days as everywhere here."""

    id: str
    package: str
    title: str
    severity: str
    score: float
    epss: float
    since: int
    """The first version that has it."""
    fixed_in: int | None
    """The first version that has it no more."""
    published: int
    exploited_from: int | None = None

    def is_in(self, index: int) -> bool:
        return self.since <= index and (self.fixed_in is None or index < self.fixed_in)


@dataclass(frozen=True, slots=True)
class Catalogue:
    packages: Mapping[str, Mapping[str, Package]]
    """{ecosystem: {name: package}}."""
    flaws: Mapping[str, tuple[Weakness, ...]]
    """{package name with its ecosystem: flaws}."""


# name: (pattern, first number), by ecosystem. A version is the pattern with the number of its release.
_WORDS: Final[dict[str, tuple[str, str, dict[str, tuple[str, int]]]]] = {
    "debian": (
        "pkg:deb/debian/",
        "GPL-2.0-or-later",
        {
            "openssl": ("3.0.{}-1~deb12u1", 9),
            "libc6": ("2.36-9+deb12u{}", 3),
            "zlib1g": ("1:1.2.13.dfsg-{}", 1),
            "libcurl4": ("7.88.1-10+deb12u{}", 4),
            "libxml2": ("2.9.14+dfsg-1.3~deb12u{}", 1),
            "libexpat1": ("2.5.0-1+deb12u{}", 1),
            "libgnutls30": ("3.7.9-2+deb12u{}", 1),
            "libsystemd0": ("252.{}-1~deb12u1", 17),
            "perl-base": ("5.36.0-7+deb12u{}", 1),
            "libkrb5-3": ("1.20.1-2+deb12u{}", 1),
            "tar": ("1.34+dfsg-1.2+deb12u{}", 1),
            "bash": ("5.2.15-2+b{}", 2),
            "libsqlite3-0": ("3.40.1-2+deb12u{}", 1),
            "libtasn1-6": ("4.19.0-2+deb12u{}", 1),
        },
    ),
    "alpine": (
        "pkg:apk/alpine/",
        "MIT",
        {
            "libcrypto3": ("3.1.{}-r0", 2),
            "busybox": ("1.36.1-r{}", 2),
            "musl": ("1.2.4-r{}", 1),
            "zlib": ("1.2.13-r{}", 1),
            "ca-certificates": ("2023{:04}-r0", 506),
            "libcurl": ("8.{}.0-r0", 2),
            "nghttp2-libs": ("1.5{}.0-r0", 3),
        },
    ),
    "npm": (
        "pkg:npm/",
        "MIT",
        {
            "express": ("4.18.{}", 1),
            "lodash": ("4.17.{}", 16),
            "axios": ("1.{}.0", 3),
            "ws": ("8.{}.0", 12),
            "jsonwebtoken": ("9.0.{}", 0),
            "qs": ("6.{}.0", 9),
            "semver": ("7.5.{}", 0),
            "next": ("13.{}.1", 2),
            "body-parser": ("1.{}.0", 18),
            "cookie": ("0.{}.0", 4),
        },
    ),
    "maven": (
        "pkg:maven/",
        "Apache-2.0",
        {
            "org.springframework/spring-web": ("6.0.{}", 8),
            "org.springframework/spring-core": ("6.0.{}", 8),
            "com.fasterxml.jackson.core/jackson-databind": ("2.15.{}", 0),
            "io.netty/netty-handler": ("4.1.{}.Final", 92),
            "org.apache.tomcat.embed/tomcat-embed-core": ("10.1.{}", 8),
            "org.yaml/snakeyaml": ("2.{}", 0),
            "org.postgresql/postgresql": ("42.6.{}", 0),
            "org.apache.logging.log4j/log4j-core": ("2.{}.0", 18),
            "ch.qos.logback/logback-classic": ("1.4.{}", 7),
        },
    ),
    "golang": (
        "pkg:golang/",
        "BSD-3-Clause",
        {
            "golang.org/x/crypto": ("v0.{}.0", 12),
            "golang.org/x/net": ("v0.{}.0", 13),
            "google.golang.org/grpc": ("v1.{}.0", 56),
            "google.golang.org/protobuf": ("v1.{}.0", 30),
            "github.com/gin-gonic/gin": ("v1.9.{}", 0),
            "github.com/golang-jwt/jwt": ("v4.5.{}", 0),
            "stdlib": ("1.20.{}", 5),
        },
    ),
    "pypi": (
        "pkg:pypi/",
        "BSD-3-Clause",
        {
            "requests": ("2.{}.0", 28),
            "urllib3": ("1.26.{}", 15),
            "jinja2": ("3.1.{}", 1),
            "cryptography": ("4{}.0.0", 0),
            "pillow": ("9.{}.0", 2),
            "aiohttp": ("3.8.{}", 3),
            "sqlalchemy": ("2.0.{}", 15),
            "certifi": ("2023.{}.22", 5),
            "werkzeug": ("2.3.{}", 3),
        },
    ),
}

_KINDS: Final = (
    "Out-of-bounds read",
    "Out-of-bounds write",
    "Use after free",
    "Integer overflow",
    "Uncontrolled resource consumption",
    "Improper certificate validation",
    "Path traversal",
    "Request smuggling",
    "Deserialisation of untrusted data",
    "Regular expression denial of service",
    "Open redirect",
    "Race condition",
)
_SEVERITIES: Final = (("critical", 9.0, 9.9), ("high", 7.0, 8.9), ("medium", 4.0, 6.9), ("low", 0.5, 3.9))
_WEIGHTS: Final = (5, 23, 48, 24)

EXPLOITED: Final = "SAMPLE-2026-9001"
"""Critical, in everything on Debian, and exploited from day ``-9`` on."""
FIXED_LATE: Final = "SAMPLE-2026-9002"
"""High, in the web shop's framework; a fix appears on day ``-16``: what was accepted without one is asked anew."""
NEVER_FIXED: Final = "SAMPLE-2026-9003"
"""High, in Debian's libc6; nobody will fix it."""

_STORIES: Final = (
    Weakness(EXPLOITED, "maven/org.apache.logging.log4j/log4j-core", "Remote code execution by a logged text in "
             "log4j-core", "critical", 9.8, 0.71, 0, 5, -35, -30),
    Weakness(FIXED_LATE, "npm/next", "Authorisation bypass in next", "high", 8.1, 0.04, 0, 7, -45),
    Weakness(NEVER_FIXED, "debian/libc6", "Out-of-bounds write in libc6", "high", 7.4, 0.008, 0, None, -200),
)  # fmt: skip
_LATE_DAY: Final = -16


def make(random: Random) -> Catalogue:
    """A catalogue that depends on ``random`` alone."""
    packages = {eco: _packages(eco, random) for eco in _WORDS}
    flaws: dict[str, tuple[Weakness, ...]] = {}
    number = 1
    for eco, by_name in packages.items():
        for package in by_name.values():
            made = list(_flaws(f"{eco}/{package.name}", package, number, random))
            number += len(made)
            made += [_told(s, package) for s in _STORIES if s.package == f"{eco}/{package.name}"]
            flaws[f"{eco}/{package.name}"] = tuple(made)
    return Catalogue(packages, flaws)


def _told(story: Weakness, package: Package) -> Weakness:
    return replace(story, fixed_in=package.released.index(_LATE_DAY)) if story.id == FIXED_LATE else story


def _packages(eco: str, random: Random) -> dict[str, Package]:
    prefix, license_, words = _WORDS[eco]
    found = {}
    for name, (pattern, first) in words.items():
        begin = START - 2 * _BETWEEN_RELEASES + random.randint(-8, 8)
        days = [begin + i * _BETWEEN_RELEASES + random.randint(-5, 5) for i in range(_RELEASES)]
        if name == "next":
            days.append(_LATE_DAY)
        found[name] = Package(name, prefix, pattern, first, tuple(sorted(days)), license_)
    return found


def _flaws(key: str, package: Package, number: int, random: Random) -> list[Weakness]:
    fixed: list[int | None] = []
    for index in range(1, len(package.released)):
        fixed += [index] * random.choices((0, 1, 2), (50, 38, 12))[0]
    fixed += [None] * random.choices((0, 1, 2), (60, 30, 10))[0]
    return [_flaw(key, package, number + i, index, random) for i, index in enumerate(fixed)]


def _flaw(key: str, package: Package, number: int, index: int | None, random: Random) -> Weakness:
    severity, low, high = random.choices(_SEVERITIES, _WEIGHTS)[0]
    if index is None and severity == "critical":
        severity, low, high = _SEVERITIES[1]
    known = package.released[index] if index is not None else random.randint(START - 300, -5)
    return Weakness(
        id=f"SAMPLE-2026-{number:04}",
        package=key,
        title=f"{random.choice(_KINDS)} in {package.name.rpartition('/')[2]}",
        severity=severity,
        score=round(random.uniform(low, high), 1),
        epss=round(10 ** random.uniform(-4, -1.3), 5),
        since=max(0, (index or 1) - random.randint(1, 4)),
        fixed_in=index,
        published=known - random.randint(0, 12),
        exploited_from=known if severity == "high" and random.random() < 0.012 else None,
    )
