"""Workers whose clock is an hour off the web's: what has ended ends there, and what is stated stands everywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.decisions import queries as decisions_queries
from secguard.decisions import services as decisions
from secguard.findings.models import Risk
from secguard.jobs import services as jobs
from secguard.policies.models import Verdict
from secguard.promotion import queries, services
from secguard.promotion.models import Promotion
from secguard.promotion.progress import StepState, shown_steps
from secguard.signing.models import Attestation
from tests.fixtures_reports import flaw
from tests.promotion.test_carrying import shown

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
HOUR = timedelta(hours=1)


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> Callable[[Promotion, timedelta], Promotion]:
    """Carries a promotion out by a worker whose clock is so much ahead."""

    def run(promotion: Promotion, ahead: timedelta) -> Promotion:
        now = timezone.now
        claimed = jobs.claim("interactive")
        while claimed is not None and claimed.job_id != promotion.job_id:
            jobs.run_job(claimed)
            claimed = jobs.claim("interactive")
        assert claimed is not None
        with monkeypatch.context() as patched:
            patched.setattr(timezone, "now", lambda: now() + ahead)
            jobs.run_job(claimed)
        promotion.refresh_from_db()
        return promotion

    return run


def ask(estate: Any, actor: Any) -> Promotion:
    return services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=actor)


def test_an_exception_that_has_ended_where_the_worker_is_counts_no_more(estate, developer, reviewer, operator, carried):
    estate.scanned(None, flaw("CVE-2026-1", severity="critical", fixed_versions=["1.1.2"]))
    scope = decisions_queries.find_scope(developer, "repository", estate.name)
    until = timezone.now() + HOUR / 2
    asked = decisions.Ask(Risk.objects.get().pk, "accept", scope, "known here", until)
    decisions.approve(decisions.request_decision(asked, actor=developer).pk, actor=reviewer)
    made = ask(estate, operator)
    assert made.status == "running"
    carried(made, HOUR)
    assert made.status == "refused"
    assert "1 critical vulnerability with a fix" in made.why
    assert estate.points(estate.staged, "1.4") == ""
    assert "sign" not in made.steps


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_what_is_stated_by_another_clock_stands_by_ours(estate, environment, operator, reviewer, carried, ahead):
    environment("staging", approvers={"security-reviewer": 1})
    built = estate.scanned()
    made = ask(estate, operator)
    services.approve(made.pk, actor=reviewer)
    made.refresh_from_db()
    Verdict.objects.update(valid_until=timezone.now() + HOUR / 2)
    judged = list(made.evaluation_ids)
    carried(made, ahead)
    assert made.status == "promoted", made.why
    assert (made.evaluation_ids != judged) == (ahead > timedelta()), "judged anew where the answer had ended"
    for at in (timezone.now() - HOUR, timezone.now(), timezone.now() + HOUR):
        assert queries.standing_in([built.digest], "staging", at) == {built.digest}
    assert {standing for standing, _ in shown(estate.staged, built.digest)} == {"trusted"}
    # Promoted anew by a right clock, the former statement is followed by one that stands alone.
    again = carried(approved(estate, operator, reviewer), timedelta())
    assert again.status == "promoted", again.why
    assert Attestation.objects.standing(timezone.now()).filter(digest=built.digest).count() == 1


def approved(estate: Any, operator: Any, reviewer: Any) -> Promotion:
    made = ask(estate, operator)
    services.approve(made.pk, actor=reviewer)
    made.refresh_from_db()
    return made


def test_steps_go_on_where_a_slower_clock_takes_over(estate, operator, carried, monkeypatch):
    from secguard.promotion.services import carrying

    estate.scanned()
    made = ask(estate, operator)
    plain, seen = carrying.sign, []

    def cut_off(*args: Any) -> Any:
        raise SystemExit

    def look(way: Any, *args: Any) -> Any:
        states = shown_steps(made.status, way.promotion.steps, is_voted_on=False, has_arrived=False)
        seen.append([one.step.value for one in states if one.state is StepState.NOW])
        return plain(way, *args)

    with monkeypatch.context() as patched:
        patched.setattr(carrying, "read_back", cut_off)
        with pytest.raises(SystemExit):
            carried(made, HOUR)
    monkeypatch.setattr(carrying, "sign", look)
    assert jobs.hurry(made.job_id), "given back at an instant that is to come here"
    carried(made, timedelta())
    assert made.status == "promoted", made.why
    assert seen == [["sign"]]
    times = [datetime.fromisoformat(made.steps[step]) for step in made.steps]
    assert len(set(times)) == 8
