"""The use cases of decisions and of the risk appetite: call them as ``decisions.services.<name>``."""

from secguard.decisions.services.appetite import (
    activate_appetite,
    active_appetite,
    create_appetite,
    refresh_deadlines,
)
from secguard.decisions.services.coverage import FOLLOWERS, refresh_coverage
from secguard.decisions.services.ending import end_due, review_material_changes, revoke
from secguard.decisions.services.following import (
    decided_by_others,
    follow_application,
    follow_exposures,
    follow_merge,
    follow_repository,
    follow_risks,
    time_to_fix,
)
from secguard.decisions.services.requesting import Ask, preview, request_decision, request_many, withdraw
from secguard.decisions.services.voting import approve, reject, vote_many

__all__ = [
    "FOLLOWERS",
    "Ask",
    "activate_appetite",
    "active_appetite",
    "approve",
    "create_appetite",
    "decided_by_others",
    "end_due",
    "follow_application",
    "follow_exposures",
    "follow_merge",
    "follow_repository",
    "follow_risks",
    "preview",
    "refresh_coverage",
    "refresh_deadlines",
    "reject",
    "request_decision",
    "request_many",
    "review_material_changes",
    "revoke",
    "time_to_fix",
    "vote_many",
    "withdraw",
]
