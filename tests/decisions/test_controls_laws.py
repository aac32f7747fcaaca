"""The database's own law of controls (migrations 0006 and 0007): what raw SQL cannot do either."""

from __future__ import annotations

import importlib

import pytest
from django.db import IntegrityError, connection, transaction

from secguard.decisions import services
from secguard.decisions.models import Control
from tests.decisions.conftest import NOW
from tests.fixtures_people import without_triggers

pytestmark = pytest.mark.django_db
LAWS = importlib.import_module("secguard.decisions.migrations.0007_control_laws").LAWS


def refused(table: str, change: str, pk: int) -> str:
    with pytest.raises(IntegrityError) as found, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {change} WHERE id = {pk}")
    return str(found.value)


@pytest.fixture
def control(estate, application, developer) -> Control:
    return estate.control(application, developer)


@pytest.fixture
def leaning(ask, control, developer, reviewer):
    decision = ask(developer, kind="mitigate", controls=[control.pk])
    return services.approve(decision.pk, actor=reviewer, now=NOW)


def test_every_law_stands():
    """Django rebuilds a SQLite table to alter it: a later migration has to lay the laws down again."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        else:
            cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
        found = {row[0] for row in cursor.fetchall()}
    assert {name for name, *_ in LAWS} <= found


def test_a_decision_that_leans_ends_with_its_controls(leaning, control, ask, estate, developer, repository):
    assert "ends with them" in refused("decisions_decision", "controls_until = NULL", leaning.pk)
    other = ask(developer, kind="mitigate", controls=[control.pk], now=NOW)
    with without_triggers():
        connection.cursor().execute(
            f"UPDATE approvals_approvalrequest SET status = 'approved' WHERE id = {other.approval_id}"
        )
    assert "ends with them" in refused("decisions_decision", "status = 'approved'", other.pk)


@pytest.mark.parametrize(
    "change",
    ["every_hours = 8000", "kept_alive_by = 'check'", "application_id = NULL", "name = 'x'", "confirmed_at = NULL"],
)
def test_what_was_confirmed_is_what_counts(control, change):
    assert refused("decisions_control", change, control.pk)


def test_nobody_confirms_their_own(control, developer):
    assert refused("decisions_control", f"confirmed_by_id = {developer.pk}", control.pk)
    assert "control_four_eyes" in refused("decisions_control", f"owner_id = {control.confirmed_by_id}", control.pk)


def test_what_is_retired_stays_so(control, developer):
    services.retire(control.pk, reason="gone", actor=developer, now=NOW)
    assert refused("decisions_control", "status = 'confirmed', retired_at = NULL", control.pk)


@pytest.mark.parametrize("change", ["says = 'contradicts'", "note = 'x'", "count = 0", "by_id = NULL"])
def test_evidence_says_the_same_for_ever(control, change):
    assert refused("decisions_controlevidence", change, control.evidence.get().pk)


def test_evidence_is_not_made_older(control):
    """A minute earlier, whatever the database's own way to write a moment is."""
    row = control.evidence.get()
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic():
        control.evidence.filter(pk=row.pk).update(seen_at=NOW.replace(hour=11), first_seen_at=NOW.replace(hour=11))
