"""The use cases of admission: call them as ``admission.services.<name>``."""

from secguard.admission.services.answering import (
    GateEdit,
    add_gate,
    admit,
    edit_gate,
    gate_of,
    pins,
    renew_token,
)
from secguard.admission.services.delivered import FROM_SNAPSHOTS, MAX_ANSWERS, MODES, Given, GivenPart, take_answers
from secguard.admission.services.glass import grant_glass, refuse_glass, request_glass, review_glass, withdraw_glass
from secguard.admission.services.previewing import preview
from secguard.admission.services.snapshots import chunks, snapshot

__all__ = [
    "FROM_SNAPSHOTS",
    "MAX_ANSWERS",
    "MODES",
    "GateEdit",
    "Given",
    "GivenPart",
    "add_gate",
    "admit",
    "chunks",
    "edit_gate",
    "gate_of",
    "grant_glass",
    "pins",
    "preview",
    "refuse_glass",
    "renew_token",
    "request_glass",
    "review_glass",
    "snapshot",
    "take_answers",
    "withdraw_glass",
]
