"""Until it is fixed in this repository: it ends where the newest image no longer has it, at once and for good."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.decisions import queries, services
from secguard.decisions.lifecycle import FIXED
from secguard.decisions.queries.documents import RELATED
from secguard.errors import Conflict, Invalid
from secguard.findings.models import Exposure
from secguard.images.services import assign_repository
from secguard.policies.facts import Gate
from secguard.policies.services import verdict_of

pytestmark = pytest.mark.django_db
UNTIL = {"until_fixed": True, "until_fix": False}
DAY = timedelta(days=1)


def decided(image, risk) -> int | None:
    """The decision that counts in the image, which is also the one that a verdict rests on."""
    now = timezone.now()
    found = queries.applicable_for_image(image.pk, now).get(risk.pk)
    return found.id if found else None


@pytest.fixture
def agreed(ask, developer, reviewer):
    def make(**changed):
        now = timezone.now()
        values = {"now": now, "expires_at": now + 30 * DAY, "conditions": UNTIL} | changed
        return services.approve(ask(developer, **values).pk, actor=reviewer)

    return make


def test_it_covers_each_next_image_until_one_no_longer_has_it(agreed, estate, repository, risk, image, run_jobs):
    decision = agreed()
    following = estate.image(repository, [risk], at=timezone.now())
    assert decided(image, risk) == decided(following, risk) == decision.pk
    assert Exposure.objects.get(risk=risk, repository=repository).decision_id == decision.pk
    fixed = estate.image(repository, [], at=timezone.now())
    assert decided(following, risk) is decided(image, risk) is decided(fixed, risk) is None
    again = estate.image(repository, [risk], at=timezone.now())
    assert decided(again, risk) is None
    assert Exposure.objects.get(risk=risk, repository=repository).decision_id is None


def test_the_job_writes_down_that_it_ended_and_why(agreed, estate, repository, risk, image, run_jobs):
    decision = agreed()
    estate.image(repository, [], at=timezone.now())
    run_jobs()
    decision.refresh_from_db()
    assert (decision.status, decision.end_reason) == ("ended", FIXED)


def test_without_the_condition_the_next_appearance_is_covered_as_ever(agreed, estate, repository, risk, image):
    decision = agreed(conditions={"until_fix": False})
    estate.image(repository, [], at=timezone.now())
    again = estate.image(repository, [risk], at=timezone.now())
    assert decided(again, risk) == decision.pk


def test_a_kept_verdict_of_an_older_image_counts_no_more_at_once(agreed, estate, repository, risk, image):
    decision = agreed()
    assert verdict_of(image, Gate.BUILD).evaluation.decision_ids == [decision.pk]
    estate.image(repository, [], at=timezone.now())
    assert verdict_of(image, Gate.BUILD).evaluation.decision_ids == []


def test_each_repository_of_an_application_for_itself(
    agreed, estate, repository, risk, image, application, developer, run_jobs
):
    other = estate.repository("shop/web", application)
    beside = estate.image(other, [risk])
    decision = agreed(scope=queries.find_scope(developer, "application", application.slug))
    estate.image(repository, [], at=timezone.now())
    run_jobs()
    assert (decided(image, risk), decided(beside, risk)) == (None, decision.pk)
    decision.refresh_from_db()
    assert decision.status == "approved"
    later = estate.repository("shop/later", application)
    assert decided(estate.image(later, [risk], at=timezone.now()), risk) == decision.pk
    for place in (other, later):
        estate.image(place, [], at=timezone.now())
    run_jobs()
    decision.refresh_from_db()
    assert (decision.status, decision.end_reason) == ("ended", FIXED)


def test_what_is_fixed_stays_so_where_the_repository_goes(
    agreed, estate, repository, risk, image, application, other_application, operator, developer
):
    other = estate.repository("shop/web", application)
    estate.image(other, [risk])
    agreed(scope=queries.find_scope(developer, "application", application.slug))
    estate.image(repository, [], at=timezone.now())
    assign_repository(repository.pk, other_application, actor=operator)
    assign_repository(repository.pk, application, actor=operator)
    assert decided(estate.image(repository, [risk], at=timezone.now()), risk) is None


def test_an_images_own_scope_ends_with_its_repository(agreed, estate, repository, risk, image, developer):
    decision = agreed(scope=queries.find_scope(developer, "image", image.digest))
    assert decided(image, risk) == decision.pk
    estate.image(repository, [], at=timezone.now())
    assert decided(image, risk) is None


def test_what_is_fixed_already_is_not_asked_for(ask, developer, estate, repository, risk, image):
    estate.image(repository, [], at=timezone.now())
    with pytest.raises(Invalid, match="is fixed there already") as refusal:
        ask(developer, conditions=UNTIL)
    assert refusal.value.where == "conditions.until_fixed"


def test_what_was_fixed_meanwhile_cannot_be_approved(ask, developer, reviewer, estate, repository, risk, image):
    now = timezone.now()
    waiting = ask(developer, now=now, expires_at=now + DAY, conditions=UNTIL)
    estate.image(repository, [], at=timezone.now())
    with pytest.raises(Conflict, match=FIXED):
        services.approve(waiting.pk, actor=reviewer)
    again = estate.image(repository, [risk], at=timezone.now())
    with pytest.raises(Conflict, match=FIXED):
        services.approve(waiting.pk, actor=reviewer)
    assert decided(again, risk) is None


def test_the_document_says_what_would_end_it(agreed, risk, image, developer):
    decision = agreed(conditions=UNTIL | {"max_epss": 0.1})
    type(risk).objects.filter(pk=risk.pk).update(epss=0.03)
    decision = type(decision).objects.select_related(*RELATED).get(pk=decision.pk)
    (document,) = queries.documents([decision], developer, timezone.now())
    found = {e["by"]: (e["when"], e["now"]) for e in document["endings"]}
    assert found["date"] == ("its date comes", "")
    assert found["fixed"] == ("it is fixed there, in each repository for itself", "it stands there")
    assert found["epss"] == ("EPSS rises above 0.1", "EPSS 0.03 of 0.1")
    assert "fix" not in found
