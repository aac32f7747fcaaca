"""Lists narrowed to the rows that a check of a checklist counted (``planning.counting``)."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from django.utils import timezone

from secguard import bulk
from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application
from secguard.planning.counting import COUNTED, Rows
from secguard.web.filters import ChipFilter


class MeasuredFilter(django_filters.FilterSet):
    """``<application>:<check>``, as the checklist's links say it: of the rows that one may see, those that lack what
    is asked for, those of which that is not known, or all that were looked at."""

    lacking = ChipFilter(label="Lacking", method="by_check")
    untold = ChipFilter(label="Not known", method="by_check")
    total = ChipFilter(label="Looked at", method="by_check")

    def by_check(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """None for a check of other rows, and for an application of others."""
        slug, _, check = value.partition(":")
        counting, path = COUNTED.get(check), self.request.path if self.request else ""
        found = Application.objects.visible_to(person_of(self.request)).filter(slug=slug).first()
        if counting is None or found is None or counting.of.page != path:
            return rows.none()
        measured = counting.measure([found.pk], timezone.now()).get(found.pk, Rows())
        return rows.filter(pk__in=bulk.among(sorted(getattr(measured, name))))
