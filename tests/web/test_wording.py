"""Values read the way people say them, and no value makes them fall over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from secguard.findings.severity import Severity
from secguard.web import wording

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(seconds=-3), "in a moment"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=2), "2 hours ago"),
        (timedelta(days=-1), "in 1 day"),
        (timedelta(days=6, hours=23), "6 days ago"),
        (timedelta(days=20), "2 weeks ago"),
        (timedelta(days=-90), "in 3 months"),
        (timedelta(days=800), "2 years ago"),
    ],
)
def test_times_have_one_unit_rounded_down(ago: timedelta, words: str) -> None:
    assert wording.relative(NOW - ago, NOW) == words


@given(seconds=st.integers(-(10**9), 10**9))
def test_future_and_past_are_never_mixed_up(seconds: int) -> None:
    said = wording.relative(NOW - timedelta(seconds=seconds), NOW)
    assert said.startswith("in ") == (seconds < 0)


def test_the_exact_time_names_its_zone() -> None:
    assert wording.exact(datetime(2026, 11, 4, 3, 5, 9, tzinfo=UTC)) == "4 Nov 2026, 03:05:09 UTC"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (64 << 20, "64.0 MiB"),
        (345 << 20, "345 MiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_sizes_are_in_binary_units(count: int | None, words: str) -> None:
    assert wording.size(count) == words


def test_counts() -> None:
    assert wording.count(1234) == "1,234"
    assert wording.count(10_000, is_exact=False) == "10,000+"
    assert wording.count(None) == "–"


def test_severity_words_are_those_of_the_scale() -> None:
    assert {level: wording.severity_word(level) for level in Severity} == {level: level.label for level in Severity}
    assert wording.severity_word("Critical") == "critical"
    assert wording.severity_word("terrible") == wording.severity_word(None) == wording.severity_word(99) == "unknown"


def test_digests_are_shortened_without_their_algorithm() -> None:
    assert wording.short_digest("sha256:4a1c9e77d2b05f5f") == "4a1c9e77d2b0"
    assert wording.short_digest("latest") == "latest"


@pytest.mark.parametrize(
    ("purl", "kind", "name", "version"),
    [
        ("pkg:deb/debian/openssl@3.0.11-1~deb12u2?arch=amd64", "deb", "debian/openssl", "3.0.11-1~deb12u2"),
        ("pkg:npm/%40angular/core@17.0.1", "npm", "@angular/core", "17.0.1"),
        ("pkg:npm/@angular/core", "npm", "@angular/core", ""),
        ("pkg:golang/github.com/gorilla/mux@v1.8.0#sub/path", "golang", "github.com/gorilla/mux", "v1.8.0"),
        ("openssl", "", "openssl", ""),
        ("pkg:", "", "pkg:", ""),
    ],
)
def test_package_urls(purl: str, kind: str, name: str, version: str) -> None:
    assert wording.package(purl) == wording.Package(kind, name, version)


WORD = st.text("abcXYZ019.-_+~", min_size=1, max_size=12).filter(lambda text: text.strip("."))


@given(name=WORD, version=WORD, namespace=WORD)
def test_package_urls_agree_with_the_reference_library(name: str, version: str, namespace: str) -> None:
    purl = PackageURL("generic", namespace, name, version).to_string()
    parsed = PackageURL.from_string(purl)
    assert wording.package(purl) == wording.Package("generic", f"{parsed.namespace}/{parsed.name}", parsed.version)


@given(text=st.text(max_size=60))
def test_any_text_is_at_least_a_name(text: str) -> None:
    assert wording.package(text).name is not None
