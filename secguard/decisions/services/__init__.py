"""The use cases of decisions and of the risk appetite: call them as ``decisions.services.<name>``."""

from secguard.decisions.services.appetite import (
    activate_appetite,
    active_appetite,
    create_appetite,
    recount_deadlines,
    refresh_deadlines,
)
from secguard.decisions.services.controls import (
    Evidence,
    NewControl,
    add_evidence,
    confirm,
    propose,
    retire,
)
from secguard.decisions.services.controls_leaning import end_lapsed, freshen
from secguard.decisions.services.controls_observing import observe
from secguard.decisions.services.controls_telling import tell_due as tell_controls_due
from secguard.decisions.services.controls_watching import OBSERVERS, Observed, Observer
from secguard.decisions.services.coverage import FOLLOWERS, PARTED, refresh_coverage
from secguard.decisions.services.ending import end_due, review_material_changes, revoke
from secguard.decisions.services.escalating import escalate_due
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
from secguard.decisions.services.undoing import UNDO, last_vote, undo
from secguard.decisions.services.voting import approve, mine_among, reject, vote_many

__all__ = [
    "FOLLOWERS",
    "OBSERVERS",
    "PARTED",
    "UNDO",
    "Ask",
    "Evidence",
    "NewControl",
    "Observed",
    "Observer",
    "activate_appetite",
    "active_appetite",
    "add_evidence",
    "approve",
    "confirm",
    "create_appetite",
    "decided_by_others",
    "end_due",
    "end_lapsed",
    "escalate_due",
    "follow_application",
    "follow_exposures",
    "follow_merge",
    "follow_repository",
    "follow_risks",
    "freshen",
    "last_vote",
    "mine_among",
    "observe",
    "preview",
    "propose",
    "recount_deadlines",
    "refresh_coverage",
    "refresh_deadlines",
    "reject",
    "request_decision",
    "request_many",
    "retire",
    "review_material_changes",
    "revoke",
    "tell_controls_due",
    "time_to_fix",
    "undo",
    "vote_many",
    "withdraw",
]
