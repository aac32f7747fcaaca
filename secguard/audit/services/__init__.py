"""Writing the audit log, reading it back against its chain, and making its tree, its checkpoints and its words."""

from secguard.audit.services.checkpoints import ask_for_checkpoint, make_checkpoint, may_ask
from secguard.audit.services.growing import grow
from secguard.audit.services.indexing import index
from secguard.audit.services.reading import entries, export, head, verify
from secguard.audit.services.recording import SYSTEM, Actor, Token, record, record_many

__all__ = [
    "SYSTEM",
    "Actor",
    "Token",
    "ask_for_checkpoint",
    "entries",
    "export",
    "grow",
    "head",
    "index",
    "make_checkpoint",
    "may_ask",
    "record",
    "record_many",
    "verify",
]
