"""``/api/v1/sensors/``: who may send events and flows. Tokens are told once and never come out again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.events import queries
from secguard.events.models import Sensor
from secguard.events.services import sensors, setaside
from secguard.events.services.sensors import SensorEdit


class SensorSerializer(serializers.ModelSerializer[Sensor]):
    """A sensor. Its token is not shown."""

    waiting = serializers.IntegerField(help_text="documents that were taken and are not worked on yet")
    aside = serializers.IntegerField(help_text="batches that could not be worked on")

    class Meta:
        model = Sensor
        fields = [
            "id", "name", "cluster", "takes_events", "takes_flows", "is_active", "token_made_at", "heard_at", "taken",
            "refused", "last_refusal", "waiting", "aside", "created_at",
        ]  # fmt: skip
        read_only_fields = fields


class NewSensorAnswerSerializer(SensorSerializer):
    """The sensor that was made, with the token that is shown this once."""

    token = serializers.CharField(help_text="sge_…")

    class Meta(SensorSerializer.Meta):
        fields = [*SensorSerializer.Meta.fields, "token"]
        read_only_fields = fields


class SensorEditSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    cluster = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="what it sends is of this one; empty: it says which"
    )
    takes_events = serializers.BooleanField(required=False)
    takes_flows = serializers.BooleanField(required=False)
    is_active = serializers.BooleanField(required=False, help_text="false: what it sends is refused")


class NewSensorSerializer(SensorEditSerializer):
    name = serializers.CharField(max_length=100)


class SensorTokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="shown this once; the former one has ended")


class SensorRetrySerializer(serializers.Serializer[Any]):
    retried = serializers.IntegerField(help_text="documents that are worked on again")


class SensorViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Sensor]):
    """Who may send events and flows. Needs sensor:edit in the whole organisation."""

    queryset = Sensor.objects.none()
    serializer_class = SensorSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"
    ordering_fields = ("name", "heard_at")

    @property
    def user(self) -> Any:
        return self.request.user

    def get_queryset(self) -> QuerySet[Sensor]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return queries.sensors(self.user)

    @extend_schema(request=NewSensorSerializer, responses={201: NewSensorAnswerSerializer})
    def create(self, request: Request) -> Response:
        """Let a sensor send. Its token is in this answer, and in none after it."""
        asked = NewSensorSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        sensor, token = sensors.create(SensorEdit(**asked.validated_data), actor=self.user)
        document = SensorSerializer(queries.find_sensor(self.user, sensor.pk)).data
        return Response({**document, "token": token}, status=201)

    @extend_schema(request=SensorEditSerializer, responses=SensorSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is named, and leave the rest. A sensor is not removed: switch it off."""
        asked = SensorEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        there = queries.find_sensor(self.user, int(pk))
        names = ("name", "cluster", "takes_events", "takes_flows", "is_active")
        edit = replace(SensorEdit(**{n: getattr(there, n) for n in names}), **asked.validated_data)
        sensors.edit(there.pk, edit, actor=self.user)
        return Response(SensorSerializer(queries.find_sensor(self.user, there.pk)).data)

    @extend_schema(request=None, responses={201: SensorTokenSerializer})
    @action(detail=True, methods=["post"])
    def token(self, request: Request, pk: str) -> Response:
        """A new token, told this once; the former one ends at once."""
        _, token = sensors.renew_token(int(pk), actor=self.user)
        return Response({"token": token}, status=201)

    @extend_schema(request=None, responses=SensorRetrySerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Have the batches that were set aside worked on again. What fails again is set aside again."""
        return Response({"retried": setaside.retry(int(pk), actor=self.user)})
