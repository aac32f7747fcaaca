"""Segments, rules with their approval, edges held against them, and the events of those that break them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.approvals.quorum import Choice
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.events.models import Event
from secguard.network.models import Edge, Segment, SegmentRule
from secguard.network.segmentation import Effect, Stance
from secguard.network.services import judging, ruling, segments
from secguard.network.services.ruling import RuleEdit
from secguard.network.services.segments import SegmentEdit

pytestmark = pytest.mark.django_db
SHOP, WAREHOUSE = "application:shop", "application:warehouse"


def rule(source: str, destination: str, effect: Effect = Effect.ALLOW, ports: str = "", **more: Any) -> RuleEdit:
    return RuleEdit(source, destination, ports, effect, "It has to.", **more)


def approved(edit: RuleEdit, asker: Any, approver: Any) -> SegmentRule:
    return ruling.vote(ruling.ask(edit, actor=asker).pk, Choice.APPROVE, actor=approver)


def judged() -> dict[int, tuple[str, int | None, bool]]:
    judging.judge_all(timezone.now())
    rows = Edge.objects.values_list("pk", "standing", "rule_id", "broke_at")
    return {pk: (standing, by, broke is not None) for pk, standing, by, broke in rows}


@pytest.fixture
def wide(operator: Any) -> Segment:
    """Everything in shop, by its namespace."""
    return segments.create(SegmentEdit("Shops", [{"namespace": "shop"}]), None, actor=operator)


# --- who may ---


def test_traffic_into_another_teams_application_needs_that_teams_word(
    shop: dict[str, Any], developer: Any, make_person: Any, team: Any, other_team: Any
) -> None:
    """Who asks knows no name of the other team's: the edge stands for it."""
    ours = make_person("rosa", "security-reviewer", team=team)
    theirs = make_person("theo", "security-reviewer", team=other_team)
    edge = shop["edges"]["web_pay"].pk
    asked = ruling.ask(rule(SHOP, f"edge:{edge}", ports="tcp/443"), actor=developer)
    assert (asked.destination_application.slug, asked.source_told, asked.destination_told) == (
        "warehouse", True, False,
    )  # fmt: skip
    with pytest.raises(NotAllowed):
        ruling.vote(asked.pk, Choice.APPROVE, actor=ours)
    with pytest.raises(NotAllowed, match="own request"):
        ruling.vote(asked.pk, Choice.APPROVE, actor=developer)
    with pytest.raises(Invalid, match="comment"):
        ruling.vote(asked.pk, Choice.REJECT, actor=theirs)
    assert ruling.state_of(ruling.vote(asked.pk, Choice.APPROVE, actor=theirs), timezone.now()) == "in force"
    with pytest.raises(Conflict):
        ruling.vote(asked.pk, Choice.APPROVE, actor=theirs)
    assert judged()[edge] == ("allowed", asked.pk, False)


def test_what_nobody_may_see_cannot_be_named(
    shop: dict[str, Any], developer: Any, stranger: Any, viewer: Any, other_team: Any, reviewer: Any
) -> None:
    for edit in (rule(SHOP, WAREHOUSE), rule(SHOP, "segment:999"), rule(SHOP, "application:no-such")):
        with pytest.raises(NotFound) as refused:
            ruling.ask(edit, actor=developer)
        assert "that you may see" in refused.value.detail
    with pytest.raises(NotFound):
        ruling.ask(rule(f"edge:{shop['edges']['pay_secret'].pk}", SHOP), actor=developer)
    with pytest.raises(NotAllowed):
        ruling.ask(rule(SHOP, SHOP), actor=viewer)
    mine = approved(rule(SHOP, SHOP), developer, reviewer)
    assert not SegmentRule.objects.visible_to(stranger).exists()
    for act in (lambda: ruling.end(mine.pk, "x", actor=stranger), lambda: ruling.withdraw(mine.pk, actor=stranger)):
        with pytest.raises(NotFound):
            act()
    for edit in (rule("x", SHOP), rule(SHOP, SHOP, ports="443"), rule(SHOP, "edge:1x")):
        with pytest.raises((Invalid, NotFound)):
            ruling.ask(edit, actor=developer)


def test_a_rule_is_withdrawn_ended_and_asked_for_once(
    shop: dict[str, Any], developer: Any, developer2: Any, reviewer: Any, operator: Any
) -> None:
    asked = ruling.ask(rule(SHOP, SHOP), actor=developer)
    with pytest.raises(Conflict, match="asked for already"):
        ruling.ask(rule(SHOP, SHOP), actor=developer2)
    with pytest.raises(NotAllowed):
        ruling.withdraw(asked.pk, actor=developer2)
    assert ruling.state_of(ruling.withdraw(asked.pk, actor=developer), timezone.now()) == "withdrawn"
    with pytest.raises(Invalid, match="past"):
        ruling.ask(rule(SHOP, SHOP, ends_at=timezone.now() - timedelta(days=1)), actor=developer)
    held = approved(rule(SHOP, SHOP, ends_at=timezone.now() + timedelta(days=1)), developer, reviewer)
    with pytest.raises(NotAllowed):
        ruling.end(held.pk, "x", actor=operator)
    assert ruling.state_of(held, timezone.now() + timedelta(days=2)) == "ended"
    ended = ruling.end(held.pk, "Nobody needs it.", actor=reviewer)
    assert (ruling.state_of(ended, timezone.now()), ended.end_reason) == ("ended", "Nobody needs it.")
    with pytest.raises(Conflict):
        ruling.end(held.pk, "x", actor=reviewer)
    rejected = ruling.vote(
        ruling.ask(rule(SHOP, SHOP), actor=developer).pk, Choice.REJECT, comment="No.", actor=reviewer
    )
    assert ruling.state_of(rejected, timezone.now()) == "rejected"
    told = AuditEntry.objects.filter(subject_type="network-rule").values_list("action", flat=True)
    assert set(told) == {f"network-rule:{word}" for word in ("ask", "vote", "withdraw", "end")}


def test_segments(
    shop: dict[str, Any], wide: Segment, operator: Any, reviewer: Any, developer: Any, make_person: Any, team: Any
) -> None:
    ours = make_person("otto", "operator", team=team)
    own = segments.create(SegmentEdit("Ours", [{"application": "shop"}]), team.pk, actor=ours)
    refused: list[tuple[SegmentEdit, int | None, Any, type[Exception]]] = [
        (SegmentEdit("Mine", [{"namespace": "x"}]), None, ours, NotAllowed),
        (SegmentEdit("Mine", [{"namespace": "x"}]), team.pk, developer, NotAllowed),
        (SegmentEdit("Ours", [{"namespace": "x"}]), team.pk, ours, Conflict),
        (SegmentEdit("Theirs", [{"application": "warehouse"}]), team.pk, ours, Invalid),
        (SegmentEdit("Theirs", [{"application": "warehouse"}]), team.pk, operator, Invalid),
        (SegmentEdit("", [{"namespace": "x"}]), team.pk, ours, Invalid),
        (SegmentEdit("None", []), team.pk, ours, Invalid),
    ]
    for edit, team_id, actor, error in refused:
        with pytest.raises(error):
            segments.create(edit, team_id, actor=actor)
    asked = ruling.ask(rule(f"segment:{wide.pk}", f"segment:{own.pk}"), actor=developer)
    with pytest.raises(Conflict, match="for the members that it has"):
        segments.edit(wide.pk, SegmentEdit("Shops", [{"namespace": "*"}]), actor=operator)
    with pytest.raises(Conflict, match="End what names it first"):
        segments.end(own.pk, actor=ours)
    assert segments.edit(wide.pk, SegmentEdit("All shops", wide.members), actor=operator).name == "All shops"
    ruling.withdraw(asked.pk, actor=developer)
    assert segments.end(own.pk, actor=ours).ended_at
    told = AuditEntry.objects.filter(subject_type="segment").values_list("action", flat=True)
    assert set(told) == {"segment:create", "segment:edit", "segment:end"}


# --- observed against allowed ---


def test_edges_are_held_against_the_rules(
    shop: dict[str, Any], wide: Segment, operator: Any, reviewer: Any, developer: Any
) -> None:
    edges = {name: edge.pk for name, edge in shop["edges"].items()}
    assert set(judged().values()) == {("no-rule", None, False)}
    inside = approved(rule(SHOP, SHOP, ports="tcp/5432"), developer, reviewer)
    no = approved(rule(f"segment:{wide.pk}", WAREHOUSE, Effect.DENY), operator, reviewer)
    segments.edit(wide.pk, SegmentEdit("Shops", wide.members, stance=Stance.CLOSED), actor=operator)
    Edge.objects.update(last_at=timezone.now())
    found = judged()
    assert found[edges["web_db"]] == ("allowed", inside.pk, False)
    assert found[edges["web_pay"]] == ("denied", no.pk, True)
    assert found[edges["in"]] == ("not-allowed", None, True)
    assert found[edges["pay_db"]] == ("not-allowed", None, False), "it was stopped: nothing broke"
    assert found[edges["web_mail"]] == found[edges["pay_secret"]] == ("no-rule", None, False)
    ruling.end(no.pk, "x", actor=reviewer)
    assert judged()[edges["web_pay"]] == ("no-rule", None, False)


def test_what_was_seen_before_a_rule_did_not_break_it(shop: dict[str, Any], operator: Any, reviewer: Any) -> None:
    edge = shop["edges"]["web_pay"]
    Edge.objects.filter(pk=edge.pk).update(last_at=timezone.now() - timedelta(hours=1))
    no = approved(rule(SHOP, WAREHOUSE, Effect.DENY), operator, reviewer)
    assert judged()[edge.pk] == ("denied", no.pk, False)
    assert not Event.objects.filter(kind="network").exists()
    now = timezone.now() + timedelta(minutes=1)
    Edge.objects.filter(pk=edge.pk).update(last_at=now)
    judging.follow([edge.pk], now)
    edge.refresh_from_db()
    assert edge.broke_at == now


def test_an_edge_that_newly_breaks_a_rule_is_an_event_for_each_team(
    shop: dict[str, Any], operator: Any, reviewer: Any, team: Any, other_team: Any
) -> None:
    no = approved(rule(SHOP, WAREHOUSE, Effect.DENY), operator, reviewer)
    Edge.objects.update(last_at=timezone.now())
    Edge.objects.filter(pk=shop["edges"]["scan"].pk).delete()
    judged()
    judged()
    told = dict(Event.objects.filter(kind="network").values_list("team_id", "title"))
    assert told == {
        team.pk: f"shop/web spoke to another team's workload at tcp/443: rule {no.pk} denies it",
        other_team.pk: f"another team's workload spoke to pay/api at tcp/443: rule {no.pk} denies it",
    }
    assert Event.objects.filter(kind="network").count() == 2
    # Back and forth within a day tells nothing anew.
    Edge.objects.update(broke_at=None)
    judged()
    assert Event.objects.filter(kind="network").count() == 2


def test_very_many_that_break_at_once_are_told_as_a_number(
    estate: Any, application: Any, operator: Any, reviewer: Any, monkeypatch: Any
) -> None:
    from secguard.network.services import reporting

    monkeypatch.setattr(reporting, "MOST", 3)
    web = estate.workload("shop/web", application)
    approved(rule(SHOP, SHOP, Effect.DENY), operator, reviewer)
    now = timezone.now()
    for n in range(8):
        estate.edge(web, estate.workload(f"shop/w-{n}", application), last_at=now)
    judged()
    titles = list(Event.objects.filter(kind="network").values_list("title", flat=True))
    assert len(titles) == 4
    assert "5 more edges are seen to break the network's rules" in titles


def test_a_rule_past_its_end_counts_for_nothing(shop: dict[str, Any], developer: Any, reviewer: Any) -> None:
    edge, later = shop["edges"]["web_db"].pk, timezone.now() + timedelta(hours=2)
    held = approved(rule(SHOP, SHOP, ends_at=later - timedelta(hours=1)), developer, reviewer)
    assert judged()[edge] == ("allowed", held.pk, False)
    judging.judge_all(later)
    assert Edge.objects.get(pk=edge).standing == "no-rule"


def test_new_edges_are_judged_as_they_come(
    shop: dict[str, Any], developer: Any, reviewer: Any, django_assert_max_num_queries: Any
) -> None:
    held = approved(rule(SHOP, SHOP), developer, reviewer)
    edge = shop["edges"]["web_db"]
    with django_assert_max_num_queries(12):
        judging.follow([edge.pk], timezone.now())
    edge.refresh_from_db()
    assert (edge.standing, edge.rule_id) == ("allowed", held.pk)
