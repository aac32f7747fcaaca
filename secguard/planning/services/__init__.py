"""Ask requirements of applications and keep what is known of them: call these as ``planning.services.<name>``."""

from secguard.planning.services.answering import (
    Said,
    answer,
    ask_for_waiver,
    end_waiver,
    measure_now,
    vote_on_waiver,
)
from secguard.planning.services.standing import CHANGED, follow_application, keep, recount, standings_of
from secguard.planning.services.templates import choose_template, ensure_shipped, latest, make_template

__all__ = [
    "CHANGED",
    "Said",
    "answer",
    "ask_for_waiver",
    "choose_template",
    "end_waiver",
    "ensure_shipped",
    "follow_application",
    "keep",
    "latest",
    "make_template",
    "measure_now",
    "recount",
    "standings_of",
    "vote_on_waiver",
]
