"""Ranges of versions: as vers-spec says it, held against a plain reading, and never more than was said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions.vexin.ranges import holds, is_range

NPM = "pkg:npm/a"


@pytest.mark.parametrize(
    ("package", "said", "inside", "outside"),
    [
        (NPM, "vers:npm/1.2.3|>=2.0.0|<5.0.0", ["1.2.3", "2.0.0", "4.9.9"], ["1.2.4", "1.0.0", "5.0.0", "6.0.0"]),
        (
            NPM,
            "vers:npm/<=1.0.0|>=2.0.0|<3.0.0|>5.0.0",
            ["0.1.0", "1.0.0", "2.5.0", "5.0.1"],
            ["1.5.0", "3.0.0", "5.0.0"],
        ),
        (NPM, "vers:npm/!=1.2.3", ["1.2.2", "9.0.0"], ["1.2.3"]),
        (NPM, "vers:npm/>1.0.0|!=1.5.0|<2.0.0", ["1.4.9"], ["1.5.0", "1.0.0", "2.0.0"]),
        (NPM, "vers:npm/*", ["0.0.1", "99.0.0"], []),
        (NPM, "vers:NPM/ >= 1.0.0 | < 2.0.0", ["1.5.0"], ["2.0.0"]),
        ("pkg:deb/debian/zlib", "vers:deb/>=1%3A1.2|<1%3A1.3", ["1:1.2-1", "1:1.2.9"], ["1.2", "1:1.3", "2:1.2"]),
        ("pkg:deb/debian/zlib", "vers:deb/<1.2.11~rc1", ["1.2.10"], ["1.2.11~rc1", "1.2.11"]),
        ("pkg:rpm/redhat/zlib", "vers:rpm/<1.2.11-4.el8", ["1.2.11-3.el8"], ["1.2.11-5.el8"]),
        ("pkg:apk/alpine/zlib", "vers:alpine/<1.2.13-r1", ["1.2.13-r0"], ["1.2.13-r1"]),
        ("pkg:pypi/a", "vers:pypi/>=1.0|<2.0", ["1.0.post1", "1.9"], ["1.0rc1", "2.0"]),
        ("pkg:maven/g/a", "<=1.0", ["1.0", "0.9"], ["1.0.1"]),
        (NPM, ">=1.0.0|<2.0.0", ["1.0.0"], ["2.0.0"]),
    ],
)
def test_a_range_holds_for_its_versions(package: str, said: str, inside: list[str], outside: list[str]) -> None:
    assert is_range(said)
    assert [v for v in inside if not holds(package, v, said)] == []
    assert [v for v in outside if holds(package, v, said)] == []


@pytest.mark.parametrize(
    "said",
    [
        "vers:pypi/>=1.0.0",  # of another ecosystem
        "vers:generic/>=1.0.0",
        "vers:",
        "vers:npm/",
        "vers:npm/>=",
        "vers:npm/>=not a version",
        "vers:npm/>=1.0.0|<=1.0.0",  # a version stands once
        "<prior to two",
        "vers:npm/" + "|".join(f">={n}.0.0" for n in range(200)),
        "vers:npm/>=" + "1" * 3_000,
    ],
)
def test_what_cannot_be_read_holds_for_nothing(said: str) -> None:
    assert not any(holds(NPM, v, said) for v in ("0.0.1", "1.0.0", "2.0.0", ""))


def test_a_version_or_an_ecosystem_that_is_unknown_is_in_no_range() -> None:
    assert not holds(NPM, "no version", "vers:npm/>=0.0.1")
    assert not holds("pkg:generic/a", "1", "vers:generic/>=0")
    assert not is_range("1.2.3")


@given(st.lists(st.tuples(st.sampled_from([">", ">=", "<", "<="]), st.integers(1, 9)), max_size=2), st.integers(0, 10))
def test_one_or_two_bounds_mean_what_they_say(bounds: list[tuple[str, int]], number: int) -> None:
    ordered = sorted({n: c for c, n in bounds}.items())
    said = "|".join(f"{c}{n}.0.0" for n, c in ordered)
    meets = {">": number.__gt__, ">=": number.__ge__, "<": number.__lt__, "<=": number.__le__}
    each = [meets[c](n) for n, c in ordered]
    if not ordered:
        expected = False
    elif len(ordered) == 2 and ordered[0][1][0] == "<" and ordered[1][1][0] == ">":
        expected = any(each)
    elif len(ordered) == 2 and ordered[0][1][0] == ordered[1][1][0]:
        expected = False  # no range that the specification allows
    else:
        expected = all(each)
    assert holds(NPM, f"{number}.0.0", f"vers:npm/{said}") is expected
