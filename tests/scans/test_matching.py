"""Builds against advisories: the rules, each by a case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.findings.severity import Severity
from secguard.scans.matching import Answer, Candidate, judge, match


def candidate(*events, ecosystem="Debian:12", name="glibc", **more):
    return Candidate(
        more.pop("advisory", "DSA-1"), ecosystem, name, (events,) if events else (), **{"flaws": (1,), **more}
    )


def answer(ecosystem, version, *ranges, listed=()):
    return judge(ecosystem, version, ranges, listed).answer.value


I0 = ("introduced", "0")


@pytest.mark.parametrize(
    ("version", "events", "expected"),
    [
        ("1.0", [I0, ("fixed", "2.0")], "affected"),
        ("2.0", [I0, ("fixed", "2.0")], "not_affected"),
        ("2.0.0-rc1", [I0, ("fixed", "2.0.0")], "affected"),
        ("0.9", [("introduced", "1.0"), ("fixed", "2.0")], "not_affected"),
        ("1.0", [("introduced", "1.0"), ("fixed", "2.0")], "affected"),
        ("1.5", [I0, ("last_affected", "1.5")], "affected"),
        ("1.5.1", [I0, ("last_affected", "1.5")], "not_affected"),
        ("9.9", [I0], "affected"),
        ("1.5", [I0, ("limit", "1.5")], "not_affected"),
        ("1.4", [I0, ("limit", "1.5")], "affected"),
        ("9.9", [I0, ("limit", "*")], "affected"),
        ("1.0", [I0, ("limit", "0.5"), ("limit", "2.0")], "affected"),
        # Several turns in one range, in any order.
        ("2.5", [I0, ("fixed", "1.0"), ("introduced", "2.0"), ("fixed", "3.0")], "affected"),
        ("1.5", [("fixed", "3.0"), ("introduced", "2.0"), ("fixed", "1.0"), I0], "not_affected"),
        ("3.5", [I0, ("last_affected", "1.0"), ("introduced", "2.0"), ("last_affected", "3.0")], "not_affected"),
        # Opened and closed at one version: never.
        ("1.0", [("introduced", "1.0"), ("fixed", "1.0")], "not_affected"),
        ("1.0", [I0, ("fixed", "0")], "not_affected"),
    ],
)
def test_ranges_are_evaluated_as_the_schema_says(version, events, expected):
    assert answer("npm", version, events) == expected


def test_any_range_and_any_listed_version_is_enough():
    assert answer("npm", "5.0", [I0, ("fixed", "1.0")], [("introduced", "4.0"), ("fixed", "6.0")]) == "affected"
    assert answer("npm", "5.0", [I0, ("fixed", "1.0")], listed=["5.0"]) == "affected"
    assert answer("npm", "5.0", listed=["5.1"]) == "not_affected"
    assert answer("PyPI", "1.0", listed=["1.0.0"]) == "affected"


@pytest.mark.parametrize(
    ("ecosystem", "version", "ranges", "listed", "says"),
    [
        ("PyPI", "0.0.0-DEVELOPMENT", [[I0, ("fixed", "3.0")]], [], "'0.0.0-DEVELOPMENT'"),
        ("PyPI", "1.0", [[I0, ("fixed", "bogus version")]], [], "'bogus version'"),
        ("Plan 9", "1.0", [[I0, ("fixed", "2.0")]], [], "an ecosystem that is known"),
        ("npm", "1.0", [], [], "names no version"),
    ],
)
def test_what_cannot_be_compared_is_unknown_and_says_why(ecosystem, version, ranges, listed, says):
    judged = judge(ecosystem, version, ranges, listed)
    assert judged.answer is Answer.UNKNOWN
    assert says in judged.why


def test_one_range_that_can_be_read_is_enough_beside_one_that_cannot():
    assert answer("npm", "1.0", [I0, ("fixed", "?")], [I0, ("fixed", "2.0")]) == "affected"
    assert answer("npm", "bogus", listed=["bogus"]) == "affected"


def test_the_nearest_fix_of_each_range_is_told_oldest_first():
    judged = judge(
        "npm", "1.5.0", [[I0, ("fixed", "1.10.0")], [("introduced", "1.0"), ("fixed", "1.9.0"), ("fixed", "3.0")]]
    )
    assert judged.fixed_versions == ("1.9.0", "1.10.0")
    assert judge("npm", "1.5.0", [[I0, ("last_affected", "2.0")]]).fixed_versions == ()


def test_the_distribution_s_own_verdict_is_the_only_one_asked_for_its_package():
    upstream = candidate(I0, ("fixed", "2.40"), ecosystem="OSS-Fuzz", advisory="OSV-1")
    other_release = candidate(I0, ("fixed", "2.40-1"), ecosystem="Debian:13", advisory="DSA-2")
    own = candidate(I0, ("fixed", "2.36-9+deb12u4"))
    assert not match("Debian:12", "glibc", "2.36-9+deb12u4", [upstream, other_release, own]).hits
    assert match("Debian:12", "glibc", "2.36-9+deb12u3", [upstream, other_release, own]).hits[1].fixed_versions == (
        "2.36-9+deb12u4",
    )


def test_withdrawn_advisories_hit_nothing():
    assert not match("Debian:12", "glibc", "2.36-9", [candidate(I0, is_withdrawn=True)]).hits


def test_several_sources_are_one_hit_with_the_worst_severity_and_all_fixes():
    found = match(
        "npm",
        "a",
        "1.0.0",
        [
            candidate(
                I0, ("fixed", "1.0.10"), ecosystem="npm", name="a", advisory="GHSA-a", advisory_severity="moderate"
            ),
            candidate(I0, ("fixed", "1.0.9"), ecosystem="npm", name="a", advisory="OSV-b", cvss_score=9.8),
            candidate(I0, ("fixed", "?"), ecosystem="npm", name="a", advisory="OSV-c"),
        ],
    )
    assert not found.unknown
    hit = found.hits[1]
    assert (hit.severity, hit.fixed_versions, hit.advisories) == (
        Severity.CRITICAL,
        ("1.0.9", "1.0.10"),
        ["GHSA-a", "OSV-b"],
    )


def test_unknown_is_kept_where_nothing_hits():
    found = match("npm", "a", "bogus", [candidate(I0, ("fixed", "1"), ecosystem="npm", name="a")])
    assert (found.hits, list(found.unknown)) == ({}, [1])
    assert found.unknown[1].startswith("DSA-1: 'bogus'")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"severity": "unimportant", "advisory_severity": "high", "cvss_score": 9.8}, Severity.NEGLIGIBLE),
        ({"advisory_severity": "important", "cvss_score": 9.8}, Severity.HIGH),
        ({"advisory_severity": "unheard of", "cvss_score": 5.0}, Severity.MEDIUM),
        ({}, Severity.UNKNOWN),
    ],
)
def test_the_package_s_word_counts_before_the_advisory_s_and_that_before_a_score(words, expected):
    assert match("Debian:12", "glibc", "1-1", [candidate(I0, **words)]).hits[1].severity is expected


def test_a_module_s_package_is_not_the_plain_one_of_its_name():
    module = candidate(I0, ("fixed", "1:18.18.2-2.module_el9.2.0+43"), ecosystem="AlmaLinux:9", name="nodejs")
    assert not match("AlmaLinux:9", "nodejs", "1:16.20.2-3.el9_2", [module]).hits
    assert match("AlmaLinux:9", "nodejs", "1:18.17.1-1.module_el9.2.0+36", [module]).hits


def test_a_module_s_stream_is_judged_by_the_fix_of_that_stream():
    twelve = candidate(
        I0, ("fixed", "12.9-1.module_el8.5.0+1"), ecosystem="AlmaLinux:8", name="postgresql", advisory="ALSA-1"
    )
    thirteen = candidate(
        I0, ("fixed", "13.5-1.module_el8.5.0+2"), ecosystem="AlmaLinux:8", name="postgresql", advisory="ALSA-2"
    )
    assert not match("AlmaLinux:8", "postgresql", "12.11-2.module_el8.6.0+9", [twelve, thirteen]).hits
    assert match("AlmaLinux:8", "postgresql", "12.7-1.module_el8.4.0+9", [twelve, thirteen]).hits[1].advisories == [
        "ALSA-1"
    ]


numbers = st.integers(0, 9).map(str)
bounds = st.lists(st.tuples(st.sampled_from(["introduced", "fixed", "last_affected"]), numbers), min_size=1, max_size=6)


@given(numbers, bounds)
def test_evaluation_is_the_schema_s_algorithm(version, events):
    """The schema's own way: events in order of versions, a fix after an opening at one version."""
    rank = {"introduced": 0, "fixed": 1, "last_affected": 2}
    inside = False
    for kind, text in sorted(events, key=lambda e: (int(e[1]), rank[e[0]])):
        at, here = int(text), int(version)
        if kind == "introduced" and here >= at:
            inside = True
        elif (kind == "fixed" and here >= at) or (kind == "last_affected" and here > at):
            inside = False
    assert (answer("npm", version, events) == "affected") is inside
