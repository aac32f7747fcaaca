"""Images that go by themselves once they pass."""

from __future__ import annotations

import pytest

from secguard.errors import Invalid
from secguard.promotion import services
from secguard.promotion.models import Environment, Promotion
from tests.promotion.test_carrying import MALWARE

pytestmark = pytest.mark.django_db


def test_what_passes_goes_by_itself_and_goes_on(estate, environment, run_jobs):
    environment("staging", is_automatic=True)
    environment("production", is_automatic=True)
    built = estate.scanned()
    run_jobs()
    ends = list(Promotion.objects.order_by("pk").values_list("environment__name", "status", "requested_by"))
    assert ends == [("staging", "promoted", None), ("production", "promoted", None)]
    assert estate.points(estate.staged, "1.4") == built.digest
    assert estate.points(estate.live, "1.4") == built.digest
    estate.report(built)
    run_jobs()
    assert Promotion.objects.count() == 2, "what stands there is not asked for again"


def test_what_is_blocked_goes_when_it_passes(estate, environment, run_jobs, post):
    environment("staging", is_automatic=True)
    built = estate.scanned(None, MALWARE)
    run_jobs()
    assert not Promotion.objects.exists()
    estate.report(built)
    run_jobs()
    assert Promotion.objects.get().status == "promoted"


def test_only_the_repositories_that_the_rule_means(estate, environment, run_jobs):
    environment("staging", is_automatic=True, automatic_for=f"{estate.build.host}/elsewhere/*")
    estate.scanned()
    run_jobs()
    assert not Promotion.objects.exists()


def test_nobody_approves_what_nobody_asked_for(estate, environment):
    with pytest.raises(Invalid, match="by nobody"):
        environment("staging", is_automatic=True, approvers={"security-reviewer": 1})
    assert not Environment.objects.filter(is_automatic=True).exists()


def test_a_stopped_one_is_not_asked_for_again(estate, environment, run_jobs, operator):
    environment("staging", is_automatic=True)
    built = estate.scanned()
    run_jobs()
    found = Promotion.objects.get()
    from secguard.signing.services import lift_recall, recall

    recall(built.digest, "bad", actor=operator)
    lift_recall(built.digest, "good", actor=operator)
    run_jobs()
    assert list(Promotion.objects.values_list("pk", "status")) == [(found.pk, "recalled")]
    assert services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=operator).status == "running"
