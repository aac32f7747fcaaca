"""A scope that matches everything: only by its own word, and only by who may ask for all."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.decisions.models import Decision
from tests.fixtures_reports import digest
from tests.flows.test_exception_story import REFERENCE, ask, pipeline

__all__ = ["pipeline"]

pytestmark = pytest.mark.django_db


@pytest.fixture
def risk(pipeline: Any) -> int:
    (reason,) = [r for r in pipeline(1)["reasons"] if r["effect"] == "block"]
    found: int = reason["findings"][0]["risk"]
    return found


@pytest.mark.parametrize(
    "scope",
    [
        {},
        None,
        [],
        "organisation",
        "*",
        {"organisation": False},
        {"organisation": "yes please"},
        {"organisation": None},
        {"organisation": True, "repository": REFERENCE},
        {"image": digest(1), "repository": REFERENCE},
        {"everything": True},
        {"repository": ""},
        {"repository": "*"},
        {"repository": "reg.example/*"},
        {"repository": "%"},
        {"repository": ".*"},
        {"repository": None},
        {"repository": [REFERENCE]},
        {"repository": {"contains": ""}},
        {"repository": True},
        {"application": "*"},
        {"application": ""},
        {"image": "sha256:*"},
        {"image": "latest"},
        {"image": f"{REFERENCE}:1"},
    ],
)
def test_no_other_word_means_everything(
    risk: int, scope: Any, developer: Any, reviewer: Any, administrator: Any, row_counts: Any
) -> None:
    before = row_counts()
    for person in (developer, reviewer, administrator):
        answer = ask(person, risk, scope=scope)
        assert answer.status_code in (400, 403, 404, 422), (scope, answer.content)
        assert answer.json()["detail"]
    assert row_counts() == before


@pytest.mark.parametrize(
    "key", ["", "organisation:", "organisation:1", "everything", "repository:", "repository:*", "*"]
)
def test_no_form_field_means_everything_to_a_developer(risk: int, key: str, developer: Any, row_counts: Any) -> None:
    before = row_counts()
    sent = {"risk": risk, "kind": "accept", "scope": key, "reason": "r", "expires_at": "2026-12-20"}
    answer = developer.client.post("/decisions/new/", sent)
    assert answer.status_code in (400, 403, 404, 422), answer.status_code
    assert row_counts() == before


def test_everything_is_asked_for_by_who_may_and_never_through_a_limit(
    risk: int, developer: Any, stranger: Any, viewer: Any, make_person: Any
) -> None:
    for person in (viewer, developer, stranger):
        answer = ask(person, risk, scope={"organisation": True})
        assert answer.status_code in (403, 404), (person.username, answer.content)
    assert not Decision.objects.exists()
    everywhere = make_person("everywhere", "developer")
    asked = ask(everywhere, risk, scope={"organisation": True})
    assert asked.status_code == 201, asked.content
    assert Decision.objects.get().scope_kind == "organisation"
    assert asked.json()["status"] == "requested"
