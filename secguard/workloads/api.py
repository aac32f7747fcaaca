"""What runs where, over REST."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.images.queries import find_image
from secguard.web.parameters import text_of
from secguard.workloads.models import Workload
from secguard.workloads.services import Seen, forget, note, sync

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


class PodListSerializer(serializers.Serializer[Any]):
    """What `kubectl get pods -A -o json` prints; of each pod the owner, the images and what its node tells are read."""

    kind = serializers.CharField(help_text="List or PodList")
    items = serializers.ListField(child=serializers.DictField())


class SyncedSerializer(serializers.Serializer[Any]):
    running = serializers.IntegerField(help_text="workloads that run now")
    new = serializers.IntegerField(help_text="those of them that were not known")
    gone = serializers.IntegerField(help_text="workloads that run no longer")
    unknown = serializers.ListField(child=serializers.CharField(), help_text="images that run and nobody knows here")


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

    @extend_schema(
        request=PodListSerializer,
        parameters=[
            OpenApiParameter("cluster", str, required=True, description="Whose list it is, by the cluster's name."),
            OpenApiParameter("namespace", str, description="The list is of this namespace alone; others stay."),
        ],
        responses=SyncedSerializer,
    )
    @action(detail=False, methods=["post"], filter_backends=[], pagination_class=None)
    def sync(self, request: Request) -> Response:
        """Bring a cluster's workloads up to date with its list of pods; what is not in it runs no longer."""
        user: Any = request.user
        require(user, Permission.WORKLOAD_EDIT)  # before the body is read
        cluster, namespace = text_of(request, "cluster"), text_of(request, "namespace")
        done = sync(cluster, request.data, namespace=namespace, actor=user)
        return Response(SyncedSerializer(done).data)

    def perform_destroy(self, instance: Workload) -> None:
        user: Any = self.request.user
        forget(instance, actor=user)
