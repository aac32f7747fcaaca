"""Events as sensors and people might tell them, hostile ones among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from secguard.events.record import Kind, Line
from secguard.exports.item import Item

ANY = st.text(max_size=80)
NASTY = st.one_of(
    ANY,
    st.text(alphabet='\\|="]\n\r\t\0\x1b []<>1 é😀\u2028\u202e', max_size=300),
    st.sampled_from(["", "x" * 300, "😀" * 300, "\\" * 300, '"]' * 150, "rt=1 msg=forged", "a|b|10|"]),
)
NUMBERS = st.one_of(st.none(), st.integers(-(2**60), 2**60), st.booleans(), st.floats(), NASTY)
DETAILS: st.SearchStrategy[Any] = st.recursive(
    NUMBERS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ANY, inner, max_size=4)),
    max_leaves=12,
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "process": st.fixed_dictionaries({}, optional=dict.fromkeys(("exe", "args", "user", "pid"), NUMBERS)),
        "file": st.fixed_dictionaries({}, optional=dict.fromkeys(("path", "operation", "sha256"), NUMBERS)),
        "connection": st.fixed_dictionaries(
            {},
            optional={
                "source_ip": st.one_of(NUMBERS, st.just("10.0.0.1")),
                "source_port": NUMBERS,
                "destination_ip": st.one_of(NUMBERS, st.just("2001:db8::1")),
                "destination_port": st.integers(-5, 70_000),
                "destination_name": NASTY,
                "protocol": NASTY,
            },
        ),
        "request": st.fixed_dictionaries(
            {},
            optional={
                "verb": st.one_of(NASTY, st.just("create")),
                "user": NASTY,
                "code": NUMBERS,
                "source_ips": st.one_of(st.just(["192.0.2.1"]), st.lists(NASTY, max_size=3), NUMBERS),
                "resource": NASTY,
            },
        ),
        "own": DETAILS,
    },
)


def item(**columns: Any) -> Item:
    """One event; ``id``, ``team``, ``application`` and the columns of ``Line``."""
    at = datetime(2026, 11, 28, 12, 30, 15, 123_456, tzinfo=UTC)
    own = {name: columns.pop(name) for name in ("id", "team", "application") if name in columns}
    facts = {"kind": Kind.PROCESS, "source": "falco", "title": "A shell was started", "at": at, "story": "s" * 32}
    return Item(**{"id": 7, "received_at": at + timedelta(seconds=1), **own}, line=Line(**{**facts, **columns}))


TEXTS = (
    "source", "title", "rule", "outcome", "cluster", "namespace", "workload", "host", "digest", "actor", "ref",
)  # fmt: skip
ITEMS = st.builds(
    item,
    id=st.integers(1, 2**63 - 1),
    team=NASTY,
    application=NASTY,
    kind=st.sampled_from(list(Kind)),
    severity=st.integers(0, 5),
    detail=FACTS,
    count=st.integers(1, 2**40),
    **dict.fromkeys(TEXTS, NASTY),
)
