"""The shipped manifests: they ask where we answer, about everything that we read, within the time, and fail closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.urls import resolve

from secguard.admission.review import ADMISSION
from secguard.workloads.podspec import KNOWN

MANIFEST = Path(__file__).parents[2] / "deploy" / "kubernetes" / "admission.yaml"
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(MANIFEST.read_text()))
HOOKS = {o["kind"]: hook for o in OBJECTS if o["kind"].endswith("WebhookConfiguration") for hook in o["webhooks"]}


def one(kind: str) -> dict[str, Any]:
    (found,) = [o for o in OBJECTS if o["kind"] == kind]
    return found


@pytest.mark.parametrize(
    ("kind", "view", "policy"),
    [
        ("ValidatingWebhookConfiguration", "admission-validate", "Fail"),
        ("MutatingWebhookConfiguration", "admission-mutate", "Ignore"),
    ],
)
def test_a_webhook_asks_where_we_answer_and_says_what_its_failure_means(kind: str, view: str, policy: str) -> None:
    hook = HOOKS[kind]
    assert resolve(hook["clientConfig"]["service"]["path"]).view_name == view
    assert (hook["failurePolicy"], hook["sideEffects"], hook["matchPolicy"]) == (policy, "NoneOnDryRun", "Equivalent")
    assert hook["admissionReviewVersions"] == [ADMISSION.rpartition("/")[2]]
    assert 1 <= hook["timeoutSeconds"] <= 5
    service = hook["clientConfig"]["service"]
    assert (service["name"], service["namespace"]) == ("secguard-admission", "secguard-admission")


@pytest.mark.parametrize("kind", sorted(HOOKS))
def test_every_kind_of_kubernetes_own_that_leads_to_pods_is_asked_about(kind: str) -> None:
    asked = {(g, r) for rule in HOOKS[kind]["rules"] for g in rule["apiGroups"] for r in rule["resources"]}
    known = [name.rpartition("/") for name in KNOWN]
    plural = {(g, f"{k.lower()}s") for g, _, k in known if g in ("", "apps", "batch")}
    assert plural | {("", "pods/ephemeralcontainers"), ("argoproj.io", "rollouts")} == asked
    assert all({"CREATE", "UPDATE"} <= set(rule["operations"]) for rule in HOOKS[kind]["rules"])


@pytest.mark.parametrize("kind", sorted(HOOKS))
def test_what_answers_can_start_without_an_answer(kind: str) -> None:
    (expression,) = HOOKS[kind]["namespaceSelector"]["matchExpressions"]
    assert expression["operator"] == "NotIn"
    assert {"kube-system", one("Namespace")["metadata"]["name"]} <= set(expression["values"])


def test_the_proxy_has_the_token_from_a_secret_and_asks_for_nothing() -> None:
    from secguard.workloads.podspec import asks_of

    deployment = one("Deployment")
    env = {e["name"]: e for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["SECGUARD_CLUSTER_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "secguard-cluster-token"
    assert "Secret" not in {o["kind"] for o in OBJECTS}
    assert asks_of(deployment, "apps", "Deployment", {}) == ()
    template = one("ConfigMap")["data"]["admission.conf.template"]
    assert 'Authorization "Bearer ${SECGUARD_CLUSTER_TOKEN}"' in template
    # The proxy gives up before the API server does, and takes what the server takes.
    assert "proxy_read_timeout 4s" in template
    assert HOOKS["ValidatingWebhookConfiguration"]["timeoutSeconds"] == 5
    assert "client_max_body_size 8m" in template
