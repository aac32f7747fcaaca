"""Orders of versions, against the tables of the projects that made them and against dpkg itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from univers.versions import DebianVersion, RpmVersion

from secguard.advisories import versions
from secguard.advisories.orders import Unparsable
from tests.advisories import tables

SCALIBR = "conformance/google+osv-scalibr/semantic/testdata/{}-versions.txt"
VERS = "conformance/package-url+vers-spec/tests/{}_version_cmp_test.json"
APK = "conformance/alpinelinux+apk-tools/test/unit/version.data"
RPM = "conformance/aboutcode-org+univers/tests/data/rpmvercmp.at"

# (ecosystem, table, how it is written, rows, rows that differ, rows with a version that is none). What differs:
# Maven's `1-1 = 1-ga-1`; NuGet's pre-releases in capitals, where the vers table contradicts NuGet and osv-scalibr;
# Composer's `1.0` and `1.0.0`, which are one version there, and PHP's `#`.
TABLES = [
    ("Alpine", APK, "lines", 738, 0, 2),
    ("Alpine", SCALIBR.format("alpine"), "lines", 778, 0, 37),
    ("Alpine", VERS.format("alpine"), "vers", 716, 0, 0),
    ("Debian", SCALIBR.format("debian"), "lines", 30, 0, 0),
    ("Red Hat", RPM, "rpm", 91, 0, 0),
    ("Maven", SCALIBR.format("maven"), "lines", 102, 1, 0),
    ("Maven", VERS.format("maven"), "vers", 977, 0, 0),
    ("NuGet", SCALIBR.format("nuget"), "lines", 35, 0, 0),
    ("NuGet", VERS.format("nuget"), "vers", 23, 4, 0),
    ("Packagist", SCALIBR.format("packagist"), "lines", 95, 2, 0),
    ("Pub", SCALIBR.format("pub"), "lines", 100, 0, 0),
    ("PyPI", SCALIBR.format("pypi"), "lines", 37, 0, 11),
    ("RubyGems", SCALIBR.format("rubygems"), "lines", 25, 0, 2),
    ("npm", SCALIBR.format("semver"), "lines", 86, 0, 0),
    ("Go", SCALIBR.format("semver"), "lines", 86, 0, 0),
    ("CRAN", SCALIBR.format("cran"), "lines", 21, 0, 0),
    ("Hackage", SCALIBR.format("hackage"), "lines", 11, 0, 0),
]


def order(ecosystem, a, b):
    kind = versions.order_of(ecosystem)
    return versions.compare(versions.parse(kind, a), versions.parse(kind, b))


@pytest.mark.parametrize(("ecosystem", "member", "written", "rows", "wrong", "unknown"), TABLES)
def test_a_table_of_versions(corpus, ecosystem, member, written, rows, wrong, unknown):
    differ, unread, count = [], [], 0
    for a, expected, b in tables.READERS[written](corpus(member).decode()):
        count += 1
        try:
            if (found := order(ecosystem, a, b)) != expected:
                differ.append((a, expected, b, found))
        except Unparsable:
            unread.append((a, b))
    assert (count, len(differ), len(unread)) == (rows, wrong, unknown), (differ, unread)


@pytest.mark.parametrize(
    ("ecosystem", "a", "sign", "b"),
    [
        ("Debian:12", "00001", 0, "1"),
        ("Debian:12", "1:1.0", 1, "2.0"),
        ("Debian:12", "2.36-9+deb12u4", -1, "2.36-9+deb12u10"),
        ("Ubuntu:22.04:LTS", "5.1-6ubuntu1", -1, "5.1-6ubuntu1.1"),
        ("Maven", "1.0.RELEASE", 0, "1.0"),
        ("Maven", "4.1.0.Final", 0, "4.1.0"),
        ("Alpine:v3.18", "2.4.54", -1, "2.4.54-r0"),
        ("Alpine:v3.18", "1.0_git20240101", 1, "1.0"),
        ("Alpine:v3.18", "1.2_cvs1", 1, "1.2"),
        ("Alpine:v3.18", "1.2_alpha", -1, "1.2"),
        ("Red Hat:enterprise_linux:8", "1.0-1", 0, "1.0"),
        ("Red Hat:enterprise_linux:8", "1.0", -1, "1.0-1"),
        ("AlmaLinux:8", "7.4.30-1.module_el8.7.0+1190+d11b935a", 0, "7.4.30-1.module_el8.7.0+3286+227f3cf0"),
        ("AlmaLinux:8", "1:1.1.1k-9.el8_7", 1, "1.1.1k-12.el8_9"),
        ("Bitnami", "7.0.5-1", 1, "7.0.5"),
        ("Bitnami", "7.0.5-rc1", -1, "7.0.5"),
        ("Go", "go1.21rc2", -1, "1.21.0"),
        ("Go", "v0.0.0-20190101000000-abcdefabcdef", -1, "0.0.1"),
        ("Go", "20.10.18+incompatible", 0, "20.10.18"),
        ("PyPI", "1.0", 0, "1.0.0"),
        ("Packagist", "v2.0", 0, "2.0.0.0"),
        ("Packagist", "2.0.0-beta1", -1, "2.0.0"),
        ("RubyGems", "5.0.0.1", 1, "5.0.0"),
        ("SUSE:Linux Enterprise 15 SP5", "1.0~rc1-150500.1.1", -1, "1.0-150500.1.1"),
    ],
)
def test_what_libraries_get_wrong_or_ecosystems_mean(ecosystem, a, sign, b):
    assert order(ecosystem, a, b) == sign


@pytest.mark.parametrize(
    ("ecosystem", "text"),
    [
        ("Debian:12", ""),
        ("Debian:12", "<unfixed>"),
        ("Debian:12", "1 2"),
        ("PyPI", "0.0.0-DEVELOPMENT"),
        ("Go", "(devel)"),
        ("npm", "latest"),
        ("Alpine:v3.18", "1.0_foo"),
        ("RubyGems", "1beta"),
        ("npm", "1." * 200),
        ("Plan 9", "1.0"),
    ],
)
def test_what_is_no_version_is_never_compared(ecosystem, text):
    with pytest.raises(Unparsable):
        versions.parse(versions.order_of(ecosystem), text)


words = st.text("019abz~+.-^:", min_size=1, max_size=8)


@given(words, words)
def test_no_text_breaks_an_order_and_every_order_is_one(a, b):
    for ecosystem in ("Debian", "Red Hat", "Alpine", "npm", "NuGet", "Pub", "Bitnami", "Packagist", "Maven", "PyPI"):
        try:
            assert order(ecosystem, a, b) == -order(ecosystem, b, a) or ecosystem == "Red Hat"
        except Unparsable:
            continue


_BODY = st.text("019ab.+~", min_size=1, max_size=8).map(lambda t: f"1{t}")
_EVR = st.tuples(st.sampled_from(["", "0:", "1:"]), _BODY, _BODY).map(lambda t: f"{t[0]}{t[1]}-{t[2]}")


@given(_EVR, _EVR)
def test_deb_and_rpm_agree_with_univers(a, b):
    for ecosystem, theirs in (("Debian", DebianVersion), ("Red Hat", RpmVersion)):
        x, y = theirs(a), theirs(b)
        assert order(ecosystem, a, b) == (-1 if x < y else 1 if x > y else 0)


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg, which says what Debian's order is")
@settings(max_examples=60, deadline=None)
@given(_EVR, _EVR)
def test_deb_agrees_with_dpkg(a, b):
    found = {
        word: subprocess.run(["dpkg", "--compare-versions", a, word, b], check=False).returncode == 0
        for word in ("lt", "eq", "gt")
    }
    assert found == {
        "lt": order("Debian", a, b) == -1,
        "eq": order("Debian", a, b) == 0,
        "gt": order("Debian", a, b) == 1,
    }
