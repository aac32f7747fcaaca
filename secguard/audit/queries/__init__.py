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

__all__ = [
    "Entries",
    "EntryFilter",
    "Standing",
    "checkpoint_of",
    "checkpoints",
    "consistency",
    "inclusion",
    "latest_checkpoint",
    "lines",
    "newest",
    "readable",
    "standing",
]
