"""Reads of feeds, imports and advisories. What the world says of flaws is the same for everybody who is signed in."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Exists, Max, OuterRef, Prefetch, Q, QuerySet
from django.db.models.functions import Lower

from secguard.advisories.entry import tidy_name
from secguard.advisories.models import Advisory, AdvisoryFlaw, AffectedRange, EcosystemData, Feed, Import
from secguard.advisories.services import ensure_defaults
from secguard.packagenames import ecosystem as looked_up
from secguard.packagenames import package as looked_up_package


def feeds() -> QuerySet[Feed]:
    """Every feed by title, those that the product knows by itself among them."""
    ensure_defaults()
    return Feed.objects.order_by(Lower("title"), "id")


def imports() -> QuerySet[Import]:
    """What was read, latest first."""
    return Import.objects.select_related("feed", "requested_by").order_by("-id")


def data_as_of() -> datetime | None:
    """The newest date that any advisories here say of themselves; ``None`` where there are none yet."""
    newest: datetime | None = EcosystemData.objects.aggregate(at=Max("data_at"))["at"]
    return newest


def advisories(search: str = "", ecosystem: str = "", package: str = "") -> QuerySet[Advisory]:
    """Advisories by the beginning of their id or any name of a flaw, and by a package of an ecosystem (``PyPI``)."""
    rows = Advisory.objects.prefetch_related(
        Prefetch("about", AdvisoryFlaw.objects.select_related("vulnerability").order_by("vulnerability__name"))
    )
    if search:
        name = tidy_name(search) or search[:100]
        about = AdvisoryFlaw.objects.filter(advisory=OuterRef("pk"), vulnerability__aliases__name=name)
        rows = rows.filter(Q(name__startswith=name) | Exists(about))
    if ecosystem or package:
        kind = looked_up(ecosystem)
        affected = AffectedRange.objects.filter(advisory=OuterRef("pk"))
        affected = affected.filter(ecosystem=kind) if ecosystem else affected
        affected = affected.filter(name=looked_up_package(kind, package)) if package else affected
        rows = rows.filter(Exists(affected))
    return rows
