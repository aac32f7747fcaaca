"""What was accepted does not grow with its scope: something worse that comes into it ends the decision."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.accounts import services as accounts
from secguard.decisions import queries, services
from secguard.errors import Conflict
from secguard.images.services import assign_repository
from secguard.policies.queries import facts_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(estate, repository, developer, application):
    """Asks for a medium risk to be accepted in the whole application, which nobody reaches from outside."""
    risk = estate.risk(severity=5)
    estate.image(repository, [risk], severity=3)
    scope = queries.find_scope(developer, "application", application.slug)

    def make(**changed):
        values = {"kind": "accept", "expires_at": timezone.now() + timedelta(days=30)} | changed
        if values["kind"] == "mitigate":
            values["controls"] = [estate.control(application, developer, at=timezone.now()).pk]
        return services.request_decision(services.Ask(risk.pk, scope=scope, reason="known", **values), actor=developer)

    make.risk = risk
    return make


def ended(decision, run_jobs) -> str:
    run_jobs()
    decision.refresh_from_db()
    return decision.end_reason if decision.status == "ended" else decision.status


def test_a_worse_image_ends_it_though_the_risk_was_as_bad_elsewhere_before(
    asked, estate, repository, reviewer, run_jobs
):
    decision = services.approve(asked().pk, actor=reviewer)
    estate.image(repository, [asked.risk], severity=3, at=timezone.now())
    assert ended(decision, run_jobs) == "approved"
    estate.image(repository, [asked.risk], severity=5, at=timezone.now())
    assert ended(decision, run_jobs) == "severity rose from medium to critical"


def test_a_worse_repository_that_joins_the_application_ends_it(
    asked, estate, application, operator, reviewer, run_jobs
):
    decision = services.approve(asked().pk, actor=reviewer)
    worse = estate.repository("shop/worse", None)
    estate.image(worse, [asked.risk], severity=5, at=timezone.now())
    assert ended(decision, run_jobs) == "approved"
    assign_repository(worse.pk, application, actor=operator)
    assert ended(decision, run_jobs) == "severity rose from medium to critical"


def test_another_teams_worse_image_ends_nothing(asked, estate, other_repository, reviewer, run_jobs):
    decision = services.approve(asked().pk, actor=reviewer)
    estate.image(other_repository, [asked.risk], severity=5, at=timezone.now())
    assert ended(decision, run_jobs) == "approved"


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("accept", "it became reachable from outside"),
        ("mitigate", "it became reachable from outside"),
        ("not_affected", "approved"),
    ],
)
def test_an_application_that_is_opened_to_the_outside_ends_what_was_accepted_inside(
    asked, application, operator, reviewer, run_jobs, kind, found
):
    decision = services.approve(asked(kind=kind).pk, actor=reviewer)
    accounts.edit_application(application.pk, actor=operator, is_exposed=True)
    assert ended(decision, run_jobs) == found


def test_nobody_approves_for_the_outside_what_was_asked_for_the_inside(asked, application, operator, reviewer):
    decision = asked()
    accounts.edit_application(application.pk, actor=operator, is_exposed=True)
    with pytest.raises(Conflict, match="became reachable from outside") as found:
        services.approve(decision.pk, actor=reviewer)
    assert found.value.code == "risk-changed"


def test_of_an_image_alone_it_is_known_too(asked, repository, developer, application, operator, reviewer, run_jobs):
    scope = queries.find_scope(developer, "image", repository.newest_image.digest)
    ask = services.Ask(asked.risk.pk, "accept", scope, "known", timezone.now() + timedelta(days=9))
    decision = services.approve(services.request_decision(ask, actor=developer).pk, actor=reviewer)
    accounts.edit_application(application.pk, actor=operator, is_exposed=True)
    assert ended(decision, run_jobs) == "it became reachable from outside"


def test_what_was_agreed_for_less_counts_and_is_told_nowhere_before_any_job_ends_it(
    asked, estate, repository, reviewer
):
    decision = services.approve(asked().pk, actor=reviewer)
    alike = estate.image(repository, [asked.risk], severity=3, at=timezone.now())
    worse = estate.image(repository, [asked.risk], severity=5, at=timezone.now())
    decision.refresh_from_db()
    assert decision.status == "approved"
    for image, counting in ((alike, [decision.pk]), (worse, [])):
        now = timezone.now()
        assert [d.id for d in queries.applicable_for_image(image.pk, now).values()] == counting
        assert [j.decision for j in queries.judgements_of(image.pk, now)] == counting
        assert [f.decision.id for f in facts_for([image], now)[image.pk].findings if f.decision] == counting
