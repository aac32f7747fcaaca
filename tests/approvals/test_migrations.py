"""The seats of deputies, taken back and laid down again with votes in the tables: nothing is lost, every law holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from secguard.approvals.models import Absence, ApprovalRequest, Vote
from secguard.decisions import services
from tests.decisions.conftest import ask, estate, image, repository, risk  # noqa: F401 - fixtures
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = ("approvals", "0003_not_replaced")


def migrate(*to: tuple[str, str]) -> None:
    """To there; without a word to the latest of all apps: going back took those along that stand on it."""
    executor = MigrationExecutor(connection)
    executor.migrate(list(to) or executor.loader.graph.leaf_nodes())


def laws() -> set[str]:
    """The triggers on what is voted on."""
    told = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'approvals_%'",
        "postgresql": "SELECT tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid"
        " WHERE NOT tgisinternal AND c.relname LIKE 'approvals_%%'",
    }
    with connection.cursor() as cursor:
        cursor.execute(told[connection.vendor].replace("%%", "%"))
        return {row[0] for row in cursor.fetchall()}


def rows(table: str, columns: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY id")
        return list(cursor.fetchall())


VOTES = ("approvals_vote", "id, request_id, voter_id, choice, comment")
REQUESTS = ("approvals_approvalrequest", "id, requester_id, status, required_votes")


def test_back_and_forth_with_votes_in(ask: Any, developer: Person, reviewer: Person, make_person: Any) -> None:  # noqa: F811
    now = timezone.now()
    deputy = make_person("deputy", "viewer")
    Absence.objects.create(person=reviewer, deputy=deputy, starts_at=now, ends_at=now + timedelta(days=1))
    decision = ask(developer, now=now, expires_at=now + timedelta(days=9))
    services.approve(decision.pk, actor=deputy, comment="for them", now=now + timedelta(seconds=1))
    assert Vote.objects.get().seat_of_id == reviewer.pk
    kept, laid = (rows(*VOTES), rows(*REQUESTS)), laws()
    try:
        migrate(BEFORE)
        assert (rows(*VOTES), rows(*REQUESTS)) == kept
        assert laws() < laid, "the older laws alone"
        assert laws(), "the older laws stand again on the tables that were built anew"
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE approvals_vote SET choice = 'reject'")
    finally:
        migrate()
    assert (rows(*VOTES), rows(*REQUESTS)) == kept
    assert laws() == laid
    assert not Absence.objects.exists(), "who was away is not known before this"
    with pytest.raises(IntegrityError), transaction.atomic():
        Vote.objects.update(seat_of=developer.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        ApprovalRequest.objects.update(escalates_at=now)
