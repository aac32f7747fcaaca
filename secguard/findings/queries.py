"""Reads around findings and risks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from secguard.accounts.models import User
from secguard.advisories.models import Alias
from secguard.findings.models import OPEN, Finding, Risk
from secguard.images.base import Rebuilding, Standing, rebuilding
from secguard.images.models import Component, Image, ImageComponent
from secguard.images.queries import layer_names, newest_of_kind, previous_in_lineage

COUNT_BOUND = 1000
DIFFERENCE_BOUND = 1000
FEW = 5000


def open_counts(risk_ids: Sequence[int], user: User) -> dict[int, int]:
    """{risk id: open findings in images that ``user`` may see}. One query for a page of risks."""
    rows = Finding.objects.visible_to(user).filter(risk_id__in=risk_ids, status=OPEN)
    return dict(rows.order_by().values_list("risk_id").annotate(n=Count("pk")))


def search_risks(risks: QuerySet[Risk], text: str) -> QuerySet[Risk]:
    """Risks by a part of their flaw's names, rule, package, target or title; by the beginning of a name alone where the
    text is the beginning of a CVE or GHSA, which an index answers."""
    if match := _ID.match(text.strip()):
        begins = match[1].upper() + (match[2].upper() if match[1].lower() == "cve" else match[2].lower())
        flaws = Alias.objects.filter(name__startswith=begins).values("vulnerability_id")
        return risks.filter(vulnerability__in=flaws)
    names = Alias.objects.filter(vulnerability=OuterRef("vulnerability_id"), name__icontains=text)
    return risks.filter(
        Q(Exists(names))
        | Q(rule__icontains=text)
        | Q(package__icontains=text)
        | Q(target__icontains=text)
        | Q(title__icontains=text)
    )


_ID = re.compile(r"(cve|ghsa)(-[0-9a-z][0-9a-z-]*)\Z", re.IGNORECASE)


def search_findings(findings: QuerySet[Finding], text: str) -> QuerySet[Finding]:
    """Findings by their risk (``search_risks``), or by a part of their component's purl.

    Where few risks and components fit, they are named to the database, which then goes by its indexes; where many do,
    it meets the first of them soon in any order.
    """
    risks = search_risks(Risk.objects.order_by(), text).values_list("pk", flat=True)
    components = Component.objects.order_by().filter(purl__icontains=text).values_list("pk", flat=True)
    if _ID.match(text.strip()):
        components = components.none()
    first = [list(ids[: FEW + 1]) for ids in (risks, components)]
    if max(map(len, first)) <= FEW:
        return findings.filter(Q(risk__in=first[0]) | Q(component__in=first[1]))
    return findings.filter(Q(risk__in=risks) | Q(component__in=components))


@dataclass(frozen=True, slots=True)
class Difference:
    """``introduced`` stands open in the image, ``fixed`` in the other; each bounded, worst first."""

    against: Image | None
    introduced: QuerySet[Finding]
    fixed: QuerySet[Finding]
    introduced_count: int
    fixed_count: int
    carried_over: int


def compare_images(image: Image, against: Image | None, user: User) -> Difference:
    """The difference of two images in what is open; against the one before it in its repository by default.

    By risk: a package that moved to another version and kept its flaw carries the flaw over.
    """
    other = against or previous_in_lineage(image, user)
    rows = Finding.objects.select_related("risk__vulnerability").defer("risk__vulnerability__description")
    mine = rows.filter(image=image, status=OPEN)
    if other is None:
        none = Finding.objects.none()
        return Difference(None, mine.order_by("-severity", "id")[:DIFFERENCE_BOUND], none, mine.count(), 0, 0)
    theirs = rows.filter(image=other, status=OPEN)
    in_other = Exists(theirs.filter(risk=OuterRef("risk_id")))
    in_mine = Exists(mine.filter(risk=OuterRef("risk_id")))
    introduced, fixed = mine.filter(~in_other), theirs.filter(~in_mine)
    return Difference(
        other,
        introduced.order_by("-severity", "id")[:DIFFERENCE_BOUND],
        fixed.order_by("-severity", "id")[:DIFFERENCE_BOUND],
        introduced.count(),
        fixed.count(),
        mine.filter(in_other).count(),
    )


@dataclass(frozen=True, slots=True)
class RebuildOffer:
    """What building ``image`` anew on the newest image of its base's repository would change."""

    base: Image
    newest: Image
    change: Rebuilding


def rebuild_offer(image: Image, user: User) -> RebuildOffer | None:
    """What ``image`` would gain by its base's newest image; ``None`` where no base is known that ``user`` may see, or
    the image is built on the newest. A fixed number of queries."""
    base = image.base_image
    newest = newest_of_kind(base, user) if base else None
    if base is None or newest is None or newest == base:
        return None
    change = rebuilding(_standing(image), layer_names(base), _brought(_standing(newest)))
    return RebuildOffer(base, newest, change)


def _brought(standing: Sequence[Standing]) -> list[Standing]:
    """Without what the base's own configuration is charged with: who builds on it has a configuration of their own."""
    return [finding for finding in standing if finding.layer or finding.is_component]


def _standing(image: Image) -> list[Standing]:
    """Open findings, each with its layer: its own word, else that of its component's place in the inventory."""
    places = ImageComponent.objects.filter(image=image).values_list("component_id", "layer")
    brought = dict(places)
    rows = Finding.objects.filter(image=image, status=OPEN).order_by("pk")
    return [
        Standing(pk, risk, severity, layer or brought.get(component, ""), component is not None)
        for pk, risk, severity, layer, component in rows.values_list(
            "pk", "risk_id", "severity", "layer", "component_id"
        )
    ]
