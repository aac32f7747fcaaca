"""The chain against every way of tampering that its digest is there to show."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.audit import chain
from secguard.audit.chain import Entry, Head

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)

instants = st.datetimes(AT.replace(year=2000, tzinfo=None), AT.replace(year=2200, tzinfo=None), timezones=st.just(UTC))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | instants,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def log(length: int, **columns: Any) -> list[Entry]:
    """A sound log of ``length`` entries."""
    entries: list[Entry] = []
    for sequence in range(1, length + 1):
        previous = entries[-1].digest if entries else chain.START
        draft = Entry(
            **{
                "sequence": sequence,
                "at": AT + timedelta(minutes=sequence),
                "actor": "alice",
                "actor_id": 7,
                "token": "sgt_abcdefgh",
                "action": "decision:approve",
                "subject_type": "decision",
                "subject_id": str(sequence),
                "subject": f"accept CVE-2026-{sequence}",
                "team_id": 3,
                "details": {"comment": "behind a wall", "votes": [1, 2]},
                "request_id": "r1",
                "previous_digest": previous,
            }
            | columns
        )
        entries.append(replace(draft, digest=chain.digest_of(draft)))
    return entries


OTHER: dict[str, Any] = {
    "sequence": 99,
    "at": AT,
    "actor": "mallory",
    "actor_id": None,
    "token": "",
    "action": "decision:reject",
    "subject_type": "policy",
    "subject_id": "8",
    "subject": "accept CVE-2026-2.",
    "team_id": 4,
    "details": {"comment": "behind a wall", "votes": [2, 1]},
    "request_id": "r2",
    "previous_digest": chain.START,
    "digest": "f" * 64,
}


def test_a_sound_log_is_intact() -> None:
    entries = log(5)
    found = chain.verify(entries, heads=[Head(5, entries[4].digest), Head(2, entries[1].digest)])
    assert (found.intact, found.entries, found.first) == (True, 5, 1)
    assert found.head == Head(5, entries[4].digest)


def test_an_empty_log_is_intact_unless_it_is_known_to_have_held_something() -> None:
    assert chain.verify([]).head == Head(0, chain.START)
    fault = chain.verify([], heads=[Head(3, "a" * 64)]).fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (1, "truncated")


@pytest.mark.parametrize("column", chain.COLUMNS)
def test_every_column_is_covered(column: str) -> None:
    entries = log(5)
    entries[2] = replace(entries[2], **{column: OTHER[column]})
    found = chain.verify(entries)
    assert found.fault is not None
    assert found.entries == 2
    # A changed number shows as the gap it leaves; everything else as an altered entry.
    assert (found.fault.sequence, found.fault.kind) == ((3, "missing") if column == "sequence" else (3, "altered"))


def test_an_entry_rewritten_with_a_fitting_digest_is_named_by_its_successor() -> None:
    entries = log(5)
    forged = replace(entries[2], actor="mallory")
    entries[2] = replace(forged, digest=chain.digest_of(forged))
    fault = chain.verify(entries).fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (3, "altered")


def test_a_log_written_anew_from_some_entry_on_shows_only_against_a_head_kept_elsewhere() -> None:
    entries = log(5)
    head = Head(5, entries[-1].digest)
    forged = entries[:2] + [replace(entry, actor="mallory") for entry in entries[2:]]
    for place in range(2, 5):
        draft = replace(forged[place], previous_digest=forged[place - 1].digest)
        forged[place] = replace(draft, digest=chain.digest_of(draft))
    assert chain.verify(forged).intact
    fault = chain.verify(forged, heads=[head]).fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (5, "altered")


def test_a_tail_cut_off_shows_only_against_a_head_kept_elsewhere() -> None:
    entries = log(5)
    assert chain.verify(entries[:3]).intact
    fault = chain.verify(entries[:3], heads=[Head(5, entries[4].digest)]).fault
    assert fault is not None
    assert (fault.sequence, fault.kind) == (4, "truncated")


def test_a_first_entry_with_a_predecessor_is_no_beginning() -> None:
    first = log(1, previous_digest="a" * 64)
    fault = chain.verify(first).fault
    assert fault is not None
    assert fault.kind == "altered"


def test_a_range_is_verified_on_its_own_and_says_where_it_starts() -> None:
    entries = log(6)
    found = chain.verify(entries[2:5])
    assert (found.intact, found.first, found.head.sequence) == (True, 3, 5)


def test_a_head_before_the_range_is_not_passed_over_in_silence() -> None:
    entries = log(6)
    fault = chain.verify(entries[3:], heads=[Head(2, entries[1].digest)]).fault
    assert fault is not None
    assert fault.kind == "missing"


@given(st.integers(2, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 2))))
def test_a_removed_entry_is_named(case: tuple[int, int]) -> None:
    length, place = case
    entries = log(length)
    del entries[place]
    found = chain.verify(entries, heads=[Head(1, log(1)[0].digest)])
    assert found.fault is not None
    assert (found.fault.sequence, found.fault.kind) == (place + 1, "missing")


@given(st.permutations(range(6)))
def test_any_other_order_is_seen(order: list[int]) -> None:
    entries = log(6)
    shuffled = [entries[place] for place in order]
    assert chain.verify(shuffled, heads=[Head(6, entries[-1].digest)]).intact == (order == sorted(order))


@given(json_values)
def test_what_is_storable_survives_json_and_has_one_spelling(value: Any) -> None:
    stored = chain.storable(value)
    again = json.loads(chain.canonical(stored))
    assert again == stored
    assert chain.storable(stored) == stored
    assert chain.canonical(again) == chain.canonical(stored)
    assert b"\x00" not in chain.canonical(stored)


@given(st.dictionaries(st.text(), json_values, max_size=3), st.text(max_size=20), instants)
def test_an_export_reads_back_as_the_same_entries(details: dict[str, Any], subject: str, at: datetime) -> None:
    entries = log(2, details=chain.storable(details), subject=chain.text(subject), at=at)
    lines = [chain.line(entry) for entry in entries]
    assert all("\n" not in line for line in lines)
    assert list(chain.read_lines(lines)) == entries
    assert chain.verify(chain.read_lines(lines)).intact


def test_instants_of_any_zone_are_one() -> None:
    assert chain.instant(AT.astimezone(timezone(timedelta(hours=5)))) == "2026-03-01T12:00:00.123456Z"
    with pytest.raises(ValueError, match="time zone"):
        chain.instant(datetime(2026, 3, 1))  # noqa: DTZ001


def test_what_no_database_keeps_is_replaced_visibly() -> None:
    assert chain.storable({"a\x00": "b\ud800", "n": 0.1, "d": Decimal("1.50"), "big": 2**60, "s": {2, 1}}) == {
        "a\ufffd": "b?",
        "n": "0.1",
        "d": "1.50",
        "big": str(2**60),
        "s": [1, 2],
    }
    assert chain.text("abcdef", 4) == "abc…"


def test_a_head_reads_back_as_it_is_printed() -> None:
    head = Head(12, "ab" * 32)
    assert Head.parse(f" {head}\n") == head


@pytest.mark.parametrize("text", ["", "12", "12:abc", "x:" + "a" * 64, "²:" + "a" * 64, "-1:" + "a" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="SEQUENCE:DIGEST"):
        Head.parse(text)


GOOD = json.loads(chain.line(log(1)[0]))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ("[]", "expected an object with exactly"),
        (json.dumps({**GOOD, "more": 1}), "expected an object with exactly"),
        (json.dumps({**GOOD, "sequence": "1"}), "sequence is a str"),
        (json.dumps({**GOOD, "sequence": True}), "sequence is a bool"),
        (json.dumps({**GOOD, "at": "yesterday"}), "at: "),
        (json.dumps(GOOD)[:-1] + ', "actor": "bob"}', "twice"),
        ("x" * 1_000_001, "longer than"),
    ],
)
def test_a_broken_line_is_named(line: str, words: str) -> None:
    with pytest.raises(chain.BrokenLine, match="line 2: ") as raised:
        list(chain.read_lines([json.dumps(GOOD), line]))
    assert words in str(raised.value)
