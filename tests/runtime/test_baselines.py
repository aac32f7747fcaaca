"""Baselines as they are kept: learned from batches, locked by two people, carried to the next version, held to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.approvals.models import ApprovalRequest
from secguard.approvals.quorum import Choice
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.images.models import Image, ImageRepository, Registry, Repository
from secguard.runtime.baseline import Deviation, Judgement, Status, Verdict
from secguard.runtime.baseline_items import Item, ItemKind
from secguard.runtime.event import Event
from secguard.runtime.models import Baseline, BaselineChange, BaselineDeviation, BaselineItem
from secguard.runtime.services import baselines
from secguard.runtime.services.baselines import Observation
from tests.fixtures_reports import digest
from tests.runtime.test_baseline import egress, file, growth, process

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
MakeImage = Callable[..., Image]


@pytest.fixture
def repository(application: Application) -> Repository:
    registry = Registry.objects.create(host="registry.example")
    return Repository.objects.create(
        registry=registry, path="shop/web", name="registry.example/shop/web", application=application
    )


@pytest.fixture
def make_image(repository: Repository) -> MakeImage:
    def make(n: int, *repositories: Repository, days_ago: int = 60) -> Image:
        image = Image.objects.create(digest=digest(n))
        for one in repositories or (repository,):
            seen = timezone.now() - days_ago * DAY
            ImageRepository.objects.create(image=image, repository=one, first_seen_at=seen)
        return image

    return make


@pytest.fixture
def image(make_image: MakeImage) -> Image:
    return make_image(70)


def observe(image: Image, *events: Event, at: datetime | None = None, **more: Any) -> list[Judgement]:
    now = at or timezone.now()
    with transaction.atomic():
        return baselines.observe([Observation(image.pk, None, event, now, **more) for event in events], now)


def learned(image: Image, *events: Event, days: int = 20) -> Baseline:
    """A baseline that has learned enough, from some days ago until now."""
    begin = timezone.now() - days * DAY
    told = [
        Observation(image.pk, None, event, begin + n * timedelta(hours=2), replica)
        for n in range(50)
        for replica in ("web-a", "web-b")
        for event in events
    ]
    with transaction.atomic():
        baselines.observe(told, begin)
    return Baseline.objects.get(image=image)


def locked(image: Image, developer: Any, reviewer: Any, *events: Event) -> Baseline:
    change = baselines.ask(learned(image, *events).pk, "It is what it does.", actor=developer)
    baselines.vote(change.pk, Choice.APPROVE, actor=reviewer)
    return Baseline.objects.get(image=image)


def reasons(judged: list[Judgement]) -> list[str]:
    return [one.reason for one in judged]


# --- learning ---


def test_the_first_events_of_an_image_begin_its_baseline(image: Image) -> None:
    judged = observe(image, process("/app"), process("/app"), file("/var/log/a.log"), replica="web-1")
    assert {one.verdict for one in judged} == {Verdict.LEARNING}
    row = Baseline.objects.get()
    assert (row.status, row.events, row.replicas, row.counts) == ("learning", 3, ["web-1"], {"process": 1, "file": 1})
    assert BaselineItem.objects.get(kind="process").count == 2
    observe(image, process("/app"), replica="web-2")
    row.refresh_from_db()
    assert (row.events, row.replicas) == (4, ["web-1", "web-2"])
    assert BaselineItem.objects.get(kind="process").count == 3


def test_the_order_of_batches_does_not_matter(make_image: MakeImage) -> None:
    events = [process("/app"), file("/a", "read"), egress(443), growth("/var/log/a", 500), process("/bin/sh", "app")]
    one, other = make_image(71), make_image(72)
    at = timezone.now()
    for event in events:
        observe(one, event, at=at)
    observe(other, *reversed(events), at=at)

    def kept(image: Image) -> list[tuple[Any, ...]]:
        columns = ("kind", "name", "how", "port", "count", "hours", "volumes", "first_at", "last_at")
        return list(BaselineItem.objects.filter(baseline__image=image).values_list(*columns))

    assert kept(one) == kept(other)
    assert len(kept(one)) == 5


def test_learning_ends_by_the_clock_and_then_what_is_new_is_an_anomaly(image: Image) -> None:
    learned(image, process("/app"))
    judged = observe(image, process("/app"), process("/bin/sh"))
    assert [one.verdict for one in judged] == [Verdict.NORMAL, Verdict.ANOMALY]
    assert reasons(judged)[1] == "started /bin/sh, never seen in 20 days and 2 replicas of this digest"
    row = Baseline.objects.get()
    assert (row.status, row.outside) == ("proposed", 1)
    assert not BaselineItem.objects.filter(name="/bin/sh").exists()
    assert AuditEntry.objects.filter(action="baseline:propose", subject=image.digest).exists()


def test_too_many_different_ones_are_not_told_by_name(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secguard.runtime.baseline.MOST", dict.fromkeys(ItemKind, 3))
    observe(image, *[file(f"/data/{name}") for name in "ab"])
    observe(image, *[file(f"/data/{name}") for name in "cde"])
    row = Baseline.objects.get()
    assert (row.varied, row.counts["file"]) == (["file"], 3)
    Baseline.objects.update(status=Status.PROPOSED)
    assert observe(image, file("/etc/passwd"))[0].verdict is Verdict.NORMAL


def test_a_batch_takes_as_many_statements_whatever_is_in_it(make_image: MakeImage) -> None:
    def statements(first: int, images: int, events: int) -> int:
        rows = [make_image(first + n) for n in range(images)]
        told = [process(f"/bin/{chr(97 + n % 26)}{n}x") for n in range(events)]
        now = timezone.now()
        with CaptureQueriesContext(connection) as captured, transaction.atomic():
            baselines.observe([Observation(i.pk, None, e, now) for i in rows for e in told], now)
        return len([q for q in captured.captured_queries if "SAVEPOINT" not in q["sql"]])

    assert statements(100, 2, 3) == statements(200, 6, 40)


def test_events_of_no_image_are_judged_by_nothing() -> None:
    with transaction.atomic():
        assert baselines.observe([], timezone.now()) == []
    baselines.follow([], timezone.now())


# --- rates and volumes ---


def test_a_log_that_grows_past_its_range_is_an_anomaly_with_both_figures(
    image: Image, developer: Any, reviewer: Any
) -> None:
    begin = timezone.now() - 20 * DAY
    for n in range(60):
        grown = 10_000_000 * (1 + n % 6)
        observe(image, growth("/var/log/app.log", grown), at=begin + n * timedelta(hours=1), replica=f"web-{n % 2}")
    Baseline.objects.update(events=200)
    change = baselines.ask(Baseline.objects.get().pk, "Seen.", actor=developer)
    baselines.vote(change.pk, Choice.APPROVE, actor=reviewer)
    kept = BaselineItem.objects.values_list("volumes", "hours").get()
    judged = observe(image, growth("/var/log/app.log", 50_000_000), growth("/var/log/app.log", 4_050_000_000))
    assert judged[0].verdict is Verdict.NORMAL
    assert judged[1].reason == "wrote 4.1 GB/h to /var/log/app.log; normal 10 MB–60 MB/h"
    assert BaselineItem.objects.values_list("volumes", "hours").get() == kept, "a locked range does not widen"
    assert BaselineDeviation.objects.get().deviation == Deviation.VOLUME
    later = observe(image, growth("/var/log/app.log", 50_000_000), at=timezone.now() + timedelta(hours=2))
    assert later[0].verdict is Verdict.NORMAL, "the next hour begins at nothing"


def test_more_often_than_ever_is_an_anomaly(image: Image, developer: Any, reviewer: Any) -> None:
    locked(image, developer, reviewer, process("/app"))
    now = timezone.now()
    judged = [observe(image, process("/app"), at=now)[0] for _ in range(30)]
    assert judged[0].verdict is Verdict.NORMAL
    assert "started /app" in judged[-1].reason
    assert "times in an hour; normal 2–2" in judged[-1].reason


# --- locking ---


def test_a_baseline_is_locked_by_two_people(image: Image, developer: Any, reviewer: Any) -> None:
    row = locked(image, developer, reviewer, process("/app"))
    assert (row.status, row.locked_by and row.locked_by.asked_by_id) == ("locked", developer.pk)
    asked, voted, done = AuditEntry.objects.filter(subject_type="baseline").order_by("pk")
    assert [e.action for e in (asked, voted, done)] == ["baseline:ask", "baseline:vote", "baseline:lock"]
    assert done.details["asked_by"] == "developer"


def test_a_locked_baseline_never_widens_by_what_is_seen(image: Image, developer: Any, reviewer: Any) -> None:
    row = locked(image, developer, reviewer, process("/app"))
    for _ in range(3):
        assert observe(image, process("/bin/sh"))[0].verdict is Verdict.ANOMALY
    assert [i.name for i in row.items.all()] == ["/app"]
    (outside,) = row.deviations.all()
    assert (outside.count, outside.name) == (3, "/bin/sh")


def test_what_waits_to_be_locked_is_what_was_reviewed(image: Image, developer: Any) -> None:
    row = learned(image, process("/app"))
    baselines.ask(row.pk, "Seen.", actor=developer)
    assert observe(image, process("/bin/sh"))[0].verdict is Verdict.ANOMALY
    with pytest.raises(Conflict, match="waits to be locked"):
        baselines.expected(row.pk, [Item(ItemKind.PROCESS, "/bin/sh")], "Ours.", actor=developer)


def test_nobody_locks_what_they_asked_for(image: Image, reviewer: Any) -> None:
    change = baselines.ask(learned(image, process("/app")).pk, "Seen.", actor=reviewer)
    with pytest.raises(NotAllowed):
        baselines.vote(change.pk, Choice.APPROVE, actor=reviewer)
    assert Baseline.objects.get().status == "asked"


def test_the_database_refuses_a_lock_that_nobody_approved(image: Image, reviewer: Any) -> None:
    row = learned(image, process("/app"))
    change = baselines.ask(row.pk, "Seen.", actor=reviewer)
    locks = {"status": "locked", "locked_by": change, "locked_at": timezone.now()}
    with pytest.raises(IntegrityError), transaction.atomic():
        Baseline.objects.filter(pk=row.pk).update(**locks)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRequest.objects.filter(pk=change.request_id).update(status="approved")
    with pytest.raises(IntegrityError), transaction.atomic():
        Baseline.objects.filter(pk=row.pk).update(status="locked")
    with pytest.raises(IntegrityError), transaction.atomic():
        Baseline.objects.create(image=Image.objects.create(digest=digest(99)), learning_since=timezone.now(), **locks)


def test_the_database_refuses_what_nobody_approved_to_join(image: Image, developer: Any, reviewer: Any) -> None:
    row = locked(image, developer, reviewer, process("/app"))
    for origin in ("observed", "expected"):
        with pytest.raises(IntegrityError), transaction.atomic():
            BaselineItem.objects.create(baseline=row, kind="process", name="/bin/sh", origin=origin)


def test_what_has_not_learned_enough_cannot_be_locked(image: Image, developer: Any) -> None:
    observe(image, process("/app"))
    with pytest.raises(Conflict, match="0 of 14 days, and it saw 1 of 100 events"):
        baselines.ask(Baseline.objects.get().pk, "Quick.", actor=developer)


def test_a_rejection_and_a_withdrawal_give_it_back(image: Image, developer: Any, reviewer: Any) -> None:
    row = learned(image, process("/app"))
    change = baselines.ask(row.pk, "Seen.", actor=developer)
    with pytest.raises(Invalid):
        baselines.vote(change.pk, Choice.REJECT, actor=reviewer)
    baselines.vote(change.pk, Choice.REJECT, comment="What is /app?", actor=reviewer)
    row.refresh_from_db()
    assert row.status == "proposed"
    again = baselines.ask(row.pk, "It is ours.", actor=developer)
    baselines.withdraw(again.pk, actor=developer)
    row.refresh_from_db()
    assert row.status == "proposed"
    with pytest.raises(Conflict):
        baselines.vote(again.pk, Choice.APPROVE, actor=reviewer)


def test_each_team_whose_image_it_is_approves_its_part(
    make_image: MakeImage, repository: Repository, other_application: Application, developer: Any,
    make_person: Any, team: Any, other_team: Any,
) -> None:  # fmt: skip
    registry = repository.registry
    theirs = Repository.objects.create(registry=registry, path="x", name="r/x", application=other_application)
    shared = make_image(73, repository, theirs)
    change = baselines.ask(learned(shared, process("/app")).pk, "Seen.", actor=developer)
    baselines.vote(change.pk, Choice.APPROVE, actor=make_person("r1", "security-reviewer", team=team))
    assert Baseline.objects.get().status == "asked"
    baselines.vote(change.pk, Choice.APPROVE, actor=make_person("r2", "security-reviewer", team=other_team))
    assert Baseline.objects.get().status == "locked"


# --- what is expected ---


def test_what_is_expected_joins_a_proposed_one_at_once(image: Image, developer: Any) -> None:
    row = learned(image, process("/app"))
    observe(image, process("/bin/sh"))
    outside = BaselineDeviation.objects.get()
    assert baselines.expect_deviation(outside.pk, "Our probe.", actor=developer) is None
    assert observe(image, process("/bin/sh"))[0].verdict is Verdict.NORMAL
    assert (row.items.get(name="/bin/sh").origin, BaselineDeviation.objects.count()) == ("expected", 0)


def test_what_is_expected_joins_a_locked_one_with_a_second_person(image: Image, developer: Any, reviewer: Any) -> None:
    row = locked(image, developer, reviewer, process("/app"))
    observe(image, process("/bin/sh"))
    change = baselines.expected(row.pk, [Item(ItemKind.PROCESS, "/bin/sh")], "Our probe.", actor=developer)
    assert change is not None
    assert observe(image, process("/bin/sh"))[0].verdict is Verdict.ANOMALY
    with pytest.raises(NotAllowed):
        baselines.vote(change.pk, Choice.APPROVE, actor=developer)
    baselines.vote(change.pk, Choice.APPROVE, actor=reviewer)
    assert observe(image, process("/bin/sh"))[0].verdict is Verdict.NORMAL
    row.refresh_from_db()
    assert (row.status, row.counts["process"], row.deviations.count()) == ("locked", 2, 0)


def test_a_range_is_learned_and_not_said(image: Image, developer: Any, reviewer: Any) -> None:
    locked(image, developer, reviewer, process("/app"))
    observe(image, *[process("/app")] * 30)
    with pytest.raises(Conflict, match="is learned"):
        baselines.expect_deviation(BaselineDeviation.objects.get().pk, "Busy.", actor=developer)


@pytest.mark.parametrize("count", [0, 201])
def test_how_many_may_join_at_once_is_bounded(image: Image, developer: Any, count: int) -> None:
    row = learned(image, process("/app"))
    with pytest.raises(Invalid):
        baselines.expected(
            row.pk, [Item(ItemKind.PROCESS, f"/{n}") for n in range(count)], "Ours.", actor=developer
        )  # fmt: skip


# --- versions ---


def test_the_next_version_begins_from_the_locked_one(
    make_image: MakeImage, image: Image, developer: Any, reviewer: Any
) -> None:
    before = locked(image, developer, reviewer, process("/app"), egress(5432))
    newer = make_image(74, days_ago=1)
    judged = observe(newer, process("/app"), process("/bin/sh"))
    assert [one.verdict for one in judged] == [Verdict.NORMAL, Verdict.NEW]
    assert reasons(judged)[1] == "started /bin/sh, which the version before does not do: new in this version"
    row = Baseline.objects.get(image=newer)
    assert (row.before, row.status, row.counts) == (before, "learning", {"process": 2, "connection": 1})
    origins = dict(row.items.values_list("name", "origin"))
    assert origins == {"/app": "carried", "/bin/sh": "observed", "public addresses": "carried"}
    assert dict(row.items.values_list("name", "count")) == {"/app": 1, "/bin/sh": 1, "public addresses": 0}
    assert BaselineDeviation.objects.get(baseline=row).is_new


def test_an_older_image_or_one_of_another_repository_begins_from_nothing(
    make_image: MakeImage, image: Image, repository: Repository, developer: Any, reviewer: Any
) -> None:
    locked(image, developer, reviewer, process("/app"))
    other = Repository.objects.create(registry=repository.registry, path="y", name="r/y")
    for one in (make_image(75, days_ago=90), make_image(76, other, days_ago=1)):
        observe(one, process("/app"))
        assert Baseline.objects.get(image=one).before is None


def test_learning_anew_keeps_what_is_normal(image: Image, developer: Any, reviewer: Any) -> None:
    row = locked(image, developer, reviewer, process("/app"))
    with pytest.raises(NotAllowed):
        baselines.reopen(row.pk, "Changed.", actor=developer)
    baselines.reopen(row.pk, "It changed.", actor=reviewer)
    row.refresh_from_db()
    assert (row.status, row.locked_by, row.events) == ("learning", None, 0)
    judged = observe(image, process("/app"), process("/bin/new"))
    assert [one.verdict for one in judged] == [Verdict.NORMAL, Verdict.LEARNING]


# --- who may ---


def test_to_others_there_is_no_such_baseline(image: Image, stranger: Any, developer: Any, reviewer: Any) -> None:
    row = learned(image, process("/app"))
    observe(image, process("/bin/sh"))
    outside = BaselineDeviation.objects.get()
    change = baselines.ask(row.pk, "Seen.", actor=developer)
    assert not Baseline.objects.visible_to(stranger).exists()
    assert not BaselineChange.objects.visible_to(stranger).exists()
    for act in (
        lambda: baselines.ask(row.pk, "x", actor=stranger),
        lambda: baselines.reopen(row.pk, "x", actor=stranger),
        lambda: baselines.expected(row.pk, [Item(ItemKind.PROCESS, "/x")], "x", actor=stranger),
        lambda: baselines.expect_deviation(outside.pk, "x", actor=stranger),
        lambda: baselines.vote(change.pk, Choice.APPROVE, actor=stranger),
        lambda: baselines.withdraw(change.pk, actor=stranger),
    ):
        with pytest.raises(NotFound):
            act()


def test_who_may_only_read_asks_for_nothing(image: Image, make_person: Any, team: Any) -> None:
    viewer = make_person("v", "viewer", team=team)
    row = learned(image, process("/app"))
    for act in (
        lambda: baselines.ask(row.pk, "x", actor=viewer),
        lambda: baselines.expected(row.pk, [Item(ItemKind.PROCESS, "/x")], "x", actor=viewer),
    ):
        with pytest.raises(NotAllowed):
            act()


def test_of_a_shared_image_each_team_sees_what_its_own_workloads_did(
    make_image: MakeImage, repository: Repository, other_application: Application, developer: Any, stranger: Any,
    reviewer: Any, team: Any, other_team: Any,
) -> None:  # fmt: skip
    theirs = Repository.objects.create(
        registry=repository.registry, path="x", name="r/x", application=other_application
    )  # fmt: skip
    shared = make_image(77, repository, theirs)
    observe(shared, process("/app"), process("/ours"), team_id=team.pk)
    observe(shared, process("/app"), process("/theirs"), team_id=other_team.pk)
    names = {
        person.username: sorted(BaselineItem.objects.seen_by(person).values_list("name", flat=True))
        for person in (developer, stranger, reviewer)
    }
    assert names == {
        "developer": ["/app", "/ours"], "stranger": ["/app", "/theirs"], "reviewer": ["/app", "/ours", "/theirs"],
    }  # fmt: skip
