"""``/api/v1/events/…``: what happened, how often, how much it takes and for how long it is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import django_filters
from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.queries import application_slugs
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.events import keeping, queries
from secguard.events.models import KIND_CHOICES, Event, Tally
from secguard.events.queries.filters import EventFilter, NarrowFilter, StoryFilter, window
from secguard.events.ranges import Step
from secguard.events.record import Kind
from secguard.events.services.ageing import days_kept
from secguard.events.services.retention import set_days
from secguard.findings.severity import LABELS, Severity
from secguard.web.pagination import CursorPages
from secguard.web.parameters import choice_of, number_of

MOST_DAYS: Final = {Step.HOUR: 14, Step.DAY: 180}
"""How far back a series goes."""


class StorySearch(StoryFilter):
    search = django_filters.CharFilter(method="by_text", max_length=200, help_text="In title and rule, in any case.")

    def by_text(self, rows: Any, _name: str, text: str) -> Any:
        return queries.matching(rows, text)


class EventSearch(EventFilter):
    search = django_filters.CharFilter(
        method="by_text", max_length=200, help_text="In title and rule of its story, in any case."
    )

    def by_text(self, rows: Any, _name: str, text: str) -> Any:
        user: Any = self.request and self.request.user
        return queries.searched(rows, user, text, *window(self.form.cleaned_data, timezone.now()))


class StoryPages(CursorPages):
    """Pages of the heads of ``hours``, which the view sets: those are counted, and heads are not."""

    count_bound = queries.COUNTED
    hours: Any = None

    def counted(self, queryset: Any) -> tuple[int, bool]:
        return queries.count_heads(self.hours)


class SeverityWord(serializers.CharField):
    def to_representation(self, value: Any) -> str:
        return LABELS[Severity(value)]


class _Owned(serializers.Serializer[Any]):
    """What says whose a row is; its application by the slug that the list looked up."""

    application = serializers.SerializerMethodField()

    @extend_schema_field(serializers.CharField(allow_null=True, help_text="its slug"))
    def get_application(self, row: Any) -> str | None:
        slug: str | None = self.context["slugs"].get(row.application_id)
        return slug


class StoredEventSerializer(_Owned, serializers.ModelSerializer[Event]):
    id = serializers.CharField(source="key", help_text="its kind, its day and a number")
    kind = serializers.ChoiceField(choices=KIND_CHOICES)
    severity = SeverityWord(help_text=", ".join(LABELS))
    sensor = serializers.IntegerField(source="sensor_id", allow_null=True)
    detail = serializers.DictField(help_text="what its source told, masked")
    count = serializers.IntegerField(help_text="how often it happened between this row and the one before")

    class Meta:
        model = Event
        fields = [
            "id", "kind", "at", "received_at", "source", "rule", "title", "severity", "outcome", "sensor", "cluster",
            "namespace", "workload", "workload_id", "host", "application", "digest", "actor", "story", "ref", "detail",
            "count",
        ]  # fmt: skip
        read_only_fields = fields


class StorySerializer(_Owned, serializers.ModelSerializer[Tally]):
    kind = serializers.ChoiceField(choices=KIND_CHOICES)
    severity = serializers.SerializerMethodField()
    count = serializers.SerializerMethodField()
    first_at = serializers.SerializerMethodField()
    last_at = serializers.SerializerMethodField()

    class Meta:
        model = Tally
        fields = [
            "story", "kind", "source", "rule", "title", "severity", "outcome", "cluster", "namespace", "workload",
            "workload_id", "application", "digest", "count", "first_at", "last_at",
        ]  # fmt: skip
        read_only_fields = fields

    def _told(self, row: Tally) -> queries.Told:
        alone = queries.Told(row.count, row.first_at, row.last_at, row.severity)
        told: queries.Told = self.context["totals"].get(row.story, alone)
        return told

    @extend_schema_field(serializers.CharField(help_text="the worst in the period"))
    def get_severity(self, row: Tally) -> str:
        return LABELS[Severity(self._told(row).severity)]

    @extend_schema_field(serializers.IntegerField(help_text="in the period"))
    def get_count(self, row: Tally) -> int:
        return self._told(row).count

    @extend_schema_field(serializers.DateTimeField)
    def get_first_at(self, row: Tally) -> Any:
        return self._told(row).first_at

    @extend_schema_field(serializers.DateTimeField)
    def get_last_at(self, row: Tally) -> Any:
        return self._told(row).last_at


class PointSerializer(serializers.Serializer[Any]):
    at = serializers.DateTimeField(help_text="when the step begins")
    count = serializers.IntegerField(source="value")
    median = serializers.FloatField(source="band.median", default=None, allow_null=True)
    low = serializers.FloatField(source="band.low", default=None, allow_null=True)
    high = serializers.FloatField(source="band.high", default=None, allow_null=True)
    is_outside = serializers.BooleanField(help_text="of the normal range")
    is_whole = serializers.BooleanField(help_text="false: the step is not over")


class SeriesSerializer(serializers.Serializer[Any]):
    step = serializers.ChoiceField(choices=[s.value for s in Step])
    points = PointSerializer(many=True)


class CostSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField()
    rows = serializers.IntegerField()
    bytes = serializers.IntegerField()
    per_day = serializers.FloatField(allow_null=True, help_text="rows a day, over the last seven whole days")
    bytes_per_day = serializers.FloatField(allow_null=True)
    days = serializers.IntegerField(help_text="for how long it is kept")
    expected_rows = serializers.IntegerField(source="expected.rows", default=None, allow_null=True)
    expected_bytes = serializers.IntegerField(
        source="expected.bytes", default=None, allow_null=True, help_text="once its days are reached, at this rate"
    )


class StorageSerializer(serializers.Serializer[Any]):
    measured = serializers.DateField(allow_null=True, help_text="none: not measured yet")
    kinds = CostSerializer(many=True)


class RetentionSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=KIND_CHOICES)
    days = serializers.IntegerField()
    default = serializers.IntegerField()


class RetentionEditSerializer(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=KIND_CHOICES)
    days = serializers.IntegerField(
        allow_null=True, min_value=1, max_value=100_000, help_text="none: as long as where nobody has said so"
    )


class RetentionsEditSerializer(serializers.Serializer[Any]):
    kinds = serializers.ListField(child=RetentionEditSerializer(), allow_empty=False, max_length=len(Kind))


class EventViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Event]):
    """What happened: changes, gates, admissions, promotions, and what sensors saw."""

    queryset = Event.objects.none()
    serializer_class = StoredEventSerializer
    filterset_class: Any = EventSearch
    lookup_field = "key"
    lookup_value_regex = queries.KEY
    ordering = "-at"

    @property
    def user(self) -> Any:
        return self.request.user

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return queries.events(self.user)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Events that were kept in full, the newest first."""
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(StoredEventSerializer(rows, many=True, context=self._slugs(rows)).data)

    def retrieve(self, request: Request, key: str) -> Response:
        """One event in full."""
        event = queries.find(self.user, key)
        return Response(StoredEventSerializer(event, context=self._slugs([event])).data)

    def _slugs(self, rows: Any) -> dict[str, Any]:
        wanted = sorted({row.application_id for row in rows if row.application_id})
        return {**self.get_serializer_context(), "slugs": application_slugs(wanted) if wanted else {}}

    @extend_schema(responses=StorySerializer(many=True))
    @action(
        detail=False,
        queryset=Tally.objects.none(),
        filterset_class=StorySearch,
        serializer_class=StorySerializer,
        pagination_class=StoryPages,
        ordering="-last_at",
    )
    def stories(self, request: Request) -> Response:
        """What is the same as one row, with how often it came in the period; the last heard first."""
        of_hours: Any = queries.stories(self.user)
        hours: Any = self.filter_queryset(of_hours)
        heads: Any = queries.heads(hours)
        pages: Any = self.paginator
        pages.hours = hours
        rows: Any = self.paginate_queryset(heads) or []
        context = self._slugs(rows) | {"totals": queries.totals(hours, [row.story for row in rows])}
        return self.get_paginated_response(StorySerializer(rows, many=True, context=context).data)

    @extend_schema(
        responses=SeriesSerializer,
        parameters=[
            OpenApiParameter("step", OpenApiTypes.STR, enum=[s.value for s in Step], description="Default: hour."),
            OpenApiParameter(
                "days",
                {"type": "integer", "minimum": 1, "maximum": max(MOST_DAYS.values())},
                description=f"How far back; by the hour at most {MOST_DAYS[Step.HOUR]}. Default: 7.",
            ),
        ],
    )
    @action(
        detail=False,
        queryset=Tally.objects.none(),
        filterset_class=NarrowFilter,
        pagination_class=None,
        serializer_class=SeriesSerializer,
    )
    def series(self, request: Request) -> Response:
        """How much came each hour or day, with the range that is normal for it."""
        step = Step(choice_of(request, "step", tuple(s.value for s in Step), Step.HOUR.value))
        days = number_of(request, "days", least=1, most=MOST_DAYS[step]) or 7
        of_hours: Any = queries.stories(self.user)
        rows: Any = self.filter_queryset(of_hours)
        now = timezone.now()
        return Response(SeriesSerializer(queries.series(rows, now - timedelta(days=days), now, step)).data)

    @extend_schema(responses=StorageSerializer)
    @action(detail=False, filterset_class=None, pagination_class=None, serializer_class=StorageSerializer)
    def storage(self, request: Request) -> Response:
        """What each kind takes, and what it will take once it is as old as it may become."""
        require(self.user, Permission.EVENT_READ)
        day = queries.measured()
        return Response(StorageSerializer({"measured": day, "kinds": queries.costs(day) if day else []}).data)

    @extend_schema(responses=RetentionSerializer(many=True))
    @action(detail=False, filterset_class=None, pagination_class=None, serializer_class=RetentionSerializer)
    def retention(self, request: Request) -> Response:
        """For how many days raw detail of each kind is kept."""
        require(self.user, Permission.EVENT_READ)
        return Response(_retention(days_kept()))

    @extend_schema(request=RetentionsEditSerializer, responses=RetentionSerializer(many=True))
    @retention.mapping.patch
    def edit_retention(self, request: Request) -> Response:
        """Keep the kinds that are named for so many days, and leave the others."""
        asked = RetentionsEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        wanted = {Kind(row["kind"]): row["days"] for row in asked.validated_data["kinds"]}
        return Response(_retention(set_days(wanted, actor=self.user)))


def _retention(kept: dict[Kind, int]) -> Any:
    rows = [{"kind": k.value, "days": days, "default": keeping.DEFAULT_DAYS[k]} for k, days in kept.items()]
    return RetentionSerializer(rows, many=True).data
