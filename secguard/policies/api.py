"""Policies and verdicts over REST."""

from __future__ import annotations

import zlib
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.images.models import Image
from secguard.images.queries import find_image
from secguard.policies.facts import Gate
from secguard.policies.language import parse_policy
from secguard.policies.models import Policy, PolicyVersion
from secguard.policies.queries import stored_document
from secguard.policies.services import (
    activate_version,
    active_version,
    create_version,
    document_of,
    simulate,
    verdict_of,
)
from secguard.web.parameters import choice_of

STAGES = tuple(g.value for g in Gate)
SIMULATED = 50


class VersionSerializer(serializers.ModelSerializer[PolicyVersion]):
    policy = serializers.CharField(source="policy.name")
    author = serializers.CharField(source="author.username", default=None)
    gates = serializers.SerializerMethodField(help_text="whether this version is the one that gates now")

    class Meta:
        model = PolicyVersion
        fields = [
            "id",
            "policy",
            "number",
            "source",
            "sha256",
            "comment",
            "author",
            "created_at",
            "activated_at",
            "gates",
        ]
        read_only_fields = fields

    def get_gates(self, version: PolicyVersion) -> bool:
        return version.policy.is_gating and version.policy.active_version_id == version.pk


class PolicySerializer(serializers.ModelSerializer[Policy]):
    active_version = serializers.IntegerField(source="active_version.number", default=None)

    class Meta:
        model = Policy
        fields = ["id", "name", "is_gating", "active_version", "created_at"]
        read_only_fields = fields


class PolicyRequestSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, default="default")
    source = serializers.CharField(max_length=262_144, trim_whitespace=False, help_text="YAML, see docs/policy.md")
    comment = serializers.CharField(max_length=300, required=False, allow_blank=True)
    activate = serializers.BooleanField(default=False, help_text="gate with it at once")


class SourceSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(max_length=262_144, trim_whitespace=False)


class CheckedSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    rules = serializers.ListField(child=serializers.CharField())


class SimulateSerializer(SourceSerializer):
    images = serializers.ListField(
        child=serializers.CharField(max_length=700), required=False, max_length=SIMULATED, help_text="digests or tags"
    )
    stage = serializers.ChoiceField(choices=STAGES, default=Gate.BUILD.value)


class SimulatedSerializer(serializers.Serializer[Any]):
    image = serializers.CharField()
    now = serializers.CharField(help_text="the verdict in force")
    then = serializers.CharField(help_text="the verdict of the draft")
    document = serializers.DictField(help_text="the draft's verdict document")


@extend_schema_view(create=extend_schema(request=PolicyRequestSerializer, responses={201: VersionSerializer}))
class PolicyViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, viewsets.GenericViewSet[Policy]
):
    """Policies. Saving one makes a new version; only the active version of the gating policy counts."""

    serializer_class = PolicySerializer
    queryset = Policy.objects.none()
    ordering = "name"

    def get_queryset(self) -> QuerySet[Policy]:
        active_version()
        return Policy.objects.select_related("active_version")

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = PolicyRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        words = asked.validated_data
        version = create_version(
            words["name"],
            words["source"],
            comment=words.get("comment", ""),
            actor=user,
            activate=words["activate"],
        )
        return Response(VersionSerializer(version).data, status=201)

    @extend_schema(responses=VersionSerializer(many=True))
    @action(detail=True, pagination_class=None, filter_backends=[])
    def versions(self, request: Request, pk: str) -> Response:
        """Every version of the policy, newest first."""
        rows = self.get_object().versions.select_related("policy", "author")[:500]
        return Response(VersionSerializer(rows, many=True).data)

    @extend_schema(
        request=SourceSerializer, responses={200: CheckedSerializer, 422: OpenApiResponse(OpenApiTypes.OBJECT)}
    )
    @action(detail=False, methods=["post"])
    def check(self, request: Request) -> Response:
        """Check a draft; a fault is a problem with `errors`: line, column, message."""
        asked = SourceSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        rules = parse_policy(asked.validated_data["source"])
        return Response({"name": rules.name, "rules": [r.id for r in rules.rules]})

    @extend_schema(request=SimulateSerializer, responses=SimulatedSerializer(many=True))
    @action(detail=False, methods=["post"], pagination_class=None, filter_backends=[])
    def simulate(self, request: Request) -> Response:
        """What a draft would say of images now (those named, else the newest); nothing is kept."""
        user: Any = request.user
        require(user, Permission.POLICY_READ, anywhere=True)
        asked = SimulateSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        rules = parse_policy(asked.validated_data["source"])
        stage = Gate(asked.validated_data["stage"])
        named = asked.validated_data.get("images")
        images = (
            [find_image(user, name) for name in named]
            if named
            else list(Image.objects.visible_to(user).order_by("-first_seen_at", "-id")[:SIMULATED])
        )
        now = timezone.now()
        found = []
        for image in images:
            draft = simulate(rules, image, stage, now)
            current = verdict_of(image, stage, now).verdict
            found.append({"image": image.digest, "now": current, "then": draft["verdict"], "document": draft})
        return Response(found)


class PolicyVersionViewSet(viewsets.ReadOnlyModelViewSet[PolicyVersion]):
    """Policy versions; `activate` lets one gate."""

    serializer_class = VersionSerializer
    queryset = PolicyVersion.objects.select_related("policy", "author")
    ordering = "-id"

    @extend_schema(request=None, responses=VersionSerializer)
    @action(detail=True, methods=["post"])
    def activate(self, request: Request, pk: str) -> Response:
        """Let this version gate from now on; every verdict is asked again."""
        if not pk.isdecimal() or len(pk) > 18:
            raise NotFound(f"There is no policy version {pk[:40]}.")
        user: Any = request.user
        return Response(VersionSerializer(activate_version(int(pk), actor=user)).data)


class VerdictView(APIView):
    """May this image go on, and why."""

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[OpenApiParameter("stage", str, enum=list(STAGES), description="`build` where it is not given.")],
    )
    def get(self, request: Request, digest: str) -> HttpResponse:
        user: Any = request.user
        stage = Gate(choice_of(request, "stage", STAGES, Gate.BUILD.value))
        stored = stored_document(user, digest, stage, timezone.now())
        if stored is not None:
            return HttpResponse(zlib.decompress(stored), content_type="application/json")
        return Response(document_of(verdict_of(find_image(user, digest), stage)))
