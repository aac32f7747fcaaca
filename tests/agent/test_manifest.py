"""The shipped manifest of the agent: it stands behind the proxy's service, and its command can be typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from secguard import cli
from secguard.agent import serving
from secguard.workloads.podspec import asks_of

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
(AGENT,) = yaml.safe_load_all((FOLDER / "agent" / "statefulset.yaml").read_text())
PROXY = {o["kind"]: o for o in yaml.safe_load_all((FOLDER / "proxy.yaml").read_text())}
POD: dict[str, Any] = AGENT["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


def test_its_command_is_one_and_serves_tls_where_the_service_asks() -> None:
    words = [*CONTAINER["command"], *CONTAINER["args"]]
    args = cli.parser().parse_args(words[1:])
    assert words[0] == "secguard"
    (port,) = CONTAINER["ports"]
    assert args.listen == ("0.0.0.0", port["containerPort"])
    assert args.tls_cert is not None
    assert args.tls_key is not None
    assert PROXY["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]


def test_the_proxys_service_budget_and_policy_are_its_own_too() -> None:
    labels = POD["metadata"]["labels"].items()
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = PROXY[kind]["spec"]
        chosen = spec.get("selector") or spec["podSelector"]
        assert chosen.get("matchLabels", chosen).items() <= labels, kind
    assert AGENT["metadata"]["namespace"] == PROXY["Namespace"]["metadata"]["name"]
    proxy = PROXY["Deployment"]["spec"]
    assert AGENT["spec"]["selector"] != proxy["selector"], "neither takes the other's pods"


def test_every_file_that_it_reads_is_mounted() -> None:
    mounted = [m["mountPath"] for m in CONTAINER["volumeMounts"]]
    files = [a.partition("=")[2] for a in CONTAINER["args"] if a.startswith(("--t", "--k", "--state"))]
    assert files
    assert all(any(f == at or f.startswith(f"{at}/") for at in mounted) for f in files)
    names = {v["name"] for v in POD["spec"]["volumes"]} | {AGENT["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]}
    assert {m["name"] for m in CONTAINER["volumeMounts"]} == names
    secrets = {v["secret"]["secretName"] for v in POD["spec"]["volumes"] if "secret" in v}
    assert secrets == {"secguard-cluster-token", "secguard-admission-tls"}


def test_it_asks_for_nothing_and_has_the_time_to_end() -> None:
    assert asks_of(AGENT, "apps", "StatefulSet", {}) == ()
    assert POD["spec"]["terminationGracePeriodSeconds"] > serving.DRAIN_SECONDS
