"""Vulnerability data over REST: feeds and how they stand, files brought in, and what advisories say."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.advisories import queries, services
from secguard.advisories.models import Advisory, AffectedRange, Feed, Import
from secguard.errors import Invalid, TooLarge, Unavailable
from secguard.web.parameters import text_of

CHUNK = 2**20
MOST_PACKAGES = 500
"""Packages shown of one advisory."""


class FileParser(BaseParser):
    """The body as it came, into a file: never held in memory."""

    media_type = "*/*"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        if (media_type or "").partition(";")[0].strip().lower() == "multipart/form-data":
            raise Invalid(
                "The file came as a form upload; expected the file itself as the body, for example: "
                "curl --data-binary @all.zip.",
                code="form-upload",
                where="Content-Type",
            )
        return receive(iter(lambda: stream.read(CHUNK), b""))


def receive(parts: Any) -> Path:
    """What was sent, part by part, in a file of its own; at most ``MAX_FEED_BYTES``."""
    path = services.folder() / f"{uuid.uuid4()}.part"
    try:
        with path.open("xb") as file:
            for part in parts:
                if file.tell() + len(part) > settings.MAX_FEED_BYTES:
                    raise TooLarge(
                        f"The file has more than {settings.MAX_FEED_BYTES:,} bytes, which is what one may have "
                        "(SECGUARD_MAX_FEED_BYTES). Import it in parts.",
                        code="feed-too-large",
                        where="body",
                    )
                file.write(part)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise Unavailable(f"The file cannot be kept here: {error.strerror}.", retry_after=60) from error
        raise
    return path


class FeedSerializer(serializers.ModelSerializer[Feed]):
    class Meta:
        model = Feed
        fields = (
            "id",
            "name",
            "title",
            "kind",
            "url",
            "is_enabled",
            "due_at",
            "tried_at",
            "succeeded_at",
            "data_at",
            "entries",
            "left_out",
            "failures",
            "error",
        )
        read_only_fields = fields


class FeedEditSerializer(serializers.Serializer[Any]):
    is_enabled = serializers.BooleanField(required=False)
    url = serializers.URLField(required=False, max_length=500)


class ImportSerializer(serializers.ModelSerializer[Import]):
    feed = serializers.CharField(source="feed.name", default=None, allow_null=True, read_only=True)
    requested_by = serializers.CharField(source="requested_by.username", default=None, allow_null=True, read_only=True)
    kinds = serializers.ListField(child=serializers.CharField(), read_only=True)
    counts = serializers.DictField(child=serializers.IntegerField(), read_only=True)
    reasons = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Import
        fields = (
            "id",
            "feed",
            "name",
            "status",
            "kinds",
            "counts",
            "reasons",
            "error",
            "data_at",
            "requested_by",
            "created_at",
            "finished_at",
        )
        read_only_fields = fields


class AdvisorySerializer(serializers.ModelSerializer[Advisory]):
    flaws = serializers.SerializerMethodField(help_text="canonical names of the flaws that it is about")

    class Meta:
        model = Advisory
        fields = (
            "id",
            "name",
            "source",
            "flaws",
            "summary",
            "severity",
            "cvss_score",
            "published_at",
            "modified_at",
            "withdrawn_at",
            "changed_at",
        )
        read_only_fields = fields

    def get_flaws(self, advisory: Advisory) -> list[str]:
        return [row.vulnerability.name for row in advisory.about.all()]


class AffectedSerializer(serializers.ModelSerializer[AffectedRange]):
    ranges = serializers.JSONField(read_only=True)
    versions = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = AffectedRange
        fields = ("ecosystem", "name", "ranges", "versions", "severity")
        read_only_fields = fields


class AdvisoryDetailSerializer(AdvisorySerializer):
    names = serializers.ListField(child=serializers.CharField(), read_only=True)
    references = serializers.ListField(child=serializers.CharField(), read_only=True)
    affected = serializers.SerializerMethodField(help_text=f"at most {MOST_PACKAGES} packages")

    class Meta:
        model = Advisory
        fields = (*AdvisorySerializer.Meta.fields, "names", "details", "cvss_vector", "references", "affected")
        read_only_fields = fields

    @extend_schema_field(AffectedSerializer(many=True))
    def get_affected(self, advisory: Advisory) -> Any:
        return AffectedSerializer(advisory.affected.order_by("id")[:MOST_PACKAGES], many=True).data


class FeedViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Feed]):
    """Where vulnerability data comes from by itself: when, how many, and what failed."""

    serializer_class = FeedSerializer
    queryset = Feed.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"

    def get_queryset(self) -> QuerySet[Feed]:
        return Feed.objects.none() if getattr(self, "swagger_fake_view", False) else queries.feeds()

    @extend_schema(request=FeedEditSerializer, responses=FeedSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Switch a feed on or off, or say where it lies (a mirror)."""
        asked = FeedEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        feed = services.edit_feed(int(pk), actor=request.user, **asked.validated_data)
        return Response(FeedSerializer(feed).data)

    @extend_schema(request=None, responses={202: FeedSerializer})
    @action(detail=True, methods=["post"])
    def fetch(self, request: Request, pk: str) -> Response:
        """Have it fetched now."""
        return Response(FeedSerializer(services.request_fetch(int(pk), actor=request.user)).data, status=202)


class ImportViewSet(viewsets.ReadOnlyModelViewSet[Import]):
    """What was read, from feeds and from files: the latest 200."""

    serializer_class = ImportSerializer
    queryset = Import.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Import]:
        return queries.imports()


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("search", str, description="An advisory's id, or any name of a flaw."),
            OpenApiParameter("ecosystem", str, description="As OSV writes it: `PyPI`, `Debian:12`."),
            OpenApiParameter("package", str, description="A package of that ecosystem."),
        ]
    )
)
class AdvisoryViewSet(viewsets.ReadOnlyModelViewSet[Advisory]):
    """What sources say of flaws, as last read."""

    serializer_class = AdvisorySerializer
    queryset = Advisory.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Advisory]:
        asked = self.action == "list"
        words = {name: text_of(self.request, name) if asked else "" for name in ("search", "ecosystem", "package")}
        return queries.advisories(**words)

    def get_serializer_class(self) -> type[AdvisorySerializer]:
        return AdvisorySerializer if self.action == "list" else AdvisoryDetailSerializer

    @extend_schema(
        operation_id="advisories_import",
        description=(
            "The body is the file itself: an OSV `all.zip`, JSON Lines, JSON, YAML or a tar of them, KEV as JSON or "
            "CSV, EPSS as CSV, Alpine's secdb, Debian's tracker; plain, gzip or zstd. Answers 202 with the import."
        ),
        request={"application/octet-stream": OpenApiTypes.BINARY},
        parameters=[OpenApiParameter("name", str, description="The file's name: its ending tells YAML.")],
        responses={
            202: ImportSerializer,
            413: OpenApiResponse(description="Larger than one file may be."),
            422: OpenApiResponse(description="An empty file."),
        },
    )
    @action(detail=False, methods=["post"], url_path="import", parser_classes=[FileParser], filter_backends=[])
    def take_in(self, request: Request) -> Response:
        """Import a file of advisories, KEV or EPSS."""
        require(request.user, Permission.FEED_EDIT)  # before the body is read
        received = request.data if isinstance(request.data, Path) else receive(())
        with contextlib.ExitStack() as stack:
            stack.callback(received.unlink, missing_ok=True)
            row = services.request_import(received, text_of(request, "name") or "upload", actor=request.user)
        return Response(ImportSerializer(row).data, status=202)
