"""A feed of 50,000 advisories imported over HTTP by a worker, and the same again."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from benchmarks.feed import osv_zip
from benchmarks.ingest import Written
from benchmarks.server import Server
from benchmarks.table import Measure

PART = "Advisories"
ENTRIES = 50_000
LEAST = 5_000


def run(server: Server) -> list[Measure]:
    raw = osv_zip(ENTRIES)
    # The import itself is written down, and that it was asked for: nothing else.
    written = Written(server.database_url, but=("advisories_import", "audit_auditentry", "audit_audithead"))
    measures = [_rate("50,000 new advisories (OSV all.zip)", server, raw, LEAST)]
    written.since()
    measures.append(_rate("the same again", server, raw, None))
    if written.is_known:
        measures.append(Measure(PART, "rows of data written by that", written.since(), "rows", 0, note=written.tables))
    peak = server.peak_memory().get("celery", 0.0)
    measures.append(Measure(PART, "resident at most: celery", peak, "MB", 1000, note="of a worker process"))
    return measures


def _rate(what: str, server: Server, raw: bytes, least: float | None) -> Measure:
    row = server.ask("/api/v1/advisories/import/?name=all.zip", raw).document
    while row["status"] in ("queued", "running"):
        time.sleep(0.2)
        row = server.ask(f"/api/v1/imports/{row['id']}/").document
    if row["status"] != "finished":
        raise RuntimeError(f"The import failed: {row['error']}")
    seconds = _seconds(row)
    counts = row["counts"]
    note = (
        f"{seconds:.1f} s, {len(raw) / 2**20:.0f} MB packed; {counts['added']:,} new, {counts['unchanged']:,} the same"
    )
    return Measure(PART, what, ENTRIES / seconds, "advisories/s", least, more_is_better=True, note=note)


def _seconds(row: dict[str, Any]) -> float:
    """From the moment that it was asked for until it was written down: waiting for a worker included."""
    begin, end = (datetime.fromisoformat(row[key]) for key in ("created_at", "finished_at"))
    return (end - begin).total_seconds()
