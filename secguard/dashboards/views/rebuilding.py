"""What building an image anew on its base's newest image would change, row by row."""

from __future__ import annotations

from typing import Any

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.http import require_safe

from secguard import bulk
from secguard.accounts.authentication import person_of
from secguard.dashboards import queries
from secguard.errors import NotFound
from secguard.findings.models import OPEN, Finding
from secguard.findings.queries import RebuildOffer, rebuild_offer
from secguard.findings.severity import Severity
from secguard.images.models import Image
from secguard.images.queries import find_image, with_places
from secguard.web.listing import Column, Listing

CHANGES = [
    ("now", "Stands now"),
    ("after", "Would stand after"),
    ("goes", "Would go"),
    ("stays", "Would stay"),
    ("comes", "Would come"),
]


class ChangeFilter(django_filters.FilterSet):
    change = django_filters.ChoiceFilter(label="Which", choices=CHANGES, method="by_change")
    severity = django_filters.ChoiceFilter(
        label="Severity", choices=sorted(((s.value, s.label.capitalize()) for s in Severity), reverse=True)
    )

    class Meta:
        model = Finding
        fields: list[str] = []

    def __init__(self, *args: Any, offer: RebuildOffer, image: Image, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        goes, comes = Q(pk__in=bulk.among(offer.change.removed)), ~Q(image=image)
        self._rows = {
            "now": ~comes,
            "after": ~goes,
            "goes": goes,
            "stays": ~goes & ~comes,
            "comes": comes,
        }

    def by_change(self, rows: QuerySet[Finding], name: str, value: str) -> QuerySet[Finding]:
        return rows.filter(self._rows[value])


class ChangeListing(Listing):
    name = "rebuild"
    noun = "finding"
    caption = "What rebuilding on the newest base would change"
    default_sort = "-severity"
    search_hint = "CVE, rule or package"
    filterset = ChangeFilter
    search_fields = ("risk__vulnerability__name__icontains", "risk__rule__icontains", "component__purl__icontains")
    columns = (
        Column("severity", "Severity", sort="severity", first="-", value=lambda f: Severity(f.severity).label,
               css="fit-severity"),
        Column("name", "Finding", value="risk.name"),
        Column("package", "Where", value=lambda f: f.component.purl if f.component else f.path),
        Column("change", "Rebuilt", css="fit-word"),
    )  # fmt: skip

    def __init__(self, request: HttpRequest, image: Image, offer: RebuildOffer) -> None:
        comes = Q(pk__in=bulk.among(offer.change.added))
        rows = Finding.objects.filter(Q(image=image) | comes, status=OPEN)
        super().__init__(request, rows.select_related("risk__vulnerability", "component"))
        self.image = image
        self.offer = offer
        self._goes = frozenset(offer.change.removed)

    def filter_arguments(self) -> dict[str, Any]:
        return {"offer": self.offer, "image": self.image}

    def prepare(self, rows: list[Any]) -> None:
        for finding in rows:
            came = finding.image_id != self.image.pk
            finding.change = "comes" if came else "goes" if finding.pk in self._goes else "stays"


@require_safe
@login_required
def image_rebuild(request: HttpRequest, digest: str) -> HttpResponseBase:
    """Every number of the offer leads here."""
    user = person_of(request)
    image = find_image(user, digest)
    offer = rebuild_offer(image, user)
    if offer is None:
        raise NotFound(
            "Nothing newer is known to build this image on: no base of it is known here, or it is on the newest.",
            code="no-newer-base",
        )
    placed = with_places(Image.objects.filter(pk=image.pk), user).get()
    context = {"image": image, "name": queries.name_of(placed), **queries.base_of(image, user)}
    return ChangeListing(request, image, offer).respond("images/rebuild.html", "images/_rebuild.html", context)
