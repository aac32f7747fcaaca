"""Keys: made, rotated, retired, revoked; others' trusted and withdrawn; and signing with ours."""

from secguard.signing.services.images import attest, lacking, look, sign_image
from secguard.signing.services.jobs import STATEMENTS, WORK, Ask, ask, keep, latest_job, work
from secguard.signing.services.keys import (
    OVERLAP_DAYS,
    NewKey,
    create_key,
    retire_key,
    revoke_key,
    rotate_key,
    sign,
)
from secguard.signing.services.standing import (
    ENVIRONMENTS,
    RECALLED,
    TAKE_AWAY,
    Reach,
    known_environments,
    lift_recall,
    note_attestations,
    reach_of,
    recall,
    recalled,
    take_away,
    withdraw_signatures,
)
from secguard.signing.services.trust import Trust, trust_key, withdraw_trust

__all__ = [
    "ENVIRONMENTS",
    "OVERLAP_DAYS",
    "RECALLED",
    "STATEMENTS",
    "TAKE_AWAY",
    "WORK",
    "Ask",
    "NewKey",
    "Reach",
    "Trust",
    "ask",
    "attest",
    "create_key",
    "keep",
    "known_environments",
    "lacking",
    "latest_job",
    "lift_recall",
    "look",
    "note_attestations",
    "reach_of",
    "recall",
    "recalled",
    "retire_key",
    "revoke_key",
    "rotate_key",
    "sign",
    "sign_image",
    "take_away",
    "trust_key",
    "withdraw_signatures",
    "withdraw_trust",
    "work",
]
