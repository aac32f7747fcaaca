"""Environments, and promotions to them: asked for, voted on, carried out, recalled."""

from secguard.promotion.services.asking import CARRY, Ask, ask, retry, wait_while_running
from secguard.promotion.services.carrying import carry, carry_failed
from secguard.promotion.services.environments import (
    EnvironmentEdit,
    add_environment,
    delete_environment,
    edit_environment,
)
from secguard.promotion.services.following import OFFER, follow_recall, follow_verdicts, offer
from secguard.promotion.services.telling import KINDS
from secguard.promotion.services.undoing import UNDO, undo
from secguard.promotion.services.voting import approve, reject, withdraw

__all__ = [
    "CARRY",
    "KINDS",
    "OFFER",
    "UNDO",
    "Ask",
    "EnvironmentEdit",
    "add_environment",
    "approve",
    "ask",
    "carry",
    "carry_failed",
    "delete_environment",
    "edit_environment",
    "follow_recall",
    "follow_verdicts",
    "offer",
    "reject",
    "retry",
    "undo",
    "wait_while_running",
    "withdraw",
]
