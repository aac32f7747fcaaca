"""``/api/v1/audit/``: the log, read only, and its export."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.audit import queries, services
from secguard.audit.models import AuditEntry


class NdjsonRenderer(BaseRenderer):
    """Chosen by ``?format=ndjson`` or ``Accept``. The view streams the entries, so this renders refusals only."""

    media_type = "application/x-ndjson"
    format = "ndjson"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return bytes(JSONRenderer().render(data))


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    details = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEntry
        fields = (
            "sequence",
            "at",
            "actor",
            "actor_id",
            "token",
            "action",
            "subject_type",
            "subject_id",
            "subject",
            "team_id",
            "details",
            "request_id",
            "previous_digest",
            "digest",
        )
        read_only_fields = fields


FORMAT = OpenApiParameter(
    "format",
    OpenApiTypes.STR,
    enum=["json", "ndjson"],
    description="`ndjson`: all entries that match, oldest first, one a line, for `secguard audit verify --file`.",
)


class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[AuditEntry]):
    """Everything that changed who may do or run what. Whoever reads it in a team sees that team's entries."""

    queryset = AuditEntry.objects.none()
    serializer_class = AuditEntrySerializer
    filterset_class = queries.EntryFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-sequence"
    renderer_classes = [JSONRenderer, NdjsonRenderer]

    def get_queryset(self) -> queries.Entries:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return queries.readable(self.request.user)

    @extend_schema(parameters=[FORMAT])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The log, newest first; with `format=ndjson` its export, oldest first."""
        if getattr(request, "accepted_renderer").format != NdjsonRenderer.format:  # noqa: B009 - DRF sets it late
            return super().list(request, *args, **kwargs)
        return ndjson(self.filter_queryset(self.get_queryset()))

    @extend_schema(
        responses=inline_serializer(
            "AuditHead",
            {
                "sequence": serializers.IntegerField(),
                "digest": serializers.CharField(),
                "head": serializers.CharField(),
            },
        ),
        filters=False,
    )
    @action(detail=False, pagination_class=None, filterset_class=None)
    def head(self, request: Request) -> Response:
        """Where the log ends now. Kept elsewhere it shows later that nothing before it was cut off or rewritten."""
        queries.readable(request.user)
        head = services.head()
        return Response({"sequence": head.sequence, "digest": head.digest, "head": str(head)})


def ndjson(entries: queries.Entries) -> HttpResponseBase:
    """The export as a download that is written while it is read."""
    return StreamingHttpResponse(
        queries.lines(entries),
        content_type=NdjsonRenderer.media_type,
        headers={"Content-Disposition": 'attachment; filename="audit.ndjson"'},
    )
