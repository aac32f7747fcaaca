"""Tests of a policy: read, run, and what a save makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.policies import policytests
from secguard.policies.language import parse_policy
from secguard.policies.policytests import FINDING_WORDS, IMAGE_WORDS, NOW, TestsError, parse_tests, run
from secguard.policies.vocabulary import FINDING, IMAGE
from tests.fixtures_people import Person
from tests.policies.test_services import BLOCK_ALL

HERE = Path(policytests.__file__).parent
PASSING = """\
tests:
  - name: anything at all is blocked
    stage: build
    findings: [{severity: low}]
    expect: block
    rules: [nothing-at-all]
"""
FAILING = PASSING.replace("expect: block", "expect: pass")


def test_the_default_policy_keeps_its_promises() -> None:
    policy = parse_policy((HERE / "defaults.yaml").read_text())
    tests = parse_tests((HERE / "defaults.tests.yaml").read_text(), policy)
    assert len(tests) > 5
    assert [str(outcome) for outcome in run(policy, tests) if not outcome.passed] == []


def test_the_example_of_the_documentation_passes() -> None:
    page = (HERE.parents[1] / "docs" / "policy-laboratory.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    policy = parse_policy((HERE / "defaults.yaml").read_text())
    assert [str(outcome) for outcome in run(policy, parse_tests(example, policy)) if not outcome.passed] == []


def test_a_failure_says_what_was_expected_and_found() -> None:
    policy = parse_policy(BLOCK_ALL)
    wrong = FAILING.replace("rules: [nothing-at-all]", "not_rules: [nothing-at-all]")
    (outcome,) = run(policy, parse_tests(wrong, policy))
    assert not outcome.passed
    assert outcome.unwanted == ("nothing-at-all",)
    assert str(outcome) == (
        "anything at all is blocked: expected pass, found block, rule nothing-at-all fired "
        "(fired: nothing-at-all: Nothing may be there.)"
    )


def test_a_rule_that_must_fire_is_asked_beside_the_verdict() -> None:
    policy = parse_policy(
        BLOCK_ALL
        + BLOCK_ALL[BLOCK_ALL.index("  - id") :]
        .replace("nothing-at-all", "other")
        .replace('"true"', 'finding.severity == "high"')
    )
    (outcome,) = run(policy, parse_tests(PASSING.replace("[nothing-at-all]", "[nothing-at-all, other]"), policy))
    assert (outcome.expected, outcome.found, outcome.missing, outcome.passed) == ("block", "block", ("other",), False)


VALUES: dict[str, Any] = {
    "bool": st.booleans(),
    "int": st.integers(0, 400),
    "double": st.integers(0, 1).map(float),
    "string": st.sampled_from(["a", "debian-12"]),
    "list": st.lists(st.sampled_from(["secret", "malware"]), min_size=1, max_size=2, unique=True),
    "map": st.just({"owner": "me"}),
}


def says(name: str, vocabulary: Any) -> Any:
    type_ = vocabulary[name].type
    return st.sampled_from(type_.words) if type_.words else VALUES[type_.name]


@given(st.data())
def test_a_condition_reads_the_very_words_that_a_test_said(data: st.DataObject) -> None:
    import yaml

    image = data.draw(st.fixed_dictionaries({}, optional={n: says(n, IMAGE) for n in IMAGE_WORDS}))
    finding = data.draw(st.fixed_dictionaries({}, optional={n: says(n, FINDING) for n in FINDING_WORDS}))
    test = {"name": "x", "stage": "run", "expect": "pass", "image": image, "findings": [finding]}
    (read,) = parse_tests(yaml.safe_dump({"tests": [test]}))
    facts = read.facts
    assert {name: plain(FINDING[name].read(facts.findings[0], NOW)) for name in finding} == finding
    scanned = "vulnerability" in image.get("scanned_for", ["vulnerability"])
    told = {n: v for n, v in image.items() if scanned or n not in ("scan_age_days", "database_age_days", "scanners")}
    ordered = {n: sorted(v) if n in ("scanned_for", "scanners") else v for n, v in told.items()}
    assert {name: plain(IMAGE[name].read(facts, NOW)) for name in told} == ordered


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("tests: [{name: x, stage: biuld, expect: pass}]", 1, "did you mean 'build'"),
        ("tests: [{name: x, stage: build, expect: fine}]", 1, "expected one of pass, warn, block"),
        ("tests:\n  - {name: x, stage: run, expect: pass, image: {has_age: true}}", 2, "has no key 'has_age'"),
        ("tests:\n  - {name: x, stage: run, expect: pass, findings: [{severity: hgih}]}", 2, "did you mean 'high'"),
        ("tests:\n  - {name: x, stage: run, expect: pass, rules: [nothing-at-al]}", 2, "no rule 'nothing-at-al'"),
        ("tests:\n  - {name: x, stage: run, expect: pass, image: {size_mb: -1}}", 2, "a number from 0"),
        ("tests:\n  - {name: x, stage: run, expect: pass, image: {labels: {a: [1]}}}", 2, "is no text"),
        ("- 1", 1, "expected a mapping"),
        ("tests: &a [*a]", 1, "anchors"),
    ],
)
def test_every_fault_is_told_with_its_place(text: str, line: int, words: str) -> None:
    with pytest.raises(TestsError) as refused:
        parse_tests(text, parse_policy(BLOCK_ALL))
    assert any(problem.line == line and words in problem.message for problem in refused.value.problems)


def test_number_size_and_time_are_bounded() -> None:
    policy = parse_policy(BLOCK_ALL)
    with pytest.raises(TestsError, match="at most 200 entries"):
        parse_tests("tests:\n" + "  - {name: x, stage: run, expect: pass}\n" * 201)
    with pytest.raises(TestsError, match="bytes"):
        parse_tests("#" * 300_000 + "\ntests: []")
    with pytest.raises(Invalid, match="0 of 1 were run"):
        run(policy, parse_tests(PASSING, policy), late=lambda: True)
    assert parse_tests(" \n") == ()


# --- what a save makes of them ---


def save(who: Person, **words: Any) -> Any:
    return who.api.post("/api/v1/policies/", {"name": "strict", "source": BLOCK_ALL, **words})


@pytest.mark.django_db
def test_a_save_whose_tests_fail_is_refused_with_what_was_expected_and_found(reviewer: Person) -> None:
    from secguard.policies.models import PolicyVersion

    before = PolicyVersion.objects.count()
    answer = save(reviewer, tests=FAILING)
    assert (answer.status_code, answer.json()["code"]) == (422, "policy-tests")
    assert "expected pass, found block" in answer.json()["errors"][0]["detail"]
    assert PolicyVersion.objects.filter(policy__name="strict").count() == 0
    assert PolicyVersion.objects.count() - before <= 1  # the default, put in force by the first use


@pytest.mark.django_db
def test_a_draft_is_kept_and_does_not_gate_before_its_tests_pass(reviewer: Person) -> None:
    kept = save(reviewer, tests=FAILING, draft=True)
    assert kept.status_code == 201
    refused = reviewer.api.post(f"/api/v1/policy-versions/{kept.json()['id']}/activate/")
    assert (refused.status_code, refused.json()["code"]) == (422, "policy-tests")
    assert save(reviewer, tests=FAILING, draft=True, comment="at once", activate=True).status_code == 409
    mended = save(reviewer, tests=PASSING, activate=True)
    assert (mended.status_code, mended.json()["gates"]) == (201, True)


@pytest.mark.django_db
def test_tests_stay_with_the_next_version_unless_others_are_sent(reviewer: Person) -> None:
    save(reviewer, tests=PASSING)
    changed = BLOCK_ALL.replace("effect: block", "effect: warn")
    assert save(reviewer, source=changed).json()["code"] == "policy-tests"
    assert save(reviewer, source=changed, tests="").json()["tests"] == ""


@pytest.mark.django_db
def test_tests_are_run_without_keeping_anything(reviewer: Person, viewer: Person) -> None:
    policy = save(reviewer, tests=PASSING).json()
    path = "/api/v1/policies/{}/tests/".format(
        next(p["id"] for p in viewer.api.get("/api/v1/policies/").json()["results"] if p["name"] == "strict")
    )
    assert viewer.api.post(path, {}).json()["passed"] == 1
    found = viewer.api.post(path, {"tests": FAILING}).json()
    assert (found["passed"], found["failed"], found["results"][0]["found"]) == (0, 1, "block")
    assert policy["tests"] == PASSING
    assert viewer.api.post(path, {"tests": "x"}).status_code == 422


@pytest.mark.django_db
def test_the_editor_says_which_tests_fail_and_keeps_what_was_typed(reviewer: Person) -> None:
    words = {"source": BLOCK_ALL, "tests": FAILING, "comment": "c"}
    answer = reviewer.client.post("/policy/new/", words)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "expected pass, found block" in page
    assert "anything at all is blocked" in page
    kept = reviewer.client.post("/policy/new/", {**words, "draft": "on"})
    assert kept.status_code == 303
