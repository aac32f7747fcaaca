"""The frameworks that come with the product: every number one that the source has, every check one that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from secguard.compliance.describing import describe
from secguard.compliance.framework import Framework, load, shipped
from secguard.planning.checks import CHECKS
from secguard.planning.template import parse_template
from secguard.planning.template import shipped as shipped_template

FRAMEWORKS = {name: load(text) for name, text in shipped().items()}
UNSEEN = "-unseen"
DOCS = Path(__file__).parents[2] / "docs" / "compliance-frameworks.md"
WHOLE = {  # how many controls each chapter has, by the documents' own numbers; all of them are there
    "nist-800-190": {"4.1": 5, "4.2": 3, "4.3": 5, "4.4": 5, "4.5": 5, "6": 5},
    "cis-docker-images": {"4": 12, "6": 2},
    "cis-kubernetes-workloads": {"5.1": 13, "5.2": 13, "5.3": 2, "5.4": 2, "5.5": 1, "5.7": 4},
}
MOST_WORDS = 35
"""In one sentence."""

every = pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=lambda f: f.name)


@every
def test_each_can_be_used_as_it_is(framework: Framework) -> None:
    assert load(shipped()[framework.name], CHECKS) == framework, "the file has the framework's name"


def test_every_check_is_asked_for_by_a_control() -> None:
    """Otherwise something is measured that tells nobody anything."""
    assert CHECKS.keys() - set().union(*(f.checks for f in FRAMEWORKS.values())) == set()


@pytest.mark.parametrize("name", WHOLE)
def test_the_chapters_are_there_as_a_whole_and_in_order(name: str) -> None:
    ids = [c.id for c in FRAMEWORKS[name].controls if not c.id.endswith(UNSEEN)]
    for chapter, count in WHOLE[name].items():
        assert [i for i in ids if i.rpartition(".")[0] == chapter] == [f"{chapter}.{n}" for n in range(1, count + 1)]
    numbers = [[int(part) for part in i.split(".")] for i in ids]
    assert numbers == sorted(numbers)


def test_of_the_container_runtime_only_what_the_benchmark_has() -> None:
    """CIS Docker Benchmark 1.6.0, section 5: 5.1 to 5.32."""
    numbers = [c.id.removesuffix(UNSEEN) for c in FRAMEWORKS["cis-docker-images"].controls if c.id.startswith("5.")]
    assert {int(n.removeprefix("5.")) for n in numbers} <= set(range(1, 33))


@every
def test_what_is_not_seen_stands_behind_what_is(framework: Framework) -> None:
    before = None
    for control in framework.controls:
        if control.id.endswith(UNSEEN):
            assert before is not None
            assert (before.id + UNSEEN, bool(before.checks), control.checks) == (control.id, True, ())
        before = control


def test_the_guide_asks_what_the_checklist_asks() -> None:
    """Every requirement, in its order and stage, with its own check among those that measure it."""
    guide, template = FRAMEWORKS["container-guide"], parse_template(shipped_template())
    stages = {control.id: part.id for part in guide.sections for control in part.controls}
    asked = {r.id: r for r in template.requirements}
    assert [i for i in stages if i in asked] == list(asked)
    for id_, requirement in asked.items():
        control = guide.control(id_)
        assert control is not None
        assert (stages[id_], control.title, " ".join(control.about.split())) == (
            requirement.stage, requirement.title, " ".join(requirement.about.split()),
        )  # fmt: skip
        assert not requirement.check or requirement.check in control.checks


@every
def test_the_words_are_whole_and_short(framework: Framework) -> None:
    for control in framework.controls:
        assert len(control.title) <= 110, control.id
        for text in filter(None, (control.about, control.unmeasured)):
            assert text.endswith("."), control.id
            for sentence in re.split(r"(?<=[.;:])\s", text):
                assert len(sentence.split()) <= MOST_WORDS, (control.id, sentence)


def test_the_documentation_has_every_control() -> None:
    written = describe(FRAMEWORKS.values())
    assert DOCS.read_text(encoding="utf-8").endswith(written), (
        "docs/compliance-frameworks.md is not what the data says; write its end anew with "
        "python -m secguard.compliance.describing"
    )
