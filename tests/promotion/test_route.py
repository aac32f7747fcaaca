"""The order of environments, and the paths of repositories in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.promotion import route
from secguard.promotion.route import Stop

BUILD = Stop("build", 1, "build.example")
STAGING = Stop("staging", 2, "reg.example", "staging")
PRODUCTION = Stop("production", 3, "reg.example", "live")
WAY = [PRODUCTION, BUILD, STAGING]


def test_the_order_is_by_position():
    assert [s.name for s in route.in_order(WAY)] == ["build", "staging", "production"]
    assert route.is_first(WAY, "build")
    assert not route.is_first(WAY, "staging")
    assert not route.is_first([], "build")


def test_what_comes_before():
    assert route.previous(WAY, "staging") is None, "images come to it from where they are pushed"
    assert route.previous(WAY, "production") == STAGING
    loose = [BUILD, STAGING, Stop("production", 3, "reg.example", "live", requires_previous=False)]
    assert route.previous(loose, "production") is None


@pytest.mark.parametrize(
    ("host", "path", "target", "expected"),
    [
        ("build.example", "shop/web", STAGING, "staging/shop/web"),
        ("reg.example", "staging/shop/web", PRODUCTION, "live/shop/web"),
        ("reg.example", "live/shop/web", BUILD, "shop/web"),
        ("elsewhere.example", "shop/web", PRODUCTION, "live/shop/web"),
        ("reg.example", "stagingx/web", PRODUCTION, "live/stagingx/web"),
        ("build.example", "live/web", PRODUCTION, "live/live/web"),
    ],
)
def test_the_prefix_is_exchanged(host, path, target, expected):
    assert route.destination(WAY, host, path, target) == expected


def test_the_longest_prefix_is_home():
    nested = [BUILD, Stop("all", 2, "reg.example"), Stop("team", 3, "reg.example", "team")]
    assert route.home_of(nested, "reg.example", "team/web").name == "team"
    assert route.home_of(nested, "reg.example", "web").name == "all"
    assert route.home_of(nested, "other.example", "web") is None


def test_a_path_that_becomes_too_long_is_refused():
    with pytest.raises(Invalid, match="registries take"):
        route.destination(WAY, "build.example", "a/" * 125 + "b", STAGING)


PARTS = st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), min_size=1, max_size=4).map("/".join)


@given(PARTS, st.sampled_from(WAY))
def test_there_and_on_is_the_same_as_straight(path, target):
    once = route.destination(WAY, "build.example", path, STAGING)
    assert route.destination(WAY, "reg.example", once, target) == route.destination(WAY, "build.example", path, target)


@pytest.mark.parametrize("text", ["Prod", "a//b", "../x", "a b", "x" * 101, "a/-b", "sha256:x"])
def test_what_is_no_prefix(text):
    with pytest.raises(Invalid, match="beginning"):
        route.check_prefix(text)


def test_slashes_around_a_prefix_are_taken_off():
    assert route.check_prefix(" /apps/prod/ ") == "apps/prod"
    assert route.check_prefix("") == ""
