"""A cluster's list of pods, and what is known to run after it."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from secguard.client.workloads import slim
from secguard.errors import Invalid
from secguard.workloads import podlist
from secguard.workloads.models import Container, Workload
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, report

WEB = "reg.example/shop/web"
PATH = "/api/v1/workloads/sync/?cluster=prod"


def pod(name: str, image: str, told: str = "", *, namespace: str = "shop", owner: str = "", **status: Any) -> Any:
    """A pod as kubectl prints it, of Deployment ``owner``."""
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "annotations": {"secret": "kept"}}
    if owner:
        meta |= {
            "labels": {"pod-template-hash": "5d"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{owner}-5d", "controller": True}],
        }
    told_by_node = [{"imageID": f"docker-pullable://{WEB}@{told}"}] if told else []
    return {
        "kind": "Pod",
        "metadata": meta,
        "spec": {"containers": [{"name": "web", "image": image, "env": [{"name": "PASSWORD", "value": "hush"}]}]},
        "status": {"phase": "Running", "containerStatuses": told_by_node} | status,
    }


def listed(*pods: Any) -> dict[str, Any]:
    return {"kind": "List", "items": list(pods)}


def test_pods_of_one_workload_are_one() -> None:
    pods = [pod(f"web-5d-{n}", f"{WEB}:1", digest(n), owner="web") for n in (1, 2)]
    ended = pod("job", "reg.example/job:1", phase="Succeeded")
    (found,) = podlist.read(listed(*pods, ended))
    assert (found.namespace, found.kind, found.name) == ("shop", "Deployment", "web")
    assert (found.references, found.digests) == ((f"{WEB}:1",), (digest(1), digest(2)))


def test_the_command_sends_what_is_read_and_nothing_else() -> None:
    body = listed(pod("web-5d-1", f"{WEB}:1", digest(1), owner="web"), pod("b", "c", phase="Failed"))
    sent = slim(copy.deepcopy(body))
    assert podlist.read(sent) == podlist.read(body)
    assert "hush" not in str(sent)
    assert "kept" not in str(sent)


@pytest.mark.parametrize(
    "body", [None, [], {}, {"kind": "List"}, {"kind": "ConfigMap", "items": []}, listed(5), listed({"kind": "Node"}),
             listed({"spec": {"containers": 5}})]
)  # fmt: skip
def test_what_is_no_list_of_pods_is_refused(body: Any) -> None:
    with pytest.raises(Invalid) as refused:
        podlist.read(body)
    assert refused.value.code == "no-pod-list"


anything = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["metadata", "spec", "status", "containers", "image", "containerStatuses",
                                       "imageID", "phase", "ownerReferences", "labels", "name"]), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(st.lists(anything, max_size=4))
def test_whatever_pods_hold_is_read_or_refused(pods: list[Any]) -> None:
    try:
        found: Any = podlist.read(listed(*pods))
    except Invalid as refused:
        found = refused.code
    assert found == "no-pod-list" or isinstance(found, tuple)


@pytest.fixture
def images(post: Any, application: Any) -> None:
    post(report(image=1), application=application.slug)
    post(report(image={"reference": f"{WEB}:2", "digest": digest(2)}), application=application.slug)


def running() -> dict[str, set[str]]:
    rows = Workload.objects.running().prefetch_related("images")
    return {str(w): {i.digest for i in w.images.all()} for w in rows}


@pytest.mark.django_db
@pytest.mark.usefixtures("images")
def test_a_list_brings_a_cluster_up_to_date(operator: Person, developer: Person, application: Any) -> None:
    first = listed(
        pod("web-1", f"{WEB}:1", digest(1), owner="web"),
        pod("alone", f"{WEB}:2"),
        pod("strange", "docker.io/strange:1", namespace="other"),
    )
    done = operator.api.post(PATH, first, format="json")
    assert done.status_code == 200, done.content
    assert done.json() == {"running": 3, "new": 3, "gone": 0, "unknown": ["docker.io/strange:1"]}
    assert running() == {"shop/web": {digest(1)}, "shop/alone": {digest(2)}, "other/strange": set()}
    assert Workload.objects.get(name="web").application == application
    assert Workload.objects.get(name="strange").application is None
    # The tag says one thing, the node another: what runs is what the node told.
    again = operator.api.post(PATH, listed(pod("web-2", f"{WEB}:1", digest(2), owner="web")), format="json")
    assert again.json() == {"running": 1, "new": 0, "gone": 2, "unknown": []}
    assert running() == {"shop/web": {digest(2)}}
    assert [w["name"] for w in developer.api.get("/api/v1/workloads/").json()["results"]] == ["web"]


def held(name: str, container_id: str, told: str) -> dict[str, Any]:
    return {
        "podIP": "10.1.2.3",
        "containerStatuses": [
            {"name": name, "containerID": f"containerd://{container_id}", "imageID": f"{WEB}@{told}"},
        ],
    }


def test_containers_are_read_with_what_their_nodes_told() -> None:
    body = listed(pod("web-1", f"{WEB}:1", owner="web", **held("web", "AB" * 32, digest(1))))
    body["items"][0]["metadata"]["uid"] = "1f"
    body["items"][0]["status"]["containerStatuses"] += [
        {"name": "new", "imageID": ""},
        {"name": "odd", "containerID": "containerd://../../x"},
        {"name": "two\nlines", "containerID": "containerd://" + "0" * 64},
        "nothing",
    ]
    (found,) = podlist.read(slim(body))
    assert [c.name for c in found.containers] == ["web", "new", "odd"]
    assert found.containers[0] == podlist.Held("web-1", "web", "ab" * 32, digest(1), "1f", "10.1.2.3")
    assert {c.container_id for c in found.containers[1:]} == {""}


@pytest.mark.django_db
@pytest.mark.usefixtures("images")
def test_whose_a_container_was_stays_known_for_a_while(operator: Person) -> None:
    first = listed(pod("web-1", f"{WEB}:1", owner="web", **held("web", "a" * 64, digest(1))))
    operator.api.post(PATH, first, format="json")
    row = Container.objects.get()
    assert (row.workload.name, row.short_id, row.pod_ip, row.gone_at) == ("web", "a" * 12, "10.1.2.3", None)
    assert row.image is not None
    assert row.image.digest == digest(1)
    again = listed(pod("web-1", f"{WEB}:1", owner="web", **held("web", "b" * 64, digest(9))))
    operator.api.post(PATH, again, format="json")
    assert [(c.container_id[0], c.gone_at is None) for c in Container.objects.order_by("pk")] == [
        ("a", False),
        ("b", True),
    ]
    unknown = Container.objects.get(short_id="b" * 12)
    assert (unknown.image, unknown.digest) == (None, digest(9))
    operator.api.post(PATH, first, format="json")
    assert [(c.container_id[0], c.gone_at is None) for c in Container.objects.order_by("pk")] == [
        ("a", True),
        ("b", False),
    ]
    Container.objects.filter(short_id="b" * 12).update(gone_at=timezone.now() - timedelta(days=9))
    operator.api.post(PATH, first, format="json")
    assert [c.container_id[0] for c in Container.objects.all()] == ["a"]


@pytest.mark.django_db
@pytest.mark.usefixtures("images")
def test_a_list_of_one_namespace_leaves_the_others(operator: Person) -> None:
    operator.api.post(PATH, listed(pod("a", f"{WEB}:1"), pod("b", f"{WEB}:1", namespace="other")), format="json")
    done = operator.api.post(f"{PATH}&namespace=shop", listed(pod("c", f"{WEB}:1")), format="json")
    assert (done.json()["new"], done.json()["gone"]) == (1, 1)
    assert running().keys() == {"shop/c", "other/b"}


@pytest.mark.django_db
@pytest.mark.usefixtures("images")
def test_a_list_without_pods_says_nothing_is_gone(operator: Person) -> None:
    operator.api.post(PATH, listed(pod("a", f"{WEB}:1")), format="json")
    for body in (listed(), listed(pod("a", f"{WEB}:1", phase="Failed"))):
        answer = operator.api.post(PATH, body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (422, "no-pods")
    assert running().keys() == {"shop/a"}


@pytest.mark.django_db
def test_whose_a_workload_is_stays_as_somebody_said(operator: Person, images: None, other_application: Any) -> None:
    operator.api.post(PATH, listed(pod("a", f"{WEB}:1")), format="json")
    Workload.objects.update(application=other_application)
    operator.api.post(PATH, listed(pod("a", f"{WEB}:1")), format="json")
    assert Workload.objects.get(name="a").application == other_application


@pytest.mark.django_db
@pytest.mark.usefixtures("images")
def test_as_many_queries_for_any_number_of_pods(operator: Person) -> None:
    def cost(cluster: str, count: int) -> int:
        pods = [pod(f"p{n}", f"{WEB}:{n % 3}", **held("web", f"{n:064x}", digest(n % 3))) for n in range(count)]
        with CaptureQueriesContext(connection) as seen:
            answer = operator.api.post(f"/api/v1/workloads/sync/?cluster={cluster}", listed(*pods), format="json")
        assert answer.json()["running"] == count
        return len(seen)

    cost("warm", 3)  # notes the token's use
    assert cost("small", 3) == cost("large", 60)
    assert cost("small", 3) == cost("large", 60)  # all of it stands already
