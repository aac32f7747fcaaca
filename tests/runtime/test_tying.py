"""Whose an event is, from what lists of pods told."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.images.models import Image
from secguard.runtime.event import Event, Kind
from secguard.runtime.services.tying import Tie, Told, tie
from secguard.workloads.models import Cluster, Container, Workload
from tests.fixtures_reports import Post, digest, report

pytestmark = pytest.mark.django_db
ID = "0a1b2c3d4e5f" * 5 + "0a1b"


def event(**told: Any) -> Event:
    return Event(kind=Kind.PROCESS, tool="falco", rule="A shell", fingerprint="f", **told)


@pytest.fixture
def image(post: Post) -> Image:
    post(report(image=1))
    return Image.objects.get()


@pytest.fixture
def web(application: Application, image: Image) -> Workload:
    """Deployment web in prod/shop, with one container that its node told of."""
    cluster = Cluster.objects.create(name="prod")
    web = Workload.objects.create(cluster=cluster, namespace="shop", name="web", application=application)
    web.images.set([image])
    held(web, "web-5d7c9f8b4-x2x1z", ID, image)
    return web


def held(workload: Workload, pod: str, container_id: str, image: Image | None = None, **more: Any) -> Container:
    return Container.objects.create(
        cluster=workload.cluster,
        workload=workload,
        namespace=workload.namespace,
        pod=pod,
        pod_uid=f"uid-{pod}",
        name="web",
        container_id=container_id,
        short_id=container_id[:12],
        image=image,
        digest=image.digest if image else "",
        **({"seen_at": timezone.now()} | more),
    )


def tied(bound: str = "", /, **told: Any) -> Tie:
    return tie([Told(event(**told), bound)])[0]


@pytest.mark.parametrize(
    ("told", "how"),
    [
        ({"container_id": ID}, "container"),
        ({"container_id": ID[:12]}, "container"),
        ({"container_id": f"containerd://{ID}"}, "container"),
        ({"pod_uid": "uid-web-5d7c9f8b4-x2x1z"}, "pod"),
        ({"pod": "web-5d7c9f8b4-x2x1z", "namespace": "shop"}, "pod"),
        ({"pod": "web-5d7c9f8b4-zzzzz", "namespace": "shop"}, "workload"),
        ({"workload": "web", "namespace": "shop"}, "workload"),
    ],
)
def test_what_a_sensor_left_out_is_found(web: Workload, image: Image, told: dict[str, str], how: str) -> None:
    found = tied(**told)
    assert (found.workload_id, found.image_id, found.digest) == (web.pk, image.pk, image.digest)
    assert web.application is not None
    assert (found.application_id, found.team_id) == (web.application_id, web.application.team_id)
    assert (found.cluster, found.namespace, found.how) == ("prod", "shop", how)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"container_id": ID[:11]},
        {"container_id": "f" * 64},
        {"container_id": ID[:12] + "f" * 52},
        {"pod": "web-5d7c9f8b4-x2x1z", "namespace": "other"},
        {"pod": "webby-5d7c9f8b4-x2x1z", "namespace": "shop"},
        {"workload": "web"},
    ],
)
@pytest.mark.usefixtures("web")
def test_what_cannot_be_told_is_tied_to_nothing(told: dict[str, str]) -> None:
    found = tied(**told)
    assert (found.workload_id, found.image_id, found.team_id, found.how) == (None, None, None, "")


def test_a_sensor_of_another_cluster_reaches_none_of_this_one(web: Workload) -> None:
    for told in ({"container_id": ID}, {"pod": "web-5d7c9f8b4-x2x1z", "namespace": "shop"}):
        found = tied("staging", **told)
        assert (found.workload_id, found.cluster) == (None, "staging")
        # What the event itself says of its cluster counts for nothing beside the sensor's own.
        assert tied("staging", cluster="prod", **told).workload_id is None
        assert tied("prod", cluster="staging", **told).workload_id == web.pk


def test_two_that_could_be_meant_are_none(web: Workload) -> None:
    Workload.objects.create(cluster=Cluster.objects.create(name="staging"), namespace="shop", name="web")
    assert tied(workload="web", namespace="shop").workload_id is None
    assert tied(workload="web", namespace="shop", cluster="prod").workload_id == web.pk
    Workload.objects.create(cluster=web.cluster, namespace="shop", name="web", kind="StatefulSet")
    assert tied(workload="web", namespace="shop", cluster="prod").workload_id is None


def test_who_runs_now_comes_before_who_ran(web: Workload, image: Image) -> None:
    gone = Workload.objects.create(cluster=web.cluster, namespace="shop", name="old", gone_at=timezone.now())
    held(gone, "web-5d7c9f8b4-x2x1z", "f" * 64, gone_at=timezone.now())
    found = tied(pod="web-5d7c9f8b4-x2x1z", namespace="shop")
    assert (found.workload_id, found.image_id) == (web.pk, image.pk)
    assert tied(container_id="f" * 64).workload_id == gone.pk


def test_the_image_is_the_one_that_is_named(web: Workload, image: Image, post: Post) -> None:
    post(report(image={"reference": "reg.example/shop/sidecar:1", "digest": digest(2)}))
    sidecar = Image.objects.get(digest=digest(2))
    web.images.add(sidecar)
    at = {"workload": "web", "namespace": "shop"}
    assert tied(**at).image_id is None
    assert tied(image="reg.example/shop/sidecar:1", **at).image_id == sidecar.pk
    assert tied(image=f"reg.example/shop/web@{image.digest}", **at).image_id == image.pk
    assert tied(digest=image.digest).image_id == image.pk
    unknown = tied(digest=digest(9), **at)
    assert (unknown.image_id, unknown.digest) == (None, digest(9))


@pytest.mark.usefixtures("web")
def test_as_many_statements_for_any_number() -> None:
    def cost(count: int) -> int:
        told = [Told(event(container_id=ID if n % 2 else f"{n:064x}", workload="web"), "") for n in range(count)]
        with CaptureQueriesContext(connection) as seen:
            tie(told)
        return len(seen)

    assert cost(4) == cost(500)
