"""Findings and risks over REST."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers, viewsets
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.findings.identity import FindingKind
from secguard.findings.models import CLOSED, OPEN, Exposure, Finding, Observation, Risk
from secguard.findings.queries import compare_images, open_counts, search_findings, search_risks
from secguard.findings.services.following import DEADLINE_ROWS
from secguard.findings.severity import LABELS, Severity, from_word
from secguard.images.queries import find_image
from secguard.web.parameters import choice_of, flag_of, number_of, text_of, time_of

MAX_ID = 2**63 - 1
KINDS = tuple(k.value for k in FindingKind)


class SeverityField(serializers.ChoiceField):
    """The database's number as the word."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=[(label, label) for label in LABELS], **kwargs)

    def to_representation(self, value: Any) -> str:
        return Severity(value).label


class ObservationSerializer(serializers.ModelSerializer[Observation]):
    severity = SeverityField(read_only=True)

    class Meta:
        model = Observation
        fields = ["scanner", "reported_id", "severity", "severity_source", "fixed_versions", "suppressed", "since"]
        read_only_fields = fields


class RiskSerializer(serializers.ModelSerializer[Risk]):
    """The same finding over all images: the unit of decisions."""

    name = serializers.CharField(read_only=True, help_text="the vulnerability's id, or the rule")
    vulnerability = serializers.CharField(source="vulnerability.name", default=None, allow_null=True, read_only=True)
    severity = SeverityField(read_only=True)
    open_findings = serializers.SerializerMethodField(help_text="in images you may see; at most 1000 are counted")

    class Meta:
        model = Risk
        fields = [
            "id",
            "kind",
            "name",
            "vulnerability",
            "package",
            "rule",
            "target",
            "title",
            "severity",
            "severity_source",
            "fix_available",
            "known_exploited",
            "epss",
            "open_findings",
            "created_at",
        ]
        read_only_fields = fields

    def get_open_findings(self, risk: Risk) -> int:
        counts: dict[int, int] = self.context.get("open_counts", {})
        return counts.get(risk.pk, 0)


class RiskDetailSerializer(RiskSerializer):
    description = serializers.SerializerMethodField()
    references = serializers.SerializerMethodField()
    aliases = serializers.SerializerMethodField()

    class Meta(RiskSerializer.Meta):
        fields = [*RiskSerializer.Meta.fields, "description", "remediation", "references", "aliases"]
        read_only_fields = fields

    def get_description(self, risk: Risk) -> str:
        return risk.vulnerability.description if risk.vulnerability else risk.description

    def get_references(self, risk: Risk) -> list[str]:
        return list(risk.vulnerability.references) if risk.vulnerability else []

    def get_aliases(self, risk: Risk) -> list[str]:
        if risk.vulnerability is None:
            return []
        names = risk.vulnerability.aliases.exclude(name=risk.vulnerability.name).order_by("name")
        return list(names.values_list("name", flat=True))


class FindingSerializer(serializers.ModelSerializer[Finding]):
    image = serializers.CharField(source="image.digest")
    risk = serializers.IntegerField(source="risk_id")
    kind = serializers.CharField(source="risk.kind")
    name = serializers.CharField(source="risk.name")
    title = serializers.CharField(source="risk.title")
    purl = serializers.CharField(source="component.purl", default="")
    package = serializers.CharField(source="component.name", default="")
    version = serializers.CharField(source="component.version", default="")
    severity = SeverityField(read_only=True)
    known_exploited = serializers.BooleanField(source="risk.known_exploited")
    sources = ObservationSerializer(source="present", many=True)

    class Meta:
        model = Finding
        fields = [
            "id",
            "image",
            "risk",
            "kind",
            "name",
            "title",
            "purl",
            "package",
            "version",
            "status",
            "severity",
            "severity_source",
            "fixed_versions",
            "known_exploited",
            "path",
            "layer",
            "first_seen_at",
            "closed_at",
            "close_reason",
            "sources",
        ]
        read_only_fields = fields


def finding_rows(rows: QuerySet[Finding]) -> QuerySet[Finding]:
    """Findings with what their document shows: two queries."""
    present = Observation.objects.filter(withdrawn_at=None).order_by("scanner")
    return rows.select_related("image", "risk__vulnerability", "component").prefetch_related(
        Prefetch("observations", queryset=present, to_attr="present")
    )


_FILTERS = [
    OpenApiParameter("status", str, enum=["open", "closed", "all"], description="`open` where it is not given."),
    OpenApiParameter("severity", str, enum=list(LABELS), description="Exactly this severity."),
    OpenApiParameter("kind", str, enum=list(KINDS), description="Exactly this kind of finding."),
    OpenApiParameter("risk", int, description="The id of a risk."),
    OpenApiParameter("search", str, description="Part of a name of the vulnerability, a rule, a title or a purl."),
]


def filtered(rows: QuerySet[Finding], request: Request) -> QuerySet[Finding]:
    """``rows`` narrowed to what the query asks for."""
    status = choice_of(request, "status", (OPEN, CLOSED, "all"), OPEN)
    if status != "all":
        rows = rows.filter(status=status)
    if severity := choice_of(request, "severity", LABELS):
        rows = rows.filter(severity=from_word(severity))
    if kind := choice_of(request, "kind", KINDS):
        rows = rows.filter(risk__kind=kind)
    if (risk := number_of(request, "risk", least=1, most=MAX_ID)) is not None:
        rows = rows.filter(risk_id=risk)
    if text := text_of(request, "search"):
        rows = search_findings(rows, text)
    return rows


@extend_schema_view(list=extend_schema(parameters=_FILTERS))
class FindingViewSet(viewsets.ReadOnlyModelViewSet[Finding]):
    """Findings in images of your teams; open ones where `status` is not given."""

    serializer_class = FindingSerializer
    queryset = Finding.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-severity"
    ordering_fields = ("severity", "first_seen_at")

    def get_queryset(self) -> QuerySet[Finding]:
        user: Any = self.request.user
        rows: QuerySet[Finding] = finding_rows(Finding.objects.visible_to(user))
        return filtered(rows, self.request) if self.action == "list" else rows


@extend_schema_view(get=extend_schema(parameters=_FILTERS))
class ImageFindingList(ListAPIView[Finding]):
    """The findings of one image; open ones where `status` is not given."""

    serializer_class = FindingSerializer
    queryset = Finding.objects.none()
    ordering = "-severity"
    ordering_fields = ("severity", "first_seen_at")

    def get_queryset(self) -> QuerySet[Finding]:
        user: Any = self.request.user
        image = find_image(user, self.kwargs["digest"])
        return filtered(finding_rows(Finding.objects.filter(image=image)), self.request)


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("search", str, description="Part of a vulnerability's id, alias, rule, package or title."),
            OpenApiParameter("severity", str, enum=list(LABELS), description="Exactly this severity."),
            OpenApiParameter("kind", str, enum=list(KINDS), description="Exactly this kind of finding."),
            OpenApiParameter("known_exploited", bool, description="Whether exploitation is known."),
            OpenApiParameter("fix_available", bool, description="Whether a fix is known."),
            OpenApiParameter("open", bool, description="Only risks that stand open somewhere (or nowhere) now."),
        ]
    )
)
class RiskViewSet(viewsets.ReadOnlyModelViewSet[Risk]):
    """Risks that stand, or stood, in images of your teams."""

    serializer_class = RiskSerializer
    queryset = Risk.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-severity"
    ordering_fields = ("severity", "created_at")

    def get_serializer_class(self) -> type[RiskSerializer]:
        return RiskSerializer if self.action == "list" else RiskDetailSerializer

    def get_queryset(self) -> QuerySet[Risk]:
        user: Any = self.request.user
        rows: QuerySet[Risk] = Risk.objects.visible_to(user).select_related("vulnerability")
        return self._filtered(rows) if self.action == "list" else rows

    def _filtered(self, rows: QuerySet[Risk]) -> QuerySet[Risk]:
        request: Request = self.request
        if text := text_of(request, "search"):
            rows = search_risks(rows, text)
        rows = by_facts(rows, request)
        if (is_open := flag_of(request, "open")) is not None:
            user: Any = request.user
            here = Exists(Finding.objects.visible_to(user).filter(risk=OuterRef("pk"), status=OPEN))
            rows = rows.filter(here if is_open else ~here)
        return rows

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            rows = args[0] if kwargs.get("many") else [args[0]]
            user: Any = self.request.user
            counts = open_counts([r.pk for r in rows], user)
            kwargs["context"] = {**self.get_serializer_context(), "open_counts": counts}
        return super().get_serializer(*args, **kwargs)


Row = TypeVar("Row", Risk, Exposure)


def by_facts(rows: QuerySet[Row], request: Request) -> QuerySet[Row]:
    """``rows`` narrowed by what risks and exposures have in common."""
    if severity := choice_of(request, "severity", LABELS):
        rows = rows.filter(severity=from_word(severity))
    if kind := choice_of(request, "kind", KINDS):
        rows = rows.filter(kind=kind)
    for name in ("known_exploited", "fix_available"):
        if (flag := flag_of(request, name)) is not None:
            rows = rows.filter(**{name: flag})
    return rows


class DeadlineInputSerializer(serializers.Serializer[Any]):
    """One point of an SSVC table."""

    point = serializers.CharField()
    value = serializers.CharField()
    why = serializers.CharField(help_text="what it was taken from")
    is_assumed = serializers.BooleanField(help_text="nothing was known: the worse value stands for it")


class DeadlineSerializer(serializers.Serializer[Any]):
    """The row of the risk appetite in force that gives the deadline."""

    row = serializers.CharField()
    days = serializers.IntegerField(allow_null=True, help_text="from when it was first seen; null: no deadline")
    outcome = serializers.CharField(allow_blank=True, help_text="of an SSVC table")
    words = serializers.CharField(help_text="all of it in one line")
    inputs = DeadlineInputSerializer(many=True, help_text="of an SSVC table")


class ExposureSerializer(serializers.ModelSerializer[Exposure]):
    """A risk in the newest image of a repository: the unit of work and of deadlines."""

    name = serializers.CharField(source="risk.name")
    title = serializers.CharField(source="risk.title")
    package = serializers.CharField(source="risk.package")
    repository = serializers.CharField(source="repository.name")
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    severity = SeverityField(read_only=True)
    decision = serializers.IntegerField(source="decision_id", allow_null=True, help_text="the decision that covers it")
    deadline = serializers.SerializerMethodField(help_text="what gives it `due_at`; null once it is resolved")

    class Meta:
        model = Exposure
        fields = [
            "id",
            "risk",
            "kind",
            "name",
            "title",
            "package",
            "repository",
            "application",
            "severity",
            "known_exploited",
            "fix_available",
            "since",
            "due_at",
            "deadline",
            "resolved_at",
            "decision",
            "decided_until",
        ]
        read_only_fields = fields

    @extend_schema_field(DeadlineSerializer(allow_null=True))
    def get_deadline(self, exposure: Exposure) -> dict[str, Any] | None:
        found = self.context["deadlines"].get(exposure.pk) if exposure.resolved_at is None else None
        return dict(DeadlineSerializer(found).data) if found is not None else None


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("severity", str, enum=list(LABELS), description="Exactly this severity."),
            OpenApiParameter("kind", str, enum=list(KINDS), description="Exactly this kind of finding."),
            OpenApiParameter("known_exploited", bool, description="Whether exploitation is known."),
            OpenApiParameter("fix_available", bool, description="Whether a fix is known."),
            OpenApiParameter("covered", bool, description="Whether a decision covers it now."),
            OpenApiParameter("due_before", OpenApiTypes.DATETIME, description="To be fixed before this instant."),
            OpenApiParameter("risk", int, description="The id of a risk."),
            OpenApiParameter("repository", str, description="A repository's name."),
            OpenApiParameter("application", str, description="An application's slug."),
            OpenApiParameter("resolved", bool, description="`true`: what the newest image no longer has."),
        ]
    )
)
class ExposureViewSet(viewsets.ReadOnlyModelViewSet[Exposure]):
    """What is to be done: risks in the newest image of each repository, with their deadlines."""

    serializer_class = ExposureSerializer
    queryset = Exposure.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "due_at"
    ordering_fields = ("due_at", "severity", "since")

    def get_queryset(self) -> QuerySet[Exposure]:
        user: Any = self.request.user
        rows: QuerySet[Exposure] = Exposure.objects.visible_to(user)
        rows = rows.select_related("risk__vulnerability", "repository", "application")
        return self._filtered(rows) if self.action == "list" else rows

    def get_serializer(self, *args: Any, **kwargs: Any) -> serializers.BaseSerializer[Any]:
        shown = args[0] if args else []
        ids = [e.pk for e in ([shown] if isinstance(shown, Exposure) else shown) if e.resolved_at is None]
        kwargs["context"] = self.get_serializer_context()
        kwargs["context"]["deadlines"] = {pk: given for rows in DEADLINE_ROWS for pk, given in rows(ids).items()}
        return self.get_serializer_class()(*args, **kwargs)

    def _filtered(self, rows: QuerySet[Exposure]) -> QuerySet[Exposure]:
        request: Request = self.request
        rows = by_facts(rows, request).filter(resolved_at__isnull=not flag_of(request, "resolved"))
        for name, path in (("repository", "repository__name"), ("application", "application__slug")):
            if text := text_of(request, name):
                rows = rows.filter(**{path: text})
        if (risk := number_of(request, "risk", least=1, most=MAX_ID)) is not None:
            rows = rows.filter(risk_id=risk)
        if before := time_of(request, "due_before"):
            rows = rows.filter(due_at__lt=before)
        if (covered := flag_of(request, "covered")) is not None:
            now = Q(decided_until__gt=timezone.now())
            rows = rows.filter(now if covered else ~now)
        return rows


class DifferenceSerializer(serializers.Serializer[Any]):
    image = serializers.CharField()
    against = serializers.CharField(allow_null=True, help_text="null: this image is the first of its repository")
    introduced = FindingSerializer(many=True)
    fixed = FindingSerializer(many=True)
    carried_over = serializers.IntegerField(help_text="how many stand in both")


class ImageDifference(APIView):
    """What one image of a repository changed against another: introduced, fixed, carried over."""

    @extend_schema(
        responses=DifferenceSerializer,
        parameters=[OpenApiParameter("against", str, description="A digest; the image before it where not given.")],
    )
    def get(self, request: Request, digest: str) -> Response:
        user: Any = request.user
        image = find_image(user, digest)
        against = text_of(request, "against")
        difference = compare_images(image, find_image(user, against) if against else None, user)
        return Response(
            {
                "image": image.digest,
                "against": difference.against.digest if difference.against else None,
                "introduced": FindingSerializer(finding_rows(difference.introduced), many=True).data,
                "fixed": FindingSerializer(finding_rows(difference.fixed), many=True).data,
                "carried_over": difference.carried_over,
            }
        )
