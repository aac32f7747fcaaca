"""Matching against people's own labels: 11,430 of (image, package, flaw), true or false, as far as feeds are at hand.

A label counts where the feed at hand names its flaw for its package (``tests.labelled``); the rest is a matter of which
feeds there are, not of matching.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from secguard import packagenames
from tests.labelled import LANGUAGES, answer, ecosystems_of, flaws_of, read_feeds, read_labels, source_of

OWNED = re.compile(r"package actually present is the rpm|the RPM\)|RedHat has patched", re.I)
"""How people's notes say of a language's package that it is a distribution's: then it is not held against anything."""

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
    return read_feeds(corpus)


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
    return answer(feeds, ecosystem, source_of(ecosystem, name), version, flaws_of(label))


def test_labels_are_met_as_counted_here(corpus, feeds):
    counts = Counter()
    labels = read_labels(corpus)
    owned = _owned(labels)
    for label in labels:
        image, version = label["image"]["exact"], label["package"]["version"]
        for ecosystem in ecosystems_of(label):
            if said := _answer(feeds, ecosystem, label):
                if ecosystem in LANGUAGES and _place(label) in owned:
                    said = "owned"
                counts[_group(ecosystem, image, version), label["label"], said] += 1
    assert dict(counts) == EXPECTED
