"""What makes a finding the same finding, whichever tool reports it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packageurl import PackageURL

from secguard.errors import Invalid
from secguard.findings import identity
from secguard.findings.identity import FindingKind, canonical_purl, canonical_vulnerability_id, package_of, risk_key
from secguard.images.purl import coordinates

TYPES = st.sampled_from(["deb", "rpm", "apk", "npm", "pypi", "gem", "golang", "maven", "nuget", "generic", "cargo"])
NAMES = st.from_regex(r"[A-Za-z0-9._+@~-]{1,12}", fullmatch=True)
VERSIONS = st.from_regex(r"[A-Za-z0-9._+~:-]{1,12}", fullmatch=True)
PURLS = st.builds(
    lambda type_, spaces, name, version, extra: (
        f"pkg:{type_}/{''.join(s + '/' for s in spaces)}{name}@{version}{extra}"
    ),
    TYPES,
    st.lists(NAMES, max_size=2),
    NAMES,
    VERSIONS,
    st.sampled_from(["", "?arch=amd64", "?arch=amd64&distro=debian-12", "?epoch=1", "?epoch=0&arch=x", "#a/b", "?x"]),
)


def generally(purl):
    try:
        return identity._canonical(purl)
    except Invalid:
        return None


@given(PURLS)
@example("pkg:deb/debian/libstdc++6@12.2.0-14%2Bdeb12u1?arch=amd64")
@example("pkg:deb/debian/g.@1+2")
def test_the_short_way_and_the_general_way_agree(purl):
    try:
        short = canonical_purl(purl)
    except Invalid:
        short = None
    assert short == generally(purl)


@given(PURLS)
def test_a_canonical_purl_is_canonical_and_its_parts_are_those_of_the_specification(purl):
    try:
        canonical = canonical_purl(purl)
    except Invalid:
        return
    assert canonical_purl(canonical) == canonical
    parsed, parts = PackageURL.from_string(canonical), coordinates(canonical)
    assert (parts.type, parts.name, parts.version) == (parsed.type, parsed.name, parsed.version or "")
    assert parts.package == package_of(purl)
    assert PackageURL.from_string(parts.package) == PackageURL(parsed.type, parsed.namespace, parsed.name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pkg:rpm/redhat/bash@5.1?epoch=1", "pkg:rpm/redhat/bash@1:5.1"),
        ("pkg:rpm/redhat/bash@0:5.1", "pkg:rpm/redhat/bash@5.1?epoch=0"),
        ("pkg:deb/debian/gcc@12%2Bb1?arch=amd64", "pkg:deb/debian/gcc@12+b1"),
        ("pkg:pypi/Typing_Extensions@4", "pkg:pypi/typing-extensions@4"),
    ],
)
def test_two_ways_to_write_one_package(one, other):
    assert canonical_purl(one) == canonical_purl(other)


@pytest.mark.parametrize(
    ("one", "other"), [("pkg:rpm/a/bash@1:5", "pkg:rpm/a/bash@2:5"), ("pkg:gem/a@1", "pkg:npm/a@1")]
)
def test_two_packages(one, other):
    assert canonical_purl(one) != canonical_purl(other)


@pytest.mark.parametrize("text", ["", "bash", "pkg:", "pkg:deb", "pkg:deb/"])
def test_what_is_no_package_url_is_refused(text):
    with pytest.raises(Invalid, match="is not a package URL"):
        canonical_purl(text)


@pytest.mark.parametrize(
    ("id_", "aliases", "canonical"),
    [
        ("cve-2024-1234", (), "CVE-2024-1234"),
        ("GHSA-x", ("CVE-2024-1234",), "CVE-2024-1234"),
        ("DSA-1", ("CVE-2024-1234", "CVE-2024-1235"), "DSA-1"),
        (" DSA-1 ", ("RHSA-1",), "DSA-1"),
        ("CVE-2024-1234", ("CVE-2024-1235",), "CVE-2024-1234"),
    ],
)
def test_a_flaw_goes_by_its_cve_where_it_has_exactly_one(id_, aliases, canonical):
    assert canonical_vulnerability_id(id_, aliases) == canonical


@given(st.lists(st.text(max_size=5), min_size=1, max_size=3), st.lists(st.text(max_size=5), min_size=1, max_size=3))
def test_risks_differ_where_any_part_does(one, other):
    same = risk_key(FindingKind.SECRET, *one) == risk_key(FindingKind.SECRET, *other)
    assert same == ("\0".join(one) == "\0".join(other))
    assert risk_key(FindingKind.SECRET, *one) != risk_key(FindingKind.MALWARE, *one)
