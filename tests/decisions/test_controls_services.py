"""Controls in the database: proposed, confirmed by somebody else, seen, leaned on, and what ends with them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.accounts import services as accounts
from secguard.audit.models import AuditEntry
from secguard.decisions import queries, services
from secguard.decisions.controls import ControlState, EvidenceKind, Says, Sighting, gather
from secguard.decisions.models import Control, ControlEvidence, Decision
from secguard.decisions.queries import controls as reads
from secguard.decisions.services import Evidence, NewControl, Observed, Observer
from secguard.decisions.services.controls import MAX_ROWS_A_DAY
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.findings.models import Exposure
from secguard.images.services import assign_repository
from secguard.notifications.models import NoticeLine
from secguard.policies.facts import Gate
from secguard.policies.services import verdict_of
from tests.decisions.conftest import NOW

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def propose(application, developer):
    def make(by=developer, **changed) -> Control:
        values = {
            "name": "Rule 942100",
            "kind": "waf-or-ips-rule",
            "kept_alive_by": "heartbeat",
            "every_hours": 24,
            "application": application,
        } | changed
        return services.propose(NewControl(**values), actor=by, now=NOW)

    return make


@pytest.fixture
def control(propose, developer, reviewer) -> Control:
    """Confirmed, and seen to hold at ``NOW``: for a day."""
    made = propose()
    services.confirm(made.pk, actor=reviewer, now=NOW)
    services.add_evidence(made.pk, Evidence(), actor=developer, now=NOW)
    made.refresh_from_db()
    return made


@pytest.fixture
def leaning(ask, control, developer, reviewer) -> Decision:
    """A decision in force that leans on ``control``."""
    decision = ask(developer, kind="mitigate", controls=[control.pk])
    return services.approve(decision.pk, actor=reviewer, now=NOW)


def audited(subject: str = "control") -> list[str]:
    return list(AuditEntry.objects.filter(subject_type=subject).order_by("sequence").values_list("action", flat=True))


def told(kind: str) -> set[str]:
    return set(NoticeLine.objects.filter(kind=kind).values_list("notice__user__username", flat=True))


# --- proposing and confirming ---


def test_nothing_counts_on_a_control_before_somebody_else_confirmed_it(propose, developer, reviewer, ask):
    control = propose()
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW)
    control.refresh_from_db()
    assert control.state_at(NOW) is ControlState.PROPOSED
    decision = ask(developer, kind="mitigate", controls=[control.pk])
    with pytest.raises(Conflict, match="does not hold now: Rule 942100 is not confirmed") as found:
        services.approve(decision.pk, actor=reviewer, now=NOW)
    assert found.value.code == "control-state"
    services.confirm(control.pk, actor=reviewer, now=NOW)
    approved = services.approve(decision.pk, actor=reviewer, now=NOW)
    approved.refresh_from_db()
    assert (approved.status, approved.controls_until) == ("approved", NOW + DAY)
    assert audited() == ["control:propose", "control:evidence", "control:confirm"]


def test_nobody_confirms_what_they_proposed_or_answer_for(propose, reviewer, operator, make_person):
    own = propose(by=reviewer)
    owned = propose(by=operator, name="Other", owner=reviewer)
    for control in (own, owned):
        with pytest.raises(NotAllowed, match="is your own") as found:
            services.confirm(control.pk, actor=reviewer, now=NOW)
        assert found.value.code == "own-control"
    second = make_person("second", "security-reviewer")
    assert services.confirm(own.pk, actor=second, now=NOW).status == "confirmed"
    with pytest.raises(Conflict, match="is confirmed; only one that is proposed"):
        services.confirm(own.pk, actor=second, now=NOW)


def test_who_may_propose_confirm_and_see(propose, application, viewer, stranger, developer, developer2, operator):
    for person in (viewer, stranger):
        with pytest.raises((NotAllowed, NotFound)):
            propose(by=person)
    control = propose()
    for person in (developer2, operator):
        with pytest.raises(NotAllowed, match="control:confirm"):
            services.confirm(control.pk, actor=person, now=NOW)
    with pytest.raises(NotFound):
        services.confirm(control.pk, actor=stranger, now=NOW)
    assert set(Control.objects.visible_to(developer2)) == {control}
    assert set(Control.objects.visible_to(stranger)) == set()


def test_what_covers_everything_is_proposed_organisation_wide_and_seen_when_confirmed(
    propose, developer, operator, reviewer, stranger
):
    with pytest.raises(NotAllowed, match="in the whole organisation"):
        propose(application=None)
    control = propose(application=None, by=operator)
    assert not Control.objects.visible_to(stranger).exists()
    services.confirm(control.pk, actor=reviewer, now=NOW)
    assert Control.objects.visible_to(stranger).get() == control


def test_two_of_one_name_stand_nowhere(propose, operator, other_application):
    first = propose()
    with pytest.raises(Conflict, match=f"Control {first.pk} is called 'Rule 942100' there already") as found:
        propose()
    assert found.value.extra["control"] == first.pk
    assert propose(application=other_application, by=operator).name == first.name


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"name": " \x00 "}, "name"),
        ({"name": "x" * 151}, "name"),
        ({"kind": "magic"}, "kind"),
        ({"kept_alive_by": "hope"}, "kept_alive_by"),
        ({"every_hours": 0}, "every_hours"),
        ({"description": "x" * 2001}, "description"),
        ({"watch": {"observer": "x"}}, "watch"),
        ({"kept_alive_by": "observation"}, "watch"),
        ({"kept_alive_by": "observation", "watch": {"observer": "nobody"}}, "watch"),
    ],
)
def test_bad_input_names_its_place(propose, changed, where):
    with pytest.raises(Invalid) as found:
        propose(**changed)
    assert found.value.where == where
    assert not Control.objects.exists()


def test_an_owner_works_where_the_control_is(propose, stranger, viewer, operator):
    with pytest.raises(Invalid, match="stranger cannot answer for it"):
        propose(owner=stranger)
    assert propose(owner=viewer).owner == viewer


def test_whoever_may_confirm_is_told_and_nobody_else(propose, reviewer, administrator, operator, developer):
    control = propose()
    assert told("control-waiting") == {"reviewer", "administrator"}
    services.confirm(control.pk, actor=reviewer, now=NOW)
    assert not NoticeLine.objects.filter(kind="control-waiting", notice__seen_at=None).exists()


# --- evidence ---


def test_the_same_seen_again_is_counted_and_a_gap_begins_anew(control, developer):
    for hours in (1, 2, 3):
        services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + hours * HOUR)
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + 3 * HOUR + DAY + HOUR)
    rows = control.evidence.order_by("first_seen_at").values_list("first_seen_at", "seen_at", "count")
    assert list(rows) == [(NOW, NOW + 3 * HOUR, 4), (NOW + DAY + 4 * HOUR, NOW + DAY + 4 * HOUR, 1)]
    assert audited().count("control:evidence") == 2


def test_a_persons_check_stands_for_itself(propose, developer):
    control = propose(kept_alive_by="check", every_hours=720)
    for hours in (1, 2):
        services.add_evidence(
            control.pk, Evidence("check", note="Looked at it."), actor=developer, now=NOW + hours * HOUR
        )
    assert control.evidence.count() == 2
    assert audited().count("control:evidence") == 2


def test_a_heartbeat_does_not_outvote_a_person(control, developer, developer2):
    services.add_evidence(control.pk, Evidence("check", "contradicts"), actor=developer2, now=NOW + HOUR)
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + 2 * HOUR)
    control.refresh_from_db()
    assert control.state_at(NOW + 2 * HOUR) is ControlState.CONTRADICTED
    services.add_evidence(control.pk, Evidence("check"), actor=developer2, now=NOW + 3 * HOUR)
    control.refresh_from_db()
    assert control.state_at(NOW + 3 * HOUR) is ControlState.ALIVE


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"kind": "observation"}, "kind"),
        ({"kind": "rumour"}, "kind"),
        ({"says": "perhaps"}, "says"),
        ({"seen_at": NOW + HOUR}, "seen_at"),
        ({"seen_at": NOW - timedelta(days=400)}, "seen_at"),
        ({"note": "x" * 2001}, "note"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://[::1"}, "url"),
        ({"url": "https://example.org/" + "x" * 500}, "url"),
        ({"digest": "sha256:abc"}, "digest"),
    ],
)
def test_bad_evidence_names_its_place(control, developer, changed, where):
    with pytest.raises(Invalid) as found:
        services.add_evidence(control.pk, Evidence(**changed), actor=developer, now=NOW)
    assert found.value.where == where
    assert control.evidence.count() == 1


def test_who_may_give_evidence(propose, control, viewer, stranger, developer2, reviewer):
    with pytest.raises(NotFound):
        services.add_evidence(control.pk, Evidence(), actor=stranger, now=NOW)
    with pytest.raises(NotAllowed):
        services.add_evidence(control.pk, Evidence(), actor=viewer, now=NOW)
    owned = propose(name="Owned", owner=viewer)
    for person in (viewer, developer2, reviewer):
        assert services.add_evidence(owned.pk, Evidence(), actor=person, now=NOW)


def test_a_service_sends_heartbeats_and_checks_nothing(control, developer):
    developer.is_service = True
    with pytest.raises(Invalid, match="a service sends heartbeats"):
        services.add_evidence(control.pk, Evidence("check"), actor=developer, now=NOW)


def test_only_so_much_is_kept_in_a_day(control, developer):
    row = {"control": control, "kind": "heartbeat", "says": "holds", "by": developer}
    at = {"first_seen_at": NOW, "seen_at": NOW, "noted_at": NOW}
    ControlEvidence.objects.bulk_create(ControlEvidence(**row, **at, note=f"{n}") for n in range(MAX_ROWS_A_DAY))
    with pytest.raises(Conflict, match="within a day") as found:
        services.add_evidence(control.pk, Evidence(note="more"), actor=developer, now=NOW + HOUR)
    assert found.value.code == "too-much-evidence"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([EvidenceKind.HEARTBEAT, EvidenceKind.CHECK]),
            st.sampled_from(list(Says)),
            st.integers(0, 100),
            st.integers(0, 40),
        ),
        max_size=8,
    )
)
def test_what_is_kept_comes_to_the_same_as_all_that_was_sent(control, developer, sent):
    """However evidence comes, late or early: the control's columns say what its rules say of all of it."""
    evidence = [Sighting(kind=EvidenceKind.HEARTBEAT, says=Says.HOLDS, seen_at=NOW, noted_at=NOW)]
    at = NOW
    with rolled_back():
        for kind, says, forward, back in sent:
            at += timedelta(minutes=forward)
            seen = max(at - timedelta(minutes=back), NOW)
            services.add_evidence(control.pk, Evidence(kind, says, seen_at=seen), actor=developer, now=at)
            evidence.append(Sighting(kind=kind, says=says, seen_at=seen, noted_at=at))
        kept = Control.objects.get(pk=control.pk)
        assert kept.known == gather(kept.life, evidence, at)
        for state in ControlState:
            assert Control.objects.in_state(state, at).exists() == (kept.state_at(at) is state)


@contextmanager
def rolled_back() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


# --- leaning ---


def test_to_mitigate_is_to_name_a_control(ask, developer):
    with pytest.raises(Invalid, match="none is named") as found:
        ask(developer, kind="mitigate", controls=[])
    assert (found.value.code, found.value.where) == ("control-needed", "controls")


def test_a_request_names_what_the_person_sees_and_what_covers_it(
    ask, developer, propose, operator, reviewer, other_application, control, image
):
    other = propose(application=other_application, by=operator)
    with pytest.raises(NotFound, match=f"There is no control {other.pk}"):
        ask(developer, kind="mitigate", controls=[other.pk])
    with pytest.raises(Invalid, match="does not lie inside it") as found:
        ask(operator, kind="mitigate", controls=[other.pk])
    assert found.value.code == "control-elsewhere"
    with pytest.raises(Invalid, match="does not lie inside it"):
        ask(operator, kind="mitigate", scope=queries.ORGANISATION, controls=[control.pk])
    for kind, value in (("image", image.digest), ("application", "shop")):
        scope = queries.find_scope(developer, kind, value)
        assert ask(developer, kind="mitigate", scope=scope, controls=[control.pk])


def test_nobody_asks_to_lean_on_what_holds_no_longer(ask, control, developer):
    with pytest.raises(Invalid, match="would end at once: Rule 942100 has had no evidence since 2026-11-24 12:00 UTC"):
        ask(developer, kind="mitigate", controls=[control.pk], now=NOW + DAY)


def test_other_kinds_may_lean_as_well(ask, control, developer, reviewer):
    decision = services.approve(ask(developer, controls=[control.pk]).pk, actor=reviewer, now=NOW)
    decision.refresh_from_db()
    assert decision.controls_until == NOW + DAY


def test_a_decision_that_names_none_from_before_stays_valid(ask, developer, reviewer):
    decision = services.approve(ask(developer).pk, actor=reviewer, now=NOW)
    Decision.objects.filter(pk=decision.pk)
    assert Decision.objects.in_force(NOW + 29 * DAY).get().controls_until is None
    assert services.end_lapsed(NOW + 29 * DAY) == 0


# --- time is part of the question ---


def test_without_any_worker_it_counts_for_nothing_from_the_instant_of_the_lapse(leaning, image):
    last, lapsed = NOW + DAY - timedelta(seconds=1), NOW + DAY
    assert set(queries.applicable_for_image(image.pk, last)) == {leaning.risk_id}
    assert queries.applicable_for_image(image.pk, lapsed) == {}
    assert Decision.objects.in_force(last).exists()
    assert not Decision.objects.in_force(lapsed).exists()
    leaning.refresh_from_db()
    assert leaning.status == "approved"
    assert queries.effective_status(leaning, last) == "approved"
    assert queries.effective_status(leaning, lapsed) == "ended"
    assert Exposure.objects.get().decided_until == NOW + DAY


def test_a_verdict_ends_with_the_control(leaning, image):
    verdict = verdict_of(image, Gate.PROMOTE, NOW)
    assert verdict.valid_until <= NOW + DAY
    assert verdict.evaluation.decision_ids == [leaning.pk]
    assert verdict_of(image, Gate.PROMOTE, NOW + DAY).evaluation.decision_ids == []


def test_the_lapse_is_written_down_once_and_people_are_told(leaning, developer, image):
    assert services.end_lapsed(NOW + DAY + HOUR) == 1
    assert services.end_lapsed(NOW + DAY + HOUR) == 0
    leaning.refresh_from_db()
    assert leaning.status == "ended"
    assert leaning.end_reason == "control lapsed: Rule 942100 has had no evidence since 2026-11-24 12:00 UTC"
    assert leaning.ended_at == NOW + DAY
    assert audited("decision")[-1] == "decision:end"
    assert "developer" in told("decision-reopened")
    assert Exposure.objects.get().decision_id is None


def test_evidence_makes_it_last(leaning, control, developer, image):
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + 20 * HOUR)
    assert Decision.objects.in_force(NOW + 43 * HOUR).get() == leaning
    assert Exposure.objects.get().decided_until == NOW + 44 * HOUR
    assert services.end_lapsed(NOW + 43 * HOUR) == 0


def test_a_small_step_rewrites_no_list_and_the_job_brings_them_in_step(leaning, control, developer, image):
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + timedelta(minutes=1))
    shown = Exposure.objects.get().decided_until
    leaning.refresh_from_db()
    assert leaning.controls_until == NOW + DAY + timedelta(minutes=1)
    assert shown in (NOW + DAY, leaning.controls_until)
    Exposure.objects.update(decided_until=NOW + DAY)
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + 5 * HOUR)
    Exposure.objects.update(decided_until=NOW + DAY)
    assert services.freshen(NOW + HOUR) == 0
    assert services.freshen(NOW + DAY - timedelta(minutes=9)) == 1
    assert Exposure.objects.get().decided_until == NOW + 29 * HOUR


def test_what_ended_stays_ended_when_evidence_returns(leaning, control, developer, image):
    """No worker ran: the decision had ended all the same, and the late heartbeat writes that down first."""
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + 30 * HOUR)
    leaning.refresh_from_db()
    assert (leaning.status, leaning.ended_at) == ("ended", NOW + DAY)
    assert not Decision.objects.in_force(NOW + 30 * HOUR).exists()
    control.refresh_from_db()
    assert control.state_at(NOW + 30 * HOUR) is ControlState.ALIVE


def test_backdated_evidence_brings_nothing_back(leaning, control, developer, image):
    seen = Evidence(seen_at=NOW + 20 * HOUR)
    services.add_evidence(control.pk, seen, actor=developer, now=NOW + 25 * HOUR)
    leaning.refresh_from_db()
    assert leaning.status == "ended"


def test_a_contradiction_ends_at_once(leaning, control, developer2, image):
    services.add_evidence(
        control.pk, Evidence("check", "contradicts", note="It is off."), actor=developer2, now=NOW + HOUR
    )
    leaning.refresh_from_db()
    assert leaning.status == "ended"
    assert leaning.end_reason == "control lapsed: Rule 942100 is contradicted since 2026-11-24 13:00 UTC"
    assert "developer" in told("control-lapsed")
    assert "developer2" not in told("control-lapsed")


def test_retiring_ends_at_once_by_its_owner_or_who_confirms(
    leaning, control, viewer, stranger, developer2, administrator, image
):
    with pytest.raises(NotFound):
        services.retire(control.pk, reason="gone", actor=stranger, now=NOW + HOUR)
    with pytest.raises(NotAllowed):
        services.retire(control.pk, reason="gone", actor=viewer, now=NOW + HOUR)
    with pytest.raises(Invalid):
        services.retire(control.pk, reason="  ", actor=developer2, now=NOW + HOUR)
    services.retire(control.pk, reason="The firewall is gone.", actor=developer2, now=NOW + HOUR)
    leaning.refresh_from_db()
    assert leaning.end_reason == "control lapsed: Rule 942100 was retired: The firewall is gone."
    with pytest.raises(Conflict, match="is retired"):
        services.retire(control.pk, reason="again", actor=administrator, now=NOW + HOUR)
    with pytest.raises(Conflict, match="is retired"):
        services.add_evidence(control.pk, Evidence(), actor=developer2, now=NOW + HOUR)


def test_an_owner_who_is_a_person_retires_it_and_their_team_does_not(propose, viewer, developer2):
    control = propose(owner=viewer)
    with pytest.raises(NotAllowed):
        services.retire(control.pk, reason="gone", actor=developer2, now=NOW)
    assert services.retire(control.pk, reason="gone", actor=viewer, now=NOW).status == "retired"


def test_the_first_of_several_controls_ends_it(ask, control, estate, application, developer, reviewer, image):
    other = estate.control(application, developer, days=10)
    decision = ask(developer, kind="mitigate", controls=[control.pk, other.pk])
    services.approve(decision.pk, actor=reviewer, now=NOW)
    services.add_evidence(other.pk, Evidence(), actor=developer, now=NOW + HOUR)
    decision.refresh_from_db()
    assert decision.controls_until == NOW + DAY
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + 2 * HOUR)
    decision.refresh_from_db()
    assert decision.controls_until == NOW + 26 * HOUR


def test_its_own_date_still_ends_it(ask, control, developer, reviewer, image):
    decision = ask(developer, kind="mitigate", controls=[control.pk], expires_at=NOW + 5 * HOUR)
    services.approve(decision.pk, actor=reviewer, now=NOW)
    assert not Decision.objects.in_force(NOW + 5 * HOUR).exists()
    assert (services.end_lapsed(NOW + 6 * HOUR), services.end_due(NOW + 6 * HOUR)) == (0, 1)


def test_a_repository_that_leaves_the_application_leans_no_longer(
    ask, estate, application, other_application, developer, reviewer, operator, repository, image
):
    now = timezone.now()
    control = estate.control(application, developer, at=now)
    decision = ask(developer, kind="mitigate", controls=[control.pk], now=now, expires_at=now + DAY)
    services.approve(decision.pk, actor=reviewer, now=now)
    assign_repository(repository.pk, other_application, actor=operator)
    assert not Decision.objects.in_force(timezone.now()).exists()
    assert services.end_lapsed() == 1
    decision.refresh_from_db()
    assert decision.end_reason == f"control lapsed: {control.name} no longer covers all of it"


def test_an_image_that_lies_elsewhere_as_well_leans_no_longer(
    ask, control, developer, reviewer, image, other_repository
):
    scope = queries.find_scope(developer, "image", image.digest)
    decision = ask(developer, kind="mitigate", scope=scope, controls=[control.pk])
    services.approve(decision.pk, actor=reviewer, now=NOW)
    assert services.end_lapsed(NOW + HOUR) == 0
    image.places.create(repository=other_repository, first_seen_at=NOW)
    assert services.end_lapsed(NOW + HOUR) == 1


def test_a_team_that_hands_its_application_over_keeps_the_control_with_it(
    leaning, control, application, other_team, administrator, stranger, developer
):
    accounts.edit_application(application.pk, actor=administrator, team=other_team)
    assert Control.objects.visible_to(stranger).filter(pk=control.pk).exists()
    assert not Control.objects.visible_to(developer).filter(pk=control.pk).exists()


# --- telling ---


def test_an_owner_is_told_while_it_goes_stale_once_for_each_end(leaning, control, developer, viewer, stranger):
    assert services.tell_controls_due(NOW + 17 * HOUR) == 0
    assert services.tell_controls_due(NOW + 18 * HOUR) == 1
    assert services.tell_controls_due(NOW + 19 * HOUR) == 0
    assert told("control-due") == {"developer", "viewer"}
    services.add_evidence(control.pk, Evidence(), actor=developer, now=NOW + 19 * HOUR)
    assert not NoticeLine.objects.filter(kind="control-due", notice__seen_at=None).exists()
    assert services.tell_controls_due(NOW + 42 * HOUR) == 1
    assert services.tell_controls_due(NOW + 44 * HOUR) == 1
    assert told("control-lapsed") == {"developer", "viewer"}


# --- what SecGuard observes itself ---


@pytest.fixture
def observer(monkeypatch):
    """An observer that says what the test has it say."""
    seen: dict[str, Observed | None] = {"says": Observed(Says.HOLDS, "It is so.")}
    made = Observer(
        "test-observer", "what a test says", {"observer": "test-observer"}, lambda watch, app, actor: dict(watch),
        lambda watch, app, now: seen["says"],
    )  # fmt: skip
    monkeypatch.setattr("secguard.decisions.services.controls_watching.OBSERVERS", [made])
    return seen


def test_secguards_own_observation_keeps_a_control_alive(propose, observer, reviewer, ask, developer, image):
    control = propose(kept_alive_by="observation", watch={"observer": "test-observer", "x": 1})
    services.confirm(control.pk, actor=reviewer, now=NOW)
    assert services.observe(NOW) == 1
    assert services.observe(NOW + HOUR) == 1
    decision = ask(developer, kind="mitigate", controls=[control.pk], now=NOW + HOUR)
    services.approve(decision.pk, actor=reviewer, now=NOW + HOUR)
    (row,) = control.evidence.all()
    assert (row.by, row.source, row.note, row.count) == (None, "test-observer", "It is so.", 2)
    observer["says"] = None
    assert services.observe(NOW + 2 * HOUR) == 0
    observer["says"] = Observed(Says.CONTRADICTS, "It is not so.")
    assert services.observe(NOW + 3 * HOUR) == 1
    decision.refresh_from_db()
    assert decision.status == "ended"
    assert reads.timeline(control, NOW + 3 * HOUR)[0].note == "It is not so."


def test_what_only_secguard_may_say_comes_from_nobody_else(propose, observer, developer):
    control = propose(kept_alive_by="observation", watch={"observer": "test-observer"})
    with pytest.raises(Invalid, match="SecGuard's own"):
        services.add_evidence(control.pk, Evidence("observation"), actor=developer, now=NOW)
