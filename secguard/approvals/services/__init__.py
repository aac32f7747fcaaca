"""The use cases of approvals: call them as ``approvals.services.<name>``."""

from secguard.approvals.services.absences import end_absence, name_deputy
from secguard.approvals.services.voting import MAX_COMMENT, UNOWNED, Ballot, Wanted, close, open_requests, vote

__all__ = ["MAX_COMMENT", "UNOWNED", "Ballot", "Wanted", "close", "end_absence", "name_deputy", "open_requests", "vote"]
