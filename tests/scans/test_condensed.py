"""What is kept of a report between whoever accepted it and the worker that takes it in."""

from __future__ import annotations

import json
import zlib

import pytest

from secguard.scans import condensed, translation
from secguard.scans.readers import read_report
from tests.fixtures_reports import flaw, report


def condense(raw):
    return translation.condense(read_report(raw))


FLAWS = [flaw("CVE-2024-0001", fixed_versions=["2", "3"]), flaw("CVE-2024-0001", "zlib"), flaw("CVE-2024-0002")]


def test_it_is_unpacked_as_it_was_packed():
    packed = condense(report(*FLAWS))
    unpacked = condensed.unpack(packed.pack())
    assert (unpacked.head, unpacked.body, unpacked.fingerprint) == (packed.head, packed.body, packed.fingerprint)
    assert [f.canonical for f in unpacked.body.flaws] == ["CVE-2024-0001", "CVE-2024-0002"]
    assert [(c.flaw, c.purl) for c in unpacked.body.claims][1] == (0, "pkg:deb/debian/zlib@1.1.1")
    assert unpacked.head.finding_count == 3


@pytest.mark.corpus
def test_every_real_report_gives_the_same_entries_packed_and_unpacked(corpus, corpus_members):
    read = 0
    for member in corpus_members("scanner")[::7]:
        try:
            whole = condense(corpus(member))
        except Exception:  # noqa: BLE001 - what is refused is the readers' own tests' business
            continue
        packed = whole.pack()
        if packed is not None:
            names = {f.canonical: f.canonical for f in whole.body.flaws}
            unpacked = condensed.unpack(packed)
            assert translation.entries(unpacked.body, names, dict) == translation.entries(whole.body, names, dict)
            assert unpacked.fingerprint == whole.fingerprint
            read += 1
    assert read > 20


@pytest.mark.parametrize(
    "kept",
    [b"", b"not deflated", zlib.compress(b"no msgpack"), zlib.compress(b"\x93\x01\x02")],
)
def test_what_is_no_condensed_report_is_read_again(kept):
    assert condensed.unpack(kept) is None


def test_what_another_version_packed_is_read_again(monkeypatch):
    packed = condense(report(*FLAWS)).pack()
    monkeypatch.setattr(condensed, "VERSION", condensed.VERSION + 1)
    assert condensed.unpack(packed) is None


def test_nothing_and_too_much_are_not_kept(monkeypatch):
    assert condense(report()).pack() is None
    monkeypatch.setattr(condensed, "MAX_PACKED", 10)
    assert condense(report(*FLAWS)).pack() is None


def test_a_later_look_that_finds_the_same_has_the_same_fingerprint():
    first = report(*FLAWS, generated_at="2026-01-01T00:00:00Z")
    later = json.dumps({**json.loads(report(*FLAWS)), "generated_at": "2026-02-01T00:00:00Z"}, indent=2).encode()
    assert condense(first).fingerprint == condense(later).fingerprint


@pytest.mark.parametrize(
    "other",
    [
        report(*FLAWS[:2]),
        report(*FLAWS[:2], flaw("CVE-2024-0002", severity="low")),
        report(*FLAWS[:2], flaw("CVE-2024-0002", title="Another title")),
        report(*FLAWS, covers=["vulnerability", "secret"]),
        report(*FLAWS, complete=False),
        report(*FLAWS, components=[{"purl": "pkg:deb/debian/openssl@1.1.1"}]),
    ],
)
def test_anything_else_that_it_says_makes_another_fingerprint(other):
    assert condense(other).fingerprint != condense(report(*FLAWS)).fingerprint


@pytest.mark.parametrize(
    "more",
    [{"aliases": ["GHSA-aaaa-bbbb-cccc"]}, {"epss": 0.5}, {"known_exploited": True}],
)
def test_what_depends_on_others_words_is_not_plain(more):
    assert condense(report(*FLAWS)).head.is_plain
    assert not condense(report(*FLAWS, flaw("CVE-2024-0003", **more))).head.is_plain


def test_a_package_that_only_the_inventory_can_tell_is_not_plain():
    raw = report(flaw("CVE-2024-0001", package={"name": "openssl", "version": "1.1.1"}))
    assert not condense(raw).head.is_plain
    claim = condense(raw).body.claims[0]
    assert (claim.name, claim.version) == ("openssl", "1.1.1")


def test_a_secret_s_text_is_not_in_the_packed_form():
    results = [{"Target": "/a", "Class": "secret", "Secrets": [{"RuleID": "key", "Match": "hunter2 in the clear"}]}]
    raw = json.dumps({"SchemaVersion": 2, "ArtifactName": "reg.example/shop/web:1", "Results": results}).encode()
    whole = condense(raw)
    assert whole.head.finding_count == 1
    assert b"hunter2" not in zlib.decompress(whole.pack())
