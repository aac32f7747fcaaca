"""The database itself refuses to change its log, whoever asks."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from secguard.audit import services
from secguard.audit.models import AuditEntry

pytestmark = pytest.mark.django_db

TABLE = AuditEntry._meta.db_table
STATEMENTS = [
    f"UPDATE {TABLE} SET actor = 'mallory' WHERE sequence = 1",
    f"UPDATE {TABLE} SET sequence = 7 WHERE sequence = 1",
    f"DELETE FROM {TABLE} WHERE sequence = 2",
    f"DELETE FROM {TABLE}",
]
COPY = (
    f"SELECT sequence, at, 'mallory', actor_id, token, action, subject_type, subject_id, subject, team_id, details,"
    f" request_id, previous_digest, digest FROM {TABLE} WHERE sequence = 1"
)
COLUMNS = (
    "sequence, at, actor, actor_id, token, action, subject_type, subject_id, subject, team_id, details, request_id,"
    " previous_digest, digest"
)
ONLY_ON = {
    "sqlite": [f"INSERT OR REPLACE INTO {TABLE} ({COLUMNS}) {COPY}"],
    "postgresql": [
        f"TRUNCATE {TABLE}",
        f"INSERT INTO {TABLE} ({COLUMNS}) {COPY} ON CONFLICT (sequence) DO UPDATE SET actor = 'mallory'",
    ],
}


@pytest.fixture(autouse=True)
def _entries(db: None) -> None:
    with transaction.atomic():
        for number in range(3):
            services.record("team:create", actor=None, subject_type="team", subject_id=number, subject="x")


def refused(statement: str) -> None:
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert services.verify().entries == 3


@pytest.mark.parametrize("statement", STATEMENTS)
def test_raw_sql_cannot_change_the_log(statement: str) -> None:
    refused(statement)


def test_neither_can_the_ways_around_of_this_database() -> None:
    for statement in ONLY_ON[connection.vendor]:
        refused(statement)


HEAD = "audit_audithead"
SET_BACK = [
    f"UPDATE {HEAD} SET sequence = sequence - 1",
    f"UPDATE {HEAD} SET digest = '{'0' * 64}'",
    f"DELETE FROM {HEAD}",
]
AROUND = {
    "sqlite": [f"INSERT OR REPLACE INTO {HEAD} (id, sequence, digest) VALUES (1, 1, '')"],
    "postgresql": [f"TRUNCATE {HEAD}"],
}


def test_the_head_only_moves_on() -> None:
    for statement in (*SET_BACK, *AROUND[connection.vendor]):
        refused(statement)


def test_nor_can_a_query() -> None:
    with pytest.raises(DatabaseError, match="only grows"), transaction.atomic():
        AuditEntry.objects.filter(sequence=1).delete()
