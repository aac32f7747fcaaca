"""Components to what advisories call them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.images.ecosystems import Build, build_of

BUILDS = [
    # Debian: the source package, and its version where it has another.
    (
        "pkg:deb/debian/libc6@2.36-9+deb12u4?arch=amd64&distro=debian-12&upstream=glibc",
        ("Debian:12", "glibc", "2.36-9+deb12u4"),
    ),
    (
        "pkg:deb/debian/libgcc-s1@12.2.0-14?upstream=gcc-12%4012.2.0-13&distro=debian-12",
        ("Debian:12", "gcc-12", "12.2.0-13"),
    ),
    ("pkg:deb/debian/foo@1%3A2-3%2Bb1?distro=debian-trixie", ("Debian:13", "foo", "1:2-3")),
    ("pkg:deb/debian/apt@1.4.8?distro=debian-9.1", ("Debian:9", "apt", "1.4.8")),
    ("pkg:deb/ubuntu/bash@5.1-6ubuntu1?distro=ubuntu-22.04", ("Ubuntu:22.04:LTS", "bash", "5.1-6ubuntu1")),
    ("pkg:deb/ubuntu/bash@5.2-1?distro=ubuntu-23.10", ("Ubuntu:23.10", "bash", "5.2-1")),
    (
        "pkg:deb/ubuntu/bash@5.1-6ubuntu1%2Besm2?distro=ubuntu-18.04",
        ("Ubuntu:Pro:18.04:LTS", "bash", "5.1-6ubuntu1+esm2"),
    ),
    # Alpine and its kin: the origin.
    (
        "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&upstream=openssl&distro=alpine-3.18.5",
        ("Alpine:v3.18", "openssl", "3.1.4-r5"),
    ),
    ("pkg:apk/alpine/musl@1.2.4-r1?distro=3.18.4", ("Alpine:v3.18", "musl", "1.2.4-r1")),
    ("pkg:apk/alpine/musl@1.2.4-r1?distro=alpine-3.20_alpha20231219", ("Alpine:edge", "musl", "1.2.4-r1")),
    ("pkg:apk/wolfi/glibc@2.38-r1?distro=wolfi-20230201", ("Wolfi", "glibc", "2.38-r1")),
    (
        "pkg:apk/chainguard/ld-linux@2.38-r1?upstream=glibc&distro=chainguard-20230214",
        ("Chainguard", "glibc", "2.38-r1"),
    ),
    # RPM: by the binary where advisories list binaries, else by the source; its epoch is the package's.
    (
        "pkg:rpm/redhat/openssl-libs@1.1.1k-9.el8_7?epoch=1&upstream=openssl-1.1.1k-9.el8_7.src.rpm&distro=rhel-8.8",
        ("Red Hat:enterprise_linux:8", "openssl-libs", "1:1.1.1k-9.el8_7"),
    ),
    (
        "pkg:rpm/almalinux/perl-IO@1.38-421.el8?upstream=perl-5.26.3-421.el8.src.rpm&distro=almalinux-8.7",
        ("AlmaLinux:8", "perl-IO", "1.38-421.el8"),
    ),
    (
        "pkg:rpm/rocky/openssl-libs@1.1.1k-9.el8_7?epoch=1&upstream=openssl-1.1.1k-9.el8_7.src.rpm&distro=rocky-8.8",
        ("Rocky Linux:8", "openssl", "1:1.1.1k-9.el8_7"),
    ),
    (
        "pkg:rpm/rocky/perl-IO@1.38-421.el8?upstream=perl-5.26.3-421.el8.src.rpm&distro=rocky-8.7",
        ("Rocky Linux:8", "perl", "5.26.3-421.el8"),
    ),
    (
        "pkg:rpm/centos/nodejs@16.20.2-3.module_el8.9.0%2B1?distro=centos-8",
        ("Red Hat:enterprise_linux:8", "nodejs", "16.20.2-3.module_el8.9.0+1"),
    ),
    (
        "pkg:rpm/sles/zlib@1.2.13-150500.4.3.1?distro=sles-15.5",
        ("SUSE:Linux Enterprise 15 SP5", "zlib", "1.2.13-150500.4.3.1"),
    ),
    ("pkg:rpm/sles/zlib@1-1?distro=sles-12", ("SUSE:Linux Enterprise 12", "zlib", "1-1")),
    ("pkg:rpm/opensuse/zlib@1-1?distro=opensuse-leap-15.5", ("openSUSE:Leap 15.5", "zlib", "1-1")),
    ("pkg:rpm/opensuse/zlib@1-1?distro=opensuse-tumbleweed-20240101", ("openSUSE:Tumbleweed", "zlib", "1-1")),
    ("pkg:rpm/amzn/zlib@1-1?distro=amzn-2023", ("Amazon Linux:2023", "zlib", "1-1")),
    ("pkg:rpm/azurelinux/zlib@1.3-1.azl3?distro=azurelinux-3.0", ("Azure Linux:3", "zlib", "1.3-1.azl3")),
    ("pkg:rpm/mariner/zlib@1.3-1.cm2?distro=mariner-2.0", ("Azure Linux:2", "zlib", "1.3-1.cm2")),
    (
        "pkg:rpm/openEuler/zlib@1.2.13-9.oe2203sp3?distro=openEuler-22.03",
        ("openEuler:22.03-LTS-SP3", "zlib", "1.2.13-9.oe2203sp3"),
    ),
    ("pkg:rpm/photon/zlib@1-1.ph4?distro=photon-4.0", ("Photon OS:4.0", "zlib", "1-1.ph4")),
    ("pkg:rpm/mageia/zlib@1-1.mga9?distro=mageia-9", ("Mageia:9", "zlib", "1-1.mga9")),
    # Languages: the name as the ecosystem's advisories write it.
    ("pkg:pypi/Foo.Bar_baz@1.0", ("PyPI", "foo-bar-baz", "1.0")),
    ("pkg:npm/%40babel/core@7.0.0", ("npm", "@babel/core", "7.0.0")),
    ("pkg:maven/org.apache.commons/commons-text@1.9", ("Maven", "org.apache.commons:commons-text", "1.9")),
    ("pkg:golang/github.com/Masterminds/goutils@v1.1.0", ("Go", "github.com/masterminds/goutils", "v1.1.0")),
    ("pkg:golang/stdlib@1.21.3", ("Go", "stdlib", "1.21.3")),
    ("pkg:gem/rails@7.0.1?platform=ruby", ("RubyGems", "rails", "7.0.1")),
    ("pkg:cargo/openssl@0.10.1", ("crates.io", "openssl", "0.10.1")),
    ("pkg:nuget/Newtonsoft.Json@12.0.1", ("NuGet", "newtonsoft.json", "12.0.1")),
    ("pkg:composer/symfony/http-kernel@v5.0.0", ("Packagist", "symfony/http-kernel", "v5.0.0")),
    ("pkg:hex/phoenix@1.7.0", ("Hex", "phoenix", "1.7.0")),
    ("pkg:pub/http@0.13.0", ("Pub", "http", "0.13.0")),
    ("pkg:swift/github.com/apple/swift-nio@2.0.0", ("SwiftURL", "github.com/apple/swift-nio", "2.0.0")),
    ("pkg:bitnami/redis@7.0.5-1?arch=amd64", ("Bitnami", "redis", "7.0.5-1")),
]

NONE = [
    "nonsense",
    "pkg:generic/python@3.11",
    "pkg:pypi/django",
    "pkg:rpm/fedora/zlib@1-1?distro=fedora-39",
    "pkg:deb/raspbian/zlib@1-1?distro=raspbian-11",
    "pkg:apk/alpine/zlib@1-r1",
    "pkg:deb/debian/zlib@1-1?distro=alpine-3.18.4",
]


@pytest.mark.parametrize(("purl", "expected"), BUILDS)
def test_a_component_is_called_as_its_ecosystem_s_advisories_call_it(purl, expected):
    assert build_of(purl) == Build(*expected)


@pytest.mark.parametrize("purl", NONE)
def test_what_no_advisory_speaks_of_has_no_build(purl):
    assert build_of(purl) == Build()


def test_the_image_s_release_counts_where_the_purl_tells_none():
    assert build_of("pkg:deb/debian/apt@2.6.1", "debian", "12").ecosystem == "Debian:12"
    assert build_of("pkg:deb/debian/apt@2.6.1?distro=debian-11", "debian", "12").ecosystem == "Debian:11"
    assert build_of("pkg:rpm/redhat/zlib@1-1", "rhel", "9.2").ecosystem == "Red Hat:enterprise_linux:9"
    assert build_of("pkg:pypi/django@4.2", "debian", "12").ecosystem == "PyPI"


@given(st.text(max_size=60), st.text(max_size=10), st.text(max_size=10))
def test_no_purl_breaks_it(rest, os_name, os_version):
    for type_ in ("deb", "rpm", "apk", "maven", "pypi"):
        assert isinstance(build_of(f"pkg:{type_}/{rest}", os_name, os_version), Build)
