"""Writing the log with what it records, and finding what was done to it since."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from django.db import connection, transaction

from secguard.audit import chain, services
from secguard.audit.actions import Action
from secguard.audit.models import AuditEntry, AuditHead
from secguard.audit.services import reading
from secguard.audit_commands import verify_export
from secguard.client.rest import CouldNotTell
from tests.fixtures_people import Person, without_triggers

pytestmark = pytest.mark.django_db


def write(count: int = 1, **changes: Any) -> AuditEntry:
    line = {"actor": None, "subject_type": "team", "subject_id": 1, "subject": "Payments"} | changes
    with transaction.atomic():
        return [services.record(Action.TEAM_CREATE, **line) for _ in range(count)][-1]


def test_an_entry_says_who_did_what_to_what(developer: Person) -> None:
    with structlog.contextvars.bound_contextvars(request_id="req-12345678"):
        entry = write(actor=developer, team_id=7, details={"role": "viewer", "share": 0.5})
    entry.refresh_from_db()
    assert (entry.sequence, entry.actor, entry.actor_id, entry.token) == (1, "developer", developer.pk, "")
    assert (entry.action, entry.subject_type, entry.subject_id) == ("team:create", "team", "1")
    assert (entry.team_id, entry.request_id) == (7, "req-12345678")
    assert entry.details == {"role": "viewer", "share": "0.5"}
    assert entry.digest == chain.digest_of(entry.as_entry())


def test_an_entry_names_the_token_that_the_request_came_with(developer: Person) -> None:
    developer.token = developer.tokens.get()
    assert write(actor=developer).token == developer.token.prefix


def test_nobody_is_the_system() -> None:
    entry = write()
    assert (entry.actor, entry.actor_id) == ("system", None)


def test_entries_are_chained_and_times_never_run_backwards() -> None:
    first = write()
    AuditHead.objects.update(at=first.at.replace(year=first.at.year + 1))
    second = write()
    assert (second.sequence, second.previous_digest) == (2, first.digest)
    assert second.at > first.at
    assert services.head() == chain.Head(2, second.digest)


def test_many_entries_take_as_many_statements_as_one(django_assert_num_queries: Any) -> None:
    write()
    line = {"subject_type": "decision", "subject_id": 1, "subject": "x"}
    with transaction.atomic(), django_assert_num_queries(3):
        services.record_many("decision:approve", [line] * 3, actor=None)
    with transaction.atomic(), django_assert_num_queries(3):
        services.record_many("decision:approve", [line] * 60, actor=None)
    assert services.verify().entries == 64
    assert services.record_many("decision:approve", [], actor=None) == []


def test_an_unregistered_action_is_refused() -> None:
    with pytest.raises(ValueError, match="decision:forget"), transaction.atomic():
        services.record("decision:forget", actor=None, subject_type="decision", subject_id=1, subject="x")
    assert not AuditEntry.objects.exists()


def test_too_much_detail_is_left_out_visibly() -> None:
    entry = write(details={"document": "x" * 70_000}, subject="y" * 400)
    assert entry.details["keys"] == ["document"]
    assert entry.subject == "y" * 299 + "…"


@pytest.mark.django_db(transaction=True)
def test_outside_of_a_transaction_nothing_is_written() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        services.record(Action.TEAM_CREATE, actor=None, subject_type="team", subject_id=1, subject="x")
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_leaves_no_entry_and_no_gap() -> None:
    write()
    with transaction.atomic():
        services.record(Action.TEAM_CREATE, actor=None, subject_type="team", subject_id=2, subject="x")
        transaction.set_rollback(True)
    write()
    assert list(AuditEntry.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2]
    assert services.verify().intact


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_make_one_chain() -> None:
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        pytest.skip("SQLite in memory has no locks to wait for; the suite's run on PostgreSQL does this")
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                write()
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert services.verify().entries == 20


TAMPERED: dict[str, Any] = {
    "at": "2001-01-01T00:00:00+00:00",
    "actor": "mallory",
    "actor_id": 666,
    "token": "sgt_00000000",
    "action": "team:rename",
    "subject_type": "user",
    "subject_id": "2",
    "subject": "Payment",
    "team_id": 1,
    "details": {"comment": "no"},
    "request_id": "another",
    "previous_digest": "0" * 64,
    "digest": "f" * 64,
}


def test_every_column_is_tampered_with_below() -> None:
    assert set(TAMPERED) | {"sequence"} == {field.name for field in AuditEntry._meta.fields}


@pytest.mark.parametrize("column", sorted(TAMPERED))
def test_a_column_changed_in_the_database_is_found(column: str) -> None:
    write(5, details={"comment": "yes"})
    with without_triggers():
        AuditEntry.objects.filter(sequence=3).update(**{column: TAMPERED[column]})
    fault = services.verify().fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (3, "altered")


def delete_one() -> None:
    AuditEntry.objects.filter(sequence=2).delete()


def cut_off() -> None:
    AuditEntry.objects.filter(sequence__gte=4).delete()


def swap() -> None:
    AuditEntry.objects.filter(sequence=2).update(sequence=9)
    AuditEntry.objects.filter(sequence=3).update(sequence=2)
    AuditEntry.objects.filter(sequence=9).update(sequence=3)


@pytest.mark.parametrize(
    ("tamper", "sequence", "kind"),
    [(delete_one, 2, "missing"), (cut_off, 4, "truncated"), (swap, 2, "altered")],
)
def test_rows_removed_or_reordered_are_found(tamper: Callable[[], None], sequence: int, kind: str) -> None:
    write(5)
    with without_triggers():
        tamper()
    fault = services.verify().fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (sequence, kind)


def test_a_tail_cut_off_with_the_head_moved_back_shows_against_a_head_kept_elsewhere() -> None:
    third, last = write(3), write(2)
    with without_triggers():
        AuditEntry.objects.filter(sequence__gt=3).delete()
        AuditHead.objects.update(sequence=3, digest=third.digest)
    assert services.verify().intact
    fault = services.verify(chain.Head(5, last.digest)).fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (4, "truncated")


def behead() -> None:
    AuditHead.objects.all().delete()


def set_back() -> None:
    AuditHead.objects.update(sequence=2, digest=AuditEntry.objects.get(sequence=2).digest)


def set_back_and_tamper() -> None:
    set_back()
    AuditEntry.objects.filter(sequence=4).update(actor="mallory")


def cut_off_the_beginning() -> None:
    AuditEntry.objects.filter(sequence__lte=2).delete()


def remove_all() -> None:
    AuditEntry.objects.all().delete()


def put_in_front() -> None:
    first = AuditEntry.objects.get(sequence=1)
    first.sequence = 0
    first.save(force_insert=True)


def put_behind() -> None:
    """As an intruder who knows how the chain is made would, without the log's own head."""
    entry = AuditEntry.objects.get(sequence=5)
    entry.sequence, entry.previous_digest = 6, entry.digest
    entry.digest = chain.digest_of(entry.as_entry())
    entry.save(force_insert=True)


@pytest.mark.parametrize(
    ("tamper", "sequence", "kind"),
    [
        (behead, 1, "unlisted"),
        (set_back, 3, "unlisted"),
        (set_back_and_tamper, 4, "altered"),
        (cut_off_the_beginning, 1, "missing"),
        (remove_all, 1, "truncated"),
        (put_in_front, 0, "altered"),
        (put_behind, 6, "unlisted"),
    ],
)
def test_neither_end_of_the_log_is_beyond_the_check(tamper: Callable[[], None], sequence: int, kind: str) -> None:
    write(5)
    with without_triggers():
        tamper()
    fault = services.verify().fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (sequence, kind)


def test_what_is_written_while_it_is_read_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    write(3)
    monkeypatch.setattr(reading, "PAGE", 2)
    whole = services.entries

    def busy(**span: Any) -> Any:
        for entry in whole(**span):
            if entry.sequence == 2:
                write(2)
            yield entry

    monkeypatch.setattr(reading, "entries", busy)
    assert services.verify() == chain.Verification(5, 1, services.head())


def test_an_empty_log_is_intact() -> None:
    assert services.verify() == chain.Verification(0, None, chain.Head(0, chain.START))


def test_an_export_is_verified_without_the_database(tmp_path: Path, django_assert_num_queries: Any) -> None:
    last = write(4, details={"ключ": "значение\n"})
    file = tmp_path / "audit.ndjson"
    file.write_text("".join(services.export()), encoding="utf-8")
    with django_assert_num_queries(0):
        found = verify_export(file, [chain.Head(4, last.digest)])
    assert (found.intact, found.entries) == (True, 4)
    lines = file.read_text(encoding="utf-8").splitlines()
    third = json.loads(lines[2]) | {"actor": "mallory"}
    file.write_text("\n".join([*lines[:2], json.dumps(third), lines[3]]), encoding="utf-8")
    fault = verify_export(file).fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (3, "altered")


def test_what_is_no_export_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "audit.ndjson"
    with pytest.raises(CouldNotTell, match="cannot be read"):
        verify_export(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(CouldNotTell, match="no audit export"):
        verify_export(file)
    file.write_text("{}\n")
    with pytest.raises(CouldNotTell, match="line 1"):
        verify_export(file)


def test_reading_the_whole_log_costs_one_query_a_page(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    write(6)
    monkeypatch.setattr(reading, "PAGE", 2)
    with django_assert_num_queries(4):
        assert [entry.sequence for entry in services.entries()] == [1, 2, 3, 4, 5, 6]
    assert [entry.sequence for entry in services.entries(first=3, last=4)] == [3, 4]
