"""Clusters that ask, and images that they ask about."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest
from django.test import Client

from tests.fixtures_reports import digest, report

WEB = "reg.example/shop/web"
GOOD = f"{WEB}@{digest(1)}"
BAD = f"{WEB}@{digest(2)}"
UNKNOWN = f"{WEB}@{digest(9)}"


class Ask(Protocol):
    """Posts a body to a webhook with the cluster's token; the decoded answer of a 200."""

    def __call__(self, path: str, body: Any, **headers: str) -> dict[str, Any]: ...


@pytest.fixture
def gate(administrator: Any) -> tuple[Any, str]:
    """(the gate of cluster ``prod``, which enforces; its token)."""
    from secguard.admission import services

    made = services.add_gate("prod", services.GateEdit(), actor=administrator)
    return services.renew_token(made.pk, actor=administrator)


@pytest.fixture
def ask(gate: tuple[Any, str]) -> Ask:
    client = Client()

    def post(path: str, body: Any, **headers: str) -> dict[str, Any]:
        answer = client.post(
            f"/admission/v1/{path}",
            json.dumps(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {gate[1]}"} | headers,
        )
        assert answer.status_code == 200, answer.content
        found: dict[str, Any] = answer.json()
        return found

    return post


@pytest.fixture
def images(post: Any, application: Any) -> None:
    """``GOOD`` passes (its tag is ``:1``); malware was found in ``BAD``, which ``:2`` names."""
    malware = {
        "kind": "malware", "id": "Eicar-Test", "sha256": "0" * 64, "path": "/bin/x", "severity": "critical",
        "title": "Eicar-Test",
    }  # fmt: skip
    post(report(image=1), application=application.slug)
    bad = {"reference": f"{WEB}:2", "digest": digest(2)}
    post(report(malware, image=bad, covers=["vulnerability", "malware"]), application=application.slug)


def pod(*names: str, **spec: Any) -> dict[str, Any]:
    containers = [{"name": f"c{n}", "image": image} for n, image in enumerate(names)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1"}, "spec": {"containers": containers} | spec}


def review(obj: Any, of: str = "Pod", **changed: Any) -> dict[str, Any]:
    """An AdmissionReview of ``obj``, a ``group/Kind``, created in namespace ``shop`` by ann."""
    group, _, kind = of.rpartition("/")
    request = {
        "uid": "u-1",
        "kind": {"group": group, "version": "v1", "kind": kind},
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "ann"},
        "object": obj,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request | changed}


@pytest.fixture
def ask_pod(ask: Ask) -> Callable[..., dict[str, Any]]:
    """The response to a pod of these images."""

    def post(*names: str, **changed: Any) -> dict[str, Any]:
        response: dict[str, Any] = ask("validate", review(pod(*names), **changed))["response"]
        return response

    return post
