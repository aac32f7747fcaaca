"""Try a draft: over the estate as it is, and over what was judged and answered in a period. Nothing gates by it."""

from secguard.laboratory.services.asking import FORGET, SIMULATE, Draft, ask, cancel, forget_expired, give_up
from secguard.laboratory.services.replaying import replay_draft

__all__ = ["FORGET", "SIMULATE", "Draft", "ask", "cancel", "forget_expired", "give_up", "replay_draft"]
