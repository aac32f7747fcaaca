"""For how long raw detail is kept: set by kind."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Invalid
from secguard.events import keeping
from secguard.events.models import Retention
from secguard.events.record import Kind
from secguard.events.services.ageing import days_kept


@transaction.atomic
def set_days(wanted: Mapping[Kind, int | None], *, actor: User | None) -> dict[Kind, int]:
    """Keep kinds for so many days (``None``: for as long as where nobody has said so); returns what holds then.

    Needs settings:edit in the whole organisation. Raises ``Invalid`` for days out of bounds. What is past its time then
    goes with the next ``age``; nothing comes back.
    """
    require(actor, Permission.SETTINGS_EDIT)
    for kind, days in wanted.items():
        if days is not None and not keeping.LEAST_DAYS <= days <= keeping.MOST_DAYS:
            raise Invalid(
                f"{days:,} days for {kind.value}; expected {keeping.LEAST_DAYS} to {keeping.MOST_DAYS:,}: for fewer, "
                "what arrives late could not be told from what is new.",
                where=kind.value,
            )
    list(Retention.objects.select_for_update().order_by("pk"))  # two who set them stand in line
    before = days_kept()
    for kind, days in wanted.items():
        if days is None or days == keeping.DEFAULT_DAYS[kind]:
            Retention.objects.filter(kind=kind).delete()
        else:
            said = {"days": days, "changed_at": timezone.now(), "changed_by": actor}
            Retention.objects.update_or_create(kind=kind, defaults=said)
    after = days_kept()
    changed = {kind.value: {"from": before[kind], "to": after[kind]} for kind in Kind if before[kind] != after[kind]}
    if changed:
        record(
            Action.RETENTION_EDIT,
            actor=actor,
            subject_type="retention",
            subject_id="events",
            subject="events",
            details=changed,
        )
    return after
