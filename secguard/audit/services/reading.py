"""Reading the audit log back, and holding it against its chain and its checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from secguard.audit import chain, checkpoint, tree
from secguard.audit.models import AuditCheckpoint, AuditEntry, AuditHead

PAGE = 2_000

LOWEST = -(2**62)
"""Below every entry there is, so that one put in front of the first is seen."""


def entries(*, first: int = 1, last: int | None = None) -> Iterator[chain.Entry]:
    """The log in its own order, read in pages of the primary key: 10^8 rows need no more memory than one page."""
    rows = AuditEntry.objects.order_by("sequence")
    after = first - 1
    while page := list(rows.filter(sequence__gt=after, **({} if last is None else {"sequence__lte": last}))[:PAGE]):
        yield from (row.as_entry() for row in page)
        after = page[-1].sequence


def export(*, first: int = 1, last: int | None = None) -> Iterator[str]:
    """The log as NDJSON, one line (with its end) at a time; ``verify_lines`` and any SHA-256 can check it."""
    for entry in entries(first=first, last=last):
        yield chain.line(entry) + "\n"


def head() -> chain.Head:
    """Where the log ends now; kept elsewhere it shows later that nothing before it was cut off or rewritten."""
    row = AuditHead.objects.filter(id=1).first()
    return chain.Head(0, chain.START) if row is None else chain.Head(row.sequence, row.digest or chain.START)


def verify(*known: chain.Head) -> chain.Verification:
    """Hold the live log, all of it, against its chain, its own head and every head ``known`` from elsewhere.

    The head is read before and after: entries written while it runs are read too, and none may stand past it. The
    checkpoints that were made of it are held against it in the same pass.
    """
    made = [checkpoint.parse(row.note).checkpoint for row in AuditCheckpoint.objects.order_by("id").iterator()]
    peaks = tree.Peaks(one.size for one in made)
    found = chain.verify(_watched(entries(first=LOWEST), peaks), heads=[head(), *known], is_whole=True)
    found = chain.held_against(found, head())
    fault = found.fault or checkpoint.log_fault(peaks, made)
    return replace(found, fault=fault)


def _watched(log: Iterator[chain.Entry], peaks: tree.Peaks) -> Iterator[chain.Entry]:
    for entry in log:
        yield entry
        # After the chain has looked at it: what it refuses is no leaf.
        peaks.add(tree.leaf_of(entry.digest))
