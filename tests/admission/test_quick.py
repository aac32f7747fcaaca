"""The common answer in one statement, and counts that are written together: the same as the whole way, only sooner."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.admission import services
from secguard.admission.answer import answer
from secguard.admission.models import AdmissionDecision, ClusterGate
from secguard.admission.review import Review, Subject
from secguard.admission.services import answering, counting, quick
from secguard.images.models import Image, Index, IndexImage, Registry
from secguard.policies.models import Policy, Verdict
from secguard.policies.services import forget
from secguard.workloads.podspec import ImageUse
from tests.admission.conftest import BAD, GOOD, UNKNOWN, WEB, Ask, pod, review
from tests.fixtures_reports import digest, flaw, report

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("images")]

OTHER = f"{WEB}@{digest(3)}"
AskPod = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def another(images: None, post: Any, ask_pod: AskPod) -> None:
    """A second image that passes, with warnings; both were asked about."""
    post(report(flaw("CVE-2026-1", severity="low"), image={"reference": f"{WEB}:3", "digest": digest(3)}))
    ask_pod(GOOD, OTHER)


def known(*images: str) -> Any:
    uses = tuple(ImageUse("", image, "container") for image in images)
    gate = ClusterGate.objects.select_related("cluster").get()
    return quick.known_of(Review(Subject(namespace="shop"), uses), gate, timezone.now())


def test_it_knows_what_the_whole_way_knows_as_far_as_an_answer_reads_it() -> None:
    uses = tuple(ImageUse("", image, "container") for image in (GOOD, OTHER, GOOD))
    asked, gate, now = Review(Subject(namespace="shop"), uses), ClusterGate.objects.get(), timezone.now()
    soon, whole = quick.known_of(asked, gate, now), answering.known_of(asked, gate, now)
    assert soon is not None
    made = [answer(asked, k, gate.rules, now, "https://x") for k in (soon, whole)]
    for a, b in zip(*(m.images for m in made), strict=True):
        assert (a.image, a.outcome, a.reason, a.until) == (b.image, b.outcome, b.reason, b.until)
        assert (a.known.image_id, a.known.evaluation_id) == (b.known.image_id, b.known.evaluation_id)


@pytest.mark.parametrize("image", [BAD, UNKNOWN, f"{WEB}:1", f"{WEB}@{digest(77)}", "%"])
def test_whatever_may_be_refused_goes_the_whole_way(image: str) -> None:
    IndexImage.objects.create(
        index=Index.objects.create(digest=digest(77)), image=Image.objects.get(digest=digest(1)), platform="linux/amd64"
    )
    assert known(GOOD) is not None
    assert known(GOOD, image) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda: forget([Image.objects.get(digest=digest(1)).pk]),
        lambda: Verdict.objects.update(valid_until=timezone.now() - timedelta(seconds=1)),
        lambda: Policy.objects.update(is_gating=False),
        lambda: Registry.objects.update(is_preferred=False),
        lambda: Verdict.objects.filter(image__digest=digest(1)).delete(),
    ],
)
def test_a_change_counts_at_once(change: Callable[[], object]) -> None:
    assert known(GOOD) is not None
    change()
    assert known(GOOD) is None


def test_a_new_verdict_counts_at_once_though_documents_are_remembered(post: Any, ask_pod: AskPod) -> None:
    assert ask_pod(GOOD)["allowed"]
    malware = {
        "kind": "malware",
        "id": "Eicar-Test",
        "sha256": "0" * 64,
        "path": "/x",
        "severity": "critical",
        "title": "E",
    }
    post(report(malware, covers=["vulnerability", "malware"]))
    assert not ask_pod(GOOD)["allowed"]


def test_it_is_one_statement_however_many_images(ask_pod: AskPod) -> None:
    for images in ((GOOD,), (GOOD, OTHER)):
        ask_pod(*images)
        with CaptureQueriesContext(connection) as seen:
            assert ask_pod(*images)["allowed"]
        assert len(seen) == 1


def test_what_the_cluster_asks_for_besides_is_asked(settings: Any) -> None:
    ClusterGate.objects.update(environment="production")
    assert known(GOOD) is None
    ClusterGate.objects.update(environment="", signers=["release"])
    assert known(GOOD) is None


def test_a_connection_that_broke_goes_the_whole_way(monkeypatch: pytest.MonkeyPatch, ask_pod: AskPod) -> None:
    def broken(*_: Any) -> Any:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(quick, "_judged", broken)
    assert known(GOOD) is None
    assert ask_pod(GOOD)["allowed"]


def test_documents_are_bounded() -> None:
    kept: quick.Remembered[int, str] = quick.Remembered(2)
    kept.put({1: "a", 2: "b"})
    kept.put({3: "c"})
    assert kept.get([1, 2, 3]) == {2: "b", 3: "c"}, "the oldest went"
    assert (kept.has([2, 3]), kept.has([1, 2]), kept.has([])) == (True, False, True)


def test_a_clusters_settings_are_remembered_for_a_second_and_changed_ones_at_once(
    ask_pod: AskPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_pod(UNKNOWN)
    ClusterGate.objects.update(mode="warn")  # by another process
    assert not ask_pod(UNKNOWN)["allowed"]
    monkeypatch.setattr(quick, "monotonic", lambda: time.monotonic() + 1.1)
    assert ask_pod(UNKNOWN)["allowed"]
    services.edit_gate(ClusterGate.objects.get().pk, services.GateEdit(mode="enforce"), actor=None)
    assert not ask_pod(UNKNOWN)["allowed"]


# --- what is remembered for two seconds ---


def verdicts_read(seen: CaptureQueriesContext) -> list[str]:
    return [q["sql"] for q in seen.captured_queries if "policies_verdict" in q["sql"]]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> quick.Fresh:
    """Remembers for two seconds by a clock of its own, and reads again when it is told to; no thread does."""
    monkeypatch.setattr(quick, "STALE_SECONDS", 2.0)
    made = quick.Fresh()
    monkeypatch.setattr(made, "_reader", object())
    monkeypatch.setattr(quick, "FRESH", made)
    return made


def test_what_was_read_is_not_read_again_within_its_time(fresh: quick.Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known(GOOD, OTHER) is not None
    with CaptureQueriesContext(connection) as seen:
        assert known(GOOD, OTHER) == known(OTHER, GOOD)
    assert not verdicts_read(seen)
    monkeypatch.setattr(quick, "monotonic", lambda: time.monotonic() + 2.01)
    with CaptureQueriesContext(connection) as seen:
        assert known(GOOD) is not None
    assert len(verdicts_read(seen)) == 1


def test_a_change_counts_when_it_is_read_again_and_before_two_seconds_are_over(
    fresh: quick.Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known(GOOD) is not None
    assert known(OTHER) is not None
    forget([Image.objects.get(digest=digest(1)).pk])  # in another process
    assert known(GOOD) is not None
    assert fresh._again()
    assert known(GOOD) is None
    assert known(OTHER) is not None
    forget([Image.objects.get(digest=digest(3)).pk])
    monkeypatch.setattr(quick, "monotonic", lambda: time.monotonic() + 2.01)
    assert known(OTHER) is None, "also where nothing reads again"


def test_a_verdicts_own_end_counts_at_its_instant(fresh: quick.Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known(GOOD) is not None
    later = timezone.now() + timedelta(hours=25)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert known(GOOD) is None


def test_what_is_not_asked_for_any_more_is_read_no_more(fresh: quick.Fresh, monkeypatch: pytest.MonkeyPatch) -> None:
    assert known(GOOD) is not None
    with CaptureQueriesContext(connection) as seen:
        assert fresh._again()
    assert len(verdicts_read(seen)) == 1
    monkeypatch.setattr(quick, "monotonic", lambda: time.monotonic() + quick.ASKED_SECONDS + 1)
    with CaptureQueriesContext(connection) as seen:
        assert not fresh._again()
    assert not verdicts_read(seen)


def test_a_database_that_does_not_answer_leaves_nothing_remembered(
    fresh: quick.Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert known(GOOD) is not None

    def broken(*_: Any) -> Any:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(quick, "_judged", broken)
    monkeypatch.setattr(quick.connection, "close", lambda: None)
    fresh._again()
    assert known(GOOD) is None


# --- counts ---


def written(seen: CaptureQueriesContext) -> list[str]:
    words = ('UPDATE "admission', "INSERT INTO")
    return [q["sql"] for q in seen.captured_queries if any(word in q["sql"] for word in words)]


def test_what_is_given_again_is_counted_together(ask_pod: AskPod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "SECONDS", 3600)
    ask_pod(BAD, uid="first")
    with CaptureQueriesContext(connection) as seen:
        for n in range(5):
            ask_pod(BAD, uid=f"u-{n}", userInfo={"username": "ben"})
    assert not written(seen)
    row = AdmissionDecision.objects.get(digest=digest(2))
    assert (row.count, row.uid) == (1, "first")
    with CaptureQueriesContext(connection) as seen:
        counting.COUNTS.flush()
    assert len(written(seen)) == 1
    row.refresh_from_db()
    assert (row.count, row.uid, row.requested_by) == (6, "u-4", "ben")
    counting.COUNTS.flush()
    assert AdmissionDecision.objects.get(pk=row.pk).count == 6


def test_a_row_that_was_removed_meanwhile_is_made_anew(ask_pod: AskPod) -> None:
    ask_pod(BAD)
    AdmissionDecision.objects.all().delete()
    ask_pod(BAD, uid="again")
    row = AdmissionDecision.objects.get()
    assert (row.count, row.uid, row.outcome) == (1, "again", "denied")


def test_what_cannot_be_counted_fails_no_answer(ask_pod: AskPod, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_pod(BAD)

    def full(*_: Any) -> None:
        raise OperationalError("no space left on device")

    monkeypatch.setattr(counting, "_write", full)
    assert not ask_pod(BAD)["allowed"]
    assert AdmissionDecision.objects.get(digest=digest(2)).count == 1


@pytest.mark.django_db(transaction=True)
def test_the_timer_writes_what_waits(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("validate", review(pod(BAD)))
    monkeypatch.setattr(counting, "SECONDS", 0.05)
    for _ in range(3):
        ask("validate", review(pod(BAD)))
    ends = time.monotonic() + 10
    while AdmissionDecision.objects.get(digest=digest(2)).count < 4 and time.monotonic() < ends:
        time.sleep(0.02)
    assert AdmissionDecision.objects.get(digest=digest(2)).count == 4


# --- straight to the view ---


def test_a_question_meets_no_session_and_its_answer_has_every_header(
    gate: tuple[Any, str], django_assert_num_queries: Any
) -> None:
    client = Client()
    client.cookies["secguard-session"] = "somebody's"
    body, headers = review(pod(GOOD)), {"Authorization": f"Bearer {gate[1]}"}
    client.post("/admission/v1/validate", body, content_type="application/json", headers=headers)
    with django_assert_num_queries(1):
        answer = client.post("/admission/v1/validate", body, content_type="application/json", headers=headers)
    assert answer["Content-Length"] == str(len(answer.content))
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["X-Request-ID"]
    assert not answer.cookies


@pytest.mark.parametrize("path", ["/admission/v1/", "/admission/v1/nothing", "/admission/v1/validate/"])
def test_what_is_not_there_is_told_as_everywhere(path: str, gate: Any) -> None:
    answer = Client().post(path, {}, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


def test_a_mistake_of_ours_is_a_500_in_words(gate: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("nobody foresaw this")

    monkeypatch.setattr(services, "admit", fail)
    answer = Client(raise_request_exception=False).post(
        "/admission/v1/validate",
        review(pod(GOOD)),
        content_type="application/json",
        headers={"Authorization": f"Bearer {gate[1]}"},
    )
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert "foresaw" not in answer.content.decode()
