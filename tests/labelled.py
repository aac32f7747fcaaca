"""What people labelled, and the feeds that the labels are held against: read from ``../shared/corpora``.

A label tells an image, a package's name and version and no type, so its ecosystem is told here: by the image, and by
how the version is written. RHEL and its rebuilds are judged by AlmaLinux's feed, the only one at hand.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import zstandard

from secguard import packagenames
from secguard.advisories.entry import Affected
from secguard.advisories.reading import Statement, items
from secguard.scans.matching import Candidate, match

LABELS = "conformance/anchore+vulnerability-match-labels/vulnerability-match-labels.shared.jsonl.zst"
FEEDS = (
    "advisories/AlmaLinux+osv-database/almalinux-osv.shared.jsonl.zst",
    "advisories/RustSec+advisory-db/rustsec-osv.shared.jsonl.zst",
    "advisories/bitnami+vulndb/bitnami-osv.shared.jsonl.zst",
    "advisories/golang+vulndb/go-vulndb-osv.shared.jsonl.zst",
    "advisories/pypa+advisory-database/pypa-osv-yaml.shared.zip",
    "advisories/alpinelinux+alpine-secdb/alpine-secdb.shared.zip",
)
ALPINE = {"58637f273108": "Alpine:v3.6", "a287a0ff98ac": "Alpine:v3.8"}
"""Releases of two images, by their digests; of the other Alpine images' releases there is no feed."""
ORIGIN = {"ssl_client": "busybox", "libcurl": "curl", "libcrypto1.0": "openssl", "libssl1.0": "openssl"}
LANGUAGES = ("PyPI", "Go", "RubyGems", "crates.io", "npm", "Maven")

Corpus = Callable[[str], bytes]
"""Reads one member of the archives."""
Label = Mapping[str, Any]
Feeds = Mapping[tuple[str, str], Sequence[tuple[str, set[str], Affected]]]
"""By (ecosystem, name): the advisory's id, its flaws' names, and what it says of the package."""


def read_feeds(corpus: Corpus) -> Feeds:
    found: dict[tuple[str, str], list[tuple[str, set[str], Affected]]] = defaultdict(list)
    for member in FEEDS:
        for s in _statements(corpus(member), member):
            for a in s.entry.affected if s.entry.withdrawn is None else ():
                names = {n for flaw in s.entry.flaws for n in flaw.names}
                found[a.ecosystem, a.name].append((s.entry.id, names, a))
    return found


def _statements(raw: bytes, member: str) -> Iterator[Statement]:
    if member.endswith(".zst"):
        documents = [("feed.jsonl", zstandard.ZstdDecompressor().stream_reader(raw).read())]
    else:
        archive = zipfile.ZipFile(io.BytesIO(raw))
        documents = [(name, archive.read(name)) for name in archive.namelist()]
    for name, document in documents:
        yield from (i for i in items(io.BytesIO(document), name) if isinstance(i, Statement))


def read_labels(corpus: Corpus) -> list[Label]:
    """Those that say true or false (``TP``, ``FP``)."""
    raw = zstandard.ZstdDecompressor().stream_reader(corpus(LABELS)).read()
    labels = (json.loads(line)["document"] for line in raw.splitlines())
    return [label for label in labels if label["label"] in ("TP", "FP")]


def ecosystems_of(label: Label) -> tuple[str, ...]:
    """Those that the labelled package may be of; none where there is no feed."""
    image, version = label["image"]["exact"], label["package"]["version"]
    if found := re.search(r"\.(?:module[_+])?el([89])", version):
        return (f"AlmaLinux:{found[1]}",)
    if re.search(r"\.el\d|amzn|\.cm\d", version):
        return ()
    if re.search(r"-r\d+$", version):
        return tuple(e for digest, e in ALPINE.items() if digest in image)
    if re.search(r"ubuntu|deb\d|^\d+:|-\d", version):
        return ()
    return (*LANGUAGES, "Bitnami") if "bitnami" in image else LANGUAGES


def source_of(ecosystem: str, name: str) -> str:
    """The name that the ecosystem's advisories use for a labelled package."""
    return packagenames.package(ecosystem, ORIGIN.get(name, name) if ecosystem.startswith("Alpine") else name)


def answer(feeds: Feeds, ecosystem: str, name: str, version: str, flaws: set[str | None]) -> str:
    """``hit``, ``no`` or ``unknown`` for any of the ``flaws`` in a build; empty where no feed names them for it."""
    said = [(i, a) for i, names, a in feeds.get((ecosystem, name), ()) if names & flaws]
    if not said:
        return ""
    found = match(
        ecosystem, name, version, [Candidate(i, ecosystem, name, a.ranges, a.versions, (1,)) for i, a in said]
    )
    return "hit" if found.hits else "unknown" if found.unknown else "no"


def flaws_of(label: Label) -> set[str | None]:
    return {label["vulnerability_id"], label.get("effective_cve")}
