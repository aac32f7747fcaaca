"""Which volumes workloads mount: read from pods, kept, told; nobody else's are shown."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.client.workloads import slim
from secguard.workloads import podlist, volumes
from secguard.workloads.models import Volume, Workload
from secguard.workloads.volumes import MAX_MOUNTS, Mount, merged, mounts_of
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, report

WEB = "reg.example/shop/web"
PATH = "/api/v1/workloads/"
SECRET = "hush-hush"
"""What stands beside the names, and nobody may find anywhere."""
SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "persistentVolumeClaim": ({"claimName": "data-db-0"}, "data-db-0"),
    "hostPath": ({"path": "/var/log", "type": "Directory"}, "/var/log"),
    "emptyDir": ({"medium": "Memory", "sizeLimit": "1Gi"}, "Memory"),
    "configMap": ({"name": "settings", "items": [{"key": "a", "path": "b"}]}, "settings"),
    "secret": ({"secretName": "tls"}, "tls"),
    "projected": ({"sources": [{"secret": {"name": "tls"}}]}, ""),
    "downwardAPI": ({"items": []}, ""),
    "image": ({"reference": "reg.example/model:1", "pullPolicy": "Always"}, "reg.example/model:1"),
    "nfs": ({"server": "nas.example", "path": "/exports/shop"}, "nas.example:/exports/shop"),
    "csi": ({"driver": "csi.example", "volumeAttributes": {"password": SECRET}}, "csi.example"),
    "ephemeral": ({"volumeClaimTemplate": {"spec": {}}}, ""),
    "flexVolume": ({"driver": "example/x", "options": {"password": SECRET}}, "example/x"),
    "gitRepo": ({"repository": f"https://ann:{SECRET}@git.example/x"}, ""),
    "rbd": ({"pool": "p", "image": "i", "keyring": "/etc/k", "user": SECRET}, "p:i"),
}


def pod(*names: str, **spec: Any) -> dict[str, Any]:
    """A pod of Deployment ``web`` with a volume of each of these kinds, all mounted and written to."""
    volumes_of_it = [{"name": kind.lower(), kind: SOURCES[kind][0]} for kind in names]
    mounts = [{"name": v["name"], "mountPath": f"/{SECRET}"} for v in volumes_of_it]
    meta = {
        "name": "web-5d-1",
        "namespace": "shop",
        "labels": {"pod-template-hash": "5d"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d", "controller": True}],
    }
    container = {"name": "web", "image": f"{WEB}:1", "volumeMounts": mounts}
    return {"kind": "Pod", "metadata": meta, "spec": {"containers": [container], "volumes": volumes_of_it} | spec}


def listed(*pods: Any) -> dict[str, Any]:
    return {"kind": "List", "items": list(pods)}


# --- reading ---


@pytest.mark.parametrize("kind", SOURCES)
def test_a_volume_of_each_kind(kind: str) -> None:
    never_written = {"configMap", "secret", "projected", "downwardAPI", "image"}
    (found,) = mounts_of(pod(kind), "", "Pod", {})
    assert found == Mount(kind.lower(), kind, SOURCES[kind][1], kind in never_written)
    assert found.holds_data == (kind in {"persistentVolumeClaim", "nfs", "csi", "ephemeral", "flexVolume", "rbd"})
    assert volumes.words_of(kind)


def test_a_deployments_own_template_is_read_alike() -> None:
    obj = {"spec": {"template": {"spec": pod("persistentVolumeClaim")["spec"]}}}
    assert mounts_of(obj, "apps", "Deployment", {}) == mounts_of(pod("persistentVolumeClaim"), "", "Pod", {})
    assert mounts_of(obj, "example.org", "Unheard", {}) == ()


@pytest.mark.parametrize(
    ("container", "source", "read_only"),
    [
        ({"volumeMounts": [{"name": "v", "readOnly": True}]}, {}, True),
        ({"volumeMounts": [{"name": "v"}]}, {}, False),
        ({"volumeMounts": [{"name": "v", "readOnly": True}, {"name": "v"}]}, {}, False),
        ({"volumeMounts": [{"name": "v"}]}, {"readOnly": True}, True),
        ({"volumeDevices": [{"name": "v", "devicePath": "/dev/x"}]}, {}, False),
        ({}, {}, True),  # nobody mounts it
    ],
)
def test_who_may_write(container: dict[str, Any], source: dict[str, Any], read_only: bool) -> None:
    spec = {"initContainers": [container], "volumes": [{"name": "v", "persistentVolumeClaim": source}]}
    (found,) = mounts_of({"spec": spec}, "", "Pod", {})
    assert found.read_only is read_only


def test_what_kubernetes_itself_mounts_is_one_volume_in_all_pods() -> None:
    specs = [{"volumes": [{"name": f"kube-api-access-x7b{n}k", "projected": {}}]} for n in range(3)]
    found = merged(m for spec in specs for m in mounts_of({"spec": spec}, "", "Pod", {}))
    assert [m.name for m in found] == ["kube-api-access"]


def test_without_a_source_it_is_an_empty_folder() -> None:
    (found,) = mounts_of({"spec": {"volumes": [{"name": "v"}]}}, "", "Pod", {})
    assert (found.kind, found.source) == ("emptyDir", "")


def test_many_are_bounded_and_data_comes_first() -> None:
    many = [Mount(f"scratch-{n}", "emptyDir") for n in range(MAX_MOUNTS + 50)]
    kept = merged([*many, Mount("logs", "hostPath", "/var/log"), Mount("data", "nfs", "nas:/x")])
    assert (len(kept), kept[0].kind, kept[1].kind) == (MAX_MOUNTS, "nfs", "hostPath")


def test_one_that_any_pod_writes_to_is_written_to() -> None:
    assert merged([Mount("v", "nfs", "a:/b", True), Mount("v", "nfs", "a:/b")]) == (Mount("v", "nfs", "a:/b"),)


def test_names_that_no_database_takes_are_cleaned() -> None:
    (found,) = mounts_of({"spec": {"volumes": [{"name": "a\x00b", "hostPath": {"path": "/\ud800"}}]}}, "", "Pod", {})
    assert (found.name, found.source) == ("a\ufffdb", "/\ufffd")


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "hostPath", "path", "volumeMounts", "readOnly", "nfs"]), inner)
    ),
    max_leaves=12,
)


@given(anything, anything)
def test_whatever_stands_there_is_read_within_bounds(found: Any, containers: Any) -> None:
    for mount in mounts_of({"spec": {"volumes": found, "containers": containers}}, "", "Pod", {}):
        assert 0 < len(mount.name) <= volumes.MAX_NAME
        assert 0 < len(mount.kind) <= 63
        assert len(mount.source) <= volumes.MAX_SOURCE


def test_the_command_sends_what_is_read_of_them_and_nothing_else() -> None:
    body = listed(pod(*SOURCES, initContainers=[{"volumeDevices": [{"name": "nfs", "devicePath": SECRET}]}]))
    sent = slim(copy.deepcopy(body))
    assert podlist.read(sent) == podlist.read(body)
    assert SECRET not in str(sent)
    for odd in ([5], [None], [{"name": 1, "nfs": 2}], [{"name": "v", "image": {"reference": 5}}], None):
        assert podlist_of(odd) == podlist_of(odd, slim)


def podlist_of(found: Any, through: Any = lambda body: body) -> Any:
    """What is read of a pod with ``found`` as its volumes, or the fault that is told."""
    from secguard.errors import Invalid

    try:
        return podlist.read(through(listed(pod(volumes=found))))
    except Invalid as refused:
        return refused.detail


# --- kept and told ---


@pytest.fixture
def image(post: Any, application: Any) -> str:
    post(report(image=1), application=application.slug)
    return digest(1)


def kept() -> set[tuple[str, str, bool]]:
    return set(Volume.objects.values_list("kind", "source", "read_only"))


@pytest.mark.django_db
@pytest.mark.usefixtures("image")
def test_a_list_of_pods_brings_them_up_to_date(operator: Person) -> None:
    path = f"{PATH}sync/?cluster=prod"
    assert operator.api.post(path, listed(pod(*SOURCES)), format="json").status_code == 200
    assert len(kept()) == len(SOURCES)
    first = set(Volume.objects.values_list("pk", flat=True))
    claim = pod("persistentVolumeClaim")
    claim["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] = True
    operator.api.post(path, listed(claim), format="json")
    assert kept() == {("persistentVolumeClaim", "data-db-0", True)}
    assert set(Volume.objects.values_list("pk", flat=True)) <= first, "what stays is the same row"
    assert SECRET not in str(list(Volume.objects.values_list()))


@pytest.mark.django_db
def test_one_that_is_reported_tells_its_volumes_or_leaves_them(
    image: str, operator: Person, developer: Person, application: Any
) -> None:
    body = {"cluster": "here", "name": "web", "application": application.slug, "images": [image]}
    volume = {"name": "data", "kind": "persistentVolumeClaim", "source": "shop-data"}
    made = operator.api.post(PATH, {**body, "volumes": [volume]}, format="json")
    assert made.status_code == 201, made.content
    assert made.json()["volumes"] == [volume | {"read_only": False, "holds_data": True}]
    assert operator.api.post(PATH, body, format="json").json()["volumes"] == made.json()["volumes"]
    (row,) = developer.api.get(f"{PATH}?holds_data=true&cluster_kind=cloud").json()["results"]
    assert (row["volumes"][0]["source"], row["cluster_kind"]) == ("shop-data", "cloud")
    assert developer.api.get(f"{PATH}?holds_data=false").json()["results"] == []
    assert developer.api.get(f"{PATH}?cluster_kind=laptop").json()["results"] == []
    assert developer.api.get(f"{PATH}?cluster_kind=moon").status_code == 400
    assert operator.api.post(PATH, {**body, "volumes": []}, format="json").json()["volumes"] == []
    many = [{"name": f"v{n}", "kind": "emptyDir"} for n in range(MAX_MOUNTS + 1)]
    assert operator.api.post(PATH, {**body, "volumes": many}, format="json").status_code in (400, 422)


@pytest.mark.django_db
def test_a_stranger_sees_none(image: str, operator: Person, stranger: Person, application: Any) -> None:
    body = {"cluster": "here", "name": "web", "application": application.slug, "images": [image]}
    volume = {"name": "data", "kind": "hostPath", "source": "/srv/shop"}
    made = operator.api.post(PATH, {**body, "volumes": [volume]}, format="json").json()["id"]
    for path in (PATH, f"{PATH}{made}/", f"{PATH}?holds_data=true"):
        assert b"/srv/shop" not in stranger.api.get(path).content
    assert stranger.api.post(PATH, {**body, "volumes": []}, format="json").status_code == 404
    assert kept() == {("hostPath", "/srv/shop", False)}


@pytest.mark.django_db
@pytest.mark.usefixtures("image")
def test_what_is_admitted_adds_its_own_and_takes_none_away() -> None:
    from secguard.workloads.models import Cluster
    from secguard.workloads.services import note_admitted

    cluster, at = Cluster.objects.create(name="prod"), ("shop", "StatefulSet", "db")
    note_admitted(cluster, at, [], [Mount("data", "persistentVolumeClaim", "data-db-0")])
    note_admitted(cluster, at, [], [Mount("data", "persistentVolumeClaim", "data-db-1"), Mount("tmp", "emptyDir")])
    note_admitted(cluster, at, [], [Mount("data", "persistentVolumeClaim", "data-db-0", True)])
    assert kept() == {
        ("persistentVolumeClaim", "data-db-0", True), ("persistentVolumeClaim", "data-db-1", False),
        ("emptyDir", "", False),
    }  # fmt: skip
    for n in range(2 * MAX_MOUNTS):
        note_admitted(cluster, at, [], [Mount("data", "persistentVolumeClaim", f"more-{n}")])
    assert Workload.objects.get().volumes.count() == MAX_MOUNTS
