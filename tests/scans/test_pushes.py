"""Webhooks of registries, as their own documentation and users wrote them down."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.scans.pushes import Push, read

ARGO = "registry/argoproj-labs+argocd-image-updater/pkg/webhook"
KEEL = "registry/keel-hq+keel/pkg/http"
DOCS = "registry/goharbor+website/docs/working-with-projects/project-configuration/configure-webhooks.md"
D = "sha256:" + "a" * 64


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("member", "pushes"),
    [
        (
            f"{KEEL}/registry_notifications_test.go.block01.json",
            [Push("foo/bar", "1.6.1", "sha256:4afff550", "registry.git.erxes.io")],
        ),
        (
            f"{ARGO}/acr_test.go.block01.json",
            [Push("hello-world", "test-v1", "sha256:c766679d", "mojrodevops.azurecr.io")],
        ),
        (f"{ARGO}/aliyun_acr_test.go.block01.json", [Push("ns/app", "v1")]),
        (f"{ARGO}/docker_test.go.block01.json", [Push("myuser/myapp", "v1.0.0")]),
        (f"{ARGO}/ghcr_test.go.block01.json", [Push("myuser/myapp", "v1.0.0", "", "ghcr.io")]),
        (
            f"{ARGO}/harbor_test.go.block02.json",
            [Push("image-name", "tag", "sha256:3e5e4ce5", "harbor.example.com")],
        ),
        (f"{ARGO}/quay_test.go.block02.json", [Push("mynamespace/repository", "dev", "", "quay.apps.example.com")]),
        (
            f"{KEEL}/github_webhook_trigger_test.go.block02.json",
            [Push("utaitebox/utaitebox-server", "3.2.1", "sha256:7d3848ba", "ghcr.io")],
        ),
        # Pulls, deletions and warnings are no pushes.
        ("registry/distribution+distribution/docs/content/about/notifications.md.block01.json", []),
        (f"{DOCS}.block05.json", []),
        (f"{DOCS}.block15.json", []),
    ],
)
def test_real_webhooks(member, pushes, corpus):
    delivery = read(corpus(member), {})
    assert [Push(p.path, p.tag, p.digest[:15], p.host) for p in delivery.pushes] == pushes
    assert delivery.ignored == (0 if pushes else 1)


@pytest.mark.corpus
def test_every_file_of_the_corpus_is_read_or_refused(corpus, corpus_members):
    read_ones = 0
    for member in corpus_members("registry"):
        with contextlib.suppress(Invalid):
            read_ones += bool(read(corpus(member), {}).pushes)
    assert read_ones > 15


HARBOR = {
    "resources": [{"digest": D, "tag": "1.0", "resource_url": "harbor.example/shop/web:1.0"}],
    "repository": {"repo_full_name": "shop/web"},
}


def test_harbor_s_cloud_events():
    event = {"specversion": "1.0", "type": "harbor.artifact.pushed", "id": "1", "source": "/x", "data": HARBOR}
    expected = (Push("shop/web", "1.0", D, "harbor.example"),)
    assert read(json.dumps(event).encode(), {}).pushes == expected
    assert read(json.dumps([event, event]).encode(), {}).pushes == expected
    assert read(json.dumps(HARBOR).encode(), {"Ce-Type": "harbor.artifact.pushed", "ce-id": "1"}).pushes == expected
    pulled = read(json.dumps(event | {"type": "harbor.artifact.pulled"}).encode(), {})
    assert (pulled.pushes, pulled.ignored) == ((), 1)


def test_layers_are_no_images_and_an_index_is_one():
    def event(media_type, tag):
        return {"action": "push", "target": {"mediaType": media_type, "repository": "a/b", "digest": D, "tag": tag}}

    events = [
        event("application/octet-stream", ""),
        event("application/vnd.oci.image.manifest.v1+json", ""),
        event("application/vnd.oci.image.index.v1+json", "1"),
    ]
    delivery = read(json.dumps({"events": events}).encode(), {})
    assert delivery.pushes == (Push("a/b", "", D), Push("a/b", "1", D))
    assert delivery.ignored == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"no json", b"[]", b"{}", b"7", b'{"events": 7}', b'"x"', b"[" * 100_000, b'{"type": "PUSH_ARTIFACT"}'],
)
def test_what_is_no_webhook_is_refused(body):
    with pytest.raises(Invalid):
        read(body, {})


@pytest.mark.parametrize("name", ["../etc", "A B", "a/b:c", "", "x" * 2000, "a\0b"])
def test_names_that_are_none_are_left_out(name):
    event = {
        "action": "push",
        "target": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "repository": name},
    }
    event["target"]["digest"] = D
    assert read(json.dumps({"events": [event]}).encode(), {}).pushes == ()


def test_very_many_events_are_refused():
    with pytest.raises(Invalid, match="1,000"):
        read(json.dumps({"events": [{}] * 1001}).encode(), {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["events", "target", "action", "event_data", "type", "repository", "push_data", "resources",
                         "package", "updated_tags", "docker_url", "tag", "digest", "specversion", "data", "name"]),
        inner, max_size=6),
)  # fmt: skip


@given(JSON)
def test_no_json_breaks_the_reading(body):
    try:
        delivery = read(json.dumps(body).encode(), {})
    except Invalid:
        return
    assert all(p.path and (p.tag or p.digest) for p in delivery.pushes)
