"""Repositories that workers look at by themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.errors import Invalid, NotAllowed, NotFound
from secguard.images.models import Registry, Repository
from secguard.images.services import RegistryEdit, add_registry
from secguard.jobs import services as jobs
from secguard.scans.models import Scan, Watch
from secguard.scans.services.asking import ScanRequest, ask
from secguard.scans.services.watching import DUE, WatchEdit, watch
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import image_of, index_of, tar_of

pytestmark = [pytest.mark.django_db, pytest.mark.processes]


def image(word: str) -> Any:
    return image_of(tar_of({"word": word.encode()}))


@pytest.fixture
def repository(plain_registry: RunningRegistry, operator: Any, developer: Any, application: Any, run_jobs: Any) -> Any:
    add_registry(plain_registry.host, RegistryEdit(uses_plain_http=True), actor=operator)
    plain_registry.push("shop/watched", "1.0", image("one"))
    ask(ScanRequest(f"{plain_registry.host}/shop/watched:1.0", application=application.slug), actor=developer)
    run_jobs()
    return Repository.objects.get()


def pass_time(hours: float) -> None:
    for name in ("next_scan_at", "next_look_at"):
        for row in Watch.objects.exclude(**{name: None}):
            setattr(row, name, getattr(row, name) - timedelta(hours=hours))
            row.save(update_fields=[name])


def look(run_jobs: Any) -> None:
    jobs.enqueue(DUE, {}, key=str(timezone.now()))
    run_jobs()


def references() -> list[str]:
    return [r.rpartition("/")[2] for r in Scan.objects.order_by("pk").values_list("reference", flat=True)[1:]]


def test_tags_that_appear_or_move_are_scanned(repository, plain_registry, developer, run_jobs):
    watch(repository.pk, WatchEdit(None, "1.*, stable"), actor=developer)
    plain_registry.push("shop/watched", "1.1", image("two"))
    plain_registry.push("shop/watched", "nightly", image("three"))
    look(run_jobs)
    assert references() == ["watched:1.1"]
    plain_registry.push("shop/watched", "1.0", image("four"))
    plain_registry.push("shop/watched", "stable", index_of(image("two")))
    pass_time(1)
    look(run_jobs)
    assert references()[1:3] == ["watched:1.0", "watched:stable"]
    pass_time(1)
    before = len(references())
    look(run_jobs)
    assert len(references()) == before


def test_the_newest_image_is_scanned_by_the_clock(repository, developer, run_jobs):
    watch(repository.pk, WatchEdit(24, ""), actor=developer)
    look(run_jobs)
    assert references() == [f"watched@{repository.newest_image.digest}"]
    look(run_jobs)
    pass_time(23)
    look(run_jobs)
    assert len(references()) == 1
    pass_time(2)
    look(run_jobs)
    assert len(references()) == 2


def test_a_registry_that_does_not_answer_is_said_on_the_watch(repository, developer, run_jobs):
    Registry.objects.update(host="127.0.0.1:1")
    watch(repository.pk, WatchEdit(None, "*"), actor=developer)
    look(run_jobs)
    found = Watch.objects.get()
    assert "127.0.0.1" in found.problem
    assert found.next_look_at > timezone.now()


def test_nothing_to_look_for_ends_the_watch(repository, developer):
    assert watch(repository.pk, WatchEdit(24, "v*"), actor=developer) is not None
    assert watch(repository.pk, WatchEdit(None, " , "), actor=developer) is None
    assert not Watch.objects.exists()
    assert AuditEntry.objects.filter(action="scan:request", subject_type="repository").count() == 2


@pytest.mark.parametrize(
    "edit", [WatchEdit(0, ""), WatchEdit(10_000, ""), WatchEdit(None, ",".join("ab" * 15 for _ in range(30)))]
)
def test_odd_settings_are_refused(repository, developer, edit):
    with pytest.raises(Invalid):
        watch(repository.pk, edit, actor=developer)


def test_who_may_not_scan_sets_no_watch(repository, viewer, stranger):
    with pytest.raises(NotAllowed):
        watch(repository.pk, WatchEdit(24, ""), actor=viewer)
    with pytest.raises(NotFound):
        watch(repository.pk, WatchEdit(24, ""), actor=stranger)
    assert stranger.api.get(f"/api/v1/repositories/{repository.pk}/watch/").status_code == 404


def test_over_rest(repository, developer):
    url = f"/api/v1/repositories/{repository.pk}/watch/"
    assert developer.api.get(url).json()["every_hours"] is None
    assert developer.api.put(url, {"every_hours": 12, "tags": "v*"}).json()["tags"] == "v*"
    assert developer.api.get(url).json()["every_hours"] == 12
    assert developer.api.put(url, {"every_hours": 0}).status_code == 422
