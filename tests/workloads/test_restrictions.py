"""What pods are kept from, as a list of pods tells it, and a control that SecGuard watches by that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from secguard.client.workloads import slim
from secguard.decisions import services
from secguard.decisions.controls import ControlState
from secguard.decisions.services.controls_workloads import OLD
from secguard.errors import Invalid
from secguard.workloads.models import Workload
from secguard.workloads.restrictions import RESTRICTIONS, restrictions_of

# Kubernetes documentation, "Pod Security Standards": a pod that keeps to the profile "Restricted".
HARD: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
}
POD_CONTEXT = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, "fsGroup": 7}


def pod(*contexts: Any, context: Any = POD_CONTEXT, name: str = "web-1") -> dict[str, Any]:
    containers = [
        {"name": f"c{n}", "image": "reg.example/shop/web:1", "securityContext": c} for n, c in enumerate(contexts)
    ]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": containers, "securityContext": context},
        "status": {"phase": "Running"},
    }


def test_every_container_has_to_be_kept_from_it():
    assert restrictions_of(pod(HARD)) == set(RESTRICTIONS)
    assert restrictions_of(pod(HARD, {})) == {"non-root", "seccomp", "not-privileged"}
    assert restrictions_of(pod(HARD, context=None)) == set(RESTRICTIONS) - {"non-root", "seccomp"}
    assert "non-root" in restrictions_of(pod({**HARD, "runAsUser": 1000}, context=None))
    assert "non-root" not in restrictions_of(pod({**HARD, "runAsNonRoot": False}))
    assert "not-privileged" not in restrictions_of(pod({**HARD, "privileged": True}))
    assert "no-capabilities" not in restrictions_of(
        pod({**HARD, "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}})
    )
    assert restrictions_of(pod()) == frozenset()


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["securityContext", "containers", "capabilities", "drop", "seccompProfile", "type", "x"]), x
), max_leaves=12))  # fmt: skip
def test_what_kubernetes_does_not_define_restricts_nothing_and_breaks_nothing(context):
    assert restrictions_of(pod(context, context=context)) <= set(RESTRICTIONS)
    assert restrictions_of({"spec": context}) <= set(RESTRICTIONS)


def test_the_command_line_sends_what_is_read_and_nothing_else():
    sent = slim({"kind": "List", "items": [pod({**HARD, "seLinuxOptions": {"user": "x"}})]})
    assert restrictions_of(sent["items"][0]) == set(RESTRICTIONS)
    assert "seLinuxOptions" not in str(sent)
    assert "fsGroup" not in str(sent)


# --- the control ---

SYNC = "/api/v1/workloads/sync/?cluster=prod"
WATCH = {"observer": "workloads", "cluster": "prod", "restrictions": ["read-only-root", "non-root"]}


def listed(operator: Any, application: Any, *pods: Any) -> None:
    """A list of pods comes; what runs belongs to the application."""
    answer = operator.api.post(SYNC, {"kind": "List", "items": list(pods)})
    assert answer.status_code == 200, answer.content
    Workload.objects.update(application=application)


@pytest.mark.django_db
def test_a_control_holds_while_everything_that_runs_is_kept_from_it(operator, developer, reviewer, application):
    new = services.NewControl("Read-only", "runtime-profile", "observation", 24, application=application, watch=WATCH)
    control = services.propose(new, actor=developer)
    services.confirm(control.pk, actor=reviewer)
    assert services.observe() == 0
    listed(operator, application, pod(HARD))
    assert services.observe() == 1
    control.refresh_from_db()
    assert control.state_at(timezone.now()) is ControlState.ALIVE
    assert services.observe(timezone.now() + OLD + timedelta(hours=1)) == 0
    listed(operator, application, pod(HARD), pod({}, name="debug"))
    assert services.observe() == 1
    control.refresh_from_db()
    assert control.state_at(timezone.now()) is ControlState.CONTRADICTED
    assert control.evidence.first().note == "Not read-only-root: shop/debug."


@pytest.mark.django_db
@pytest.mark.parametrize(
    "changed", [{"restrictions": []}, {"restrictions": ["magic"]}, {"restrictions": [[]]}, {"cluster": 7}, {"more": 1}]
)
def test_what_cannot_be_watched_is_refused(developer, application, changed):
    new = services.NewControl("x", "runtime-profile", "observation", 24, "", application, None, WATCH | changed)
    with pytest.raises(Invalid) as found:
        services.propose(new, actor=developer)
    assert found.value.where.startswith("watch")


@pytest.mark.django_db
def test_workloads_are_watched_for_one_application(operator):
    new = services.NewControl("x", "runtime-profile", "observation", 24, "", None, None, WATCH)
    with pytest.raises(Invalid, match="for one application"):
        services.propose(new, actor=operator)
