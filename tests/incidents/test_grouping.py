"""Techniques, keys and what expectations cover; no database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from secguard.events.record import Kind as Of
from secguard.events.record import Line
from secguard.incidents import grouping
from secguard.incidents.grouping import Expected, Key, Matter
from secguard.runtime.event import Event, Kind, Process


def event(*mitre: str) -> Event:
    return Event(
        kind=Kind.PROCESS, tool="falco", rule="A shell", fingerprint="f", mitre=mitre, process=Process(exe="/bin/sh9")
    )


@pytest.mark.parametrize(
    ("mitre", "technique"),
    [
        (("execution", "T1059.004", "T1105"), "T1059.004"),
        (("T1105",), "T1105"),
        (("TA0002",), "execution"),
        (("persistence", "execution"), "persistence"),
        ((), "process"),
    ],
)
def test_the_technique_is_the_most_exact_that_was_told(mitre: tuple[str, ...], technique: str) -> None:
    assert grouping.technique_of(event(*mitre)) == technique


def test_no_two_keys_have_one_text() -> None:
    keys = [Key("a", "b", "c"), Key("a", "", "c"), Key("ab", "", "c"), Key("a", "bc", "")]
    assert len({key.text for key in keys}) == len(keys)


def test_an_expectation_covers_its_matter_at_its_place_or_in_its_lineage() -> None:
    told: dict[str, Any] = {"kind": Of.PROCESS, "source": "falco", "title": "t", "rule": "A shell", "story": "s"}
    line = Line(**told, at=datetime.now(UTC), workload_id=7, application_id=3)
    matter = Matter("A shell", "/bin/sh*")
    here = {Expected(matter, "workload:7"): 1}
    lineage = {Expected(matter, "", 5, 3): 2}
    others = {
        Expected(matter, "workload:8"): 1,
        Expected(matter, "", 5, 4): 2,
        Expected(Matter("A shell", ""), "workload:7"): 3,
    }
    assert grouping.covering(event(), line, [5], here.get) == 1
    assert grouping.covering(event(), line, [4, 5], lineage.get) == 2
    assert grouping.covering(event(), line, [6], lineage.get) is None
    assert grouping.covering(event(), line, [5], others.get) is None
