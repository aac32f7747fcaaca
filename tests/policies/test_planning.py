"""Whether the policy in force blocks at a gate: kept, missing, and not measured where nothing could be judged there."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.policies.models import Policy, PolicyVersion
from tests.measuring import image_in, outcome, outcomes, repository_of, run

pytestmark = pytest.mark.django_db

GATES = ("build", "promote", "admit")
RULE = """
name: ours
rules:
  - id: malware
    each: finding
    stages: [{stages}]
    when: finding.kind == "malware"
    effect: {effect}
    message: "{{count}} found."
"""


def gate(stages: str = "build, promote, admit, run", effect: str = "block", **staging: Any) -> PolicyVersion:
    """A policy that gates, with one rule."""
    Policy.objects.update(is_gating=False)
    policy = Policy.objects.create(name=f"ours {Policy.objects.count()}", is_gating=True)
    version = PolicyVersion.objects.create(
        policy=policy, number=1, source=RULE.format(stages=stages, effect=effect), sha256="0" * 64,
        staging={name: {"mode": mode} for name, mode in staging.items()},
    )  # fmt: skip
    policy.active_version = version
    policy.save(update_fields=["active_version"])
    return version


@pytest.fixture
def shop(application: Any) -> Any:
    """The application, with an image that runs."""
    image = image_in(repository_of(application))
    run(application, image)
    return application


@pytest.mark.parametrize("name", GATES)
def test_a_rule_that_blocks_and_is_enforced_keeps_it(shop: Any, viewer: Any, other_application: Any, name: str) -> None:
    version = gate()
    ours, theirs = outcomes(f"policy-{name}", [shop, other_application])
    assert (ours.state, ours.says) == ("kept", f"Policy {version.policy.name}, version 1: blocks at the gate {name}.")
    assert theirs.state == "unmeasured"
    ((_, path),) = ours.links
    assert viewer.client.get(path).status_code == 200


@pytest.mark.parametrize("name", GATES)
def test_no_policy_keeps_nothing(shop: Any, name: str) -> None:
    Policy.objects.update(is_gating=False)
    assert outcome(f"policy-{name}", shop).state == "missing"


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("mode", ["observe", "warn"])
def test_a_gate_at_which_it_is_only_tried_is_missing(shop: Any, name: str, mode: str) -> None:
    gate(**{name: mode})
    states = {other: outcome(f"policy-{other}", shop).state for other in GATES}
    assert states == dict.fromkeys(GATES, "kept") | {name: "missing"}


@pytest.mark.parametrize("name", GATES)
def test_rules_that_only_warn_or_are_of_other_gates_do_not_block(shop: Any, name: str) -> None:
    gate(effect="warn")
    assert outcome(f"policy-{name}", shop).state == "missing"
    gate(stages=", ".join(other for other in (*GATES, "run") if other != name))
    assert outcome(f"policy-{name}", shop).state == "missing"


def test_the_shipped_policy_blocks_at_every_gate(shop: Any) -> None:
    from secguard.policies.services import active_version

    active_version()
    assert [outcome(f"policy-{name}", shop).state for name in GATES] == ["kept"] * 3
