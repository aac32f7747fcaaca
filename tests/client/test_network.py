"""``secguard network``: policies as files, against the API itself, and a file tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from django.utils import timezone

from secguard import cli, client_commands
from secguard.client.rest import Server
from secguard.network.lifecycle import ProposalEvent
from secguard.network.models import Edge
from secguard.network.policy import Form
from secguard.network.services import judging, proposing
from tests.network.conftest import estate, shop  # noqa: F401 - the fixtures
from tests.network.test_rules import SHOP, approved, rule

pytestmark = pytest.mark.django_db


def run(*words: Any) -> int:
    return cli.main(["network", *map(str, words)])


@pytest.fixture
def server(reviewer: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The product's own API, as the reviewer's token sees it."""
    from django.core.signals import request_finished, request_started
    from django.core.wsgi import get_wsgi_application
    from django.db import close_old_connections

    http = httpx.Client(
        base_url="http://testserver",
        transport=httpx.WSGITransport(app=get_wsgi_application()),  # type: ignore[arg-type]
        headers={"Authorization": reviewer.api._credentials["HTTP_AUTHORIZATION"]},
    )
    monkeypatch.setattr(client_commands, "connect", lambda: Server(http, "http://testserver"))
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("server")
def test_policies_are_listed_and_exported(
    shop: dict[str, Any],  # noqa: F811
    operator: Any,
    reviewer: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = proposing.propose(proposing.About(Form.KUBERNETES, shop["db"].pk), "", actor=operator)
    assert run("policies") == 0
    assert "db-observed" in capsys.readouterr().out
    assert run("policies", "--state", "approved", "--json") == 0
    assert capsys.readouterr().out == ""
    assert run("export", "--cluster", "prod") == 2
    assert "No policy of prod is approved" in capsys.readouterr().err
    proposing.decide(asked.pk, ProposalEvent.APPROVE, actor=reviewer)
    assert run("export", asked.pk) == 0
    one = capsys.readouterr().out
    assert run("export", "--cluster", "prod", "-o", tmp_path / "all.yaml") == 0
    assert list(yaml.safe_load_all(one)) == list(yaml.safe_load_all((tmp_path / "all.yaml").read_text()))
    assert run("export") == 2
    approved(rule(SHOP, SHOP, ports="tcp/5432"), operator, reviewer)
    judging.judge_all(timezone.now())
    assert run("export", "--application", "shop", "--form", "cilium") == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {d["metadata"]["name"] for d in documents} == {"web-allowed", "db-allowed"}


@pytest.mark.usefixtures("server")
def test_a_file_is_tried(
    shop: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "policies.yaml"
    policy = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]},
    }  # fmt: skip
    file.write_text(yaml.dump_all([policy, {"kind": "List", "items": [{**policy, "kind": "Pod"}]}]))
    assert run("simulate", file, "--cluster", "prod") == 0
    said = capsys.readouterr().out
    assert f"1 read: would cut none of {Edge.objects.count()} recorded edges" in said
    assert "not read: items[1]" in said
    del policy["spec"]["ingress"]  # type: ignore[attr-defined]
    file.write_text(yaml.dump(policy))
    assert run("simulate", file, "--cluster", "prod") == 1
    for text in ("a: [", "", "- &a [*a]"):
        file.write_text(text)
        assert run("simulate", file, "--cluster", "prod") == 2
    assert run("simulate", tmp_path / "none", "--cluster", "prod") == 2
