"""Activation in stages: observe, warn, enforce, by gate; and the same answers when they are played again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.policies.evaluation import PolicyRef, evaluate
from secguard.policies.facts import Facts, FindingFact, Gate, ImageFact
from secguard.policies.language import parse_policy
from secguard.policies.staging import WARNS_YET, Mode, Part, Staged, check_modes, composed, staged
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report
from tests.policies.test_services import BLOCK_ALL

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STRICT = parse_policy(BLOCK_ALL)
LENIENT = parse_policy(
    BLOCK_ALL.replace("effect: block", "effect: warn").replace('"true"', 'finding.severity == "high"')
)


def verdict(policy: Any, gate: Gate, *severities: str) -> Any:
    findings = tuple(
        FindingFact(id=n, risk=n, kind="vulnerability", severity=s, first_seen_at=NOW) for n, s in enumerate(severities)
    )
    facts = Facts(stage=gate, image=ImageFact(digest="sha256:1"), findings=findings)
    return evaluate(policy, facts, NOW, policy_ref=PolicyRef("x", 1))


GATES = st.sampled_from(list(Gate))
SEVERITIES = st.lists(st.sampled_from(["high", "low"]), max_size=3)


@given(st.dictionaries(GATES, st.sampled_from([Mode.WARN, Mode.ENFORCE])), GATES, SEVERITIES)
def test_each_gate_answers_as_the_rules_that_decide_there(
    parts: dict[Gate, Mode], gate: Gate, severities: list[str]
) -> None:
    one = composed(STRICT, {g: Part(LENIENT if m is Mode.ENFORCE else STRICT, m) for g, m in parts.items()})
    deciding = LENIENT if parts.get(gate) is Mode.ENFORCE else STRICT
    alone, found = verdict(deciding, gate, *severities), verdict(one, gate, *severities)
    if parts.get(gate) is Mode.WARN:
        assert found.verdict == ("warn" if alone.verdict == "block" else alone.verdict)
        assert all(reason.message.endswith(WARNS_YET) for reason in found.reasons)
    else:
        assert found == alone


def test_what_was_called_back_is_refused_whatever_the_policy_only_warns_of() -> None:
    facts = Facts(stage=Gate.RUN, image=ImageFact(digest="sha256:1", recalled="It steals."))
    warns = composed(STRICT, {gate: Part(STRICT, Mode.WARN) for gate in Gate})
    assert evaluate(warns, facts, NOW, policy_ref=PolicyRef("x", 1)).verdict == "block"


def test_while_one_observes_after_another_what_was_enforced_goes_on_to_decide() -> None:
    first = staged({Gate.ADMIT: Mode.OBSERVE, Gate.BUILD: Mode.WARN}, {}, 1)
    assert first == {Gate.ADMIT: Staged(Mode.OBSERVE, 1, Mode.ENFORCE), Gate.BUILD: Staged(Mode.WARN)}
    second = staged({Gate.ADMIT: Mode.OBSERVE, Gate.BUILD: Mode.OBSERVE}, first, 2)
    assert second == {Gate.ADMIT: Staged(Mode.OBSERVE, 1), Gate.BUILD: Staged(Mode.OBSERVE, 2, Mode.WARN)}


@pytest.mark.parametrize("raw", [[], {"admitt": "warn"}, {"admit": "ignore"}, {"admit": None}])
def test_modes_that_are_none_are_refused(raw: Any) -> None:
    with pytest.raises(Invalid):
        check_modes(raw)
    assert check_modes({"admit": "enforce", "run": "warn"}) == {Gate.RUN: Mode.WARN}


# --- in force ---


@pytest.fixture
def image(post: Any, developer: Person, application: Any) -> str:
    """Passes under the default policy."""
    post(report(flaw("CVE-2026-1", severity="negligible")), developer, application=application.slug)
    return digest(1)


@pytest.fixture
def strict(reviewer: Person) -> int:
    return int(reviewer.api.post("/api/v1/policies/", {"name": "strict", "source": BLOCK_ALL}).json()["id"])


def activate(who: Person, version: int, **modes: str) -> Any:
    return who.api.post(f"/api/v1/policy-versions/{version}/activate/", {"modes": modes})


def asked(who: Person, image: str, stage: str) -> dict[str, Any]:
    answer: dict[str, Any] = who.api.get(f"/api/v1/images/{image}/verdict/?stage={stage}").json()
    return answer


def is_same_again(image: str) -> bool:
    import zlib

    from secguard.policies.models import Evaluation
    from secguard.policies.services import replay

    kept = Evaluation.objects.filter(image__digest=image)
    return all(replay(evaluation) == zlib.decompress(evaluation.document) for evaluation in kept)


@pytest.mark.django_db
def test_one_that_observes_changes_nothing_and_says_what_it_would(
    image: str, strict: int, reviewer: Person, developer: Person, stranger: Person
) -> None:
    before = asked(developer, image, "admit")
    tried = activate(reviewer, strict, admit="observe")
    assert tried.status_code == 200
    assert tried.json()["staging"]["admit"]["mode"] == "observe"
    found = asked(developer, image, "admit")
    assert (before["verdict"], found["verdict"]) == ("pass", "pass")
    assert found["policy"]["mode"] == "observe"
    assert found["observed"]["verdict"] == "block"
    assert found["observed"]["reasons"][0]["rule"] == "nothing-at-all"
    # Where it does not observe it is in force.
    assert asked(developer, image, "build")["verdict"] == "block"
    assert is_same_again(image)
    listed = developer.api.get("/api/v1/evaluations/?observed=block").json()["results"]
    assert [(row["stage"], row["verdict"]) for row in listed] == [("admit", "pass")]
    assert "would block" in developer.client.get("/policy/").content.decode()
    assert "would block" not in stranger.client.get("/policy/").content.decode()


@pytest.mark.django_db
def test_one_that_warns_turns_its_blocks_into_warnings_until_it_is_enforced(
    image: str, strict: int, reviewer: Person, developer: Person
) -> None:
    tried = activate(reviewer, strict, build="warn").json()
    found = asked(developer, image, "build")
    assert (found["verdict"], found["policy"]["mode"]) == ("warn", "warn")
    assert found["reasons"][0]["message"] == f"Nothing may be there.{WARNS_YET}"
    assert asked(developer, image, "promote")["verdict"] == "block"
    enforced = activate(reviewer, tried["id"]).json()
    assert (enforced["id"], enforced["staging"], enforced["gates"]) == (strict, {}, True)
    assert asked(developer, image, "build")["verdict"] == "block"
    assert "mode" not in asked(developer, image, "build")["policy"]
    assert is_same_again(image)


@pytest.mark.django_db
def test_who_may_not_activate_may_not_try_and_each_step_is_in_the_audit_log(
    strict: int, reviewer: Person, developer: Person, administrator: Person
) -> None:
    assert activate(developer, strict, admit="observe").status_code == 403
    assert activate(reviewer, strict, admit="observe").status_code == 200
    assert activate(reviewer, strict, admit="observe").json()["code"] == "policy-active"
    assert activate(reviewer, strict, admit="perhaps").status_code == 422
    logged = administrator.api.get("/api/v1/audit/?action=policy:activate").json()["results"]
    assert logged[0]["details"]["staging"]["admit"]["mode"] == "observe"
    assert logged[0]["actor"]


@pytest.mark.django_db
def test_the_page_activates_gate_by_gate(image: str, strict: int, reviewer: Person, developer: Person) -> None:
    words = {"mode-build": "enforce", "mode-promote": "warn", "mode-admit": "observe", "mode-run": "observe"}
    assert reviewer.client.post(f"/policy/{strict}/activate/", words).status_code == 303
    page = reviewer.client.get("/policy/").content.decode()
    assert "observes" in page
    assert asked(developer, image, "promote")["verdict"] == "warn"


@pytest.mark.django_db
def test_a_simulation_compares_with_what_decides_at_each_gate(
    image: str, strict: int, reviewer: Person, run_jobs: Any
) -> None:
    activate(reviewer, strict, admit="observe", run="observe", promote="observe")
    begun = reviewer.api.post("/api/v1/policies/simulate/", {"source": BLOCK_ALL, "estate": True}).json()
    run_jobs()
    numbers = reviewer.api.get(f"/api/v1/simulations/{begun['id']}/rows/").json()["results"]
    assert {row["stage"] for row in numbers} == {"admit", "run", "promote"}


def test_a_reference_to_an_enforced_version_is_as_it_always_was() -> None:
    assert msgspec.to_builtins(PolicyRef("default", 3)) == {"name": "default", "version": 3}
