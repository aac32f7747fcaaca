"""``/api/v1/forecast/``: which gates will begin to block, when, and why."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.forecast import queries
from secguard.forecast.models import Turn
from secguard.forecast.services.computing import DAYS
from secguard.forecast.wording import because
from secguard.web.parameters import BadParameter, text_of


class WillBlockSerializer(serializers.Serializer[Any]):
    rule = serializers.CharField()
    message = serializers.CharField()


class EndingSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    kind = serializers.CharField()
    risk = serializers.IntegerField()
    name = serializers.CharField()
    ends_at = serializers.DateTimeField()


class TurnSerializer(serializers.ModelSerializer[Turn]):
    """A gate that lets an image pass now, and will block it from `at` on if nobody does anything."""

    repository = serializers.CharField(source="repository.name")
    repository_id = serializers.IntegerField()
    application = serializers.CharField(source="repository.application.slug", default=None, allow_null=True)
    digest = serializers.CharField(source="image.digest")
    stage = serializers.CharField(help_text="build, promote, admit or run")
    because = serializers.SerializerMethodField(help_text="in words")
    rules = serializers.SerializerMethodField(help_text="the rules that will block")
    decisions = serializers.SerializerMethodField(help_text="the decisions that end by then; none: a time limit does")
    flaws = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Turn
        fields = [
            "repository",
            "repository_id",
            "application",
            "digest",
            "stage",
            "at",
            "because",
            "rules",
            "decisions",
            "flaws",
            "computed_at",
        ]
        read_only_fields = fields

    def get_because(self, turn: Turn) -> str:
        return because(turn)

    @extend_schema_field(WillBlockSerializer(many=True))
    def get_rules(self, turn: Turn) -> Any:
        return [{"rule": rule, "message": message} for rule, message in turn.rules]

    @extend_schema_field(EndingSerializer(many=True))
    def get_decisions(self, turn: Turn) -> Any:
        known = self.context["decisions"]
        found = [known[pk] for pk in turn.decision_ids if pk in known]
        rows = [
            {"id": d.pk, "kind": d.kind, "risk": d.risk_id, "name": d.risk.name, "ends_at": d.counts_until}
            for d in found
        ]
        return EndingSerializer(rows, many=True).data


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter(
                "days",
                {"type": "integer", "minimum": 1, "maximum": DAYS},
                description=f"How far to look; default {DAYS}.",
            )
        ]
    )
)
class ForecastViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Turn]):
    """The gates that will begin to block, the soonest first. Made anew every hour."""

    queryset = Turn.objects.none()
    serializer_class = TurnSerializer
    filterset_class = queries.TurnFilter
    ordering = "at"

    def get_queryset(self) -> QuerySet[Turn]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        return queries.forecast(user, timezone.now(), _days(self.request))

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Which gates of the repositories that one may see will begin to block, when and why."""
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        user: Any = request.user
        context = {**self.get_serializer_context(), "decisions": queries.decisions_of(rows, user)}
        return self.get_paginated_response(TurnSerializer(rows, many=True, context=context).data)


def _days(request: Request) -> int:
    text = text_of(request, "days") or f"{DAYS}"
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= DAYS):
        raise BadParameter(f"`days` is {text[:40]!r}; expected a whole number from 1 to {DAYS}.", where="days")
    return int(text)
