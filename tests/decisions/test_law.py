"""The database's own law on decisions (migration 0002): what raw SQL cannot do either."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from secguard.approvals.models import ApprovalRequest, Vote
from secguard.decisions import services
from secguard.decisions.models import Decision
from tests.fixtures_people import without_triggers

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def refused(change: str, decision: Decision) -> str:
    with pytest.raises(IntegrityError) as found, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE decisions_decision SET {change} WHERE id = {decision.pk}")
    decision.refresh_from_db()
    return str(found.value)


def copy_of(decision: Decision, **changed: object) -> Decision:
    columns = {f.attname: getattr(decision, f.attname) for f in Decision._meta.concrete_fields if f.attname != "id"}
    return Decision(**(columns | changed))


@pytest.fixture
def approved(ask, developer, reviewer) -> Decision:
    return services.approve(ask(developer).pk, actor=reviewer, now=NOW)


def test_no_decision_becomes_approved_without_its_approval(ask, developer):
    decision = ask(developer)
    assert "approved by its approval request" in refused("status = 'approved'", decision)
    assert decision.status == "requested"


def test_no_decision_begins_approved_without_its_approval(ask, developer):
    decision = ask(developer)
    approval = ApprovalRequest.objects.create(requester=developer, required={"security-reviewer": 1})
    with pytest.raises(IntegrityError, match="approved by its approval request"), transaction.atomic():
        copy_of(decision, approval_id=approval.pk, status="approved").save()


def test_an_approval_of_somebody_else_does_not_do(ask, developer, stranger):
    decision = ask(developer)
    approval = ApprovalRequest.objects.create(requester=stranger, required={"security-reviewer": 1})
    with pytest.raises(IntegrityError, match="belongs to whoever asks"), transaction.atomic():
        copy_of(decision, approval_id=approval.pk, scope_label="elsewhere").save()


@pytest.mark.parametrize("end", ["rejected", "withdrawn", "revoked", "ended"])
@pytest.mark.parametrize("then", ["requested", "approved", "ended", "revoked"])
def test_an_end_is_an_end(approved, ask, developer, estate, repository, end, then):
    decision = approved
    Decision.objects.filter(pk=decision.pk).update(status=end)
    if end != then:
        assert "ended stays ended" in refused(f"status = '{then}'", decision) or then == "requested"
    assert Decision.objects.get(pk=decision.pk).status == end


def test_an_approved_decision_is_no_request_again(approved):
    assert "not a request again" in refused("status = 'requested'", approved)


def test_the_end_only_comes_nearer(approved):
    later, nearer = approved.expires_at + timedelta(days=1), approved.expires_at - timedelta(days=1)
    assert "may only come nearer" in refused(f"expires_at = '{later:%Y-%m-%d %H:%M:%S}'", approved)
    Decision.objects.filter(pk=approved.pk).update(expires_at=nearer)
    assert Decision.objects.get(pk=approved.pk).expires_at == nearer


@pytest.mark.parametrize(
    "change",
    [
        "kind = 'fix'",
        "scope_kind = 'organisation', repository_id = NULL",
        "repository_id = repository_id + 1",
        "reason = 'other'",
        "justification = 'component_not_present'",
        "conditions = '{\"until_fix\": false}'",
        "snapshot = '{}'",
        "requested_by_id = requested_by_id + 1",
        "requested_at = '2020-01-01 00:00:00'",
        "appetite_row = 'everything-else'",
    ],
)
def test_what_was_voted_on_stays(approved, change):
    assert "what was asked for is what was voted on" in refused(change, approved)


def test_a_decision_follows_its_flaw_to_another_name_only(approved, estate):
    other_package = estate.risk(package="pkg:deb/debian/zlib1g")
    same_place = estate.risk()
    if connection.vendor == "postgresql":
        assert "stays with its risk" in refused(f"risk_id = {other_package.pk}", approved)
    services.follow_merge(approved.risk_id, same_place.pk)
    assert Decision.objects.get(pk=approved.pk).risk_id == same_place.pk


def ways_around(statement: str, also: str) -> list[str]:
    """On SQLite to write a row over another; on PostgreSQL the statement that comes nearest to it."""
    if connection.vendor == "sqlite":
        return [statement.replace("INSERT", "INSERT OR REPLACE", 1)]
    return [f"{statement} ON CONFLICT (id) DO UPDATE SET {also}"]


def columns_of(table: str, **changed: str) -> str:
    with connection.cursor() as cursor:
        names = [c.name for c in connection.introspection.get_table_description(cursor, table)]
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(changed.get(n, n) for n in names)} FROM {table}"


def test_nothing_is_written_over(ask, developer, stranger, reviewer):
    both = {"security-reviewer": 2}
    decision = ask(developer)
    request = ApprovalRequest.objects.create(requester=developer, required=both, required_votes=2)
    no = Vote.objects.create(request=request, voter=reviewer, roles=["security-reviewer"], choice="reject")
    vote, asked, x = "approvals_vote", "approvals_approvalrequest", "'approve'"
    statements = [
        *ways_around(f"{columns_of(vote, choice=x)} WHERE id = {no.pk}", "choice = 'approve'"),
        *ways_around(
            f"{columns_of(asked, requester_id=str(stranger.pk))} WHERE id = {decision.approval_id}",
            f"requester_id = {stranger.pk}",
        ),
        *ways_around(
            f"{columns_of('decisions_decision', reason=x)} WHERE id = {decision.pk}",
            f"reason = {x}",
        ),
    ]
    for statement in statements:
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    no.refresh_from_db()
    decision.refresh_from_db()
    assert (no.choice, decision.approval.requester_id, decision.reason == "approve") == ("reject", developer.pk, False)


def test_an_approval_that_became_somebody_elses_does_not_do(ask, developer, stranger):
    decision = ask(developer)
    connection.check_constraints()  # PostgreSQL alters no table while checks of it are still to come
    with without_triggers():
        ApprovalRequest.objects.filter(pk=decision.approval_id).update(requester=stranger, status="approved")
        connection.check_constraints()
    assert "belongs to whoever asks" in refused("status = 'approved'", decision)


def test_every_law_is_in_force_after_all_migrations(db):
    laws = importlib.import_module("secguard.decisions.migrations.0002_approved_by_approval").LAWS
    laws += importlib.import_module("secguard.approvals.migrations.0002_four_eyes").LAWS
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        else:
            cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        found = {row[0] for row in cursor.fetchall()}
    later = {"decision_approved_for_requester", "audit_head_not_back"}
    if connection.vendor == "sqlite":
        later |= {"decision_not_replaced", "vote_not_replaced", "approvalrequest_not_replaced"}
    assert {law[0] for law in laws} | later <= found
