"""Set trackers up, open and follow issues in them: call these as ``trackers.services.<name>``."""

from secguard.trackers.services.following import follow, open_by_rule
from secguard.trackers.services.hearing import hear_github, hear_jira
from secguard.trackers.services.opening import link_issue, open_issue, retry, unlink
from secguard.trackers.services.sending import prune, work
from secguard.trackers.services.setting_up import (
    TrackerEdit,
    add_tracker,
    ask_for_try,
    edit_tracker,
    remove_tracker,
    renew_secret,
    secret_of,
)
from secguard.trackers.services.trying import try_now

__all__ = [
    "TrackerEdit",
    "add_tracker",
    "ask_for_try",
    "edit_tracker",
    "follow",
    "hear_github",
    "hear_jira",
    "link_issue",
    "open_by_rule",
    "open_issue",
    "prune",
    "remove_tracker",
    "renew_secret",
    "retry",
    "secret_of",
    "try_now",
    "unlink",
    "work",
]
