"""The Helm chart: the same as the plain manifests, and no value that means nothing.

What Helm makes of it is tested where Helm is: the program on the PATH, or the package ``helm_python``. The rest holds
without.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, util
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from secguard.client.certificate import Authority, Place, configurations, now

CHECKOUT = Path(__file__).parents[2]
CHART = CHECKOUT / "deploy" / "helm" / "secguard-admission"
PLAIN = CHECKOUT / "deploy" / "kubernetes"
TEMPLATES = {p.name: p.read_text() for p in sorted((CHART / "templates").iterdir())}
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
HOST = {"host": "secguard.example.org"}


def documents(text: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all(text) if found]


def manifests(*names: str) -> dict[tuple[str, str], dict[str, Any]]:
    return keyed(found for name in names for found in documents((PLAIN / name).read_text()))


def keyed(found: Any) -> dict[tuple[str, str], dict[str, Any]]:
    return {(d["kind"], d["metadata"]["name"]): d for d in found}


# Without Helm ---------------------------------------------------------------------------------------------------------


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of the values; an empty object is a value."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path


def test_every_value_is_used_and_every_used_value_is_there() -> None:
    text = "".join(TEMPLATES.values())
    used = set(re.findall(r"\.Values((?:\.\w+)+)", text))
    # A webhook's own values go to what both have in common as `hook`.
    hooks = set(re.findall(r'"hook" \.Values\.(\w+)', text))
    used |= {f".{hook}.{name}" for hook in hooks for name in re.findall(r"\.hook\.(\w+)", text)}
    known = {f".{path}" for path in leaves(VALUES)}
    for path in used:
        assert any(k == path or k.startswith(f"{path}.") for k in known), f"values.yaml has no {path}"
    for path in known:
        assert any(path == u or (path.startswith(f"{u}.") and u[1:] not in hooks) for u in used), f"{path} is not used"


def test_the_templates_are_closed() -> None:
    for name, text in TEMPLATES.items():
        assert text.count("{{") == text.count("}}"), name
        bare = re.sub(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}", "", text, flags=re.S)
        words = re.findall(r"\{\{-?\s*(if|with|range|define|block|end)\b", bare)
        depth = 0
        for word in words:
            depth += -1 if word == "end" else 1
            assert depth >= 0, name
        assert depth == 0, name
        included = set(re.findall(r'include "([^"]+)"', text))
        assert included <= set(re.findall(r'define "([^"]+)"', TEMPLATES["_names.tpl"])), name


def test_the_rules_are_the_manifests() -> None:
    (block,) = re.findall(r"^rules:\n(.*?)^  \{\{-", TEMPLATES["_names.tpl"], re.M | re.S)
    for (kind, _), document in manifests("webhooks.yaml").items():
        assert yaml.safe_load(block) == document["webhooks"][0]["rules"], kind


def test_the_proxy_s_configuration_is_the_manifest_s() -> None:
    text = TEMPLATES["configmap.yaml"]
    (expression,) = re.findall(r"proxy_read_timeout (\{\{.*?\}\})s;", text)
    assert expression == "{{ sub (int .Values.validate.timeoutSeconds) 1 }}"
    told = text[text.index("\ndata:") :].replace(expression, str(VALUES["validate"]["timeoutSeconds"] - 1))
    plain = manifests("proxy.yaml")["ConfigMap", "secguard-admission"]
    assert yaml.safe_load(told)["data"] == plain["data"]


def test_the_defaults_are_taken_and_what_they_are_is_told() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(VALUES | HOST, SCHEMA)
    assert set(SCHEMA["properties"]) - {"global"} == set(VALUES)
    told = set(re.findall(r"`([\w.]+)`", (CHART / "README.md").read_text()))
    for path in leaves(VALUES):
        assert path in told or path.split(".")[0] in told, f"README.md does not tell of {path}"


@pytest.mark.parametrize(
    "changed",
    [
        {"host": "https://secguard.example.org"},
        {"host": "secguard.example.org/path"},
        {"host": "a;b"},
        {"name": "Upper"},
        {"tls": {"mode": "none", "secretName": "a", "caBundle": ""}},
        {"tls": {"mode": "provided", "secretName": "a", "caBundle": "-----BEGIN"}},
        {"validate": {"failurePolicy": "Fail", "timeoutSeconds": 31}},
        {"validate": {"failurePolicy": "Maybe", "timeoutSeconds": 5}},
        {"mutate": {"enabled": "no", "failurePolicy": "Ignore", "timeoutSeconds": 3}},
        {"image": {"repository": "a", "tag": "b", "digest": "sha256:1", "pullPolicy": "Always"}},
        {"exemptNamespaces": ["a b"]},
        {"additionalRules": [{"apiGroups": ["a"], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["b"]}]},
        {"token": {"existingSecret": "a", "key": "token", "value": "sgk_in-the-values"}},
        {"failurePolicy": "Ignore"},
    ],
)
def test_values_that_mean_nothing_are_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(VALUES | HOST | changed, SCHEMA)


def test_the_chart_is_of_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]
    assert chart["name"] == CHART.name


# With Helm ------------------------------------------------------------------------------------------------------------

Render = Callable[..., dict[tuple[str, str], dict[str, Any]]]


class Refused(Exception):
    """Helm's own words."""


def by_program(program: str, values: dict[str, Any], namespace: str) -> str:
    words = [program, "template", "release", str(CHART), "--namespace", namespace, "--values", "-"]
    done = subprocess.run(words, input=json.dumps(values), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def by_package(values: dict[str, Any], namespace: str) -> str:
    helm: Any = import_module("helm_python")
    with helm.Chart.load(str(CHART)) as chart:
        try:
            made = chart.render(values, name="release", namespace=namespace)
        except Exception as error:
            raise Refused(str(error)) from error
    return "\n---\n".join(text for name, text in made.items() if name.endswith(".yaml"))


@pytest.fixture
def render() -> Render:
    """Helm's objects by kind and name."""
    program = shutil.which("helm")
    if program is None and util.find_spec("helm_python") is None:
        pytest.skip("needs helm on the PATH, or the package helm-python-sdk")

    def make(namespace: str = "secguard-admission", **values: Any) -> dict[tuple[str, str], dict[str, Any]]:
        chosen = HOST | values
        text = by_program(program, chosen, namespace) if program else by_package(chosen, namespace)
        return keyed(documents(text))

    return make


def hooks_of(found: Mapping[tuple[str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    return [hook for d in found.values() if d["kind"].endswith("WebhookConfiguration") for hook in d["webhooks"]]


def bare(found: Mapping[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Without what Helm's own habits add."""
    copied = keyed(json.loads(json.dumps(list(found.values()))))
    for document in copied.values():
        assert document["metadata"].pop("labels")["app.kubernetes.io/managed-by"] == "Helm"
        if document["kind"] == "Deployment":
            assert document["spec"]["template"]["metadata"].pop("annotations").keys() == {"checksum/configuration"}
            for container in document["spec"]["template"]["spec"]["containers"]:
                assert container.pop("imagePullPolicy") == "IfNotPresent"
    return copied


def test_without_further_values_it_is_the_manifests(render: Render) -> None:
    expected = manifests("proxy.yaml", "certificate.yaml", "webhooks.yaml")
    del expected["Namespace", "secguard-admission"]
    assert bare(render()) == expected


def test_with_a_provided_certificate_it_is_what_the_command_prints(render: Render) -> None:
    authority = Authority.make(now())
    place = Place("gates", "secguard-admission")
    expected = keyed(configurations(place, authority.pem))
    bundle = expected["ValidatingWebhookConfiguration", "secguard-admit"]["webhooks"][0]["clientConfig"]["caBundle"]
    found = bare(render("gates", tls={"mode": "provided", "caBundle": bundle}))
    assert {key: found[key] for key in expected} == expected
    assert not {"Issuer", "Certificate"} & {kind for kind, _ in found}
    assert "cert-manager" not in json.dumps(list(found.values()))
    assert {d["metadata"].get("namespace", "gates") for d in found.values()} == {"gates"}


def test_what_is_missing_is_said(render: Render) -> None:
    with pytest.raises(Refused, match="host is empty"):
        render(host="")
    with pytest.raises(Refused, match=r"tls\.caBundle is empty"):
        render(tls={"mode": "provided"})


def test_the_webhooks_come_when_they_are_wanted(render: Render) -> None:
    assert hooks_of(render(webhooks={"enabled": False})) == []
    (only,) = hooks_of(render(mutate={"enabled": False}))
    assert only["name"] == "admit.secguard.io"


def test_every_choice_is_in_both_webhooks(render: Render) -> None:
    rule = {"apiGroups": ["apps.kruise.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["clonesets"]}
    condition = {"name": "not-leases", "expression": 'request.resource.resource != "leases"'}
    expression = {"key": "secguard.io/admission", "operator": "NotIn", "values": ["off"]}
    found = render(
        exemptNamespaces=["on", "monitoring"],
        namespaceExpressions=[expression],
        matchConditions=[condition],
        additionalRules=[rule],
        validate={"failurePolicy": "Ignore", "timeoutSeconds": 10},
    )
    for hook in hooks_of(found):
        names, more = hook["namespaceSelector"]["matchExpressions"]
        assert names["values"] == ["kube-system", "secguard-admission", "cert-manager", "on", "monitoring"]
        assert (more, hook["matchConditions"], hook["rules"][-1]) == (expression, [condition], rule)
    (validating,) = [hook for hook in hooks_of(found) if hook["name"] == "admit.secguard.io"]
    assert (validating["failurePolicy"], validating["timeoutSeconds"]) == ("Ignore", 10)
    config = found["ConfigMap", "secguard-admission"]["data"]["admission.conf.template"]
    assert "proxy_read_timeout 9s;" in config


def test_the_proxy_s_pods_are_as_they_are_wanted(render: Render) -> None:
    digest = "sha256:" + "a" * 64
    found = render(
        image={"digest": digest},
        imagePullSecrets=[{"name": "ours"}],
        nodeSelector={"pool": "system"},
        tolerations=[{"operator": "Exists"}],
        priorityClassName="system-cluster-critical",
        networkPolicy={"enabled": False},
        podDisruptionBudget={"enabled": False},
    )
    spec = found["Deployment", "secguard-admission"]["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == f"docker.io/nginxinc/nginx-unprivileged:1.28@{digest}"
    assert (spec["imagePullSecrets"], spec["nodeSelector"]) == ([{"name": "ours"}], {"pool": "system"})
    assert (spec["tolerations"], spec["priorityClassName"]) == ([{"operator": "Exists"}], "system-cluster-critical")
    assert not {"NetworkPolicy", "PodDisruptionBudget"} & {kind for kind, _ in found}


def test_helm_refuses_what_the_schema_does(render: Render) -> None:
    with pytest.raises(Refused):
        render(host="https://secguard.example.org")
    with pytest.raises(Refused):
        render(validate={"timeoutSeconds": 60})
