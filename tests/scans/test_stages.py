"""What a worker tells while it works, as stages; and what to do about each failure."""

from __future__ import annotations

import pytest

from secguard.scans.stages import TITLES, way_of
from secguard.scans.waysout import REGISTRY, WORDS, way_out


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("resolving", 0),
        ("reading the configuration", 1),
        ("pulling 120 of 340 MB", 1),
        ("looking into layer 3 of 7", 1),
        ("listing packages", 2),
        ("putting it together", 3),
        ("reading the report", 3),
        ("taking in findings", 3),
    ],
)
def test_every_word_of_a_look_is_at_a_stage(text, at):
    states = [stage.state for stage in way_of(text, 0, 0).stages]
    assert states == ["done"] * at + ["now"] + ["ahead"] * (len(TITLES) - at - 1)


def test_the_words_are_those_that_workers_tell():
    """A step that tells other words than these would stand at no stage."""
    from pathlib import Path

    from secguard.scans.services import examining, looking

    source = "".join(Path(module.__file__ or "").read_text() for module in (examining, looking))
    for text in (
        "resolving",
        "reading the configuration",
        "listing packages",
        "putting it together",
        "looking into layer",
    ):
        assert text in source, text


def test_how_far_it_is():
    assert way_of("pulling 120 of 340 MB", 120, 340).percent == 35
    way = way_of("looking into layer 3 of 7", 10_000, 0)
    assert (way.text, way.done, way.total) == ("Looking into layer 3 of 7", 2, 7)
    assert way_of("listing packages", 0, 0).percent is None
    assert way_of("pulling 5 of 4 MB", 5, 4).percent == 100, "a registry that says less than it sends"


def test_nothing_has_begun():
    way = way_of("", 0, 0)
    assert way.text == "Waiting for a worker"
    assert {stage.state for stage in way.stages} == {"ahead"}


def test_ways_out():
    assert WORDS.keys() >= REGISTRY
    assert "damaged" in way_out("wrong-blob-digest")
    assert "damaged" in way_out("decompression-bomb")
    assert way_out("something-else") == ""
    assert "spelled" in way_out("not-there")
