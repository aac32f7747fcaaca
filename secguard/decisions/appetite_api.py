"""``/api/v1/appetite/``: the versions of the risk appetite."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import User
from secguard.decisions import queries, services
from secguard.decisions.appetite import parse_appetite
from secguard.decisions.models import RiskAppetite
from secguard.errors import NotFound


class RowDocument(serializers.Serializer[Any]):
    name = serializers.CharField()
    when = serializers.DictField()
    approvers = serializers.DictField(child=serializers.IntegerField())
    max_days = serializers.IntegerField()
    not_affected_max_days = serializers.IntegerField(allow_null=True)
    fix_within_days = serializers.IntegerField(allow_null=True)
    escalate_after_hours = serializers.IntegerField(help_text="how long a request may wait")
    escalate_to = serializers.CharField(allow_null=True, help_text="the role that may then fill any seat")


class SsvcRowDocument(serializers.Serializer[Any]):
    row = serializers.CharField()
    when = serializers.DictField(child=serializers.CharField())
    outcome = serializers.CharField()
    fix_within_days = serializers.IntegerField(allow_null=True)


class WarningDocument(serializers.Serializer[Any]):
    line = serializers.IntegerField()
    column = serializers.IntegerField()
    message = serializers.CharField()


class SsvcDocument(serializers.Serializer[Any]):
    """The table that gives vulnerabilities their deadlines in place of the rows."""

    table = serializers.CharField()
    title = serializers.CharField()
    source = serializers.CharField(allow_blank=True, help_text="where it was published")  # type: ignore[assignment]
    points = serializers.ListField(child=serializers.CharField())
    fix_within_days = serializers.DictField(child=serializers.IntegerField(allow_null=True), help_text="by outcome")
    impact = serializers.CharField(allow_null=True, help_text="of applications that are not named; null: assumed")
    applications = serializers.DictField(child=serializers.DictField(child=serializers.CharField()))
    assume = serializers.DictField(child=serializers.CharField(), help_text="what stands for what nobody knows")
    rows = SsvcRowDocument(many=True, help_text="every combination of the points")
    warnings = WarningDocument(many=True, help_text="where what is worse has more time")


class AppetiteDocument(serializers.ModelSerializer[RiskAppetite]):
    author = serializers.CharField(source="author.username", default=None, allow_null=True)
    rows = serializers.SerializerMethodField()
    ssvc = serializers.SerializerMethodField(help_text="null: the rows give every deadline")

    class Meta:
        model = RiskAppetite
        fields = (
            "number", "comment", "author", "created_at", "activated_at", "is_active", "sha256", "source", "rows",
            "ssvc",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema(responses=RowDocument(many=True))
    def get_rows(self, row: RiskAppetite) -> list[dict[str, Any]]:
        return queries.appetite_table(parse_appetite(row.source))

    @extend_schema_field(SsvcDocument(allow_null=True))
    def get_ssvc(self, row: RiskAppetite) -> dict[str, Any] | None:
        return queries.ssvc_document(parse_appetite(row.source))


class AppetiteRequest(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=65536, trim_whitespace=False, help_text="the table, in YAML"
    )
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=300)
    activate = serializers.BooleanField(required=False, default=False)


class AppetiteViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[RiskAppetite]):
    """The risk appetite: who must approve what, for how long at most, by when what must be fixed."""

    queryset = RiskAppetite.objects.none()
    serializer_class = AppetiteDocument
    lookup_field = "number"
    lookup_value_regex = r"[0-9]{1,9}"
    ordering_fields = ("number",)
    ordering = "-number"

    def get_queryset(self) -> QuerySet[RiskAppetite]:
        services.active_appetite()
        return RiskAppetite.objects.select_related("author")

    @property
    def _user(self) -> User:
        return self.request.user  # type: ignore[return-value]

    def retrieve(self, request: Request, number: str) -> Response:
        """One version."""
        return self._one(int(number))

    @extend_schema(responses=AppetiteDocument, filters=False)
    @action(detail=False, pagination_class=None)
    def active(self, request: Request) -> Response:
        """The version in force."""
        return self._one(services.active_appetite()[0].number)

    @extend_schema(request=AppetiteRequest, responses={201: AppetiteDocument})
    def create(self, request: Request) -> Response:
        """Keep a new version; with `activate` it is in force at once. Faults are listed with line and column."""
        sent = AppetiteRequest(data=request.data)
        sent.is_valid(raise_exception=True)
        row = services.create_appetite(actor=self._user, **sent.validated_data)
        return self._one(row.number, status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=AppetiteDocument)
    @action(detail=True, methods=["post"])
    def activate(self, request: Request, number: str) -> Response:
        """Put a version in force; open deadlines are counted anew."""
        return self._one(services.activate_appetite(int(number), actor=self._user).number)

    def _one(self, number: int, code: int = status.HTTP_200_OK) -> Response:
        row = self.get_queryset().filter(number=number).first()
        if row is None:
            raise NotFound(f"There is no version {number} of the risk appetite.")
        return Response(AppetiteDocument(row).data, status=code)
