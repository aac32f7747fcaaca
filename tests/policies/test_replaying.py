"""Documents held against each other, and what another team reads of one."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.policies.replaying import differences, repository_of, shown


def document(**changed: Any) -> dict[str, Any]:
    exception = {"url": "https://old.example/decisions/new/?risk=1", "risks": [1]}
    reasons = [{"message": "reg.example/a/b:1 has a flaw", "remedy": {"exception": exception}}]
    bare = {
        "verdict": "pass",
        "reference": "reg.example/a/b:1",
        "reasons": reasons,
        "decisions": [{"id": 1}, {"id": 2}],
        "covered": [{"decision": 1}, {"decision": 2}],
    }
    return bare | changed


def test_the_same_is_the_same_also_from_another_address() -> None:
    moved = document()
    moved["reasons"][0]["remedy"]["exception"]["url"] = "https://new.example/decisions/new/?risk=1"
    assert differences(document(), moved) == ()


def test_another_verdict_and_another_part_are_told() -> None:
    found = differences(document(), document(verdict="block", covered=[]))
    assert found == (
        "the stored verdict is pass, computed again it is block",
        "the documents differ in covered",
    )


def test_another_team_reads_neither_the_place_nor_the_decision() -> None:
    whole = document()
    part = shown(whole, {"reg.example/c/d"}, {2})
    assert "a/b" not in str(part["reference"]) + part["reasons"][0]["message"]
    assert [d["id"] for d in part["decisions"]] == [2]
    assert [c["decision"] for c in part["covered"]] == [2]
    assert whole == document()


def test_no_message_names_whose_place_it_was() -> None:
    reasons = [{"message": "payments/web of payments (reg.example) ran at reg.example/a/b:1; mypayments did not"}]
    part = shown(document(reasons=reasons), set(), set(), {"payments", "reg.example"})
    elsewhere = "a place of another team"
    assert part["reasons"][0]["message"] == (
        f"{elsewhere}/web of {elsewhere} ({elsewhere}) ran at {elsewhere}; mypayments did not"
    )


def test_what_a_version_observed_names_no_place_either() -> None:
    told = {"verdict": "block", "reasons": [{"message": "reg.example/a/b:1 is old"}]}
    part = shown(document(observed=told), set(), set())
    assert part["observed"]["reasons"] == [{"message": "a place of another team is old"}]
    assert shown(document(observed=told), {"reg.example/a/b"}, {1, 2})["observed"] == told


def test_ones_own_is_left_as_it_was() -> None:
    assert shown(document(), {"reg.example/a/b"}, {1, 2}) == document()


@pytest.mark.parametrize(
    ("reference", "name"),
    [("h:5000/a/b:1", "h:5000/a/b"), ("h:5000/a", "h:5000/a"), ("h/a@sha256:00", "h/a"), ("", "")],
)
def test_a_reference_names_its_repository(reference: str, name: str) -> None:
    assert repository_of(reference) == name
