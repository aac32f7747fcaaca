"""Set targets up, and send them what waits: call these as ``exports.services.<name>``."""

from secguard.exports.services.delivering import deliver, look
from secguard.exports.services.setting_up import (
    Start,
    TargetEdit,
    add_target,
    edit_target,
    move_target,
    pause_target,
    remove_target,
    renew_secret,
    resume_target,
)
from secguard.exports.services.testing import deliver_test, send_test

__all__ = [
    "Start",
    "TargetEdit",
    "add_target",
    "deliver",
    "deliver_test",
    "edit_target",
    "look",
    "move_target",
    "pause_target",
    "remove_target",
    "renew_secret",
    "resume_target",
    "send_test",
]
