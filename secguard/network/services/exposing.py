"""What was seen to be spoken to from outside is exposed: risk, appetite and deadlines follow."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from secguard.accounts.services import edit_application
from secguard.network.models import Edge, Exposed


@transaction.atomic
def note(now: datetime) -> int:
    """Mark applications as reachable from outside where that was seen for the first time; returns how many.

    Once for each: whoever says otherwise afterwards knows better (a health check of a partner, a test), and is not
    contradicted every few minutes. The change is in the audit log, and follows the application as any other does.
    """
    seen = Edge.objects.from_outside().filter(destination__workload__application__isnull=False)
    whose = "destination__workload__application"
    rows = seen.exclude(**{f"{whose}__in": Exposed.objects.values("application")}).order_by(whose, "pk")
    first: dict[int, str] = {}
    for application, namespace, name in rows.values_list(whose, "destination__namespace", "destination__name"):
        first.setdefault(application, f"{namespace}/{name}")
    Exposed.objects.bulk_create(
        [Exposed(application_id=pk, first_at=now, workload=where) for pk, where in sorted(first.items())],
        ignore_conflicts=True,
    )
    for application in sorted(first):
        edit_application(application, actor=None, is_exposed=True)
    return len(first)
