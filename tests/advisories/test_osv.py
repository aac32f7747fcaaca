"""OSV entries, as their publishers write them."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.advisories import osv
from secguard.advisories.entry import Affected, Malformed, flaws_of, score

FEEDS = {
    "advisories/AlmaLinux+osv-database/almalinux-osv.shared.jsonl.zst": (3418, 0, 42604),
    "advisories/RustSec+advisory-db/rustsec-osv.shared.jsonl.zst": (432, 0, 432),
    "advisories/bitnami+vulndb/bitnami-osv.shared.jsonl.zst": (4426, 0, 4426),
    # Four ranges without events: the schema asks for at least one.
    "advisories/docker-hardened-images+advisories/docker-hardened-osv.shared.jsonl.zst": (387, 4, 425),
    "advisories/golang+vulndb/go-vulndb-osv.shared.jsonl.zst": (2529, 0, 3568),
    "advisories/psf+advisory-database/psf-osv.shared.jsonl.zst": (91, 0, 0),  # commits only
    "advisories/aquasecurity+vuln-list-k8s/k8s-osv.shared.jsonl.zst": (26, 0, 29),
}


def entry(**members):
    return osv.read(json.dumps({"id": "X-1", **members}).encode())


def one(**members):
    return entry(affected=[{"package": {"ecosystem": "npm", "name": "a"}, **members}]).affected[0]


@pytest.mark.parametrize(("member", "expected"), FEEDS.items())
def test_a_feed_is_read_whole(corpus, member, expected):
    counts = Counter()
    for line in zstandard.ZstdDecompressor().stream_reader(corpus(member)).read().splitlines():
        try:
            counts["affected"] += len(osv.read(line).affected)
            counts["read"] += 1
        except Malformed:
            counts["malformed"] += 1
    assert (counts["read"], counts["malformed"], counts["affected"]) == expected


def test_one_cve_and_all_other_names_are_one_flaw():
    (flaw,) = entry(id="GHSA-a", aliases=["CVE-2024-0001", "PYSEC-2024-1"], related=["CVE-2024-0002"]).flaws
    assert flaw.canonical == "CVE-2024-0001"
    assert set(flaw.names) == {"GHSA-a", "CVE-2024-0001", "PYSEC-2024-1"}


def test_a_bundle_of_several_cves_is_several_flaws_and_a_name_of_none():
    flaws = entry(id="USN-7234-2", upstream=["CVE-2023-0001", "CVE-2023-0002", "UBUNTU-CVE-2023-0001"]).flaws
    assert [(f.canonical, f.names) for f in flaws] == [
        ("CVE-2023-0001", ("CVE-2023-0001",)),
        ("CVE-2023-0002", ("CVE-2023-0002",)),
    ]


def test_what_a_distribution_s_update_is_related_to_is_what_it_fixes_where_it_names_nothing_else():
    assert [f.canonical for f in entry(id="ALSA-2023:1", related=["CVE-2023-0001"]).flaws] == ["CVE-2023-0001"]
    red_hat = entry(id="RHSA-2024:4546", upstream=["CVE-2023-45288"], related=["GO-2024-2687"]).flaws[0]
    assert "GO-2024-2687" not in red_hat.names
    assert [f.canonical for f in entry(id="GHSA-a", related=["CVE-2023-0001"]).flaws] == ["GHSA-a"]


def test_without_a_cve_the_entry_s_own_id_is_the_flaw_s():
    assert flaws_of("MAL-2024-1", ["GHSA-a"])[0].canonical == "MAL-2024-1"


def test_a_cve_is_written_in_capitals_and_a_name_without_end_is_none():
    assert flaws_of("GHSA-a", ["cve-2024-0001", "x" * 101])[0].names == ("GHSA-a", "CVE-2024-0001")


def test_a_package_is_named_as_it_is_looked_up():
    (a,) = entry(affected=[{"package": {"ecosystem": "PyPI", "name": "Foo.Bar"}, "versions": ["1"]}]).affected
    assert a == Affected("PyPI", "foo-bar", (), ("1",))


@pytest.mark.parametrize(
    ("written", "looked_up"),
    [
        ("Red Hat:enterprise_linux:9::appstream", "Red Hat:enterprise_linux:9"),
        ("Red Hat:enterprise_linux:10.0", "Red Hat:enterprise_linux:10"),
        ("Red Hat:rhel_eus:9.2::baseos", "Red Hat:rhel_eus:9.2"),
        ("SUSE:Linux Enterprise Module for Basesystem 15 SP5", "SUSE:Linux Enterprise 15 SP5"),
        ("SUSE:Linux Enterprise Server 15 SP3-LTSS", "SUSE:Linux Enterprise Server 15 SP3-LTSS"),
        ("Maven:https://maven.google.com", "Maven"),
        ("pypi", "PyPI"),
        ("Debian:12", "Debian:12"),
        ("Something New:1", "Something New:1"),
    ],
)
def test_an_ecosystem_is_named_as_it_is_looked_up(written, looked_up):
    (a,) = entry(affected=[{"package": {"ecosystem": written, "name": "a"}, "versions": ["1"]}]).affected
    assert a.ecosystem == looked_up


def test_commits_are_passed_over_and_listed_versions_stay():
    a = one(ranges=[{"type": "GIT", "repo": "r", "events": [{"introduced": "0"}]}], versions=["1.0"])
    assert (a.ranges, a.versions) == ((), ("1.0",))


@pytest.mark.parametrize(
    ("known", "last"),
    [
        ("<= 1.2.3", ("last_affected", "1.2.3")),
        ("< 2.0", ("limit", "2.0")),
        ("odd", ("introduced", "0")),
        (7, ("introduced", "0")),
    ],
)
def test_github_tells_the_end_of_an_open_range_beside_it(known, last):
    a = one(
        ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}],
        database_specific={"last_known_affected_version_range": known},
    )
    assert a.ranges[0][-1] == last


def test_severity_is_the_source_s_word_and_the_best_vector():
    v3, v4 = (
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H",
        "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N",
    )
    e = entry(
        severity=[{"type": "CVSS_V4", "score": v4}, {"type": "CVSS_V3", "score": v3}],
        database_specific={"severity": "HIGH"},
    )
    assert (e.severity, e.cvss_score, e.cvss_vector) == ("high", 7.5, v3)
    assert entry(severity=[{"type": "Ubuntu", "score": "medium"}]).severity == "medium"
    assert entry(summary="Important: firefox security update").severity == "important"
    assert entry(severity=[{"type": "CVSS_V3", "score": "CVSS:3.1/AV:bogus"}]).cvss_score is None


def test_a_distribution_s_urgency_and_rustsec_s_notices_are_the_package_s_own_word():
    assert one(versions=["1"], ecosystem_specific={"urgency": "unimportant"}).severity == "unimportant"
    assert one(versions=["1"], ecosystem_specific={"urgency": "not yet assigned"}).severity == ""
    assert one(versions=["1"], database_specific={"informational": "unmaintained"}).severity == "informational"


def test_times_have_a_zone_and_go_s_zero_time_is_none():
    e = entry(modified="0001-01-01T00:00:00Z", published="2024-01-02T03:04:05", withdrawn="2024-02-01T00:00:00Z")
    assert e.modified is None
    assert e.published is not None
    assert e.published.utcoffset() is not None
    assert e.withdrawn is not None


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `id`"),
        (b'{"id": ""}', "no usable id"),
        (b'{"id": 7}', "$.id"),
        (b'{"id": "A", "affected": [{"package": {"name": 1}}]}', "$.affected[0].package.name"),
        (b'{"id": "A", "affected": [{"package": {"name": "a", "ecosystem": "npm"}, "ranges": [{}]}]}', "0 events"),
        (b'{"id": "A", "database_specific": ' + b"[" * 100_000, "ecursion"),
    ],
)
def test_a_malformed_entry_says_what_is_wrong(raw, says):
    with pytest.raises(Malformed, match=says.replace("$", r"\$").replace("[", r"\[").replace(".", r"\.")):
        osv.read(raw)


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("AV:N/AC:L/Au:N/C:P/I:P/A:P", 7.5),
        ("nonsense", None),
        ("", None),
    ],
)
def test_a_vector_s_score(vector, expected):
    assert score(vector) == expected


@settings(max_examples=50)
@given(st.data())
def test_no_entry_breaks_the_reader(mutated_entry, data):
    with contextlib.suppress(Malformed):
        osv.read(mutated_entry(data))


@pytest.fixture(scope="session")
def mutated_entry(mutate):
    whole = {
        "id": "GHSA-a",
        "aliases": ["CVE-2024-0001"],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
        "affected": [
            {
                "package": {"name": "a", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1"}]}],
                "ecosystem_specific": {"urgency": "low"},
                "database_specific": {"last_known_affected_version_range": "<= 1"},
            }
        ],
        "references": [{"url": "https://example.org"}],
    }
    raw = json.dumps(whole).encode()
    return lambda data: mutate(raw, data)
