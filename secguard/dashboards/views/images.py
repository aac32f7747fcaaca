"""Images: the list, and one image's *may it run, and why*."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.dashboards import queries
from secguard.decisions.queries import applicable_for_image
from secguard.findings.identity import FindingKind
from secguard.findings.models import CLOSED, OPEN, Finding
from secguard.findings.queries import compare_images
from secguard.findings.severity import Severity
from secguard.images.models import Image, ImageComponent, Repository
from secguard.images.queries import find_image, search, with_places
from secguard.planning.measured import MeasuredFilter
from secguard.policies.facts import Gate
from secguard.policies.services import document_of, verdict_of
from secguard.promotion.queries import journey_of
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.scans.queries import shown_references
from secguard.scans.services.matching import data_of
from secguard.signing.views import beside
from secguard.web import htmx
from secguard.web.filters import ChipFilter, days_ago
from secguard.web.listing import Column, Listing
from secguard.web.wording import split_host

WORST_FIRST = sorted(((s.value, s.label.capitalize()) for s in Severity), reverse=True)
PLACES = {"team": "application__team__slug", "application": "application__slug", "repository": "name"}
MAX_RISKS = 200
VERDICTS = [("pass", "Pass"), ("warn", "Warn"), ("block", "Block"), ("unknown", "Not judged")]


class ImageFilter(MeasuredFilter):
    severity = django_filters.ChoiceFilter(label="Worst severity", choices=WORST_FIRST, field_name="worst_severity")
    verdict = django_filters.ChoiceFilter(label="May be promoted", choices=VERDICTS, method="by_verdict")
    current = django_filters.ChoiceFilter(
        label="Which", choices=[("true", "Newest of each")], method="at_a_place", empty_label="All images"
    )
    team = ChipFilter(label="Team", method="at_a_place")
    application = ChipFilter(label="Application", method="at_a_place")
    repository = ChipFilter(label="Repository", method="at_a_place")
    risk = ChipFilter(label="Risk", method="with_risk")
    environment = ChipFilter(label="Environment", method="at_a_place")
    turned = ChipFilter(label="Verdict turned within days", method="by_turn")

    class Meta:
        model = Image
        fields: list[str] = []

    def by_verdict(self, rows: QuerySet[Image], name: str, value: str) -> QuerySet[Image]:
        judged: Any = rows  # annotated by ``queries.image_rows``
        found: QuerySet[Image] = judged.filter(verdict_word=None if value == "unknown" else value)
        return found

    def filter_queryset(self, queryset: QuerySet[Image]) -> QuerySet[Image]:
        """Where an image lies and whether it is the newest there are asked together: the newest *of that place*."""
        rows: QuerySet[Image] = super().filter_queryset(queryset)
        words = {path: self.form.cleaned_data.get(name) for name, path in PLACES.items()}
        asked = {path: word for path, word in words.items() if word}
        newest = self.form.cleaned_data.get("current")
        environment = self.form.cleaned_data.get("environment")
        if not asked and not newest and not environment:
            return rows
        places = Repository.objects.visible_to(person_of(self.request)).filter(**asked)
        places = places.filter(queries.in_environment(environment or ""))
        if newest:
            return rows.filter(pk__in=places.exclude(newest_image=None).values("newest_image_id"))
        return rows.filter(pk__in=Image.objects.filter(places__repository__in=places).values("pk"))

    def at_a_place(self, rows: QuerySet[Image], name: str, value: str) -> QuerySet[Image]:
        return rows  # ``filter_queryset`` asks for all of them at once

    def by_turn(self, rows: QuerySet[Image], name: str, value: str) -> QuerySet[Image]:
        """``7``: judged otherwise for promotion than so many days ago, 1 to 365; anything else finds nothing."""
        since = days_ago(value, timezone.now())
        return rows.none() if since is None else rows.filter(pk__in=queries.turned(since).values("image_id"))

    def with_risk(self, rows: QuerySet[Image], name: str, value: str) -> QuerySet[Image]:
        """``7`` or ``7,9``: images in which one of these risks stands open."""
        ids = [int(i) for i in value.split(",")[:MAX_RISKS] if i.isascii() and i.isdigit() and len(i) < 19]
        open_ones = Finding.objects.filter(image=OuterRef("pk"), risk_id__in=ids, status=OPEN)
        return rows.filter(Exists(open_ones))


class ImageListing(Listing):
    name = "images"
    noun = "image"
    caption = "Images that you may see"
    default_sort = "-seen"
    search_hint = "Repository, tag or digest"
    filterset = ImageFilter
    columns = (
        Column("image", "Image", value="name"),
        Column("verdict", "May be promoted", value="verdict_word", css="fit-word"),
        Column(
            "severity",
            "Open findings",
            sort=("worst_severity", "open_findings"),
            first="-",
            value=lambda image: image.open_findings,
            css="fit-counts",
        ),
        Column("application", "Application", css="fit-word"),
        Column("scanned", "Scanned", sort="last_scanned_at", first="-", value="last_scanned_at", css="fit-date"),
        Column("seen", "First seen", sort="first_seen_at", first="-", value="first_seen_at", css="fit-date wide-only"),
        Column("digest", "Digest", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        for image in rows:
            image.name, image.application = queries.name_of(image), application_of(image)

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return search(queryset, person_of(self.request), text)


def application_of(image: Any) -> str:
    names = {p.repository.application.name for p in image.seen_places if p.repository.application}
    return ", ".join(sorted(names))


@require_safe
@login_required
def image_list(request: HttpRequest) -> HttpResponseBase:
    listing = ImageListing(request, queries.image_rows(person_of(request)))
    return listing.respond("images/list.html", "images/_list.html", {"begin_url": reverse("begin")})


class FindingFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(
        label="Status", choices=[(OPEN, "Open"), (CLOSED, "Closed")], method="by_status", empty_label="Open and closed"
    )
    severity = django_filters.ChoiceFilter(label="Severity", choices=WORST_FIRST)
    kind = django_filters.ChoiceFilter(
        label="Kind", choices=[(k.value, k.value.capitalize()) for k in FindingKind], field_name="risk__kind"
    )

    brought = django_filters.ChoiceFilter(
        label="From", choices=[("base", "The base image"), ("own", "Its own layers")], method="by_origin"
    )
    layer = ChipFilter(label="Layer", method="in_layer")

    class Meta:
        model = Finding
        fields: list[str] = []

    def __init__(self, *args: Any, image: Image, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._image = image
        if image.base_image_id is None:
            del self.filters["brought"]

    def by_origin(self, rows: QuerySet[Finding], name: str, value: str) -> QuerySet[Finding]:
        judged: Any = rows  # annotated by ``queries.image_findings``
        names = queries.base_names(self._image)
        found: QuerySet[Finding] = (judged.filter if value == "base" else judged.exclude)(came_with__in=names)
        return found

    def in_layer(self, rows: QuerySet[Finding], name: str, value: str) -> QuerySet[Finding]:
        annotated: Any = rows
        found: QuerySet[Finding] = annotated.filter(came_with__in=queries.same_layer(self._image, value))
        return found

    def by_status(self, rows: QuerySet[Finding], name: str, value: str) -> QuerySet[Finding]:
        return rows.filter(status=value)


class FindingListing(Listing):
    name = "findings"
    noun = "finding"
    caption = "Findings of this image"
    default_sort = "-severity"
    search_hint = "CVE, rule or package"
    filterset = FindingFilter
    columns = (
        Column(
            "severity",
            "Severity",
            sort="severity",
            first="-",
            value=lambda f: Severity(f.severity).label,
            css="fit-severity",
        ),
        Column("name", "Finding", value="risk.name"),
        Column("package", "Where", value=lambda f: f.component.purl if f.component else f.path),
        Column("fix", "Fixed in", value=lambda f: ", ".join(f.fixed_versions), css="fit-word"),
        Column("decision", "Decision", value=lambda f: getattr(f, "decision_words", ""), css="fit-word"),
        Column("sources", "Found by", value=lambda f: ", ".join(getattr(f, "sources", [])), css="fit-date"),
        Column(
            "first_seen", "First seen", sort="first_seen_at", first="-", value="first_seen_at", css="fit-date wide-only"
        ),
        Column("status", "Status", hidden=True),
        Column("layer", "Layer", value=lambda f: f.from_layer.position + 1 if f.from_layer else "", hidden=True),
        Column("base", "From the base", value=lambda f: "yes" if f.from_layer and f.from_layer.is_base else "no",
               hidden=True),
    )  # fmt: skip

    def __init__(self, request: HttpRequest, image: Image) -> None:
        super().__init__(request, queries.image_findings(image))
        self.image = image

    def filter_arguments(self) -> dict[str, Any]:
        return {"image": self.image}

    @cached_property
    def layers(self) -> list[queries.LayerRow]:
        return queries.layers_of(self.image)

    @cached_property
    def _positions(self) -> dict[str, queries.LayerRow]:
        return queries.positions_of(self.layers)

    def prepare(self, rows: list[Any]) -> None:
        """Each finding: who reports it, the layer that it came with, and the decision that covers it."""
        queries.with_sources(rows)
        for finding in rows:
            finding.from_layer = self._positions.get(finding.came_with)
        decisions = applicable_for_image(self.image.pk, timezone.now())
        for finding in rows:
            finding.decision = decisions.get(finding.risk_id)
            finding.decision_words = finding.decision.kind.value if finding.decision else ""

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return queryset.filter(
            Q(risk__vulnerability__name__icontains=text)
            | Q(risk__rule__icontains=text)
            | Q(component__purl__icontains=text)
        )


@require_safe
@login_required
def image_detail(request: HttpRequest, digest: str) -> HttpResponseBase:
    user: Any = request.user
    image = find_image(user, digest)
    findings = FindingListing(request, image)
    if htmx.wants_fragment(request) or request.GET.get("format") == "csv":
        return findings.respond("images/detail.html", "images/_findings.html", {"image": image})
    placed = with_places(Image.objects.filter(pk=image.pk), user).get()
    gate = Gate(request.GET["stage"]) if request.GET.get("stage") in set(Gate) else Gate.PROMOTE
    difference = compare_images(image, None, user)
    document = document_of(verdict_of(image, gate))
    host, path = split_host(queries.name_of(placed))
    context = {
        "image": placed,
        "name": queries.name_of(placed),
        "host": host,
        "path": path,
        "gates": [g.value for g in Gate],
        "gate": gate.value,
        "verdict": document,
        **_answer(document),
        "evaluated_at": datetime.fromisoformat(document["evaluated_at"]),
        "data_updated_at": datetime.fromisoformat(told) if (told := document.get("data_updated_at")) else None,
        "valid_until": datetime.fromisoformat(document["valid_until"]),
        "stored": queries.verdicts_of(image),
        "journey": journey_of(placed, user, timezone.now()),
        "difference": difference,
        "lineage": queries.lineage(image, user),
        "workloads": queries.running(image, user)[:50],
        "scans": Scan.objects.filter(image=image).order_by("-id")[:20],
        "components": image.components.count(),
        "layers": findings.layers,
        **queries.base_of(image, user),
        "indexes": queries.platforms_of(image, user),
        **_last_scan(image, user),
        "may_scan": user.can(Permission.SCAN_REQUEST),
        **beside(image, user),
    }
    return findings.respond("images/detail.html", "images/_findings.html", context)


def _last_scan(image: Image, user: User) -> dict[str, Any]:
    """The last scan that ended well, and who asked for it where that may be read."""
    rows = Scan.objects.filter(image=image, status=ScanStatus.FINISHED).select_related("requested_by")
    scan = rows.order_by("-id").first()
    if scan is None:
        return {"last_scan": None, "data_at": None}
    is_known = shown_references(user, [scan])[scan.pk] == scan.reference
    told = rows.filter(database_updated_at__isnull=False).order_by("-id")
    # What our own matching knows of is held against every advisory that comes, without another scan.
    own = data_of(image)
    return {
        "last_scan": scan,
        "asked_by": scan.requested_by if is_known else None,
        "data_at": own or told.values_list("database_updated_at", flat=True).first(),
    }


def _answer(document: dict[str, Any]) -> dict[str, Any]:
    """Why in short: the reasons that stop it, those that only warn, and how many upgrades would help."""
    blocking = [r for r in document["reasons"] if r["effect"] == "block"]
    upgrades = {(u["name"], u["from"]) for r in blocking for u in r["remedy"].get("upgrades", ())}
    return {
        "blocking": blocking,
        "warning": [r for r in document["reasons"] if r["effect"] != "block"],
        "upgrades": len(upgrades),
    }


class ComponentFilter(django_filters.FilterSet):
    layer = ChipFilter(label="Layer", method="in_layer")

    class Meta:
        model = ImageComponent
        fields: list[str] = []

    def __init__(self, *args: Any, image: Image, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._image = image

    def in_layer(self, rows: QuerySet[ImageComponent], name: str, value: str) -> QuerySet[ImageComponent]:
        return rows.filter(layer__in=queries.same_layer(self._image, value))


class ComponentListing(Listing):
    filterset = ComponentFilter
    name = "components"
    noun = "component"
    caption = "Components of this image"
    default_sort = "name"
    search_hint = "Name or purl"
    search_fields = ("component__purl__icontains",)
    columns = (
        Column("name", "Name", sort="component__name", value="component.name"),
        Column("version", "Version", value="component.version"),
        Column("type", "Type", sort="component__type", value="component.type"),
        Column("licenses", "Licences", value=lambda c: ", ".join(c.licenses)),
        Column("path", "Path", value="path"),
        Column("purl", "purl", hidden=True),
        Column("layer", "Layer", value="layer", hidden=True),
    )

    def __init__(self, request: HttpRequest, image: Image) -> None:
        super().__init__(request, image.components.select_related("component"))
        self.image = image

    def filter_arguments(self) -> dict[str, Any]:
        return {"image": self.image}


@require_safe
@login_required
def image_components(request: HttpRequest, digest: str) -> HttpResponseBase:
    user: Any = request.user
    image = find_image(user, digest)
    listing = ComponentListing(request, image)
    placed = with_places(Image.objects.filter(pk=image.pk), user).get()
    context = {"image": image, "name": queries.name_of(placed)}
    return listing.respond("images/components.html", "images/_components.html", context)
