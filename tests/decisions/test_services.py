from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from secguard.accounts.models import Membership
from secguard.approvals.quorum import Choice
from secguard.audit.models import AuditEntry
from secguard.decisions import queries, services
from secguard.decisions.models import Decision, RiskAppetite
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, SecGuardError
from secguard.findings.models import Exposure

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def audited() -> list[str]:
    return list(
        AuditEntry.objects.order_by("sequence").exclude(subject_type="appetite").values_list("action", flat=True)
    )


# --- asking ---


def test_a_request_waits_and_covers_nothing(ask, developer, image, risk, team):
    decision = ask(developer)
    assert decision.status == "requested"
    assert decision.team_id == team.pk
    assert decision.approval.required == {"security-reviewer": 1}
    assert decision.appetite_row == "high"
    assert decision.snapshot["severity"] == 4
    assert queries.applicable_for_image(image.pk, LATER) == {}
    assert Exposure.objects.get().decision_id is None
    assert audited() == ["decision:request"]


def test_the_limit_names_the_row_and_the_latest_date(ask, developer):
    with pytest.raises(Invalid, match=r"row high\) allows 180 days, until 2027-05-23") as found:
        ask(developer, expires_at=NOW + timedelta(days=181))
    assert found.value.where == "expires_at"
    assert ask(developer, expires_at=NOW + timedelta(days=180))


def test_not_affected_may_stand_longer(ask, developer):
    assert ask(developer, kind="not_affected", expires_at=NOW + timedelta(days=365))


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"reason": " \x00 "}, "reason"),
        ({"reason": "x" * 5000}, "reason"),
        ({"kind": "ignore"}, "kind"),
        ({"expires_at": NOW}, "expires_at"),
        ({"conditions": {"until": "fix"}}, "conditions"),
        ({"conditions": {"max_epss": 2}}, "conditions.max_epss"),
    ],
)
def test_bad_input_names_its_place(ask, developer, changed, where):
    with pytest.raises(Invalid) as found:
        ask(developer, **changed)
    assert found.value.where == where
    assert not Decision.objects.exists()


def test_asking_twice_names_the_first(ask, developer, developer2):
    first = ask(developer)
    with pytest.raises(Conflict, match=f"Decision {first.pk} asks for this already") as found:
        ask(developer2, kind="mitigate")
    assert found.value.extra["decision"] == first.pk


def test_a_lapsed_request_does_not_stand_in_the_way(ask, developer):
    first = ask(developer, expires_at=NOW + timedelta(days=1))
    second = ask(developer, now=NOW + timedelta(days=2))
    first.refresh_from_db()
    first.approval.refresh_from_db()
    assert (first.status, first.approval.status, second.status) == ("ended", "closed", "requested")


def test_extending_is_a_new_request(ask, developer, reviewer):
    first = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    second = ask(developer, expires_at=NOW + timedelta(days=60))
    services.approve(second.pk, actor=reviewer, now=LATER + timedelta(hours=1))
    assert Exposure.objects.get().decision_id == second.pk
    assert Decision.objects.in_force(LATER).filter(pk=first.pk).exists()


def test_strangers_find_nothing(ask, stranger, reviewer, repository, risk, image):
    with pytest.raises(NotFound):
        queries.find_scope(stranger, "repository", repository.name)
    scope = queries.find_scope(reviewer, "repository", repository.name)
    with pytest.raises(NotAllowed):
        ask(stranger, scope=scope)
    with pytest.raises(NotAllowed, match="whole organisation"):
        ask(stranger, scope=queries.ORGANISATION)


def test_a_stranger_learns_nothing_of_a_risk_of_others(stranger, estate, other_repository, risk, image):
    estate.image(other_repository, [estate.risk()])
    scope = queries.find_scope(stranger, "repository", other_repository.name)
    ask = services.Ask(risk.pk, "accept", scope, "why not", NOW + timedelta(days=1))
    with pytest.raises(NotFound) as found:
        services.request_decision(ask, actor=stranger, now=NOW)
    assert found.value.detail == f"There is no risk {risk.pk}."


def test_viewers_do_not_ask(ask, viewer):
    with pytest.raises(NotAllowed, match="decision:request"):
        ask(viewer)


def test_the_organisation_is_asked_for_organisation_wide(ask, developer, operator):
    with pytest.raises(NotAllowed, match="whole organisation"):
        ask(developer, scope=queries.ORGANISATION)
    assert ask(operator, scope=queries.ORGANISATION).team_id is None


def test_a_risk_that_stands_nowhere_in_the_scope_is_refused(ask, developer, estate, application):
    empty = estate.repository("shop/web", application)
    with pytest.raises(Invalid, match="stands open nowhere") as found:
        ask(developer, scope=queries.find_scope(developer, "repository", empty.name))
    assert found.value.code == "nothing-in-scope"


def test_the_worst_standing_in_the_scope_decides(ask, developer, estate, risk, application, make_application, team):
    public = make_application("Front", team, is_exposed=True)
    critical = estate.risk(severity=5)
    inside, outside = estate.repository("shop/x", application), estate.repository("front/x", public)
    estate.image(inside, [critical], severity=3)
    estate.image(outside, [critical])

    def asked(repository):
        scope = queries.find_scope(developer, "repository", repository.name)
        return ask(developer, risk_id=critical.pk, scope=scope)

    assert asked(inside).appetite_row == "medium"
    assert asked(outside).appetite_row == "exposed-critical"


def test_many_at_once_one_by_one(ask, developer, estate, repository, risk, image):
    other = estate.risk()
    estate.image(repository, [risk, other])
    ask(developer)
    scope = queries.find_scope(developer, "repository", repository.name)
    asks = [
        services.Ask(r, "accept", scope, "known", NOW + timedelta(days=d))
        for r, d in ((risk.pk, 1), (other.pk, 1), (other.pk + 99, 1), (other.pk, 1000))
    ]
    results = services.request_many(asks, actor=developer, now=NOW)
    assert [type(r).__name__ for r in results] == ["Conflict", "Decision", "NotFound", "Invalid"]
    assert Decision.objects.count() == 2
    assert audited() == ["decision:request"] * 2
    with pytest.raises(Invalid):
        services.request_many([], actor=developer)


# --- deciding ---


def test_approval_covers_at_once_and_the_next_image_too(ask, developer, reviewer, estate, repository, risk, image):
    decision = services.approve(ask(developer).pk, actor=reviewer, comment="fine", now=LATER)
    assert (decision.status, decision.decided_at) == ("approved", LATER)
    assert queries.applicable_for_image(image.pk, LATER)[risk.pk].id == decision.pk
    following = estate.image(repository, [risk], at=LATER)
    assert queries.applicable_for_image(following.pk, LATER)[risk.pk].id == decision.pk
    exposure = Exposure.objects.get()
    assert (exposure.decision_id, exposure.decided_until) == (decision.pk, decision.expires_at)
    assert audited() == ["decision:request", "decision:approve"]


def test_past_its_end_it_counts_for_nothing_without_any_worker(ask, developer, reviewer, image):
    decision = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    assert queries.applicable_for_image(image.pk, decision.expires_at - timedelta(seconds=1))
    assert queries.applicable_for_image(image.pk, decision.expires_at) == {}
    assert queries.effective_status(decision, decision.expires_at) == "ended"


def test_nobody_approves_their_own(ask, make_person):
    both = make_person("both", "security-reviewer", "administrator", "business-approver")
    decision = ask(both)
    with pytest.raises(NotAllowed, match="their own request"):
        services.approve(decision.pk, actor=both, now=LATER)
    with pytest.raises(NotAllowed, match="their own request"):
        services.reject(decision.pk, actor=both, comment="no", now=LATER)


@pytest.mark.parametrize("who", ["developer2", "operator", "administrator", "business_approver"])
def test_others_without_the_role_cannot(ask, developer, who, request):
    decision = ask(developer)
    with pytest.raises(NotAllowed, match="security-reviewer"):
        services.approve(decision.pk, actor=request.getfixturevalue(who), now=LATER)


def test_a_stranger_is_told_that_there_is_none(ask, developer, stranger, make_person, other_team):
    decision = ask(developer)
    narrow = make_person("narrow", "security-reviewer", team=other_team)
    for person in (stranger, narrow):
        for act in (
            lambda p: services.approve(decision.pk, actor=p),
            lambda p: services.reject(decision.pk, actor=p, comment="no"),
            lambda p: services.withdraw(decision.pk, actor=p),
            lambda p: services.revoke(decision.pk, actor=p, reason="no"),
        ):
            with pytest.raises(NotFound, match=f"There is no decision {decision.pk}"):
                act(person)


def test_two_people_where_the_appetite_wants_two(ask, developer, reviewer, business_approver, estate, repository):
    hot = estate.risk(severity=5, known_exploited=True)
    estate.image(repository, [hot])
    decision = ask(developer, risk_id=hot.pk, expires_at=NOW + timedelta(days=7))
    assert services.approve(decision.pk, actor=reviewer, now=LATER).status == "requested"
    with pytest.raises(Conflict, match="voted on this already"):
        services.approve(decision.pk, actor=reviewer, now=LATER)
    assert services.approve(decision.pk, actor=business_approver, now=LATER).status == "approved"
    assert audited() == ["decision:request", "decision:vote", "decision:approve"]


def test_a_rejection_ends_it_with_its_comment(ask, developer, reviewer):
    decision = ask(developer)
    with pytest.raises(Invalid, match="needs a comment"):
        services.reject(decision.pk, actor=reviewer, comment="", now=LATER)
    rejected = services.reject(decision.pk, actor=reviewer, comment="Upgrade it.", now=LATER)
    assert rejected.status == "rejected"
    assert ask(developer).status == "requested"


def test_what_was_withdrawn_or_rejected_cannot_be_approved(ask, developer, reviewer):
    first = services.withdraw(ask(developer).pk, actor=developer, now=LATER)
    with pytest.raises(Conflict, match="is withdrawn"):
        services.approve(first.pk, actor=reviewer, now=LATER)
    second = services.reject(ask(developer).pk, actor=reviewer, comment="no", now=LATER)
    with pytest.raises(Conflict, match="is rejected"):
        services.approve(second.pk, actor=reviewer, now=LATER)


def test_a_request_past_its_end_cannot_be_approved(ask, developer, reviewer):
    decision = ask(developer)
    with pytest.raises(Conflict, match="asked for again"):
        services.approve(decision.pk, actor=reviewer, now=decision.expires_at)


def test_what_got_worse_since_it_was_asked_for_cannot_be_approved(ask, developer, reviewer, risk):
    decision = ask(developer)
    risk.known_exploited = True
    risk.save()
    with pytest.raises(Conflict, match="known exploitation began") as found:
        services.approve(decision.pk, actor=reviewer, now=LATER)
    assert found.value.code == "risk-changed"
    assert services.reject(decision.pk, actor=reviewer, comment="ask again", now=LATER).status == "rejected"


def test_an_approver_who_lost_the_role_in_between(ask, developer, reviewer):
    decision = ask(developer)
    assert reviewer.can("decision:approve")
    Membership.objects.filter(user_id=reviewer.pk).update(role="viewer")
    with pytest.raises(NotAllowed):
        services.approve(decision.pk, actor=reviewer, now=LATER)


def test_voting_on_many_is_item_by_item(ask, developer, reviewer, estate, repository, risk, image, make_person):
    other = estate.risk()
    estate.image(repository, [risk, other])
    mine = ask(developer)
    gone = services.withdraw(ask(developer, risk_id=other.pk).pk, actor=developer)
    own = ask(reviewer, risk_id=other.pk)
    results = services.vote_many([own.pk, gone.pk, 999, mine.pk], choice=Choice.APPROVE, actor=reviewer, now=LATER)
    assert list(results) == [own.pk, gone.pk, 999, mine.pk]
    kinds = [type(r).__name__ for r in results.values()]
    assert kinds == ["NotAllowed", "Conflict", "NotFound", "Decision"]
    assert set(Decision.objects.in_force(LATER).values_list("pk", flat=True)) == {mine.pk}


def test_a_bulk_vote_takes_a_fixed_number_of_statements(
    ask, developer, reviewer, estate, repository, django_assert_max_num_queries
):
    risks = [estate.risk() for _ in range(30)]
    estate.image(repository, risks)
    ids = [ask(developer, risk_id=r.pk).pk for r in risks]
    with django_assert_max_num_queries(70):
        results = services.vote_many(ids, choice=Choice.APPROVE, actor=reviewer, now=LATER)
    assert {d.status for d in results.values()} == {"approved"}
    assert Exposure.objects.filter(decision_id__in=ids).count() == 30


# --- ending ---


def test_the_requester_and_their_team_withdraw(ask, developer, developer2, viewer):
    first = ask(developer)
    with pytest.raises(NotAllowed):
        services.withdraw(first.pk, actor=viewer)
    assert services.withdraw(first.pk, actor=developer2, now=LATER).ended_by_id == developer2.pk
    with pytest.raises(Conflict, match="is withdrawn"):
        services.withdraw(first.pk, actor=developer)


def test_revoking_lifts_the_cover_at_once(ask, developer, developer2, reviewer, image):
    decision = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    with pytest.raises(NotAllowed):
        services.revoke(decision.pk, actor=developer2, reason="not mine", now=LATER)
    with pytest.raises(Invalid):
        services.revoke(decision.pk, actor=reviewer, reason=" ", now=LATER)
    revoked = services.revoke(decision.pk, actor=developer, reason="We upgrade instead.", now=LATER)
    assert (revoked.status, revoked.end_reason) == ("revoked", "We upgrade instead.")
    assert queries.applicable_for_image(image.pk, LATER) == {}
    exposure = Exposure.objects.get()
    assert (exposure.decision_id, exposure.decided_until) == (None, None)
    with pytest.raises(Conflict, match="is revoked"):
        services.revoke(decision.pk, actor=reviewer, reason="again", now=LATER)


def test_revoking_needs_a_decision_in_force(ask, developer, reviewer):
    decision = ask(developer)
    with pytest.raises(Conflict, match="is requested"):
        services.revoke(decision.pk, actor=developer, reason="x")
    services.approve(decision.pk, actor=reviewer, now=LATER)
    with pytest.raises(Conflict, match="ended on"):
        services.revoke(decision.pk, actor=reviewer, reason="x", now=decision.expires_at)


def test_a_wider_decision_takes_over_when_the_narrow_one_goes(ask, developer, reviewer, application, repository):
    scope = queries.find_scope(developer, "application", application.slug)
    wide = services.approve(ask(developer, scope=scope).pk, actor=reviewer, now=LATER)
    narrow = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    assert Exposure.objects.get().decision_id == narrow.pk
    services.revoke(narrow.pk, actor=reviewer, reason="x", now=LATER)
    assert Exposure.objects.get().decision_id == wide.pk


def test_what_is_due_is_written_down_once(ask, developer, reviewer, estate, repository, risk, image):
    other = estate.risk()
    estate.image(repository, [risk, other])
    approved = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    waiting = ask(developer, risk_id=other.pk)
    assert services.end_due(approved.expires_at - timedelta(seconds=1)) == 0
    assert services.end_due(approved.expires_at) == 2
    assert services.end_due(approved.expires_at) == 0
    approved.refresh_from_db()
    waiting.refresh_from_db()
    assert {approved.status, waiting.status} == {"ended"}
    assert waiting.approval.status == "closed"
    assert not Exposure.objects.filter(decision_id__isnull=False).exists()
    assert audited()[-2:] == ["decision:end"] * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"known_exploited": True}, "known exploitation began"),
        ({"epss": 0.7}, "EPSS rose from 0 to 0.7, past 0.5"),
    ],
)
def test_a_material_change_ends_it_with_its_reason(ask, developer, reviewer, risk, change, reason):
    decision = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    assert services.review_material_changes([risk.pk], LATER) == []
    type(risk).objects.filter(pk=risk.pk).update(**change)
    ended = services.review_material_changes([risk.pk], LATER)
    decision.refresh_from_db()
    assert [d.pk for d in ended] == [decision.pk]
    assert (decision.status, decision.end_reason) == ("ended", reason)
    assert Exposure.objects.get().decision_id is None
    assert services.review_material_changes([risk.pk], LATER) == []


def test_a_change_in_another_teams_image_does_not_end_it(ask, developer, reviewer, estate, other_repository, risk):
    decision = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    estate.image(other_repository, [risk], severity=5)
    type(risk).objects.filter(pk=risk.pk).update(severity=5, fix_available=True)
    assert services.review_material_changes([risk.pk], LATER) == []
    decision.refresh_from_db()
    assert decision.status == "approved"


def test_a_fix_in_the_scope_ends_an_acceptance(ask, developer, reviewer, risk, estate, repository):
    services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    risk.fix_available = True
    risk.save()
    estate.image(repository, [risk], at=LATER)
    (ended,) = services.review_material_changes([risk.pk], LATER)
    assert ended.end_reason == "a fix appeared"


def test_an_image_scope_does_not_reach_the_next_image(ask, developer, reviewer, estate, repository, risk, image):
    scope = queries.find_scope(developer, "image", image.digest)
    decision = services.approve(ask(developer, scope=scope).pk, actor=reviewer, now=LATER)
    assert Exposure.objects.get().decision_id == decision.pk
    following = estate.image(repository, [risk, estate.risk()], at=LATER)
    assert queries.applicable_for_image(following.pk, LATER) == {}
    assert queries.applicable_for_image(image.pk, LATER)
    assert not Exposure.objects.filter(decision_id__isnull=False).exists()


def test_followers_hear_of_every_change_of_the_set_in_force(ask, developer, reviewer):
    heard: list[list[int]] = []
    services.FOLLOWERS.append(follower := lambda ds: heard.append([d.pk for d in ds]))
    try:
        first = ask(developer)
        services.approve(first.pk, actor=reviewer, now=LATER)
        services.revoke(first.pk, actor=reviewer, reason="x", now=LATER)
        services.withdraw(ask(developer).pk, actor=developer)
    finally:
        services.FOLLOWERS.remove(follower)
    assert heard == [[first.pk], [first.pk]]


# --- the risk appetite ---


def test_the_default_appetite_is_in_force_from_the_first_call(db):
    row, appetite = services.active_appetite()
    assert (row.number, row.is_active) == (1, True)
    assert appetite.name == "default"
    assert services.active_appetite()[0] == row


def test_a_new_version_counts_deadlines_anew(image, business_approver, reviewer, developer):
    row, _ = services.active_appetite()
    exposure = Exposure.objects.get()
    assert exposure.due_at == exposure.since + timedelta(days=90)
    source = row.source.replace("fix_within_days: 90", "fix_within_days: 45")
    for person in (reviewer, developer):
        with pytest.raises(NotAllowed):
            services.create_appetite(source, actor=person)
    second = services.create_appetite(source, comment="faster", actor=business_approver, activate=True)
    exposure.refresh_from_db()
    assert exposure.due_at == exposure.since + timedelta(days=45)
    assert services.active_appetite()[0] == second
    with pytest.raises(Conflict, match="in force already"):
        services.activate_appetite(2, actor=business_approver)
    services.activate_appetite(1, actor=business_approver)
    exposure.refresh_from_db()
    assert exposure.due_at == exposure.since + timedelta(days=90)
    assert RiskAppetite.objects.filter(is_active=True).count() == 1


def test_a_broken_appetite_is_refused_with_places(business_approver):
    with pytest.raises(Invalid) as found:
        services.create_appetite("name: x\nrows:\n  - name: a\n    max_days: none\n", actor=business_approver)
    assert {"line", "column", "message"} <= set(found.value.extra["errors"][0])
    with pytest.raises(Conflict, match="exactly this"):
        services.create_appetite(services.active_appetite()[0].source, actor=business_approver)


def test_exposure_of_the_application_decides_the_deadline(estate, application, repository):
    critical = estate.risk(severity=5)
    estate.image(repository, [critical])
    assert Exposure.objects.get().due_at == NOW + timedelta(days=30)
    application.is_exposed = True
    application.save()
    services.follow_application(application)
    assert Exposure.objects.get().due_at == NOW + timedelta(days=14)


# --- any order of events: never in force without the right, distinct people ---


class Life(RuleBasedStateMachine):
    """Four people do anything in any order; after each step the decisions in force are held against the rule."""

    def __init__(self) -> None:
        super().__init__()
        self.hours = 0
        Decision.objects.all().delete()
        Exposure.objects.update(decision_id=None, decided_until=None)

    @property
    def now(self):
        return NOW + timedelta(hours=self.hours)

    def attempt(self, act) -> None:
        self.hours += 1
        try:
            act()
        except SecGuardError:
            return

    @rule(who=st.integers(0, 3), days=st.integers(1, 14), which=st.integers(0, 1))
    def ask(self, who, days, which):
        scope = queries.Scope(*self.scope)
        ends = self.now + timedelta(days=days)
        asked = services.Ask(self.risks[which], "accept", scope, "because", ends)
        self.attempt(lambda: services.request_decision(asked, actor=self.person(who), now=self.now))

    @precondition(lambda self: Decision.objects.exists())
    @rule(
        who=st.integers(0, 3), verb=st.sampled_from(["approve", "reject", "withdraw", "revoke"]), at=st.integers(0, 5)
    )
    def act(self, who, verb, at):
        ids = list(Decision.objects.order_by("-pk").values_list("pk", flat=True)[:6])
        more = {"reject": {"comment": "no"}, "revoke": {"reason": "no"}}.get(verb, {})
        do = getattr(services, verb)
        self.attempt(lambda: do(ids[at % len(ids)], actor=self.person(who), now=self.now, **more))

    @rule(hours=st.integers(1, 200), swept=st.booleans())
    def time_passes(self, hours, swept):
        self.hours += hours
        if swept:
            services.end_due(self.now)

    def person(self, number):
        return type(self.people[number]).objects.get(pk=self.people[number].pk)

    @invariant()
    def in_force_only_with_the_right_people(self):
        for decision in Decision.objects.in_force(self.now).select_related("approval"):
            votes = list(decision.approval.votes.filter(choice="approve").select_related("voter"))
            people = {v.voter_id for v in votes}
            assert decision.requested_by_id not in people
            assert len(people) == len(votes) >= decision.approval.required_votes
            assert not decision.approval.votes.filter(choice="reject").exists()
            late = [
                v for v in votes if decision.approval.escalates_at and v.created_at >= decision.approval.escalates_at
            ]
            then = [decision.approval.escalates_to] if late and decision.approval.escalates_to else []
            for role in decision.approval.required:
                assert Membership.objects.filter(user_id__in=people, role__in=[role, *then]).exists()

    @invariant()
    def cover_is_what_is_in_force(self):
        services.end_due(self.now)
        for exposure in Exposure.objects.filter(decision_id__isnull=False):
            assert Decision.objects.in_force(self.now).filter(pk=exposure.decision_id).exists()


@pytest.mark.django_db(transaction=False)
def test_any_order_of_events(estate, repository, developer, reviewer, business_approver, make_person):
    from hypothesis.stateful import run_state_machine_as_test

    hot, plain = estate.risk(severity=5, known_exploited=True), estate.risk()
    estate.image(repository, [hot, plain])
    both = make_person("both", "security-reviewer", "business-approver", "developer")
    scope = queries.find_scope(developer, "repository", repository.name)

    class Here(Life):
        people = (developer, reviewer, business_approver, both)
        risks = (hot.pk, plain.pk)

    Here.scope = (scope.kind, scope.id, scope.label, scope.teams)
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
