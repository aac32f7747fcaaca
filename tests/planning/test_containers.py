"""The template that comes with the product: every stage asked for, every source and every check one that there is."""

from __future__ import annotations

import re

import pytest

from secguard.planning.checks import CHECKS
from secguard.planning.template import Requirement, Stage, parse_template, shipped
from secguard.policies.library import library

TEMPLATE = parse_template(shipped())
LAST = {  # the last section of each chapter, in the documents' own numbers
    "NIST SP 800-190": {"4.1": 5, "4.2": 3, "4.3": 5, "4.4": 5, "4.5": 5},
    "CIS Docker Benchmark 1.6.0": {"2": 18, "3": 24, "4": 12, "5": 32, "6": 2, "7": 9},
}
PRACTICES = {"PO.2.1", "PS.3.2", "PW.1.1", "RV.1.3"}


def test_it_asks_for_something_in_every_stage() -> None:
    assert {r.stage for r in TEMPLATE.requirements} == set(Stage)
    assert 30 <= len(TEMPLATE.requirements) <= 45
    assert len({r.title for r in TEMPLATE.requirements}) == len(TEMPLATE.requirements)
    stages = [list(Stage).index(r.stage) for r in TEMPLATE.requirements]
    assert stages == sorted(stages)


def test_every_check_that_it_names_is_there_and_named_once() -> None:
    parse_template(shipped(), CHECKS)
    named = [r.check for r in TEMPLATE.requirements if r.check]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("asked", TEMPLATE.requirements, ids=lambda r: r.id)
def test_every_source_is_a_section_that_there_is(asked: Requirement) -> None:
    for one in asked.source.split("; "):
        document, _, sections = one.partition(", ")
        assert sections, one
        for section in re.split(r", | and ", sections):
            if document == "NIST SP 800-218 1.1":
                assert section in PRACTICES
                continue
            chapter, _, number = section.rpartition(".")
            assert 1 <= int(number) <= LAST[document][chapter], one


def test_the_ready_rule_names_requirements_of_the_first_stage() -> None:
    """By its ids; one that is called otherwise would never be missed."""
    (rule,) = [ready.parsed for ready in library() if ready.parsed.id == "not-planned"]
    named = set(re.findall(r'"([a-z-]+)"', rule.when))
    assert named <= {r.id for r in TEMPLATE.requirements if r.stage is Stage.PLAN}
