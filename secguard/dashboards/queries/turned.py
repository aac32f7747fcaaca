"""Verdicts that are not what they were."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import F, OuterRef, QuerySet, Subquery

from secguard.policies.facts import Gate
from secguard.policies.models import Evaluation, Verdict


def turned(since: datetime, gate: Gate = Gate.PROMOTE) -> QuerySet[Verdict]:
    """The stored answers that differ from what was answered last before ``since`` (``was``)."""
    before = Evaluation.objects.filter(image=OuterRef("image"), stage=gate, evaluated_at__lt=since)
    last = before.order_by("-id").values("verdict")[:1]
    rows: Any = Verdict.objects.filter(stage=gate, evaluated_at__gte=since).annotate(was=Subquery(last))
    found: QuerySet[Verdict] = rows.exclude(was=None).exclude(was=F("verdict"))
    return found
