"""Where images stand in Kubernetes objects, what pods ask for, and whose pod it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.workloads import podspec
from secguard.workloads.podspec import Ask, asks_of, check_paths, images_of, owner_of

POD: dict[str, Any] = {
    "initContainers": [{"name": "wait", "image": "reg.example/wait:1"}],
    "containers": [{"name": "web", "image": "reg.example/web:1"}, {"name": "empty"}],
    "ephemeralContainers": [{"name": "debug", "image": "reg.example/debug:1"}],
    "volumes": [
        {"name": "model", "image": {"reference": "reg.example/model:1", "pullPolicy": "Always"}},
        {"name": "scratch", "emptyDir": {}},
    ],
}
IMAGES = ["reg.example/wait:1", "reg.example/web:1", "reg.example/debug:1", "reg.example/model:1"]


def nested(path: str, value: Any) -> Any:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(("kind", "path"), [(k, p) for k, paths in podspec.KNOWN.items() for p in paths])
def test_every_place_of_every_known_kind(kind: str, path: str) -> None:
    group, _, name = kind.rpartition("/")
    uses = images_of(nested(path, POD), group, name, {})
    assert [u.image for u in uses] == IMAGES
    assert [u.place for u in uses] == ["init", "container", "ephemeral", "volume"]
    root = "/" + path.replace(".", "/")
    assert uses[1].pointer == f"{root}/containers/0/image"
    assert uses[3].pointer == f"{root}/volumes/0/image/reference"


def test_other_kinds_are_read_by_configured_paths() -> None:
    job = {"provider": {"job": {"spec": {"template": {"spec": POD}}}}}
    run = {"spec": {"metrics": [{"provider": {"web": {}}}, job]}}
    paths = check_paths({"argoproj.io/AnalysisRun": ["spec.metrics[].provider.job.spec.template.spec"]})
    assert [u.image for u in images_of(run, "argoproj.io", "AnalysisRun", paths)] == IMAGES
    paths = check_paths({"monitoring.coreos.com/Prometheus": ["spec.image"]})
    (use,) = images_of({"spec": {"image": "quay.io/prom:1"}}, "monitoring.coreos.com", "Prometheus", paths)
    assert (use.image, use.pointer, use.place) == ("quay.io/prom:1", "/spec/image", "field")
    assert images_of(run, "argoproj.io", "AnalysisRun", {}) == ()


@pytest.mark.parametrize(
    "paths",
    [[], {"pod": ["spec"]}, {"a/Kind": "spec"}, {"a/Kind": []}, {"a/Kind": ["spec..x"]}, {"a/Kind": ["spec[0]"]}],
)
def test_paths_that_lead_nowhere_are_refused(paths: Any) -> None:
    with pytest.raises(Invalid, match="xpected"):
        check_paths(paths)


@pytest.mark.parametrize(
    ("obj", "place"),
    [
        ({"spec": []}, "/spec"),
        ({"spec": {"containers": {}}}, "/spec/containers"),
        ({"spec": {"containers": [7]}}, "/spec/containers/0"),
        ({"spec": {"containers": [{"image": 7}]}}, "/spec/containers/0/image"),
        ({"spec": {"volumes": [{"image": "reg.example/a"}]}}, "/spec/volumes/0/image"),
    ],
)
def test_another_type_is_refused_with_its_place(obj: Any, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        images_of(obj, "", "Pod", {})
    assert refused.value.where == f"object{place}"


def asks(spec: dict[str, Any]) -> set[Ask]:
    return set(asks_of({"spec": spec}, "", "Pod", {}))


LIMITS = {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
CALM = {"name": "web", "image": "a", "securityContext": {"runAsNonRoot": True}, **LIMITS}


def test_a_pod_that_asks_for_nothing() -> None:
    assert asks({"containers": [CALM]}) == set()
    pod_wide = {"securityContext": {"runAsUser": 1000}, "containers": [{"name": "web", "image": "a", **LIMITS}]}
    assert asks(pod_wide) == set()


def calm(**context: Any) -> dict[str, Any]:
    """A container that asks for nothing but what its security context says."""
    return {"containers": [CALM | {"securityContext": {"runAsUser": 5} | context}]}


def volume(**source: Any) -> dict[str, Any]:
    return {"volumes": [{"name": "v"} | source]}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"hostPID": True, "hostIPC": True}, {Ask("host-pid"), Ask("host-ipc")}),
        ({"hostNetwork": True}, {Ask("host-network")}),
        (calm(privileged=True), {Ask("privileged", "web")}),
        (calm(capabilities={"add": ["CAP_SYS_ADMIN"]}), {Ask("capability", "web", "SYS_ADMIN")}),
        (calm(capabilities={"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}), set()),
        (calm(runAsUser=0), {Ask("root", "web")}),
        ({"containers": [CALM | {"resources": {"limits": {"cpu": 1}}}]}, {Ask("no-limits", "web")}),
        (volume(hostPath={"path": "/srv"}), {Ask("host-path", "v", "/srv")}),
        (volume(persistentVolumeClaim={"claimName": "c"}), {Ask("data-volume", "v", "persistentVolumeClaim")}),
        (volume(emptyDir={}), set()),
    ],
)
def test_what_a_pod_asks_for(spec: dict[str, Any], expected: set[Ask]) -> None:
    assert asks(spec) == expected


@pytest.mark.parametrize(
    "path", ["/var/run/docker.sock", "/run/docker.sock", "/var/run", "/", "/var/../run/containerd/", "//var/run/crio"]
)
def test_a_runtime_s_socket_and_the_folders_above_it(path: str) -> None:
    (found,) = asks({"volumes": [{"name": "v", "hostPath": {"path": path}}]})
    assert found.kind == "container-socket"


def pod(owner: dict[str, Any] | None, name: str = "x", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels, "ownerReferences": [owner] if owner else []}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pod(None, "alone"), ("Pod", "alone")),
        (pod({"kind": "Node", "name": "n1", "controller": True}, "static"), ("Pod", "static")),
        (pod({"kind": "StatefulSet", "name": "db", "controller": True}), ("StatefulSet", "db")),
        (
            pod({"kind": "ReplicaSet", "name": "web-5d9f", "controller": True}, **{"pod-template-hash": "5d9f"}),
            ("Deployment", "web"),
        ),
        (
            pod({"kind": "ReplicaSet", "name": "web-77", "controller": True}, **{"rollouts-pod-template-hash": "77"}),
            ("Rollout", "web"),
        ),
        (pod({"kind": "ReplicaSet", "name": "web", "controller": True}), ("ReplicaSet", "web")),
        (pod({"kind": "Job", "name": "nightly-29012345", "controller": True}), ("CronJob", "nightly")),
        ({"metadata": {"generateName": "run-"}}, ("Pod", "run")),
    ],
)
def test_whose_pod_it_is(given: dict[str, Any], expected: tuple[str, str]) -> None:
    assert owner_of(given) == expected


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["spec", "template", "containers", "initContainers", "volumes", "image", "reference", "name", "metadata",
             "securityContext", "capabilities", "add", "hostPath", "path", "resources", "limits", "ownerReferences"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=25,
)  # fmt: skip


@given(anything, st.sampled_from(sorted(podspec.KNOWN)))
def test_whatever_comes_is_read_or_refused(obj: Any, kind: str) -> None:
    group, _, name = kind.rpartition("/")
    for read in (lambda: images_of(obj, group, name, {}), lambda: asks_of(obj, group, name, {}), lambda: owner_of(obj)):
        try:
            read()
        except Invalid as refused:
            place = refused.where
        else:
            place = "object"
        assert place.startswith("object")


def at(obj: Any, path: str) -> Any:
    for part in path[1:].split("/"):
        obj = obj[int(part)] if isinstance(obj, list) else obj[part.replace("~1", "/").replace("~0", "~")]
    return obj


@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=8), st.sampled_from(sorted(podspec.KNOWN)))
def test_no_image_is_missed_and_every_pointer_leads_to_it(names: list[str], kind: str) -> None:
    spec = {"containers": [{"name": "c", "image": n} for n in names], "initContainers": [{"image": names[0]}]}
    group, _, name = kind.rpartition("/")
    obj = nested(podspec.KNOWN[kind][0], spec)
    uses = images_of(obj, group, name, {})
    assert [u.image for u in uses] == [names[0], *names]
    assert all(at(obj, u.pointer) == u.image for u in uses)
