"""``/api/v1/notifications/``: the inbox of whoever asks, and how they want to be told."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.notifications import kinds, queries, services
from secguard.notifications.kinds import Kind
from secguard.notifications.models import Notice, Preference
from secguard.notifications.rhythm import ByMail, Choice, Rhythm

LINES = 25
"""Lines of a notice in a document; ``total`` says how many there are."""


class LineSerializer(serializers.Serializer[Any]):
    """One thing that a notice tells of."""

    what = serializers.CharField()
    where = serializers.CharField(allow_blank=True)
    note = serializers.CharField(allow_blank=True)
    url = serializers.CharField(allow_blank=True, help_text="a path on this server")
    severity = serializers.CharField(allow_blank=True)
    known_exploited = serializers.BooleanField()
    is_running = serializers.BooleanField()
    is_production = serializers.BooleanField()


class NoticeSerializer(serializers.ModelSerializer[Notice]):
    lines = serializers.SerializerMethodField()

    class Meta:
        model = Notice
        fields = ("id", "kind", "subject", "url", "total", "lines", "created_at", "told_at", "seen_at")
        read_only_fields = fields

    @extend_schema_field(LineSerializer(many=True))
    def get_lines(self, notice: Notice) -> Any:
        lines = self.context["lines"].get(notice.pk, [])
        return LineSerializer(lines, many=True).data


class PreferenceSerializer(serializers.ModelSerializer[Preference]):
    email = serializers.BooleanField(help_text="Write to them; the page tells in any case.")
    interval = serializers.ChoiceField(choices=[r.value for r in Rhythm])
    quiet_from = serializers.IntegerField(min_value=0, max_value=23, allow_null=True, help_text="Hour of their day.")
    quiet_until = serializers.IntegerField(min_value=0, max_value=23, allow_null=True)
    time_zone = serializers.CharField(max_length=64)

    class Meta:
        model = Preference
        fields = ("email", "interval", "quiet_from", "quiet_until", "time_zone")


class KindChoiceSerializer(serializers.Serializer[Any]):
    """One kind of news, and how the person is told of it."""

    kind = serializers.CharField()
    heading = serializers.CharField()
    by_mail = serializers.CharField(help_text="at-once, digest or never")
    on_page = serializers.BooleanField()
    is_urgent = serializers.BooleanField(help_text="cannot be hidden from the page")


class KindEditSerializer(serializers.Serializer[Any]):
    by_mail = serializers.ChoiceField(choices=[m.value for m in ByMail], required=False)
    on_page = serializers.BooleanField(required=False)


class ReadSerializer(serializers.Serializer[Any]):
    read = serializers.IntegerField(help_text="How many were unread.")


class NoticeViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Notice]):
    """What the person who asks was told. Nobody reads another's inbox."""

    queryset = Notice.objects.none()
    serializer_class = NoticeSerializer
    filterset_class = queries.NoticeFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-created_at"

    def get_queryset(self) -> QuerySet[Notice]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return queries.inbox(self.request.user)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The inbox, newest first; `unread=true` for what was not read yet."""
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(self._documents(rows))

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One notice, with its most pressing lines."""
        return Response(self._documents([self.get_object()])[0])

    def _documents(self, rows: Any) -> Any:
        context = {**self.get_serializer_context(), "lines": queries.lines_of(rows, LINES)}
        return NoticeSerializer(rows, many=True, context=context).data

    @extend_schema(request=None, responses=NoticeSerializer)
    @action(detail=True, methods=["post"], filterset_class=None)
    def read(self, request: Request, pk: str) -> Response:
        """Note that it was read; it is not written about then."""
        notice = services.mark_read(int(pk), actor=request.user)
        return Response(self._documents([notice])[0])

    @extend_schema(request=None, responses=ReadSerializer)
    @action(detail=False, methods=["post"], url_path="read-all", filterset_class=None, pagination_class=None)
    def read_all(self, request: Request) -> Response:
        """Note that everything was read."""
        return Response({"read": services.mark_all_read(actor=request.user)})

    @extend_schema(responses=PreferenceSerializer)
    @action(detail=False, filterset_class=None, pagination_class=None, serializer_class=PreferenceSerializer)
    def preferences(self, request: Request) -> Response:
        """How they want to be told."""
        return Response(PreferenceSerializer(queries.preference_of(request.user)).data)

    @extend_schema(request=PreferenceSerializer(partial=True), responses=PreferenceSerializer)
    @preferences.mapping.patch
    def edit_preferences(self, request: Request) -> Response:
        """Change what is named, and leave the rest."""
        entered = PreferenceSerializer(data=request.data, partial=True)
        entered.is_valid(raise_exception=True)
        preference = services.edit_preferences(entered.validated_data, actor=request.user)
        return Response(PreferenceSerializer(preference).data)

    @extend_schema(responses=KindChoiceSerializer(many=True))
    @action(detail=False, filterset_class=None, pagination_class=None, serializer_class=KindChoiceSerializer)
    def kinds(self, request: Request) -> Response:
        """The kinds of news, and how one is told of each."""
        rows = [_chosen(kind, choice) for kind, choice in queries.own_choices(request.user)]
        return Response(KindChoiceSerializer(rows, many=True).data)

    @extend_schema(request=KindEditSerializer, responses=KindChoiceSerializer)
    @action(
        detail=False,
        methods=["patch"],
        url_path=r"kinds/(?P<kind>[a-z0-9-]{1,32})",
        filterset_class=None,
        pagination_class=None,
        serializer_class=KindChoiceSerializer,
    )
    def edit_kind(self, request: Request, kind: str, **_suffix: str) -> Response:
        """Choose how one is told of one kind. What is urgent stays on the page."""
        entered = KindEditSerializer(data=request.data)
        entered.is_valid(raise_exception=True)
        choice = services.choose(kind, actor=request.user, **entered.validated_data)
        return Response(KindChoiceSerializer(_chosen(kinds.kind(kind), choice)).data)


def _chosen(kind: Kind, choice: Choice) -> dict[str, Any]:
    return {
        "kind": kind.name,
        "heading": kind.heading,
        "by_mail": choice.by_mail.value,
        "on_page": choice.on_page,
        "is_urgent": kind.is_urgent,
    }
