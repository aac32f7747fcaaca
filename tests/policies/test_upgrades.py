from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from univers.versions import PypiVersion

from secguard.policies.upgrades import best_upgrade


@pytest.mark.parametrize(
    ("ecosystem", "current", "fixes", "expected"),
    [
        ("deb", "1.1.1n-0+deb11u3", [["1.1.1n-0+deb11u4"], ["1.1.1w-0+deb11u1"]], ("1.1.1w-0+deb11u1", True)),
        ("deb", "1:1.9", [["1:1.10"], ["2.0"]], ("1:1.10", True)),  # the epoch outranks: 2.0 is older
        ("apk", "3.1.0-r4", [["3.1.0-r13"], ["3.1.0-r9"]], ("3.1.0-r13", True)),
        ("npm", "4.17.15", [["4.17.21"], ["4.17.19"]], ("4.17.21", True)),
        ("npm", "9.9.0", [["9.10.0"]], ("9.10.0", True)),
        ("openssl", "1.1.1n", [["1.1.1t", "3.0.8"], ["1.1.1w", "3.0.11"]], ("1.1.1w", True)),
        ("golang", "v1.20.1", [["v1.20.10", "v1.21.3"], ["v1.20.12", "v1.21.5"]], ("v1.20.12", True)),
        # 1.21.1 lies in the line whose fix is 1.21.3
        ("golang", "v1.20.1", [["v1.20.10", "v1.21.3"], ["v1.21.1"]], ("v1.21.3", True)),
        ("maven", "2.9.1", [["2.9.10.8", "2.10.5.1"], ["2.12.6.1", "2.13.2.1"]], ("2.12.6.1", True)),
        # no order: what the sources say, as they say it
        ("generic", "1", [["2"], ["3"]], ("2, 3", False)),
        ("npm", "4.17.15", [["4.17.21"], ["see the vendor"]], ("4.17.21, see the vendor", False)),
        ("nuget", "x", [["y"]], ("y", False)),
        # only an older branch has a fix: no upgrade fixes it
        ("npm", "5.0.0", [["4.17.21"]], ("4.17.21", False)),
    ],
)
def test_the_smallest_version_that_fixes_all(ecosystem, current, fixes, expected):
    assert best_upgrade(ecosystem, current, tuple(tuple(f) for f in fixes)) == expected


versions = st.builds("{}.{}.{}".format, st.integers(0, 2), st.integers(0, 3), st.integers(0, 3))


@given(versions, st.lists(versions.map(lambda v: (v,)), min_size=1, max_size=5))
def test_with_one_fixed_version_each_it_is_the_greatest(current, fixes):
    to, is_complete = best_upgrade("pypi", current, tuple(fixes))
    newest = max((f[0] for f in fixes), key=PypiVersion)
    if PypiVersion(newest) > PypiVersion(current):
        assert (to, is_complete) == (newest, True)
    else:
        assert not is_complete


@given(
    st.sampled_from(
        ["npm", "deb", "rpm", "maven", "pypi", "golang", "gem", "apk", "cargo", "nuget", "composer", "conan"]
    ),
    st.text(max_size=12),
    st.lists(st.lists(st.text(max_size=12) | versions, max_size=3).map(tuple), max_size=3),
)
def test_no_version_text_breaks_it(ecosystem, current, fixes):
    to, is_complete = best_upgrade(ecosystem, current, tuple(fixes))
    assert not is_complete or any(to in group for group in fixes)
