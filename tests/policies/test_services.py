"""Judging: what is kept, when it no longer holds, and that the news always wins."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from secguard.errors import Conflict, NotAllowed, NotFound
from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report

BLOCK_ALL = """\
name: strict
rules:
  - id: nothing-at-all
    each: finding
    when: "true"
    effect: block
    message: "Nothing may be there."
"""


@pytest.fixture
def image(post: Any, developer: Person, application: Any) -> Any:
    """An image with one critical vulnerability that has a fix."""
    from secguard.images.models import Image

    found = flaw("CVE-2026-1", severity="critical", fixed_versions=["1.1.2"])
    post(report(found), developer, application=application.slug)
    return Image.objects.get()


@pytest.fixture
def accept(developer: Person, reviewer: Person, business_approver: Person, image: Any) -> Callable[[], int]:
    """Asks to accept the image's risk in its repository, and lets whoever must approve it; returns the decision."""

    def ask_and_approve() -> int:
        pk = requested(developer)
        for person in (reviewer, business_approver):
            answer = person.api.post(f"/api/v1/decisions/{pk}/approve/", {"comment": "seen"})
            if answer.json().get("status") == "approved":
                return pk
        raise AssertionError(answer.content)

    return ask_and_approve


def requested(developer: Person) -> int:
    from secguard.findings.models import Risk

    body = {
        "kind": "accept",
        "risk": Risk.objects.get().pk,
        "scope": {"repository": "reg.example/shop/web"},
        "reason": "It is not reachable from outside.",
        "expires_at": (timezone.now() + timedelta(days=5)).isoformat(),
    }
    answer = developer.api.post("/api/v1/decisions/", body)
    assert answer.status_code == 201, answer.content
    return int(answer.json()["id"])


def verdict(image: Any, stage: str = "build", now: Any = None) -> Any:
    from secguard.policies.facts import Gate
    from secguard.policies.services import verdict_of

    return verdict_of(image, Gate(stage), now)


@pytest.mark.django_db
def test_a_verdict_names_no_place_that_only_some_of_its_readers_see(
    post: Any, image: Any, developer: Person, application: Any
) -> None:
    where = f"/api/v1/images/{image.digest}/verdict/"
    assert developer.api.get(where).json()["reference"] == "reg.example/shop/web:1"
    # The same digest, in a repository that no application owns: the organisation's.
    post(report(flaw("CVE-2026-1", severity="critical"), image={"reference": "a.example/x:1", "digest": image.digest}))
    answer = developer.api.get(where)
    assert answer.status_code == 200
    assert "a.example" not in answer.content.decode()


# --- policies and their versions ---


@pytest.mark.django_db
def test_the_first_use_puts_the_default_in_force() -> None:
    from secguard.policies.models import PolicyVersion
    from secguard.policies.services import active_version

    first = active_version()
    assert (first.number, first.policy.is_gating) == (1, True)
    assert active_version() == first
    assert PolicyVersion.objects.count() == 1


@pytest.mark.django_db
def test_a_new_version_gates_only_when_activated(reviewer: Person) -> None:
    from secguard.policies.services import activate_version, active_version, create_version

    kept = create_version("strict", BLOCK_ALL, actor=reviewer)
    assert active_version() != kept
    assert activate_version(kept.pk, actor=reviewer) == active_version() == kept
    with pytest.raises(Conflict):
        activate_version(kept.pk, actor=reviewer)


@pytest.mark.django_db
def test_saying_the_same_again_is_a_conflict_whatever_the_line_ends(reviewer: Person) -> None:
    from secguard.policies.services import create_version

    create_version("strict", BLOCK_ALL, actor=reviewer)
    with pytest.raises(Conflict, match="Version 1"):
        create_version("strict", BLOCK_ALL.replace("\n", "\r\n"), actor=reviewer)


@pytest.mark.django_db
def test_who_may_not_edit_policies_leaves_nothing(developer: Person, reviewer: Person) -> None:
    from secguard.policies.models import Policy
    from secguard.policies.services import activate_version, create_version

    with pytest.raises(NotAllowed):
        create_version("strict", BLOCK_ALL, actor=developer)
    assert not Policy.objects.filter(name="strict").exists()
    with pytest.raises(NotFound):
        activate_version(10**9, actor=reviewer)


# --- when a verdict no longer holds ---


@pytest.mark.django_db
def test_a_stored_verdict_is_given_back_while_it_holds(image: Any) -> None:
    from secguard.policies.models import Evaluation

    first = verdict(image)
    made = Evaluation.objects.count()
    assert verdict(image).evaluation_id == first.evaluation_id
    assert Evaluation.objects.count() == made


@pytest.mark.django_db
def test_past_its_end_it_is_judged_again(image: Any) -> None:
    first = verdict(image)
    again = verdict(image, now=first.valid_until)
    assert again.evaluation_id != first.evaluation_id
    assert again.valid_until > first.valid_until


@pytest.mark.django_db
def test_an_approved_decision_lets_it_pass_at_once_and_a_revoked_one_no_longer(
    image: Any, accept: Callable[[], int], developer: Person
) -> None:
    assert verdict(image, "promote").verdict == "block"
    pk = accept()
    allowed = verdict(image, "promote")
    assert allowed.verdict != "block"
    assert allowed.evaluation.decision_ids == [pk]
    assert developer.api.post(f"/api/v1/decisions/{pk}/revoke/", {"reason": "no longer"}).status_code == 200
    assert verdict(image, "promote").verdict == "block"


@pytest.mark.django_db
def test_a_decision_past_its_end_counts_for_nothing_though_no_worker_runs(
    image: Any, accept: Callable[[], int]
) -> None:
    accept()
    assert verdict(image, "promote").valid_until <= timezone.now() + timedelta(days=5)
    assert verdict(image, "promote", timezone.now() + timedelta(days=6)).verdict == "block"


@pytest.mark.django_db
def test_another_policy_counts_at_once(image: Any, post: Any, reviewer: Person) -> None:
    from secguard.policies.services import create_version

    post(report(flaw("CVE-2026-2", severity="negligible"), image=2))
    from secguard.images.models import Image

    harmless = Image.objects.get(digest=digest(2))
    assert verdict(harmless).verdict != "block"
    create_version("strict", BLOCK_ALL, actor=reviewer, activate=True)
    assert verdict(harmless).verdict == "block"


@pytest.mark.django_db
def test_a_change_of_a_risk_makes_the_stored_answer_stale(image: Any) -> None:
    from secguard.findings.models import Risk
    from secguard.policies.models import Verdict
    from secguard.policies.services import follow_risks

    verdict(image)
    follow_risks([Risk.objects.get().pk], timezone.now())
    assert not Verdict.objects.filter(valid_until__gt=timezone.now()).exists()


@pytest.mark.django_db
def test_a_change_of_the_application_is_judged(image: Any, application: Any, administrator: Person) -> None:
    from secguard.accounts.services import edit_application

    before = verdict(image)
    edit_application(application.pk, actor=administrator, is_exposed=True)
    assert verdict(image).evaluation_id != before.evaluation_id


@pytest.mark.django_db
def test_the_job_judges_what_is_stale_for_every_gate(image: Any, run_jobs: Callable[[], int]) -> None:
    from secguard.policies.models import Verdict
    from secguard.policies.services import forget

    run_jobs()
    forget([image.pk])
    assert not Verdict.objects.filter(valid_until__gt=timezone.now()).exists()
    run_jobs()
    assert Verdict.objects.filter(valid_until__gt=timezone.now()).count() == 4


@pytest.mark.django_db
def test_a_verdict_judged_beside_a_decision_is_found_out_of_step(
    image: Any, accept: Callable[[], int], run_jobs: Callable[[], int]
) -> None:
    """As a scan leaves it that did not see a decision which was committed while it was taken in."""
    from secguard.policies.models import Verdict

    held = verdict(image, "promote")
    stale, until = held.evaluation_id, held.valid_until
    accept()
    Verdict.objects.filter(pk=held.pk).update(evaluation_id=stale, valid_until=until, verdict="block")
    run_jobs()
    now = Verdict.objects.get(pk=held.pk)
    assert now.evaluation_id != stale
    assert now.verdict != "block"


# --- what is kept ---


@pytest.mark.django_db
def test_an_evaluation_played_again_gives_the_same_bytes(image: Any, accept: Callable[[], int]) -> None:
    from secguard.policies.facts import Gate
    from secguard.policies.models import Evaluation
    from secguard.policies.services import replay

    accept()
    for gate in Gate:
        verdict(image, gate.value)
    kept = list(Evaluation.objects.all())
    assert {e.stage for e in kept} == {g.value for g in Gate}
    for evaluation in kept:
        assert replay(evaluation) == zlib.decompress(evaluation.document)


@pytest.mark.django_db
def test_gates_and_rescans_share_what_was_read(
    image: Any, post: Any, developer: Person, run_jobs: Callable[[], int]
) -> None:
    from secguard.policies.models import Evaluation, EvaluationInput

    run_jobs()
    inputs = EvaluationInput.objects.count()
    found = flaw("CVE-2026-1", severity="critical", fixed_versions=["1.1.2"], description="said in other words")
    post(report(found), developer)
    run_jobs()
    assert len({tuple(s["id"] for s in e.scans) for e in Evaluation.objects.all()}) == 2
    assert EvaluationInput.objects.count() == inputs
    assert Evaluation.objects.count() == 8


# --- two at once ---


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer: nothing runs beside another")
def test_news_that_comes_while_an_image_is_judged_wins(image: Any, accept: Callable[[], int]) -> None:
    """One judges, and holds the image; the last approval comes meanwhile; whatever is stored says what was decided."""
    from secguard.policies.facts import Gate
    from secguard.policies.services import judge

    begun, approved = threading.Event(), threading.Event()

    def judging() -> None:
        try:
            with transaction.atomic():
                judge(image, [Gate.PROMOTE])
                begun.set()
                approved.wait(0.5)
        finally:
            connections.close_all()

    thread = threading.Thread(target=judging)
    thread.start()
    assert begun.wait(10)
    accept()
    approved.set()
    thread.join(10)
    assert verdict(image, "promote").verdict != "block"
