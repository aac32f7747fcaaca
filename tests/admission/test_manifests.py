"""The shipped manifests: they ask where we answer, about everything that we read, within the time, and fail closed."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.urls import resolve

from secguard.admission.review import ADMISSION
from secguard.workloads.podspec import KNOWN

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
FILES = ("proxy.yaml", "certificate.yaml", "webhooks.yaml")


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


OBJECTS = [found for name in FILES for found in documents((FOLDER / name).read_text())]
HOOKS = {o["kind"]: hook for o in OBJECTS if o["kind"].endswith("WebhookConfiguration") for hook in o["webhooks"]}


def one(kind: str, name: str = "secguard-admission") -> dict[str, Any]:
    (found,) = [o for o in OBJECTS if (o["kind"], o["metadata"]["name"]) == (kind, name)]
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
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert 'Authorization "Bearer ${SECGUARD_CLUSTER_TOKEN}"' in template
    # The proxy gives up before the API server does, and takes what the server takes.
    assert "proxy_read_timeout 4s" in template
    assert HOOKS["ValidatingWebhookConfiguration"]["timeoutSeconds"] == 5
    assert "client_max_body_size 8m" in template


def test_every_object_is_in_a_file_that_is_applied_in_its_turn() -> None:
    assert {p.name for p in FOLDER.glob("*.yaml")} == set(FILES)
    kinds = {name: {d["kind"] for d in documents((FOLDER / name).read_text())} for name in FILES}
    assert kinds["proxy.yaml"] == {
        "Namespace", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy",
    }  # fmt: skip
    assert kinds["certificate.yaml"] == {"Issuer", "Certificate"}
    assert kinds["webhooks.yaml"] == set(HOOKS)


def test_the_proxy_may_be_asked_and_may_ask_and_nothing_else() -> None:
    policy = one("NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (asked,) = policy["ingress"]
    port = one("Deployment")["spec"]["template"]["spec"]["containers"][0]["ports"][0]
    assert asked["ports"] == [{"port": port["name"]}] == [{"port": one("Service")["spec"]["ports"][0]["targetPort"]}]
    assert {p["port"] for rule in policy["egress"] for p in rule["ports"]} == {53, 443}
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert (
        policy["podSelector"]["matchLabels"] == labels == one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]
    )


def test_a_renewed_certificate_of_cert_manager_has_the_same_authority() -> None:
    served, authority = one("Certificate"), one("Certificate", "secguard-admission-ca")
    assert authority["spec"]["isCA"] is True
    issuer = one("Issuer", served["spec"]["issuerRef"]["name"])
    assert issuer["spec"]["ca"]["secretName"] == authority["spec"]["secretName"]
    volumes = {v["name"]: v for v in one("Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == served["spec"]["secretName"]
    service = one("Service")["metadata"]
    assert served["spec"]["dnsNames"] == [f"{service['name']}.{service['namespace']}.svc"]
    for kind in HOOKS:
        (found,) = [o for o in OBJECTS if o["kind"] == kind]
        assert found["metadata"]["annotations"] == {
            "cert-manager.io/inject-ca-from": f"{service['namespace']}/{served['metadata']['name']}"
        }


def test_what_the_command_prints_is_the_same_without_cert_manager() -> None:
    """Its namespace is no exemption where it is not installed: who may make a namespace of that name is not let by."""
    shipped = documents(resources.files("secguard.client").joinpath("webhooks.yaml").read_text())
    expected = documents((FOLDER / "webhooks.yaml").read_text())
    for document in expected:
        del document["metadata"]["annotations"]
        for hook in document["webhooks"]:
            hook["namespaceSelector"]["matchExpressions"][0]["values"].remove("cert-manager")
    assert shipped == expected
