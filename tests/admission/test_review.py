"""What clusters ask, read: reviews as API servers send them, and whatever else arrives at the same door."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from secguard.admission import review
from secguard.errors import Invalid
from secguard.workloads.podspec import KNOWN
from tests.scans.conftest import corpus, corpus_members  # noqa: F401 - fixtures

MOST = 8 * 2**20


def read(body: Any, paths: Any = None) -> review.Review:
    return review.read_admission(json.dumps(body).encode(), paths or {}, max_bytes=MOST)


def asked(obj: Any, of: str = "Pod", **changed: Any) -> dict[str, Any]:
    group, _, kind = of.rpartition("/")
    request = {
        "uid": "u-1",
        "kind": {"group": group, "version": "v1", "kind": kind},
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {"username": "ann"},
        "object": obj,
    }
    return {"apiVersion": review.ADMISSION, "kind": "AdmissionReview", "request": request | changed}


def pod(*images: str, **meta: Any) -> dict[str, Any]:
    containers = [{"name": f"c{n}", "image": image} for n, image in enumerate(images)]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"} | meta, "spec": {"containers": containers}}


def test_a_pod() -> None:
    found = read(asked(pod("reg.example/a:1", "reg.example/b:1"), dryRun=True))
    assert [u.image for u in found.images] == ["reg.example/a:1", "reg.example/b:1"]
    about = found.subject
    assert (about.uid, about.kind, about.namespace, about.name, about.user) == ("u-1", "Pod", "shop", "web", "ann")
    assert about.dry_run
    assert about.is_pod
    assert about.owner == ("Pod", "web")


def test_a_name_that_the_server_will_make() -> None:
    found = read(asked(pod("a", generateName="web-", name=""), name=""))
    assert found.subject.name == "web-"


def test_what_stood_there_before_an_update_is_told_apart() -> None:
    found = read(asked(pod("a:1", "b:2"), operation="UPDATE", oldObject=pod("a:1", "b:1")))
    assert found.standing == {"a:1", "b:1"}
    assert {a.kind for a in found.standing_asks} == {"root", "no-limits"}
    assert read(asked(pod("a:1"), operation="CREATE", oldObject=pod("a:1"))).standing == frozenset()


@pytest.mark.parametrize(
    "changed", [{"operation": "DELETE", "object": None}, {"operation": "CONNECT"}, {"subResource": "status"}]
)
def test_what_starts_nothing_has_no_images(changed: dict[str, Any]) -> None:
    assert read(asked(pod("a:1"), **changed)).images == ()


def test_ephemeral_containers_come_as_a_subresource() -> None:
    obj = pod("a:1")
    obj["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox"}]
    found = read(asked(obj, operation="UPDATE", subResource="ephemeralcontainers", oldObject=pod("a:1")))
    assert [u.image for u in found.images if u.image not in found.standing] == ["busybox"]


def test_a_kind_that_nobody_knows_says_so() -> None:
    found = read(asked({"kind": "Service", "spec": {"ports": []}}, of="Service"))
    assert not found.is_known_kind
    assert found.images == ()


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ([], ""),
        ({}, "apiVersion, kind"),
        (asked(pod("a")) | {"apiVersion": "admission.k8s.io/v1beta1"}, "apiVersion, kind"),
        ({"apiVersion": review.ADMISSION, "kind": "AdmissionReview"}, "request"),
        (asked(pod("a"), uid=""), "request.uid"),
        (asked(pod("a"), operation="PATCH"), "request.operation"),
        (asked(pod("a"), kind="Pod"), "request.kind"),
        (asked(pod("a"), dryRun="yes"), "request.dryRun"),
        (asked(None), "request.object"),
        (asked(pod("a"), kind={"kind": "Deployment", "group": "apps"}), "request.object.kind"),
        (asked({"spec": {"containers": 5}}), "object/spec/containers"),
    ],
)
def test_refused_with_the_place(body: Any, where: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(body)
    assert refused.value.where == where


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"a":1,"a":2}', b"[" * 100_000, b'{"a": NaN}'])
def test_no_json_of_one_meaning_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid):
        review.read_admission(raw, {}, max_bytes=MOST)


def test_bounded() -> None:
    with pytest.raises(Invalid, match="at most 10"):
        review.read_admission(json.dumps(asked(pod("a"))).encode(), {}, max_bytes=10)
    with pytest.raises(Invalid, match="more than 1000"):
        read(asked(pod(*(f"a:{n}" for n in range(1001)))))


def test_an_image_review() -> None:
    body = {
        "apiVersion": review.IMAGE_POLICY,
        "kind": "ImageReview",
        "spec": {"containers": [{"image": "a:1"}, {}, {"image": "b:1"}], "namespace": "shop"},
    }
    found = review.read_image_review(json.dumps(body).encode(), max_bytes=MOST)
    assert [u.image for u in found.images] == ["a:1", "b:1"]
    assert found.subject.namespace == "shop"
    body["spec"] = {"containers": [1]}
    with pytest.raises(Invalid, match=r"containers\[0\]"):
        review.read_image_review(json.dumps(body).encode(), max_bytes=MOST)


def test_gatekeepers_keys() -> None:
    body = {"apiVersion": review.EXTERNAL_DATA, "kind": "ProviderRequest", "request": {"keys": ["a", "b", "a"]}}
    assert review.read_provider_request(json.dumps(body).encode(), max_bytes=MOST) == ("a", "b")
    body["request"] = {"keys": [1]}
    with pytest.raises(Invalid, match=r"request\.keys"):
        review.read_provider_request(json.dumps(body).encode(), max_bytes=MOST)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(asked(None)["request"])), json_values), st.sampled_from(sorted(KNOWN)))
def test_whatever_a_request_holds_is_read_or_refused(changed: dict[str, Any], kind: str) -> None:
    try:
        found: Any = read(asked({"spec": {}}, kind, **changed))
    except Invalid as refused:
        found = refused.detail
    assert isinstance(found, str | review.Review)


@given(st.binary(max_size=200))
def test_whatever_bytes_come_are_refused_in_words(raw: bytes) -> None:
    for reader in (review.read_image_review, review.read_provider_request):
        with pytest.raises(Invalid):
            reader(raw, max_bytes=MOST)


# --- every file that real projects keep of this kind ---


def documents(raw: bytes, member: str) -> Iterator[Any]:
    """What is in a file; nothing where it is no JSON or YAML (templates are kept as YAML too)."""
    try:
        if member.endswith(".json"):
            yield json.loads(raw)
        else:
            yield from list(yaml.load_all(raw, yaml.CSafeLoader))
    except (ValueError, yaml.YAMLError):
        return


def as_review(document: Any) -> Any:
    """The document as a cluster would send it: reviews as they are, requests and objects in a review of their own."""
    if not isinstance(document, dict) or document.get("kind") == "AdmissionReview":
        return document
    if isinstance(document.get("kind"), dict):
        return {"apiVersion": review.ADMISSION, "kind": "AdmissionReview", "request": document}
    group = str(document.get("apiVersion") or "").rpartition("/")[0]
    return asked(document, f"{group}/{document.get('kind')}")


def every_image(value: Any) -> Iterator[str]:
    """A second opinion, which knows no kind: whatever stands as an image in a list of containers or volumes."""
    if isinstance(value, list):
        for item in value:
            yield from every_image(item)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in ("containers", "initContainers", "ephemeralContainers") and isinstance(inner, list):
                yield from (c["image"] for c in inner if isinstance(c, dict) and isinstance(c.get("image"), str))
            elif name == "volumes" and isinstance(inner, list):
                sources = [v["image"] for v in inner if isinstance(v, dict) and isinstance(v.get("image"), dict)]
                yield from (s["reference"] for s in sources if "reference" in s)
            if name not in ("status", "annotations", "managedFields"):
                yield from every_image(inner)


@pytest.mark.parametrize("kind", ["admission", "workloads"])
def test_every_kept_file_is_read_right_or_refused_in_words(
    kind: str,
    corpus: Callable[[str], bytes],  # noqa: F811
    corpus_members: Callable[[str], list[str]],  # noqa: F811
) -> None:
    right, refused, told, wrong = 0, 0, 0, []
    for member in corpus_members(kind):
        for document in documents(corpus(member), member):
            try:
                body = as_review(document)
                found = read(json.loads(json.dumps(body, default=str)))
            except Invalid as error:
                refused += any(words in error.detail for words in ("expected", "Kubernetes has", "more than"))
                told += 1
                continue
            right += 1
            obj = body["request"].get("object")
            expected = sorted(i for i in every_image(obj) if i) if found.is_known_kind else []
            if sorted(u.image for u in found.images) != expected:
                wrong.append((member, [u.image for u in found.images], expected))
    assert not wrong
    assert refused == told, "a refusal tells what was expected"
    assert right > 5 * refused
