"""Which image another was built on, and what a newer base would change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.images.base import Standing, base_of, rebuilding
from secguard.images.models import Image, ImageLayer, Layer
from secguard.images.queries import find_base
from tests.fixtures_reports import digest


class TestBaseOf:
    def test_the_longest_beginning_is_the_base(self) -> None:
        known = {"debian": ["a"], "python": ["a", "b"], "other": ["x", "b"], "empty": []}
        assert base_of(["a", "b", "c"], known) == "python"

    def test_an_image_is_not_built_on_itself_nor_on_what_is_longer(self) -> None:
        assert base_of(["a", "b"], {"same": ["a", "b"], "longer": ["a", "b", "c"]}) is None

    def test_of_equals_the_first(self) -> None:
        assert base_of(["a", "b"], {2: ["a"], 1: ["a"]}) == 2

    def test_no_layers_no_base(self) -> None:
        assert base_of([], {"a": ["a"]}) is None

    @given(
        chain=st.lists(st.sampled_from("abc"), max_size=6),
        known=st.dictionaries(st.integers(), st.lists(st.sampled_from("abc"), max_size=6), max_size=6),
    )
    def test_it_is_the_longest_of_all_proper_beginnings(self, chain: list[str], known: dict[int, list[str]]) -> None:
        proper = [len(x) for x in known.values() if 0 < len(x) < len(chain) and chain[: len(x)] == x]
        found = base_of(chain, known)
        assert (len(known[found]) if found is not None else 0) == max(proper, default=0)


def _image(number: int, *layers: str, **columns: Any) -> Image:
    image = Image.objects.create(digest=digest(number), **columns)
    for position, name in enumerate(layers):
        layer, _ = Layer.objects.get_or_create(
            digest=f"sha256:packed-{name}", defaults={"diff_id": f"sha256:{name}", "size_bytes": 1}
        )
        ImageLayer.objects.create(image=image, position=position, layer=layer)
    return image


def _chain(names: str) -> list[str]:
    return [f"sha256:{name}" for name in names]


@pytest.mark.django_db
class TestFindBase:
    def test_the_longest_known_beginning(self, django_assert_num_queries: Any) -> None:
        _image(1, "a")
        python = _image(2, "a", "b")
        _image(3, "x", "b")
        _image(4, "a", "b", "c")
        own = _image(5, "a", "b", "d")
        with django_assert_num_queries(3):
            assert find_base(_chain("abd"), other_than=own) == python

    def test_what_shares_only_a_layer_in_its_place_is_no_base(self) -> None:
        _image(1, "x", "b")
        assert find_base(_chain("abc")) is None

    def test_nothing_known_and_nothing_to_look_for(self) -> None:
        assert find_base(_chain("abc")) is None
        assert find_base([]) is None
        assert find_base(_chain("a")) is None

    def test_layers_whose_content_is_not_known_say_nothing(self) -> None:
        image = Image.objects.create(digest=digest(1))
        layer = Layer.objects.create(digest="sha256:packed", size_bytes=1)
        ImageLayer.objects.create(image=image, position=0, layer=layer)
        assert find_base(["", "sha256:b"]) is None


class TestRebuilding:
    BASE = ("sha256:base",)

    def test_what_came_with_the_base_and_is_fixed_there_goes(self) -> None:
        findings = [
            Standing(1, 101, 4, "sha256:base"),
            Standing(2, 102, 3, "sha256:base"),
            Standing(3, 103, 3, "sha256:own"),
            Standing(4, 104, 1, ""),
        ]
        found = rebuilding(findings, self.BASE, [Standing(9, 102, 3, "sha256:newer")])
        assert (found.moves_from, found.moves_to) == (4, 3)
        assert (found.removed, found.added) == ((1,), ())
        assert (found.before, found.after) == ({4: 1, 3: 2, 1: 1}, {3: 2, 1: 1})

    def test_what_the_newest_base_brings_anew_counts_too(self) -> None:
        found = rebuilding(
            [Standing(1, 101, 4, "sha256:base")],
            self.BASE,
            [Standing(8, 201, 2), Standing(7, 202, 1)],
        )
        assert (found.moves_from, found.moves_to, found.removed, found.added) == (1, 2, (1,), (7, 8))

    def test_an_image_without_findings(self) -> None:
        found = rebuilding([], self.BASE, [])
        assert (found.moves_from, found.moves_to) == (0, 0)
