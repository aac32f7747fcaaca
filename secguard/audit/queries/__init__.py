"""Reading the audit log: entries, and what proves that they are the ones that were written."""

from secguard.audit.queries.entries import Entries, EntryFilter, lines, readable
from secguard.audit.queries.proofs import (
    Standing,
    checkpoint_of,
    checkpoints,
    consistency,
    inclusion,
    latest_checkpoint,
    newest,
    standing,
)
from secguard.audit.queries.searching import Coverage, Search, coverage

__all__ = [
    "Coverage",
    "Entries",
    "EntryFilter",
    "Search",
    "Standing",
    "checkpoint_of",
    "checkpoints",
    "consistency",
    "coverage",
    "inclusion",
    "latest_checkpoint",
    "lines",
    "newest",
    "readable",
    "standing",
]
