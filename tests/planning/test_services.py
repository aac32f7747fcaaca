"""Choosing, answering, and that something does not apply: who may, what is kept of it, and what follows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.approvals.quorum import Choice
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.planning import checks, services
from secguard.planning.checks import Check, Outcome
from secguard.planning.models import Checklist, PlanningTemplate, RequirementAnswer, RequirementWaiver
from secguard.planning.queries import standing_of
from secguard.planning.services import Said
from secguard.planning.template import TemplateError, shipped

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
OWN = """name: short
title: Short
requirements:
  - {id: threats, stage: plan, title: Model threats, about: Write them down., answer_days: 30}
  - {id: contacts, stage: log, title: Name contacts, about: Who is called.}
"""
KEPT = Said(is_kept=True, text="It is written down.")


@pytest.fixture
def checklist(application: Any, developer: Any, reviewer: Any) -> Checklist:
    services.make_template(OWN, actor=reviewer)
    return services.choose_template(application.pk, "short", actor=developer)


def states(checklist: Checklist, now: Any = None) -> dict[str, str]:
    row = Checklist.objects.select_related("template").get(pk=checklist.pk)
    return {i.requirement.id: i.state.value for i in standing_of(row, now).items}


def actions() -> list[str]:
    return list(
        AuditEntry.objects.filter(action__startswith="planning:").order_by("pk").values_list("action", flat=True)
    )


# --- templates ---


def test_the_shipped_template_is_there_once_and_a_release_s_change_is_its_next_version(
    application: Any, developer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = services.choose_template(application.pk, "containers", actor=developer).template
    assert (first.version, first.is_shipped, services.ensure_shipped()) == (1, True, first)
    monkeypatch.setattr("secguard.planning.services.templates.shipped", lambda: shipped() + "# new\n")
    assert services.ensure_shipped().version == 2
    assert Checklist.objects.get().template.version == 2


def test_a_template_is_a_reviewer_s_and_nobody_takes_the_shipped_one_s_name(developer: Any, reviewer: Any) -> None:
    with pytest.raises(NotAllowed):
        services.make_template(OWN, actor=developer)
    with pytest.raises(Conflict, match="comes with SecGuard"):
        services.make_template(OWN.replace("short", "containers"), actor=reviewer)
    with pytest.raises(TemplateError, match="line 4"):
        services.make_template(OWN.replace("stage: plan", "stage: plam"), actor=reviewer)
    assert not PlanningTemplate.objects.filter(is_shipped=False).exists()


def test_a_new_version_carries_over_what_is_asked_in_the_same_words(
    checklist: Checklist, application: Any, developer: Any, reviewer: Any
) -> None:
    for one in ("threats", "contacts"):
        services.answer(application.pk, one, KEPT, actor=developer)
    assert services.make_template(OWN, actor=reviewer).version == 1, "the same text is the version that there is"
    services.make_template(OWN.replace("Who is called.", "Who is called at night."), actor=reviewer)
    assert states(checklist) == {"threats": "kept", "contacts": "open"}
    row = Checklist.objects.get()
    assert (row.template.version, row.unkept, row.kept, row.open) == (2, ["contacts"], 1, 1)
    ended = {i.requirement.id: i.ended for i in standing_of(row).items}
    assert "changed" in ended["contacts"]


def test_the_team_chooses_first_and_only_whoever_edits_policies_changes_it(
    checklist: Checklist, application: Any, developer: Any, operator: Any, reviewer: Any, stranger: Any, viewer: Any
) -> None:
    for person in (developer, operator):
        with pytest.raises(NotAllowed):
            services.choose_template(application.pk, "containers", actor=person)
    with pytest.raises(NotFound):
        services.choose_template(application.pk, "containers", actor=stranger)
    assert services.choose_template(application.pk, "containers", actor=reviewer).template.name == "containers"
    with pytest.raises(NotFound, match="there are: containers, short"):
        services.choose_template(application.pk, "nothing", actor=reviewer)
    Checklist.objects.all().delete()
    with pytest.raises(NotAllowed):
        services.choose_template(application.pk, "short", actor=viewer)


# --- answers ---


def test_a_later_answer_counts_and_the_one_before_is_kept(
    checklist: Checklist, application: Any, developer: Any
) -> None:
    services.answer(application.pk, "threats", KEPT, actor=developer)
    assert Checklist.objects.get().unkept == ["contacts"]
    services.answer(application.pk, "threats", Said(is_kept=False, text="Not any more."), actor=developer)
    row = Checklist.objects.get()
    assert (row.unkept, row.missing, row.open, row.stages["plan"]) == (["contacts", "threats"], 1, 1, {"missing": 1})
    assert RequirementAnswer.objects.count() == 2
    assert actions()[-2:] == ["planning:answer"] * 2
    entry = AuditEntry.objects.filter(action="planning:answer").latest("pk")
    assert (entry.actor_id, entry.details["requirement"], entry.details["missing"]) == (developer.pk, "threats", 1)


def test_who_may_answer(
    checklist: Checklist, application: Any, viewer: Any, stranger: Any, operator: Any, business_approver: Any
) -> None:
    for person in (viewer, business_approver):
        with pytest.raises(NotAllowed):
            services.answer(application.pk, "threats", KEPT, actor=person)
    with pytest.raises(NotFound):
        services.answer(application.pk, "threats", KEPT, actor=stranger)
    services.answer(application.pk, "threats", KEPT, actor=operator)
    with pytest.raises(NotFound, match="asks for nothing called 'other'"):
        services.answer(application.pk, "other", KEPT, actor=operator)


@pytest.mark.parametrize(
    ("columns", "where"),
    [
        ({"text": " "}, "text"),
        ({"text": "x" * 4_001}, "text"),
        ({"evidence": "http://example.org/"}, "evidence"),
        ({"evidence": "javascript:alert(1)"}, "evidence"),
        ({"evidence": "https://me:secret@example.org/"}, "evidence"),
        ({"evidence": "https://example.org/" + "x" * 500}, "evidence"),
    ],
)
def test_what_is_no_answer_is_refused_with_its_place(
    columns: dict[str, str], where: str, checklist: Checklist, application: Any, developer: Any
) -> None:
    said = Said(**({"is_kept": True, "text": "It is."} | columns))  # type: ignore[arg-type]
    with pytest.raises(Invalid) as refused:
        services.answer(application.pk, "threats", said, actor=developer)
    assert refused.value.extra.get("where", getattr(refused.value, "where", "")) == where
    assert not RequirementAnswer.objects.exists()


def test_an_answer_ends_by_the_clock_and_the_job_writes_it_down(
    checklist: Checklist, application: Any, developer: Any
) -> None:
    said = Said(is_kept=True, text="For now.", until=timezone.now() + 2 * DAY)
    made = services.answer(application.pk, "threats", said, actor=developer)
    assert Checklist.objects.get().next_change == made.until
    assert states(checklist, made.until)["threats"] == "open"
    assert services.keep(timezone.now()) == 0
    assert services.keep(made.until) == 1
    row = Checklist.objects.get()
    assert (row.unkept, row.next_change) == (["contacts", "threats"], None)
    late = Said(is_kept=True, text="For long.", until=timezone.now() + 40 * DAY)
    with pytest.raises(Invalid, match="30 days"):
        services.answer(application.pk, "threats", late, actor=developer)


# --- not applicable ---


def ask(application: Any, person: Any) -> RequirementWaiver:
    return services.ask_for_waiver(application.pk, "threats", "It holds nothing.", None, actor=person)


def test_what_does_not_apply_needs_a_second_person(
    checklist: Checklist, application: Any, developer: Any, developer2: Any, reviewer: Any, stranger: Any
) -> None:
    waiver = ask(application, developer)
    assert states(checklist)["threats"] == "open"
    for person in (developer, developer2):
        with pytest.raises(NotAllowed):
            services.vote_on_waiver(waiver.pk, Choice.APPROVE, actor=person)
    with pytest.raises(NotFound):
        services.vote_on_waiver(waiver.pk, Choice.APPROVE, actor=stranger)
    with pytest.raises(Conflict, match="waits for approval already"):
        ask(application, developer2)
    services.vote_on_waiver(waiver.pk, Choice.APPROVE, actor=reviewer)
    row = Checklist.objects.get()
    assert (row.not_applicable, row.unkept, row.next_change) == (1, ["contacts"], waiver.until)
    with pytest.raises(Conflict):
        services.vote_on_waiver(waiver.pk, Choice.REJECT, comment="No.", actor=reviewer)
    services.end_waiver(waiver.pk, actor=developer2)
    assert Checklist.objects.get().not_applicable == 0
    assert actions()[-3:] == ["planning:waiver-request", "planning:waiver-vote", "planning:waiver-end"]


def test_a_reviewer_does_not_approve_their_own(checklist: Checklist, application: Any, reviewer: Any) -> None:
    waiver = ask(application, reviewer)
    with pytest.raises(NotAllowed) as refused:
        services.vote_on_waiver(waiver.pk, Choice.APPROVE, actor=reviewer)
    assert refused.value.code == "own-request"


def test_a_rejection_says_why_and_the_one_who_asked_hears_of_it(
    checklist: Checklist, application: Any, developer: Any, reviewer: Any
) -> None:
    waiver = ask(application, developer)
    assert reviewer.notices.filter(kind="requirement-waiting").exists()
    with pytest.raises(Invalid):
        services.vote_on_waiver(waiver.pk, Choice.REJECT, actor=reviewer)
    services.vote_on_waiver(waiver.pk, Choice.REJECT, comment="It holds names.", actor=reviewer)
    assert states(checklist)["threats"] == "open"
    assert developer.notices.filter(kind="requirement-ended").exists()
    ask(application, developer)  # another may be asked for


def test_one_that_ends_while_it_waits_takes_no_vote(
    checklist: Checklist, application: Any, developer: Any, reviewer: Any, viewer: Any
) -> None:
    waiver = ask(application, developer)
    with pytest.raises(NotAllowed):
        services.end_waiver(waiver.pk, actor=viewer)
    services.end_waiver(waiver.pk, actor=developer)
    with pytest.raises(Conflict):
        services.vote_on_waiver(waiver.pk, Choice.APPROVE, actor=reviewer)
    assert states(checklist)["threats"] == "open"


# --- measuring ---


def test_a_check_that_fails_keeps_nothing_and_the_others_are_measured(
    application: Any, developer: Any, reviewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_ids: Any, _now: Any) -> Any:
        raise RuntimeError("no")

    good = Outcome(state="kept", says="All of it.")
    for name, asked in (("x-broken", broken), ("x-good", lambda ids, _now: dict.fromkeys(ids, good))):
        monkeypatch.setitem(checks.CHECKS, name, Check(name=name, about="", ask=asked))
    source = OWN.replace("answer_days: 30", "check: x-broken").replace("called.}", "called., check: x-good}")
    services.make_template(source, actor=reviewer)
    checklist = services.choose_template(application.pk, "short", actor=developer)
    assert states(checklist) == {"threats": "open", "contacts": "kept"}
    assert Checklist.objects.get().outcomes["x-broken"]["state"] == "unmeasured"


def test_what_was_measured_is_measured_again_and_followers_hear_of_a_change_alone(
    application: Any, developer: Any, reviewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"state": "kept"}
    measure = Check(
        name="x-one",
        about="",
        ask=lambda ids, _now: dict.fromkeys(ids, Outcome(state=said["state"], says=".")),  # type: ignore[arg-type]
    )
    monkeypatch.setitem(checks.CHECKS, "x-one", measure)
    heard: list[Any] = []
    services.make_template(OWN.replace("answer_days: 30", "check: x-one"), actor=reviewer)
    checklist = services.choose_template(application.pk, "short", actor=developer)
    monkeypatch.setattr(services.standing, "CHANGED", [heard.append])
    later = timezone.now() + services.standing.STALE + timedelta(minutes=1)
    assert services.keep(later) == 1
    assert heard == []
    said["state"] = "missing"
    services.measure_now(application.pk, actor=developer)
    assert heard == [[application.pk]]
    assert states(checklist)["threats"] == "missing"


def test_many_checklists_are_counted_in_as_many_statements_as_few(
    make_team: Any, make_application: Any, administrator: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    services.make_template(OWN, actor=None)
    counts, ids = [], []
    for number in range(12):
        made = make_application(f"App {number}", make_team(f"Team {number}"))
        services.choose_template(made.pk, "short", actor=administrator)
        services.answer(made.pk, "threats", KEPT, actor=administrator)
        ids.append(made.pk)
        if number in (1, 11):
            with CaptureQueriesContext(connection) as asked:
                services.recount(ids, timezone.now())
            counts.append(len(asked))
    assert counts[0] == counts[1]
