"""Package URLs made from the words of tools are the ones that other tools give."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from packageurl import PackageURL

from secguard.errors import Invalid
from secguard.findings.identity import canonical_purl
from secguard.scans.readers._packages import distribution, full_version, package_url, purl_or, purl_type


@pytest.mark.parametrize(
    ("kind", "name", "version", "distro", "purl"),
    [
        ("debian", "apt", "1.8.2", "", "pkg:deb/debian/apt@1.8.2"),
        ("deb", "libc6", "1:2.3", "Debian GNU/Linux 12 (bookworm)", "pkg:deb/debian/libc6@1:2.3"),
        ("dpkg", "libc6", "2.3+b1", "ubuntu:22.04", "pkg:deb/ubuntu/libc6@2.3%2Bb1"),
        ("os", "bash", "5", "rhel:8", "pkg:rpm/redhat/bash@5"),
        ("OS", "musl", "1", "alpine", "pkg:apk/alpine/musl@1"),
        ("APKG", "musl", "1", "Alpine Linux v3.18", "pkg:apk/alpine/musl@1"),
        ("opensuse.leap", "zypper", "1", "", "pkg:rpm/opensuse/zypper@1"),
        ("rpm", "bash", "5", "", "pkg:generic/bash@5"),
        ("rpm", "bash", "5", "Red Hat Enterprise Linux 9.2", "pkg:rpm/redhat/bash@5"),
        ("npm", "@babel/core", "7.0.0", "debian", "pkg:npm/%40babel/core@7.0.0"),
        ("jar", "org.apache.commons:commons-text", "1.9", "", "pkg:maven/org.apache.commons/commons-text@1.9"),
        ("java-archive", "spring", "5", "", "pkg:maven/spring@5"),
        ("gomod", "github.com/a/b/v2", "v2.0.0", "", "pkg:golang/github.com/a/b/v2@v2.0.0"),
        ("gobinary", "stdlib", "1.20", "", "pkg:golang/stdlib@1.20"),
        ("python-pkg", "Foo_Bar.baz", "1", "", "pkg:pypi/foo-bar.baz@1"),
        ("composer", "symfony/http", "5", "", "pkg:composer/symfony/http@5"),
        ("rustbinary", "time", "0.1", "", "pkg:cargo/time@0.1"),
        ("bundler", "rack", "2", "", "pkg:gem/rack@2"),
        ("unheard-of", "a b", "1", "debian", "pkg:generic/a%20b@1"),
        ("npm", "p", "", "", "pkg:npm/p"),
        ("", "", "", "", "pkg:generic/unknown"),
    ],
)
def test_words_of_tools(kind, name, version, distro, purl):
    assert package_url(kind, name, version, distro) == purl


def test_the_architecture_is_a_qualifier_and_no_identity():
    purl = package_url("debian", "apt", "1", "", "amd64")
    assert purl == "pkg:deb/debian/apt@1?arch=amd64"
    assert canonical_purl(purl) == "pkg:deb/debian/apt@1"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Debian GNU/Linux 12", "debian"),
        ("ubuntu-22.04", "ubuntu"),
        ("red hat enterprise linux server", "redhat"),
        ("Rocky Linux 9", "rocky"),
        ("Amazon Linux 2", "amzn"),
        ("Oracle Linux Server 8", "ol"),
        ("cbl-mariner", "mariner"),
        ("SUSE Linux Enterprise Server 15", "sles"),
        ("openSUSE Leap 15.1", "opensuse"),
        ("wolfi", "wolfi"),
        ("", ""),
        ("none", ""),
    ],
)
def test_distributions(word, name):
    assert distribution(word) == name


def test_a_type_is_known_or_empty():
    assert purl_type("node-pkg") == "npm"
    assert purl_type("os", "") == ""
    assert purl_type("nothing") == ""


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (("1.1",), "1.1"),
        (("1.1", "9.el8"), "1.1-9.el8"),
        (("1.1", "9.el8", 1), "1:1.1-9.el8"),
        (("1.1", "9", "0"), "1.1-9"),
        (("2:1.1", "9", 1), "2:1.1-9"),
        (("", "9", 1), ""),
    ],
)
def test_epoch_and_release_are_part_of_the_version(parts, whole):
    assert full_version(*parts) == whole


def test_the_tools_own_purl_counts():
    assert purl_or("pkg:npm/x@1", "deb", "y", "2", "debian") == "pkg:npm/x@1"
    assert purl_or(None, "deb", "y", "2", "debian") == "pkg:deb/debian/y@2"
    assert purl_or("y", "deb", "y", "2", "debian") == "pkg:deb/debian/y@2"


@pytest.mark.parametrize(
    ("trivy", "grype"),
    [
        ("pkg:rpm/amazon/bash@4.2-1.amzn2?arch=x86_64&distro=amazon-2", "pkg:rpm/amzn/bash@4.2-1.amzn2"),
        ("pkg:rpm/alma/bash@5-1.el9?epoch=0", "pkg:rpm/almalinux/bash@5-1.el9"),
        ("pkg:rpm/oracle/bash@1:5-1.el8", "pkg:rpm/ol/bash@5-1.el8?epoch=1"),
        ("pkg:rpm/cbl-mariner/vim@8-1.cm1", "pkg:rpm/mariner/vim@8-1.cm1"),
        ("pkg:rpm/redhat/bash@5-1.el9", "pkg:rpm/rhel/bash@5-1.el9"),
    ],
)
def test_two_words_for_one_distribution_are_one_component(trivy, grype):
    assert canonical_purl(trivy) == canonical_purl(grype)
    made = package_url("os", "bash", "1", trivy.split("/")[1])
    assert made == canonical_purl(made)


def test_a_name_is_percent_encoded_with_upper_case_digits_and_its_slash_too():
    """PURL-SPECIFICATION, "Character encoding": what separates is written as itself, what belongs to a name is not."""
    assert canonical_purl("pkg:pypi/%3b@1") == canonical_purl("pkg:pypi/%3B@1") == "pkg:pypi/%3B@1"
    assert canonical_purl("pkg:generic/a%2fb@1%2f2") == "pkg:generic/a%2Fb@1%2F2"
    with pytest.raises(Invalid, match="no name"):
        canonical_purl("pkg:generic/%2F%20%2F")


KINDS = st.sampled_from(["debian", "rpm", "npm", "jar", "gomod", "python", "composer", "nuget", "swift", "odd", ""])
NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)


@given(KINDS, NAME, NAME, st.sampled_from(["", "debian", "rhel 9"]))
@example("python", ";/0", "", "")
@example("python", ";", "1;2", "")
@example("debian", "\xa0/", "1", "debian")
@example("npm", "/ /x", "0: 1", "")
@example("composer", " / a/ /b ", "1/2", "")
def test_whatever_the_name_the_purl_is_one(kind, name, version, distro):
    purl = package_url(kind, name, version, distro)
    parsed = PackageURL.from_string(purl)
    assert parsed.name
    assert canonical_purl(canonical_purl(purl)) == canonical_purl(purl)


@given(st.text(st.sampled_from("abcXYZ019+~.-_ %@"), min_size=1, max_size=12))
def test_name_and_version_survive(text):
    parsed = PackageURL.from_string(package_url("debian", f"n{text}n", f"1{text}1"))
    assert (parsed.name, parsed.version) == (f"n{text}n", f"1{text}1")
