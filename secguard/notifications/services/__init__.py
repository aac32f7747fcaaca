"""Tell people, let them read, and write to them: call these as ``notifications.services.<name>``."""

from secguard.notifications.services.delivering import deliver
from secguard.notifications.services.inbox import choose, edit_preferences, mark_all_read, mark_read, prune
from secguard.notifications.services.people import ADDRESSEES, Addressee
from secguard.notifications.services.settling import settle
from secguard.notifications.services.telling import FOLLOWERS, Telling, notify, notify_many, silence

__all__ = [
    "ADDRESSEES",
    "FOLLOWERS",
    "Addressee",
    "Telling",
    "choose",
    "deliver",
    "edit_preferences",
    "mark_all_read",
    "mark_read",
    "notify",
    "notify_many",
    "prune",
    "settle",
    "silence",
]
