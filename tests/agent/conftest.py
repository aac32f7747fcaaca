"""Snapshots that no server made, and agents that answer from them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secguard.admission.answer import Knowledge, Rules
from secguard.admission.snapshot import PAYLOAD_TYPE, Entry, Head, Snapshot, Writer, decode, holder_of
from secguard.signing import dsse, ecdsa
from tests.fixtures_reports import digest

WEB = "reg.example/shop/web"
GOOD = f"{WEB}@{digest(1)}"
BAD = f"{WEB}@{digest(2)}"
UNKNOWN = f"{WEB}@{digest(9)}"
TOKEN = "sgk_" + "a" * 43
SITE = "https://secguard.example.org"
NOW = datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
MADE = NOW - timedelta(minutes=12)
BLOCKS = {
    "verdict": "block",
    "reasons": [
        {
            "rule": "malware",
            "effect": "block",
            "message": "1 malware finding: Eicar-Test",
            "findings": [{"kind": "malware", "due_at": None}],
            "remedy": {
                "text": "Rebuild from sources you trust.",
                "exception": {"url": f"{SITE}/decisions/new/?risk=2"},
            },
        }
    ],
}
PASSES: dict[str, Any] = {"verdict": "pass", "reasons": []}


def entry(number: int, document: Mapping[str, Any], *runs_in: str, made_at: datetime = MADE) -> Entry:
    name = digest(number)
    known = Knowledge(name, name, number, 100 + number, document, is_preferred=False)
    return Entry(known, {}, made_at + timedelta(hours=20), None, frozenset(runs_in))


def payload(made_at: datetime = MADE, token: str = TOKEN, cluster: str = "prod", **rules: Any) -> bytes:
    """A snapshot with what passes (``:1``, runs in ``shop``) and what malware is in (``:2``)."""
    holder = holder_of(hashlib.sha256(token.encode()).hexdigest())
    head = Head(1, cluster, holder, made_at, SITE, Rules(**rules), {}, ("reg.example",))
    writer = Writer(head)
    writer.entry(digest(1), entry(1, PASSES, "shop", made_at=made_at))
    writer.entry(digest(2), entry(2, BLOCKS, "shop", made_at=made_at))
    return bytes(writer.finish([(WEB, "1", digest(1)), (WEB, "2", digest(2))], 2))


def snapshot(made_at: datetime = MADE, **rules: Any) -> Snapshot:
    return decode(payload(made_at, **rules))


def envelope(key: ecdsa.PrivateKey, made_at: datetime = MADE, **changed: Any) -> bytes:
    return dsse.signed(PAYLOAD_TYPE, payload(made_at, **changed), key.sign).encode()


@pytest.fixture
def key() -> ecdsa.PrivateKey:
    return ecdsa.generate()
