"""Keys: made, rotated, retired, revoked; others' trusted and withdrawn; and signing with ours."""

from secguard.signing.services.images import attest, look, sign_image
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
from secguard.signing.services.trust import Trust, trust_key, withdraw_trust

__all__ = [
    "OVERLAP_DAYS",
    "STATEMENTS",
    "WORK",
    "Ask",
    "NewKey",
    "Trust",
    "ask",
    "attest",
    "create_key",
    "keep",
    "latest_job",
    "look",
    "retire_key",
    "revoke_key",
    "rotate_key",
    "sign",
    "sign_image",
    "trust_key",
    "withdraw_trust",
    "work",
]
