"""The library of ready rules: each is sound, does what its tests say, and is told about."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.policies.language import parse_policy
from secguard.policies.library import Ready, library
from secguard.policies.policytests import run
from secguard.policies.vocabulary import RECORDS
from tests.fixtures_people import Person


@pytest.mark.parametrize("ready", library(), ids=lambda ready: ready.parsed.id)
def test_a_ready_rule_does_what_its_tests_say(ready: Ready) -> None:
    outcomes = run(parse_policy(ready.policy), ready.parsed_tests)
    assert [str(outcome) for outcome in outcomes if not outcome.passed] == []
    # It is shown when it fires and when it does not.
    assert {"pass"} < {outcome.found for outcome in outcomes}
    assert ready.parsed.description


def test_no_two_have_one_id_and_all_fit_into_one_policy() -> None:
    ids = [ready.parsed.id for ready in library()]
    assert len(set(ids)) == len(ids)
    together = "name: all\nrules:\n" + "".join(ready.policy.split("rules:\n", 1)[1] for ready in library())
    assert [rule.id for rule in parse_policy(together).rules] == ids


@pytest.mark.django_db
def test_words_and_rules_are_told_to_editors(viewer: Person) -> None:
    found = viewer.api.get("/api/v1/policies/vocabulary/").json()
    words = {word["name"]: word for word in found["words"]}
    assert all(f"{record}.{name}" in words for record, fields in RECORDS.items() for name in fields)
    assert words["finding.severity"]["words"][0] == "critical"
    assert words["stage"]["words"] == ["build", "promote", "admit", "run"]
    assert [ready["title"] for ready in found["library"]] == [ready.title for ready in library()]


@pytest.mark.django_db
def test_the_editor_works_as_a_plain_form_and_offers_the_rules(reviewer: Person) -> None:
    answer: Any = reviewer.client.get("/policy/new/")
    page = answer.content.decode()
    assert "<script>" not in page
    assert "js/policy.js" in page
    for ready in library():
        assert ready.title in page
