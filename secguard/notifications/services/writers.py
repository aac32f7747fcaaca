"""Letters that are not news: an upper app writes each when it is sent, so that it says what holds then."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction

from secguard import bulk
from secguard.notifications.digest import Letter
from secguard.notifications.models import Message
from secguard.notifications.rhythm import MessageStatus


@dataclass(frozen=True, slots=True)
class Written:
    """A letter, and its further headers."""

    letter: Letter
    headers: tuple[tuple[str, str], ...] = ()


Writer = Callable[[str, int, datetime], Written | None]
"""(what it is about, user id, now) to the letter; None where nobody wants it any more."""

WRITERS: dict[str, Writer] = {}
"""By the word before the colon of ``Message.about``; upper apps add themselves in their ``ready``."""


def written_for(about: str, user_id: int, now: datetime) -> Written | None:
    """The letter as it is to be sent now; None where nobody wants it, or its app is gone."""
    writer = WRITERS.get(about.partition(":")[0])
    return writer(about.partition(":")[2], user_id, now) if writer else None


def write(user_id: int, about: str, *, now: datetime) -> None:
    """Put a letter into the outbox: part of the caller's transaction. Nothing where one about the same waits there."""
    columns = ("user_id", "message_id", "about", "status", "attempts", "next_at", "claim", "error", "created_at")
    name = f"<{secrets.token_hex(16)}@{settings.PUBLIC_HOST}>"
    row = (user_id, name, about, MessageStatus.WAITING.value, 0, now, "", "", now)
    with transaction.atomic():
        bulk.insert_missing(Message, columns, [row])
