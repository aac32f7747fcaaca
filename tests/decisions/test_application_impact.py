"""What an application means to the mission: said by security, counted before what the risk appetite says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from secguard.accounts import services as accounts
from secguard.accounts.models import IMPACTS, Application
from secguard.audit.models import AuditEntry
from secguard.decisions import ssvc
from secguard.decisions.queries.deadlines import deadlines_of
from secguard.decisions.services import activate_appetite, create_appetite
from secguard.errors import Invalid, NotAllowed
from secguard.findings.models import Exposure

pytestmark = pytest.mark.django_db
APPETITE = """\
name: ours
rows:
  - {name: all, approvers: {security-reviewer: 1}, max_days: 30}
ssvc:
  table: own
  impact: low
  applications:
    shop: {impact: medium}
  fix_within_days: {now: 3, soon: 14, later: 60, never: none}
  rows:
    - {name: worst, when: {impact: [very-high]}, outcome: now}
    - {name: high, when: {impact: [high]}, outcome: soon}
    - {name: medium, when: {impact: [medium]}, outcome: later}
    - {name: rest, outcome: never}
"""


@pytest.fixture
def in_force(administrator: Any) -> None:
    version = create_appetite(APPETITE, actor=administrator)
    activate_appetite(version.number, actor=administrator)


@pytest.fixture
def exposure(image: Any, in_force: None) -> Exposure:
    return Exposure.objects.get()


def said(exposure: Exposure) -> Any:
    (found,) = (i for i in deadlines_of([exposure.pk])[exposure.pk].inputs if i.point is ssvc.Point.IMPACT)
    return found


def days(exposure: Exposure) -> int | None:
    exposure.refresh_from_db()
    return None if exposure.due_at is None else (exposure.due_at - exposure.since) // timedelta(days=1)


def test_its_own_word_counts_before_the_appetites_and_deadlines_follow(
    exposure: Exposure, application: Application, reviewer: Any
) -> None:
    slug = application.slug
    before, had = said(exposure), days(exposure)
    assert "risk appetite" in before.why
    for word, expected in (("very-high", 3), ("high", 14), ("medium", 60), ("low", None)):
        accounts.say_impact(application.pk, word, actor=reviewer)
        found = said(exposure)
        assert (found.value, found.why, found.is_assumed) == (word, "it is said of the application itself", False)
        assert days(exposure) == expected
    accounts.say_impact(application.pk, "", actor=reviewer)
    assert (said(exposure), days(exposure)) == (before, had)
    entries = AuditEntry.objects.filter(action="application:edit", subject_id=str(application.pk))
    assert entries.count() == 5
    assert Application.objects.get(slug=slug).impact == ""


def test_who_may_say_it(
    application: Application, developer: Any, operator: Any, stranger: Any, make_person: Any, team: Any, other_team: Any
) -> None:
    url, sent = f"/api/v1/applications/{application.slug}/", {"impact": "high"}
    page = f"/applications/{application.slug}/impact/"
    elsewhere = make_person("elsewhere", "security-reviewer", team=other_team)
    for person, status in ((developer, 403), (operator, 403), (stranger, 404), (elsewhere, 404)):
        assert person.api.patch(url, sent).status_code == status, person.username
        assert person.client.post(page, sent).status_code == status
    # Both or neither: an operator may name it, and not say this.
    assert operator.api.patch(url, sent | {"description": "new"}).status_code == 403
    application.refresh_from_db()
    assert (application.impact, application.description) == ("", "")
    ours = make_person("ours", "security-reviewer", team=team)
    assert ours.api.patch(url, sent).json()["impact"] == "high"
    assert 'name="impact"' in ours.client.get(f"/applications/{application.slug}/").content.decode()
    assert 'name="impact"' not in developer.client.get(f"/applications/{application.slug}/").content.decode()
    assert ours.client.post(page, {"impact": "low"}).status_code == 302
    assert developer.api.get(url).json()["impact"] == "low"
    assert ours.client.post(page, {"impact": "enormous"}).status_code == 422
    with pytest.raises(NotAllowed):
        accounts.say_impact(application.pk, "low", actor=elsewhere)


def test_words_are_those_of_ssvc_and_the_database_refuses_others(application: Application) -> None:
    assert ssvc.VALUES[ssvc.Point.IMPACT] == IMPACTS
    with pytest.raises(Invalid, match="expected one of low"):
        accounts.say_impact(application.pk, "LOW", actor=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        Application.objects.update(impact="enormous")


def test_a_table_that_knows_no_such_word_takes_its_worst() -> None:
    from tests.decisions.test_ssvc import CISA_DAYS, FLAW, appetite

    ours = appetite(f"  table: cisa\n  fix_within_days: {CISA_DAYS}\n")
    found = ours.deadline(FLAW, ssvc.Held(impact="very-high"))
    (impact,) = (i for i in found.inputs if i.point is ssvc.Point.IMPACT)
    assert (impact.value, impact.is_assumed) == ("high", False)
    assert "very-high, which the table cisa does not know" in impact.why
