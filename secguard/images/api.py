"""Images and what is in them, over REST."""

from __future__ import annotations

import hashlib
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse, HttpResponseBase
from django.utils.cache import get_conditional_response
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.models import Application
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.images import cyclonedx, spdx
from secguard.images.models import Image, ImageComponent, ImageRepository, Registry, Repository
from secguard.images.queries import bill_of, find_image, named, search, with_places
from secguard.images.services import (
    RegistryEdit,
    add_registry,
    assign_repository,
    edit_registry,
    renew_webhook_token,
)
from secguard.web.parameters import choice_of, flag_of, text_of

DIGEST = r"sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})"


class PlaceSerializer(serializers.Serializer[Any]):
    repository = serializers.CharField(source="repository.name")
    application = serializers.CharField(source="repository.application.slug", default=None, allow_null=True)
    team = serializers.CharField(source="repository.application.team.slug", default=None, allow_null=True)
    first_seen_at = serializers.DateTimeField()


class TagSerializer(serializers.Serializer[Any]):
    repository = serializers.CharField(source="repository.name")
    name = serializers.CharField()
    moved_at = serializers.DateTimeField()


class ImageSerializer(serializers.ModelSerializer[Image]):
    """An image, with the places and tags that the asking person may see."""

    repositories = PlaceSerializer(source="seen_places", many=True)
    tags = TagSerializer(source="shown_tags", many=True, help_text="of the image, and of the index it is a platform of")
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
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    newest_image = serializers.CharField(source="newest_image.digest", default=None, allow_null=True)

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
        fields = ["id", "purl", "name", "version", "type", "layer", "path", "licenses", "owner"]
        read_only_fields = fields


class AssignSerializer(serializers.Serializer[Any]):
    application = serializers.SlugField(max_length=100, allow_null=True, help_text="null: nobody's")


_SEARCH = OpenApiParameter("search", str, description="Part of a repository's name or tag, or the start of a digest.")


_OF_REPOSITORY = {"repository": "name", "application": "application__slug", "team": "application__team__slug"}


def _lying_in(images: QuerySet[Image], repositories: QuerySet[Repository]) -> QuerySet[Image]:
    return images.filter(Exists(ImageRepository.objects.filter(image=OuterRef("pk"), repository__in=repositories)))


@extend_schema_view(
    list=extend_schema(
        parameters=[
            _SEARCH,
            OpenApiParameter("reference", str, description="Exactly this image: registry/repository:tag or a digest."),
            OpenApiParameter("repository", str, description="Images that lie in this repository, by its name."),
            OpenApiParameter("application", str, description="Images of this application, by its slug."),
            OpenApiParameter("team", str, description="Images of this team, by its slug."),
            OpenApiParameter("newest", bool, description="`true`: only the newest image of each repository."),
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
        for name, path in _OF_REPOSITORY.items():
            if value := text_of(self.request, name):
                images = _lying_in(images, Repository.objects.visible_to(user).filter(**{path: value}))
        if flag_of(self.request, "newest"):
            images = images.filter(pk__in=Repository.objects.visible_to(user).values("newest_image_id"))
        if reference := text_of(self.request, "reference"):
            images = named(images, user, reference)
        if text := text_of(self.request, "search"):
            images = search(images, user, text)
        return with_places(images, user)


@extend_schema_view(
    list=extend_schema(
        parameters=[
            _SEARCH,
            OpenApiParameter("name", str, description="Exactly this repository."),
            OpenApiParameter("application", str, description="Repositories of this application, by its slug."),
            OpenApiParameter("unassigned", bool, description="Only those that no application owns, or that one does."),
        ]
    )
)
class RepositoryViewSet(viewsets.ReadOnlyModelViewSet[Repository]):
    """Repositories of your teams' applications."""

    serializer_class = RepositorySerializer
    queryset = Repository.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"
    ordering_fields = ("name", "created_at")

    def get_queryset(self) -> QuerySet[Repository]:
        user: Any = self.request.user
        rows: QuerySet[Repository] = Repository.objects.visible_to(user).select_related("application", "newest_image")
        if self.action != "list":
            return rows
        for name, path in (("search", "name__icontains"), ("name", "name"), ("application", "application__slug")):
            if text := text_of(self.request, name):
                rows = rows.filter(**{path: text})
        unassigned = flag_of(self.request, "unassigned")
        return rows if unassigned is None else rows.filter(application__isnull=unassigned)

    @extend_schema(request=AssignSerializer, responses=RepositorySerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Give the repository, and with it its images, to an application; needs application:edit on both sides."""
        asked = AssignSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        application = _application(user, asked.validated_data["application"])
        assign_repository(int(pk), application, actor=user)
        return Response(self.get_serializer(self.get_object()).data)


def _application(user: Any, slug: str | None) -> Application | None:
    if slug is None:
        return None
    found = Application.objects.visible_to(user).filter(slug=slug).first()
    if found is None:
        raise NotFound(f"There is no application {slug!r} that you may see.", where="application")
    return found


class ComponentList(ListAPIView[ImageComponent]):
    """What is installed in an image, as its latest inventory says."""

    serializer_class = ComponentSerializer
    queryset = ImageComponent.objects.none()
    ordering = "component__name"
    ordering_fields = {"name": "component__name", "type": "component__type"}

    def get_queryset(self) -> QuerySet[ImageComponent]:
        user: Any = self.request.user
        image = find_image(user, self.kwargs["digest"])
        rows = ImageComponent.objects.filter(image=image).select_related("component")
        text = text_of(self.request, "search")
        return rows.filter(purl__icontains=text) if text else rows

    @extend_schema(parameters=[OpenApiParameter("search", str, description="Part of the purl.")])
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.list(request, *args, **kwargs)


class _FormatIsOurs(DefaultContentNegotiation):
    """``?format=`` names the kind of document here, and not one of the framework's renderers."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


_BILLS = {"cyclonedx": (cyclonedx, "cdx"), "spdx": (spdx, "spdx")}


class ImageSbom(APIView):
    """What is in an image, as a bill of materials: the same bytes as long as nothing changed."""

    content_negotiation_class = _FormatIsOurs

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "format", str, enum=list(_BILLS), description="CycloneDX 1.6 JSON (by default) or SPDX 2.3 JSON."
            )
        ],
        responses={(200, module.MEDIA_TYPE.partition(";")[0]): OpenApiTypes.OBJECT for module, _ in _BILLS.values()},
    )
    def get(self, request: Request, digest: str) -> HttpResponseBase:
        module, ending = _BILLS[choice_of(request, "format", tuple(_BILLS), "cyclonedx")]
        user: Any = request.user
        image = find_image(user, digest)
        body = module.document(bill_of(image, user))
        answer = HttpResponse(body, content_type=module.MEDIA_TYPE)
        answer["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        answer["Cache-Control"] = "private, no-cache"
        answer["Content-Disposition"] = f'attachment; filename="{digest.replace(":", "-")[:23]}.{ending}.json"'
        kept = get_conditional_response(request._request, etag=answer["ETag"], response=answer)
        return kept or answer


class RegistrySerializer(serializers.ModelSerializer[Registry]):
    """A registry as it is known here. The password is never shown, only whether there is one."""

    has_password = serializers.BooleanField(source="sealed_password")
    has_webhook_token = serializers.BooleanField(source="webhook_token_hash")
    allowed_hosts = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Registry
        fields = [
            "id",
            "host",
            "is_preferred",
            "uses_plain_http",
            "username",
            "has_password",
            "ca_certificate",
            "allowed_hosts",
            "has_webhook_token",
            "configured_at",
            "created_at",
        ]
        read_only_fields = fields


class RegistryEditSerializer(serializers.Serializer[Any]):
    is_preferred = serializers.BooleanField(required=False)
    uses_plain_http = serializers.BooleanField(required=False, help_text="speak HTTP without TLS")
    username = serializers.CharField(max_length=255, allow_blank=True, required=False)
    password = serializers.CharField(
        max_length=4096, allow_blank=True, trim_whitespace=False, write_only=True, required=False
    )
    ca_certificate = serializers.CharField(
        max_length=65_536, allow_blank=True, required=False, help_text="PEM, trusted for this registry too"
    )
    allowed_hosts = serializers.ListField(
        child=serializers.CharField(max_length=255),
        max_length=20,
        required=False,
        help_text="other hosts that the registry may send a worker to: its token service, its blob storage",
    )


class NewRegistrySerializer(RegistryEditSerializer):
    host = serializers.CharField(max_length=255, help_text="host or host:port, as image references name it")


class WebhookTokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="shown this once; webhooks carry it as Authorization: Bearer …")


@extend_schema_view(
    create=extend_schema(request=NewRegistrySerializer, responses={201: RegistrySerializer}),
    partial_update=extend_schema(request=RegistryEditSerializer, responses=RegistrySerializer),
)
class RegistryViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Registry]):
    """The registries that workers pull from, and how they speak to them; for who may registry:edit."""

    serializer_class = RegistrySerializer
    queryset = Registry.objects.all()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "host"
    ordering_fields = ("host", "created_at")

    def get_queryset(self) -> QuerySet[Registry]:
        user: Any = self.request.user
        require(user, Permission.REGISTRY_EDIT)
        return Registry.objects.all()

    def create(self, request: Request) -> Response:
        asked = NewRegistrySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        fields = dict(asked.validated_data)
        made = add_registry(fields.pop("host"), RegistryEdit(**fields), actor=user)
        return Response(self.get_serializer(made).data, status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        asked = RegistryEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        changed = edit_registry(int(pk), RegistryEdit(**asked.validated_data), actor=user)
        return Response(self.get_serializer(changed).data)

    @extend_schema(request=None, responses={201: WebhookTokenSerializer})
    @action(detail=True, methods=["post"], url_path="webhook-token")
    def webhook_token(self, request: Request, pk: str) -> Response:
        """A new token for the registry's webhooks; the former one ends at once."""
        user: Any = request.user
        _, token = renew_webhook_token(int(pk), actor=user)
        return Response({"token": token}, status=201)
