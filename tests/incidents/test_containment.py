"""The documents that a person applies, and what they touch; no database."""

from __future__ import annotations

import pytest
import yaml

from secguard.errors import Invalid
from secguard.incidents import containment
from secguard.incidents.containment import Target


@pytest.mark.parametrize(
    ("kind", "patch", "command"),
    [
        ("Deployment", {"spec": {"replicas": 0}}, "kubectl scale deployment/web"),
        ("StatefulSet", {"spec": {"replicas": 0}}, "kubectl scale statefulset/web"),
        ("CronJob", {"spec": {"suspend": True}}, "kubectl patch cronjob/web"),
        (
            "DaemonSet",
            {"spec": {"template": {"spec": {"nodeSelector": {"secguard.io/held": "true"}}}}},
            "kubectl patch daemonset/web",
        ),
    ],
)
def test_each_kind_is_stopped_in_its_own_way(kind: str, patch: object, command: str) -> None:
    plan = containment.scale(Target("prod", "shop", kind, "web"))
    assert yaml.safe_load(plan.document) == patch
    assert plan.document.startswith(f"# {command}")
    assert "volumes" in " ".join(plan.touches)


@pytest.mark.parametrize("kind", ["Pod", "Unknown"])
def test_what_is_not_scaled_is_said_to_be(kind: str) -> None:
    with pytest.raises(Invalid, match="by hand"):
        containment.scale(Target("prod", "shop", kind, "web"))


@pytest.mark.parametrize("name", ["a b", "$(x)", "web\n---", "", "-x", "a" * 300])
def test_no_name_that_is_none_comes_into_a_document(name: str) -> None:
    assert not containment.can_name(Target("prod", "shop", "Deployment", name))
    assert not containment.can_scale(Target("prod", "shop", "Deployment", name))
