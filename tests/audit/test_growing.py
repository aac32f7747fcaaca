"""The tree in the database: it takes in what was written, from wherever it ended, and never what was rewritten."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from secguard.audit import services, tree
from secguard.audit.models import AuditCheckpoint, AuditEntry, AuditTile, AuditTree
from secguard.audit.services import growing
from secguard.audit.services.checkpoints import root_at
from secguard.errors import Conflict
from tests.audit.test_services import write
from tests.audit.test_tree import naive_root
from tests.fixtures_people import without_triggers

pytestmark = pytest.mark.django_db


def write_many(count: int) -> None:
    with transaction.atomic():
        services.record_many(
            "team:create", [{"subject_type": "team", "subject_id": 1, "subject": "x"}] * count, actor=None
        )


def leaves() -> list[bytes]:
    digests = AuditEntry.objects.order_by("sequence").values_list("digest", flat=True)
    return [tree.leaf_of(digest) for digest in digests]


def test_the_entries_of_before_there_was_a_tree_are_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "BATCH", 100)
    write_many(530)
    seen: list[tuple[int, int]] = []
    assert services.grow(lambda done, total: seen.append((done, total))) == 530
    assert seen == [(done, 530) for done in (100, 200, 300, 400, 500, 530)]
    assert root_at(530) == naive_root(leaves())
    assert root_at(257) == naive_root(leaves()[:257])
    rows = AuditTile.objects.order_by("level", "index").values_list("level", "index")
    assert list(rows) == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_it_goes_on_from_where_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert services.grow() == 0
    origin = AuditTree.objects.get().origin
    assert origin.startswith("localhost/audit/")
    for count in (1, 254, 1, 1, 300):
        write_many(count)
        size = services.grow()
        assert root_at(size) == naive_root(leaves())
    assert size == 557
    assert services.grow() == 557
    assert AuditTree.objects.get().origin == origin


def test_a_step_that_is_broken_off_is_as_if_it_never_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "BATCH", 100)
    write_many(250)

    def die(done: int, _total: int) -> None:
        if done == 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        services.grow(die)
    keep = growing._keep

    def fail(*tiles: Any) -> None:
        keep(*tiles)
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(growing, "_keep", fail)
        with pytest.raises(OSError), transaction.atomic():
            services.grow()
    assert AuditTree.objects.get().size == 200
    assert services.grow() == 250
    assert root_at(250) == naive_root(leaves())


def test_a_step_costs_the_same_whatever_the_size_of_the_log(django_assert_num_queries: Any) -> None:
    write_many(3)
    services.grow()
    for count in (5, 200):
        write_many(count)
        # Two steps, the second of which finds nothing: the row and its lock, the entries; the tiles and their change.
        with django_assert_num_queries(14):
            services.grow()


@pytest.mark.parametrize(
    "tamper",
    [
        {"previous_digest": "f" * 64},
        {"digest": "f" * 64},
        {"digest": "no digest"},
        {"sequence": 9},
    ],
)
@pytest.mark.parametrize("sequence", [1, 4, 5])
def test_a_log_that_was_rewritten_is_not_taken_in(tamper: dict[str, Any], sequence: int) -> None:
    write(3)
    size = 0 if sequence == 1 else services.grow()
    write(3)
    with without_triggers():
        AuditEntry.objects.filter(sequence=sequence).update(**tamper)
    with pytest.raises(Conflict, match="audit log is not the one"):
        services.grow()
    assert AuditTree.objects.count() == bool(size)


def test_a_log_written_anew_behind_the_tree_is_seen_at_its_next_entry() -> None:
    write(3)
    services.grow()
    write()
    with without_triggers():
        AuditEntry.objects.filter(sequence=4).update(previous_digest="a" * 64)
    with pytest.raises(Conflict, match="entry 4 does not follow entry 3"):
        services.grow()


TILE, TREE, CHECKPOINT = (model._meta.db_table for model in (AuditTile, AuditTree, AuditCheckpoint))
OTHER = "X'00'" if connection.vendor == "sqlite" else r"'\x00'"
STATEMENTS = [
    f"UPDATE {TILE} SET hashes = {OTHER}",
    f"UPDATE {TILE} SET level = 5",
    f"DELETE FROM {TILE}",
    f"UPDATE {TREE} SET size = size - 1",
    f"UPDATE {TREE} SET origin = 'another'",
    f"DELETE FROM {TREE}",
    f"UPDATE {CHECKPOINT} SET note = ''",
    f"DELETE FROM {CHECKPOINT}",
]
ONLY_ON = {
    "sqlite": [
        f'INSERT OR REPLACE INTO {TILE} (level, "index", hashes) VALUES (0, 0, {OTHER})',
        f"INSERT OR REPLACE INTO {TREE} (id, size, origin) VALUES (1, 0, '')",
    ],
    "postgresql": [f"TRUNCATE {table}" for table in (TILE, TREE, CHECKPOINT)],
}


def test_raw_sql_cannot_change_the_tree_or_its_checkpoints() -> None:
    write(3)
    services.grow()
    AuditCheckpoint.objects.create(size=3, root="", fingerprint="", note="x", made_at="2026-01-01T00:00:00Z")
    for statement in (*STATEMENTS, *ONLY_ON[connection.vendor]):
        with pytest.raises(DatabaseError, match="only grows"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    assert root_at(3) == naive_root(leaves())
