"""The keys of issuers, asked for where they are not known, at most once a minute for each issuer."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db.models import Q

from secguard.accounts import assertion
from secguard.accounts.adapters import issuers
from secguard.accounts.assertion import Assertion, UnknownKey
from secguard.accounts.models import IssuerKeys
from secguard.errors import Unavailable

FRESH = timedelta(hours=1)
"""Keys that were fetched within it are used without asking again."""
STALE = timedelta(hours=24)
"""While the issuer cannot be asked, keys no older than this still count: an outage there is none here."""
ASKED_EVERY = timedelta(minutes=1)

log = structlog.get_logger(__name__)


def verified(told: Assertion, now: datetime) -> dict[str, Any]:
    """The claims of a token whose issuer an administrator trusts, by the keys that the issuer publishes.

    Raises what ``assertion.verified`` raises, and ``Unavailable`` where the keys cannot be had now.
    """
    known = IssuerKeys.objects.filter(issuer=told.issuer).first()
    is_fresh = known is not None and known.fetched_at is not None and known.fetched_at > now - FRESH
    if known is not None and is_fresh:
        try:
            return assertion.verified(told, known.keys, now)
        except UnknownKey:
            pass  # it may have been made since
    return assertion.verified(told, _asked(told, now), now)


def _asked(told: Assertion, now: datetime) -> list[dict[str, Any]]:
    issuer = told.issuer
    row, _ = IssuerKeys.objects.get_or_create(issuer=issuer)
    due = Q(asked_at=None) | Q(asked_at__lte=now - ASKED_EVERY)
    # Of many tokens that come at once, or that name keys which nobody has, one asks.
    if not IssuerKeys.objects.filter(due, issuer=issuer).update(asked_at=now):
        if _still_counts(row, now) and any(key.get("kid") == told.key_id for key in row.keys):
            return list(row.keys)
        wait = max(1, int(((row.asked_at or now) + ASKED_EVERY - now).total_seconds()))
        raise Unavailable(
            f"The key that signed this token is not among those that {issuer} had less than a minute ago, or they are "
            "being fetched right now. Try again shortly.",
            code="keys-just-fetched",
            # While somebody fetches they are there at once; else when the issuer may be asked again.
            retry_after=min(wait, 5) if row.fetched_at is None else wait,
        )
    try:
        keys = issuers.fetch_keys(issuer)
    except Unavailable as error:
        log.warning("issuer could not be asked for its keys", issuer=issuer, why=error.detail)
        if _still_counts(row, now):
            return list(row.keys)
        raise
    IssuerKeys.objects.filter(issuer=issuer).update(keys=keys, fetched_at=now)
    return keys


def _still_counts(row: IssuerKeys, now: datetime) -> bool:
    return row.fetched_at is not None and row.fetched_at > now - STALE


def forget(issuer: str) -> None:
    """What is known of an issuer that nobody trusts any longer."""
    IssuerKeys.objects.filter(issuer=issuer).delete()
