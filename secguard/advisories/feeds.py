"""Which feeds there are by default, what they hold, and when each is due. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple


class FeedKind(StrEnum):
    OSV = "osv"
    KEV = "kev"
    EPSS = "epss"
    ALPINE = "alpine-secdb"
    DEBIAN = "debian-tracker"


class ImportStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


OPEN_IMPORTS: Final = (ImportStatus.QUEUED, ImportStatus.RUNNING)


class DefaultFeed(NamedTuple):
    name: str
    title: str
    kind: FeedKind
    url: str


_OSV = "https://osv-vulnerabilities.storage.googleapis.com/{}/all.zip"
_ECOSYSTEMS = (
    "AlmaLinux",
    "Alpine",
    "Azure Linux",
    "Bitnami",
    "Chainguard",
    "CRAN",
    "Debian",
    "Go",
    "Hackage",
    "Hex",
    "Mageia",
    "Maven",
    "MinimOS",
    "npm",
    "NuGet",
    "openEuler",
    "openSUSE",
    "Packagist",
    "Photon OS",
    "Pub",
    "PyPI",
    "Red Hat",
    "Rocky Linux",
    "RubyGems",
    "SUSE",
    "SwiftURL",
    "Ubuntu",
    "Wolfi",
    "crates.io",
)


def _slug(ecosystem: str) -> str:
    return "osv-" + ecosystem.lower().replace(" ", "-").replace(".", "-")


DEFAULTS: Final = (
    *(DefaultFeed(_slug(e), f"OSV: {e}", FeedKind.OSV, _OSV.format(e.replace(" ", "%20"))) for e in _ECOSYSTEMS),
    DefaultFeed(
        "kev",
        "CISA Known Exploited Vulnerabilities",
        FeedKind.KEV,
        "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
    ),
    DefaultFeed("epss", "FIRST EPSS", FeedKind.EPSS, "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"),
)

_EVERY: Final[dict[FeedKind, timedelta]] = {FeedKind.KEV: timedelta(hours=2), FeedKind.EPSS: timedelta(hours=12)}
_OTHERS = timedelta(hours=6)
_FIRST_RETRY = timedelta(minutes=15)


def next_due(kind: str, now: datetime, failures: int = 0) -> datetime:
    """After a success by the kind's interval; after ``failures`` in a row sooner, twice as long each time."""
    interval = _EVERY.get(FeedKind(kind), _OTHERS)
    if not failures:
        return now + interval
    sooner = _FIRST_RETRY * int(2 ** min(failures - 1, 10))
    return now + min(sooner, interval)
