"""Which tokens a CI identity means: patterns are held against the whole value, and none is open to strangers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.accounts.trust import IDENTIFYING, MAX_VALUE, Kind, Trust, check, check_pattern, fits, misfit, value_of
from secguard.errors import Invalid

GITHUB = "https://token.actions.githubusercontent.com"
CLAIMS = {"repository": "acme/shop", "ref": "refs/heads/main"}


def trust(**changes: Any) -> Trust:
    return Trust(**({"kind": Kind.OTHER, "issuer": GITHUB, "audience": "here", "claims": CLAIMS} | changes))


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("refs/heads/main", "refs/heads/main"),
        ("refs/heads/*", "refs/heads/main"),
        ("refs/heads/release-*", "refs/heads/release-7.1"),
        ("refs/**", "refs/heads/a/b/c"),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/shop:ref:refs/heads/main"),
        ("a.b", "a.b"),
    ],
)
def test_a_pattern_fits_what_it_means(pattern: str, value: str) -> None:
    assert fits(check_pattern("ref", pattern), value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("refs/heads/main", "refs/heads/main2"),
        ("refs/heads/main", "xrefs/heads/main"),
        ("refs/heads/main", "refs/heads/main\n"),
        ("refs/heads/*", "refs/heads/a/b"),
        ("refs/heads/*", "refs/heads/a\nrefs/heads/b"),
        ("refs/**", "refs/heads/a\nb"),
        ("repo:acme/*:ref:refs/heads/main", "repo:acme/shop:environment:x:ref:refs/heads/main"),
        ("a.b", "axb"),
        ("A", "a"),
    ],
)
def test_a_pattern_fits_nothing_else(pattern: str, value: str) -> None:
    assert not fits(pattern, value)


@pytest.mark.parametrize(
    ("claim", "pattern"),
    [
        ("sub", "*"),
        ("sub", "**"),
        ("sub", "*/*"),
        ("ref", "*"),
        ("ref", "*main"),
        ("sub", "*:ref:refs/heads/main"),
        ("repository", "acme*/shop"),
        ("repository", "acme*"),
        ("repository", "*/shop"),
        ("sub", "repo*acme/shop"),
        ("sub", "^repo:acme/shop.*$"),
        ("sub", "repo:acme/.*"),
        ("sub", "repo:acme/shop|repo:evil/shop"),
        ("ref", "refs/heads/[a-z]"),
        ("ref", "refs/heads/ma?n"),
        ("ref", "refs/***"),
        ("ref", "refs/*/*/*/*"),
        ("ref", ""),
        ("ref", "x" * 301),
        ("ref", "main\x00"),
    ],
)
def test_a_pattern_that_is_open_or_no_pattern_is_refused(claim: str, pattern: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_pattern(claim, pattern)
    assert refused.value.where == "claims"


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_pattern_without_wildcards_fits_itself_alone(pattern: str, value: str) -> None:
    try:
        checked = check_pattern("ref", pattern)
    except Invalid:
        return
    if "*" not in checked:
        assert fits(checked, value) is (checked == value)


@given(st.sampled_from(sorted(IDENTIFYING)), st.text("ab*/:", min_size=1, max_size=12), st.text("xyz", min_size=1))
def test_nobody_with_another_first_part_fits(claim: str, pattern: str, stranger: str) -> None:
    """Whatever pattern is taken, a name whose first part is a stranger's own is not what it means."""
    try:
        checked = check_pattern(claim, pattern)
    except Invalid:
        return
    if not checked.startswith(("/", ":")):
        assert not any(fits(checked, f"{stranger}{rest}") for rest in ("", "/a", "/a/b", ":a", "/a:b", "/ab"))


def test_the_longest_value_is_looked_at_in_a_moment() -> None:
    assert not fits("a/**a**a**b", "a/" + "a" * (MAX_VALUE - 2))
    assert not fits("refs/**", "refs/" + "a" * MAX_VALUE)


@pytest.mark.parametrize(
    ("kind", "claims", "missing"),
    [
        (Kind.GITHUB, {"repository": "acme/shop"}, "ref"),
        (Kind.GITHUB, {"ref": "refs/heads/main"}, "repository"),
        (Kind.GITHUB, {"sub": "repo:acme/shop:ref:refs/heads/main"}, "repository"),
        (Kind.GITLAB, {"project_path": "acme/shop"}, "ref"),
        (Kind.KUBERNETES, {"kubernetes.io/namespace": "ci"}, "sub"),
        (Kind.KUBERNETES, {"sub": "system:serviceaccount:*:builder"}, "namespace"),
        (Kind.KUBERNETES, {"sub": "system:node:a"}, "NAMESPACE"),
        (Kind.OTHER, {"email": "a@example.org"}, "sub"),
        (Kind.OTHER, {}, "1 to 20"),
        (Kind.OTHER, {"sub": "a", "aud": "b"}, "aud"),
        (Kind.OTHER, {"sub": "a", " ": "b"}, "name"),
    ],
)
def test_what_must_be_asked_for_depends_on_whose_tokens_they_are(
    kind: Kind, claims: dict[str, str], missing: str
) -> None:
    with pytest.raises(Invalid, match=missing):
        check(trust(kind=kind, issuer="https://issuer.example", claims=claims))


def test_a_public_issuer_keeps_its_kind_whatever_was_chosen() -> None:
    assert check(trust()).kind is Kind.GITHUB
    with pytest.raises(Invalid, match="repository"):
        check(trust(claims={"sub": "repo:acme/shop:ref:refs/heads/main"}))


@pytest.mark.parametrize("audience", ["", "  ", "*", "https://*.example.org", "a\nb"])
def test_the_audience_is_said_exactly(audience: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(trust(audience=audience))
    assert refused.value.where == "audience"


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "issuer",
        "http://issuer.example",
        "ftp://issuer.example",
        "https://u:p@issuer.example",
        "https://a.example?x=1",
        "https://a.example#x",
        "https://[",
        "https://a.example:x",
        "https://a b.example",
    ],
)
def test_an_issuer_is_an_https_address(issuer: str) -> None:
    with pytest.raises(Invalid) as refused:
        check(trust(issuer=issuer))
    assert refused.value.where == "issuer"


def test_values_are_found_as_text_in_lists_and_inside_of_others() -> None:
    claims = {"a": True, "n": 7, "l": ["x", 1, None, {}], "kubernetes.io": {"namespace": "ci"}, "f": 1.5, "p/q": "r"}
    assert value_of(claims, "a") == ["true"]
    assert value_of(claims, "n") == ["7"]
    assert value_of(claims, "l") == ["x", "1"]
    assert value_of(claims, "kubernetes.io/namespace") == ["ci"]
    assert value_of(claims, "p/q") == ["r"]
    assert not any(value_of(claims, name) for name in ("f", "none", "a/b", "kubernetes.io", "kubernetes.io/x"))


def test_the_first_claim_that_does_not_fit_is_named() -> None:
    asked = check(trust())
    told = {"iss": GITHUB, "aud": ["there", "here"], **CLAIMS}
    assert misfit(asked, told) == ""
    for name, value in (("iss", GITHUB + "/"), ("aud", "there"), ("repository", "acme/shop2"), ("ref", None)):
        assert misfit(asked, told | {name: value}) == name
