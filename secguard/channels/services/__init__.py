"""Set channels up, write down what they are to be told, and post it: call these as ``channels.services.<name>``."""

from secguard.channels.services.delivering import deliver, prune
from secguard.channels.services.following import follow
from secguard.channels.services.setting_up import (
    ChannelEdit,
    add_channel,
    edit_channel,
    remove_channel,
    renew_secret,
    send_test,
)

__all__ = [
    "ChannelEdit",
    "add_channel",
    "deliver",
    "edit_channel",
    "follow",
    "prune",
    "remove_channel",
    "renew_secret",
    "send_test",
]
