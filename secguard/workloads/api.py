"""What runs where, over REST."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.images.queries import find_image
from secguard.web.parameters import text_of
from secguard.workloads.models import Workload
from secguard.workloads.services import Seen, forget, note

_FILTERS = {"application": "application__slug", "cluster": "cluster__name", "namespace": "namespace"}


class WorkloadSerializer(serializers.ModelSerializer[Workload]):
    cluster = serializers.CharField(source="cluster.name")
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    images = serializers.SlugRelatedField[Any](slug_field="digest", many=True, read_only=True)

    class Meta:
        model = Workload
        fields = ["id", "cluster", "namespace", "kind", "name", "application", "images", "seen_at"]
        read_only_fields = fields


class SeenSerializer(serializers.Serializer[Any]):
    cluster = serializers.CharField(max_length=100)
    namespace = serializers.CharField(max_length=100, allow_blank=True, default="")
    kind = serializers.CharField(max_length=50, default="Deployment")
    name = serializers.CharField(max_length=253)
    application = serializers.SlugField(max_length=100)
    images = serializers.ListField(child=serializers.CharField(max_length=700), max_length=200)


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("image", str, description="Workloads that run this image: a digest or a reference."),
            OpenApiParameter("application", str, description="Workloads of this application, by its slug."),
            OpenApiParameter("cluster", str, description="Workloads in this cluster, by its name."),
            OpenApiParameter("namespace", str, description="Workloads in this namespace."),
        ]
    ),
    create=extend_schema(request=SeenSerializer, responses={201: WorkloadSerializer}),
)
class WorkloadViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.CreateModelMixin,
    mixins.DestroyModelMixin,
    viewsets.GenericViewSet[Workload],
):
    """Workloads that run now. Posting one that is known brings it up to date; deleting one says that it is gone."""

    serializer_class = WorkloadSerializer
    queryset = Workload.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"

    def get_queryset(self) -> QuerySet[Workload]:
        user: Any = self.request.user
        rows = Workload.objects.running().visible_to(user)
        rows = rows.select_related("cluster", "application").prefetch_related("images")
        return self._filtered(rows, user) if self.action == "list" else rows

    def _filtered(self, rows: QuerySet[Workload], user: Any) -> QuerySet[Workload]:
        if image := text_of(self.request, "image"):
            rows = rows.filter(images=find_image(user, image))
        for name, path in _FILTERS.items():
            if text := text_of(self.request, name):
                rows = rows.filter(**{path: text})
        return rows

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = SeenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        words = asked.validated_data
        user: Any = request.user
        workload = note(Seen(**{**words, "images": tuple(words["images"])}), actor=user)
        return Response(WorkloadSerializer(workload).data, status=201)

    def perform_destroy(self, instance: Workload) -> None:
        user: Any = self.request.user
        forget(instance, actor=user)
