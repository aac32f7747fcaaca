"""Matching against people's own labels: 11,430 of (image, package, flaw), true or false, as far as feeds are at hand.

A label tells a package's name and version and no type, so its ecosystem is told here: by the image, and by how the
version is written. A label counts where the feed at hand names its flaw for its package; the rest is a matter of
which feeds there are, not of matching. RHEL and its rebuilds are judged by AlmaLinux's feed, the only one at hand.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter, defaultdict

import pytest
import zstandard

from secguard import packagenames
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
OWNED = re.compile(r"package actually present is the rpm|the RPM\)|RedHat has patched", re.I)
"""How people's notes say of a language's package that it is a distribution's: then it is not held against anything."""
LANGUAGES = ("PyPI", "Go", "RubyGems", "crates.io", "npm", "Maven")

# (group, label, what matching says): how many. TP: the flaw is there; FP: it is not.
EXPECTED = {
    ("AlmaLinux", "TP", "hit"): 53,
    ("Alpine", "TP", "hit"): 7,
    ("Alpine", "FP", "no"): 10,
    ("Bitnami", "TP", "hit"): 2,
    ("Go", "TP", "hit"): 21,
    ("Go", "FP", "hit"): 2,  # by the feed affected, by the label "not importable"
    ("PyPI", "TP", "hit"): 2,
    ("PyPI", "TP", "no"): 2,  # the feed says that numpy was mended long before
    ("PyPI", "FP", "owned"): 15,  # urllib3 of the rpm python3-urllib3, which the distribution mended
    ("PyPI", "FP", "hit"): 5,  # the same, in an image of which no label says so
    ("PyPI", "FP", "unknown"): 1,
    ("crates.io", "FP", "no"): 1,
    ("RHEL family", "TP", "hit"): 211,
    ("RHEL family", "TP", "no"): 21,  # nodejs outside of a module: Red Hat knows it is affected, AlmaLinux is silent
    ("RHEL family", "FP", "no"): 84,
    ("RHEL family, modules", "TP", "hit"): 32,
    ("RHEL family, modules", "TP", "no"): 9,  # php: one advisory, for one flaw labelled true and for others false
    ("RHEL family, modules", "FP", "hit"): 38,  # streams of a module that OSV does not name
    ("RHEL family, modules", "FP", "no"): 122,
}


@pytest.fixture(scope="session")
def feeds(corpus):
    """What the feeds say, by (ecosystem, name)."""
    found = defaultdict(list)
    for member in FEEDS:
        for s in _statements(corpus(member), member):
            for a in s.entry.affected if s.entry.withdrawn is None else ():
                names = {n for flaw in s.entry.flaws for n in flaw.names}
                found[a.ecosystem, a.name].append((s.entry.id, names, a))
    return found


def _statements(raw, member):
    if member.endswith(".zst"):
        documents = [("feed.jsonl", zstandard.ZstdDecompressor().stream_reader(raw).read())]
    else:
        archive = zipfile.ZipFile(io.BytesIO(raw))
        documents = [(name, archive.read(name)) for name in archive.namelist()]
    for name, document in documents:
        yield from (i for i in items(io.BytesIO(document), name) if isinstance(i, Statement))


def _labels(corpus):
    raw = zstandard.ZstdDecompressor().stream_reader(corpus(LABELS)).read()
    for line in raw.splitlines():
        label = json.loads(line)["document"]
        if label["label"] in ("TP", "FP"):
            yield label


def _ecosystems(image, version):
    if found := re.search(r"\.(?:module[_+])?el([89])", version):
        return (f"AlmaLinux:{found[1]}",)
    if re.search(r"\.el\d|amzn|\.cm\d", version):
        return ()
    if re.search(r"-r\d+$", version):
        return tuple(e for digest, e in ALPINE.items() if digest in image)
    if re.search(r"ubuntu|deb\d|^\d+:|-\d", version):
        return ()
    return (*LANGUAGES, "Bitnami") if "bitnami" in image else LANGUAGES


def _group(ecosystem, image, version):
    if not ecosystem.startswith("AlmaLinux"):
        return packagenames.base(ecosystem)
    if "almalinux@" in image:
        return "AlmaLinux"
    return "RHEL family, modules" if ".module" in version else "RHEL family"


def _owned(labels):
    """(image, package) of languages' packages that some note of the image says to be of a distribution's package."""
    return {_place(label) for label in labels if OWNED.search(label.get("note", ""))}


def _place(label):
    return label["image"]["exact"], label["package"]["name"], label["package"]["version"]


def _answer(feeds, ecosystem, label):
    name, version = label["package"]["name"], label["package"]["version"]
    name = packagenames.package(ecosystem, ORIGIN.get(name, name) if ecosystem.startswith("Alpine") else name)
    wanted = {label["vulnerability_id"], label.get("effective_cve")}
    said = [(i, a) for i, names, a in feeds.get((ecosystem, name), ()) if names & wanted]
    if not said:
        return ""
    found = match(
        ecosystem, name, version, [Candidate(i, ecosystem, name, a.ranges, a.versions, (1,)) for i, a in said]
    )
    return "hit" if found.hits else "unknown" if found.unknown else "no"


def test_labels_are_met_as_counted_here(corpus, feeds):
    counts = Counter()
    labels = list(_labels(corpus))
    owned = _owned(labels)
    for label in labels:
        image, version = label["image"]["exact"], label["package"]["version"]
        for ecosystem in _ecosystems(image, version):
            if answer := _answer(feeds, ecosystem, label):
                if ecosystem in LANGUAGES and _place(label) in owned:
                    answer = "owned"
                counts[_group(ecosystem, image, version), label["label"], answer] += 1
    assert dict(counts) == EXPECTED
