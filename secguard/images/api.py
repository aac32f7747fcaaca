"""Images and what is in them, over REST."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, viewsets
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.images.models import Image, ImageComponent, Repository
from secguard.images.queries import find_image, named, search, with_places
from secguard.web.parameters import text_of

DIGEST = r"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})"


class PlaceSerializer(serializers.Serializer[Any]):
    repository = serializers.CharField(source="repository.name")
    application = serializers.CharField(source="repository.application.slug", default=None)
    team = serializers.CharField(source="repository.application.team.slug", default=None)
    first_seen_at = serializers.DateTimeField()


class TagSerializer(serializers.Serializer[Any]):
    repository = serializers.CharField(source="repository.name")
    name = serializers.CharField()
    moved_at = serializers.DateTimeField()


class ImageSerializer(serializers.ModelSerializer[Image]):
    """An image, with the places and tags that the asking person may see."""

    repositories = PlaceSerializer(source="seen_places", many=True)
    tags = TagSerializer(source="seen_tags", many=True)
    counts = serializers.DictField(
        source="severity_counts", child=serializers.IntegerField(), help_text="open findings by severity"
    )

    class Meta:
        model = Image
        fields = [
            "id",
            "digest",
            "is_digest_asserted",
            "config_digest",
            "os_name",
            "os_version",
            "architecture",
            "size_bytes",
            "first_seen_at",
            "last_scanned_at",
            "open_findings",
            "counts",
            "repositories",
            "tags",
            "is_sample",
        ]
        read_only_fields = fields


class RepositorySerializer(serializers.ModelSerializer[Repository]):
    application = serializers.CharField(source="application.slug", default=None)
    newest_image = serializers.CharField(source="newest_image.digest", default=None)

    class Meta:
        model = Repository
        fields = ["id", "name", "application", "newest_image", "created_at"]
        read_only_fields = fields


class ComponentSerializer(serializers.ModelSerializer[ImageComponent]):
    name = serializers.CharField(source="component.name")
    version = serializers.CharField(source="component.version")
    type = serializers.CharField(source="component.type")

    class Meta:
        model = ImageComponent
        fields = ["id", "purl", "name", "version", "type", "layer", "path", "licenses"]
        read_only_fields = fields


_SEARCH = OpenApiParameter("search", str, description="Part of a repository's name or tag, or the start of a digest.")


@extend_schema_view(
    list=extend_schema(
        parameters=[
            _SEARCH,
            OpenApiParameter("reference", str, description="Exactly this image: registry/repository:tag or a digest."),
            OpenApiParameter("repository", str, description="Images that lie in this repository."),
        ]
    )
)
class ImageViewSet(viewsets.ReadOnlyModelViewSet[Image]):
    """Images that lie in your teams' repositories."""

    serializer_class = ImageSerializer
    queryset = Image.objects.none()
    lookup_field = "digest"
    lookup_value_regex = DIGEST
    ordering = "-first_seen_at"
    ordering_fields = {
        "first_seen_at": "first_seen_at",
        "severity": ("worst_severity", "open_findings"),
        "open_findings": "open_findings",
    }

    def get_queryset(self) -> QuerySet[Image]:
        user: Any = self.request.user
        images: QuerySet[Image] = Image.objects.visible_to(user)
        if repository := text_of(self.request, "repository"):
            images = images.filter(places__repository__in=Repository.objects.visible_to(user).filter(name=repository))
        if reference := text_of(self.request, "reference"):
            images = named(images, user, reference)
        if text := text_of(self.request, "search"):
            images = search(images, user, text)
        return with_places(images, user)


@extend_schema_view(list=extend_schema(parameters=[_SEARCH]))
class RepositoryViewSet(viewsets.ReadOnlyModelViewSet[Repository]):
    """Repositories of your teams' applications."""

    serializer_class = RepositorySerializer
    queryset = Repository.objects.none()
    ordering = "name"
    ordering_fields = ("name", "created_at")

    def get_queryset(self) -> QuerySet[Repository]:
        user: Any = self.request.user
        rows = Repository.objects.visible_to(user).select_related("application", "newest_image")
        text = text_of(self.request, "search")
        return rows.filter(name__icontains=text) if text else rows


class ComponentList(ListAPIView[ImageComponent]):
    """What is installed in an image, as its latest inventory says."""

    serializer_class = ComponentSerializer
    queryset = ImageComponent.objects.none()
    ordering = "component__name"
    ordering_fields = {"name": "component__name"}

    def get_queryset(self) -> QuerySet[ImageComponent]:
        user: Any = self.request.user
        image = find_image(user, self.kwargs["digest"])
        rows = ImageComponent.objects.filter(image=image).select_related("component")
        text = text_of(self.request, "search")
        return rows.filter(purl__icontains=text) if text else rows

    @extend_schema(parameters=[OpenApiParameter("search", str, description="Part of the purl.")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)
