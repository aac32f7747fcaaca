"""A registry's webhook: every push is scanned, by the registry's own token and in that registry alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secguard.images.models import Image, Registry
from secguard.images.services import RegistryEdit, add_registry, renew_webhook_token
from secguard.scans.models import Scan
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import image_of, tar_of

pytestmark = pytest.mark.django_db
D = "sha256:" + "a" * 64
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def hook(client: Any, operator: Any) -> Any:
    """Posts as the webhook of ``reg.example``."""
    registry = add_registry("reg.example", RegistryEdit(), actor=operator)
    _, token = renew_webhook_token(registry.pk, actor=operator)

    def post(body: Any, authorization: str = f"Bearer {token}") -> Any:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.post(
            "/hooks/registry/", raw, content_type="application/json", headers={"Authorization": authorization}
        )

    post.token = token  # type: ignore[attr-defined]
    return post


def pushed(path: str = "shop/web", tag: str = "1.0", host: str = "reg.example", digest: str = D) -> dict[str, Any]:
    target = {"mediaType": MANIFEST, "repository": path, "tag": tag, "digest": digest}
    return {"events": [{"action": "push", "target": target, "request": {"host": host}}]}


def test_a_push_is_scanned(hook):
    answer = hook(pushed())
    assert answer.status_code == 202
    scan = Scan.objects.get()
    assert answer.json() == {"scans": [scan.pk], "ignored": 0}
    assert (scan.reference, scan.trigger) == (f"reg.example/shop/web:1.0@{D}", "webhook")


def test_the_same_push_told_many_times_is_one_scan(hook):
    assert {tuple(hook(pushed()).json()["scans"]) for _ in range(5)} == {(Scan.objects.get().pk,)}


def test_the_token_alone_is_taken_as_harbor_sends_it(hook):
    assert hook(pushed(), authorization=hook.token).status_code == 202


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer sgw_no", "Basic c2d3Xw==", "sgw_no"])
def test_without_the_token_nothing_is_heard(hook, authorization):
    answer = hook(pushed(), authorization=authorization)
    assert answer.status_code == 403
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not Scan.objects.exists()


def test_a_person_s_token_is_no_webhook_s(hook, administrator):
    answer = administrator.api.post("/hooks/registry/", pushed())
    assert answer.status_code == 403


def test_a_renewed_token_ends_the_former_one(hook, operator):
    renew_webhook_token(Registry.objects.get(host="reg.example").pk, actor=operator)
    assert hook(pushed()).status_code == 403


def test_a_registry_speaks_for_no_other(hook, operator):
    add_registry("other.example", RegistryEdit(), actor=operator)
    hook(pushed(host="other.example"))
    assert Scan.objects.get().reference.startswith("reg.example/")


@pytest.mark.parametrize("body", [b"", b"no json", b"[" * 100_000, {"events": 7}, {}])
def test_a_body_that_is_no_webhook_is_refused_in_words(hook, body):
    answer = hook(body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "bad-webhook"


def test_pulls_and_layers_are_left_alone(hook):
    event = pushed()["events"][0]
    layer = event | {"target": event["target"] | {"mediaType": "application/octet-stream"}}
    answer = hook({"events": [event | {"action": "pull"}, layer]})
    assert answer.json() == {"scans": [], "ignored": 2}


@pytest.mark.processes
def test_a_real_registry_tells_of_a_push(start_registry, live_server, operator, run_jobs, transactional_db):
    registry: RunningRegistry | None = None
    made = add_registry("placeholder.example", RegistryEdit(uses_plain_http=True), actor=operator)
    _, token = renew_webhook_token(made.pk, actor=operator)
    endpoint = {
        "name": "secguard",
        "url": f"{live_server.url}/hooks/registry/",
        "headers": {"Authorization": [f"Bearer {token}"]},
        "timeout": "5s",
        "threshold": 5,
        "backoff": "1s",
    }
    registry = start_registry(notifications={"endpoints": [endpoint]})
    Registry.objects.filter(pk=made.pk).update(host=registry.host)
    digest = registry.push("shop/web", "9", image_of(tar_of({"a": b"1"})))
    import time

    # The live server shares this process's database: what one of them writes may send the other's job back to wait.
    for _ in range(300):
        run_jobs()
        if Scan.objects.filter(status="finished").exists():
            break
        time.sleep(0.1)
    assert Scan.objects.get().status == "finished"
    assert Image.objects.get().digest == digest
