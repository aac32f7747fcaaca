"""Only what was approved runs: from blocked, through an approved exception, to a promoted digest that others accept and
the cluster admits, while another digest under the same tag is refused. All of it over the surface others script.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.admission.conftest import pod, review
from tests.fixtures_registries import RunningRegistry
from tests.fixtures_reports import flaw, report
from tests.imagebuilding import BuiltImage, image_of, tar_of
from tests.promotion.conftest import set_up
from tests.signing.enforcing import ENFORCERS, Target, allows

pytestmark = pytest.mark.django_db
CRITICAL = flaw("CVE-2026-0001", severity="critical", fixed_versions=["1.1.1w"])


@dataclass
class Shop:
    """A build registry, a production registry, the people of the story, and a cluster that asks."""

    build: RunningRegistry
    production: RunningRegistry
    people: dict[str, Any]
    token: str
    path: str
    run_jobs: Callable[[], int]

    @property
    def name(self) -> str:
        return f"{self.build.host}/{self.path}"

    @property
    def live(self) -> str:
        return f"{self.production.host}/production/{self.path}"

    def pipeline(self, *findings: Any) -> BuiltImage:
        """Builds, pushes to the build registry under 1.4, and posts its scanner's report."""
        built = image_of(tar_of({"etc/id": os.urandom(8)}))
        self.build.push(self.path, "1.4", built)
        where = {"reference": f"{self.name}:1.4", "digest": built.digest}
        raw = report(*findings, image=where)
        answer = self.people["developer"].api.post("/api/v1/reports/", data=raw, content_type="application/json")
        assert answer.status_code in (200, 202), answer.content
        self.run_jobs()
        return built

    def promote(self) -> dict[str, Any]:
        """Asks as the operator's pipeline, with the jobs done; the document as it is then."""
        operator = self.people["operator"].api
        asked = operator.post("/api/v1/promotions/", {"image": f"{self.name}:1.4", "to": "production"})
        assert asked.status_code == 201, asked.content
        self.run_jobs()
        return self.promotion(asked.json()["id"])

    def promotion(self, pk: int) -> dict[str, Any]:
        found: dict[str, Any] = self.people["operator"].api.get(f"/api/v1/promotions/{pk}/").json()
        return found

    def ask(self, image: str, webhook: str = "validate") -> dict[str, Any]:
        """What the cluster is answered about a pod with that image."""
        answer = Client().post(
            f"/admission/v1/{webhook}",
            json.dumps(review(pod(image))),
            content_type="application/json",
            headers={"Authorization": f"Bearer {self.token}"},
        )
        assert answer.status_code == 200, answer.content
        found: dict[str, Any] = answer.json()["response"]
        return found


@pytest.fixture
def shop(
    token_registry: RunningRegistry, plain_registry: RunningRegistry, developer: Any, operator: Any, reviewer: Any,
    administrator: Any, application: Any, run_jobs: Callable[[], int],
) -> Shop:  # fmt: skip
    """Set up by an administrator over REST."""
    set_up(token_registry)
    set_up(plain_registry)
    made = administrator.api.post("/api/v1/signing-keys/", {"name": "release"})
    assert made.status_code == 201, made.content
    for body in (
        {"name": "build", "registry": token_registry.host},
        {
            "name": "production", "registry": plain_registry.host, "path_prefix": "production", "key_name": "release",
            "approvers": {"security-reviewer": 1},
        },
    ):  # fmt: skip
        answer = administrator.api.post("/api/v1/environments/", body)
        assert answer.status_code == 201, answer.content
    asked = {"name": "prod", "mode": "enforce", "environment": "production", "signers": ["release"]}
    cluster = administrator.api.post("/api/v1/clusters/", asked)
    assert cluster.status_code == 201, cluster.content
    token = administrator.api.post(f"/api/v1/clusters/{cluster.json()['id']}/token/").json()["token"]
    people = {"developer": developer, "operator": operator, "reviewer": reviewer, "administrator": administrator}
    return Shop(token_registry, plain_registry, people, token, f"shop/web-{os.urandom(4).hex()}", run_jobs)


def test_from_blocked_to_running_and_nothing_else_under_that_tag(shop: Shop, tmp_path: Path, stranger: Any) -> None:
    built = shop.pipeline(CRITICAL)
    # Blocked: the promotion says why and where to ask.
    refused = shop.promote()
    assert refused["status"] == "refused"
    (reason,) = refused["reasons"]
    assert reason["findings"][0]["name"] == "CVE-2026-0001"
    assert "/decisions/new/" in reason["remedy"]["exception"]["url"]
    # An exception, approved by somebody else.
    asked = shop.people["developer"].api.post("/api/v1/decisions/", {
        "kind": "accept", "risk": reason["findings"][0]["risk"], "scope": {"repository": shop.name},
        "reason": "It is not reachable here.", "expires_at": (timezone.now() + timedelta(days=14)).isoformat(),
    })  # fmt: skip
    assert asked.status_code == 201, asked.content
    approved = shop.people["reviewer"].api.post(f"/api/v1/decisions/{asked.json()['id']}/approve/", {})
    assert approved.json()["status"] == "approved", approved.content
    # Now it waits for the environment's own approval, and goes.
    waiting = shop.promote()
    assert (waiting["status"], waiting["approval"]["missing"]) == ("waiting", {"security-reviewer": 1})
    assert not shop.ask(f"{shop.live}@{built.digest}")["allowed"]
    assert shop.people["operator"].api.post(f"/api/v1/promotions/{waiting['id']}/approve/", {}).status_code == 403
    voted = shop.people["reviewer"].api.post(f"/api/v1/promotions/{waiting['id']}/approve/", {})
    assert voted.status_code == 200, voted.content
    assert stranger.api.get(f"/api/v1/promotions/{waiting['id']}/").status_code == 404
    shop.run_jobs()
    done = shop.promotion(waiting["id"])
    assert done["status"] == "promoted", done
    # Others accept it: by our public key, as it is served.
    pem = Client().get("/keys/release.pem").content.decode()
    target = Target(shop.production.writer, shop.production.host, f"production/{shop.path}", built.digest, now())
    for enforcer in ENFORCERS:
        assert allows(enforcer, pem, f"{shop.production.host}/production", target), enforcer
    cosign_and_skopeo(shop, built.digest, pem, tmp_path)
    # The cluster: the tag is pinned to the digest, which is admitted.
    assert patched(shop.ask(f"{shop.live}:1.4", "mutate")) == f"{shop.live}@{built.digest}"
    assert shop.ask(f"{shop.live}@{built.digest}")["allowed"]
    # The same tag with another digest, pushed past us.
    other = image_of(tar_of({"etc/id": os.urandom(8)}))
    shop.production.push(f"production/{shop.path}", "1.4", other)
    assert patched(shop.ask(f"{shop.live}:1.4", "mutate")) == f"{shop.live}@{built.digest}", "what was approved"
    denied = shop.ask(f"{shop.live}:1.4@{other.digest}")
    assert not denied["allowed"]
    print(denied["status"]["message"])  # noqa: T201 - what a person at the terminal reads
    assert "nobody has scanned it" in denied["status"]["message"]
    # Scanned, it passes the gate, and is not promoted all the same.
    where = {"reference": f"{shop.live}:next", "digest": other.digest}
    raw = report(image=where)
    shop.people["administrator"].api.post("/api/v1/reports/", data=raw, content_type="application/json")
    shop.run_jobs()
    denied = shop.ask(f"{shop.live}@{other.digest}")
    message = denied["status"]["message"]
    print(message)  # noqa: T201
    assert not denied["allowed"]
    assert "It was not promoted to production." in message
    assert f"secguard promote {shop.live}@{other.digest} --to production" in message
    assert "Nobody whose signature counts here signed it" in message


def test_a_digest_that_is_called_back_starts_nowhere_any_more(shop: Shop) -> None:
    built = shop.pipeline()
    waiting = shop.promote()
    shop.people["reviewer"].api.post(f"/api/v1/promotions/{waiting['id']}/approve/", {})
    shop.run_jobs()
    image = f"{shop.live}@{built.digest}"
    assert shop.ask(image)["allowed"]
    back = shop.people["reviewer"].api.post(f"/api/v1/images/{built.digest}/recall/", {"reason": "A backdoor."})
    assert back.status_code == 201, back.content
    denied = shop.ask(image)
    assert not denied["allowed"]
    assert "It was called back: A backdoor." in denied["status"]["message"]
    assert "It was not promoted to production." in denied["status"]["message"]
    shop.run_jobs()
    pem = Client().get("/keys/release.pem").content.decode()
    target = Target(shop.production.writer, shop.production.host, f"production/{shop.path}", built.digest, now())
    for enforcer in ENFORCERS:
        assert not allows(enforcer, pem, f"{shop.production.host}/production", target), enforcer


def now() -> datetime:
    return datetime.now(UTC)


def patched(response: dict[str, Any]) -> str:
    import base64

    ((change),) = json.loads(base64.b64decode(response["patch"]))
    return str(change["value"])


def cosign_and_skopeo(shop: Shop, digest: str, pem: str, folder: Path) -> None:
    """What independent verifiers that are on the PATH say: yes by our key, no by another."""
    from secguard.signing import ecdsa

    cosign = shutil.which("cosign")
    if cosign is None:
        return
    for key, accepted in ((pem, True), (ecdsa.generate().public.pem, False)):
        (folder / "key.pub").write_text(key)
        words = ["--key", str(folder / "key.pub"), "--insecure-ignore-tlog=true", "--allow-http-registry=true"]
        verify = [cosign, "verify", *words, f"{shop.live}@{digest}"]
        assert (subprocess.run(verify, capture_output=True).returncode == 0) is accepted
