"""References as people and tools write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.images.reference import Reference, is_digest, parse, try_parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alpine", Reference("docker.io", "library/alpine")),
        ("alpine:3.18", Reference("docker.io", "library/alpine", "3.18")),
        ("bitnami/redis", Reference("docker.io", "bitnami/redis")),
        ("index.docker.io/library/alpine:1", Reference("docker.io", "library/alpine", "1")),
        ("localhost/app:1", Reference("localhost", "app", "1")),
        ("reg.example:5000/a/b_c.d:v1_2-x", Reference("reg.example:5000", "a/b_c.d", "v1_2-x")),
        ("[::1]:5000/app", Reference("[::1]:5000", "app")),
        (f"REG.Example/app:1@{DIGEST}", Reference("reg.example", "app", "1", DIGEST)),
        (f" reg.example/app@{DIGEST} ", Reference("reg.example", "app", "", DIGEST)),
    ],
)
def test_a_reference_is_read_as_written(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", ":1", "a/", "/a", "A/B", "a//b", "a:b c", "a@sha256:1", "a b", "http://a/b", "x" * 600]
)
def test_what_is_no_reference_is_refused_with_the_form_expected(text):
    with pytest.raises(Invalid, match="Expected registry/repository:tag"):
        parse(text)


@pytest.mark.parametrize("text", ["", DIGEST, "./a", "/a/b", "image.tar", "x.json", "A B"])
def test_what_names_no_image_is_none(text):
    assert try_parse(text) is None


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_and_what_is_read_reads_the_same_again(text):
    try:
        reference = parse(text)
    except Invalid:
        return
    assert parse(str(reference)) == reference


def test_a_digest_is_exactly_a_digest():
    assert is_digest(DIGEST)
    assert not is_digest(DIGEST + "a")
    assert not is_digest(DIGEST.upper())
