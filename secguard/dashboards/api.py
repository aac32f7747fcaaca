"""``/api/v1/homes/<audience>/``: the same figures as the home's page, its exports and its letters."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.dashboards.homes import DAYS, Audience, as_document
from secguard.dashboards.queries.homes import home_of
from secguard.dashboards.slices import FIELDS, PERIODS, read
from secguard.dashboards.views.homes import audience_of
from secguard.errors import Invalid
from secguard.web.parameters import BadParameter, text_of


class SliceSerializer(serializers.Serializer[Any]):
    team = serializers.CharField(allow_blank=True, help_text="slug; empty: all that you may see")
    application = serializers.CharField(allow_blank=True, help_text="slug")
    environment = serializers.CharField(allow_blank=True)
    days = serializers.IntegerField()


class HomeNumberSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    label: Any = serializers.CharField()
    value = serializers.FloatField(allow_null=True, help_text="null: nothing was measured")
    unit = serializers.CharField(allow_blank=True, help_text="empty: a count; %, days")
    note = serializers.CharField(allow_blank=True)
    url = serializers.CharField(allow_blank=True, help_text="the page that lists its rows")


class HomeTableSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(
        child=serializers.ListField(child=serializers.JSONField(allow_null=True)), help_text="a value for each column"
    )
    links = serializers.ListField(child=serializers.ListField(child=serializers.CharField(allow_blank=True)))
    note = serializers.CharField(allow_blank=True)
    url = serializers.CharField(allow_blank=True)


class HomeSeriesSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    values = serializers.ListField(child=serializers.FloatField(allow_null=True))


class HomeChartSerializer(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    unit = serializers.CharField(allow_blank=True)
    labels = serializers.ListField(child=serializers.CharField())
    series = HomeSeriesSerializer(many=True)


class HomeSerializer(serializers.Serializer[Any]):
    audience = serializers.ChoiceField(choices=[a.value for a in Audience])
    slice = SliceSerializer()
    made_at = serializers.DateTimeField()
    numbers = HomeNumberSerializer(many=True)
    tables = HomeTableSerializer(many=True)
    charts = HomeChartSerializer(many=True)


class HomeView(APIView):
    """One audience's home: its numbers, tables and charts, narrowed as asked."""

    @extend_schema(
        responses=HomeSerializer,
        parameters=[
            OpenApiParameter("audience", str, OpenApiParameter.PATH, enum=[a.value for a in Audience]),
            OpenApiParameter("team", str, description="A team's slug."),
            OpenApiParameter("application", str, description="An application's slug."),
            OpenApiParameter("environment", str, description="An environment's name."),
            OpenApiParameter("days", int, enum=list(PERIODS), description="The period; each home has its own default."),
        ],
    )
    def get(self, request: Request, audience: str) -> Response:
        user: Any = request.user
        chosen = audience_of(audience)
        try:
            asked = read({name: text_of(request, name) for name in FIELDS}, DAYS[chosen])
        except Invalid as error:
            raise BadParameter(error.detail, where=error.where) from None
        return Response(as_document(home_of(chosen, asked, user, timezone.now())))
