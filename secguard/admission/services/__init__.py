"""The use cases of admission: call them as ``admission.services.<name>``."""

from secguard.admission.services.answering import (
    GateEdit,
    add_gate,
    admit,
    edit_gate,
    gate_of,
    pinned_name,
    pins,
    renew_token,
)
from secguard.admission.services.glass import grant_glass, refuse_glass, request_glass, review_glass, withdraw_glass

__all__ = [
    "GateEdit",
    "add_gate",
    "admit",
    "edit_gate",
    "gate_of",
    "grant_glass",
    "pinned_name",
    "pins",
    "refuse_glass",
    "renew_token",
    "request_glass",
    "review_glass",
    "withdraw_glass",
]
