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
from secguard.web.parameters import choice_of, flag_of, text_of
from secguard.workloads.models import CLUSTER_KINDS, Volume, Workload, WorkloadQuerySet
from secguard.workloads.services import Seen, forget, note, sync
from secguard.workloads.volumes import MAX_MOUNTS, MAX_NAME, MAX_SOURCE, Mount

_FILTERS = {"application": "application__slug", "cluster": "cluster__name", "namespace": "namespace"}
KINDS = tuple(kind for kind, _ in CLUSTER_KINDS)


class VolumeSerializer(serializers.ModelSerializer[Volume]):
    """A volume that a workload's pods mount."""

    holds_data = serializers.BooleanField(help_text="it outlives the pod: a claim, a share, a disk")

    class Meta:
        model = Volume
        fields = ["name", "kind", "source", "read_only", "holds_data"]
        read_only_fields = fields


class WorkloadSerializer(serializers.ModelSerializer[Workload]):
    cluster = serializers.CharField(source="cluster.name")
    cluster_kind = serializers.CharField(source="cluster.kind", help_text=", ".join(KINDS))
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    images = serializers.SlugRelatedField[Any](slug_field="digest", many=True, read_only=True)
    volumes = VolumeSerializer(many=True, read_only=True)

    class Meta:
        model = Workload
        fields = [
            "id",
            "cluster",
            "cluster_kind",
            "namespace",
            "kind",
            "name",
            "application",
            "images",
            "volumes",
            "seen_at",
        ]
        read_only_fields = fields


class MountSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=MAX_NAME)
    kind = serializers.CharField(max_length=63, help_text="as Kubernetes calls it: persistentVolumeClaim, hostPath")
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=MAX_SOURCE, required=False, allow_blank=True, default="", help_text="the claim, path or share"
    )
    read_only = serializers.BooleanField(required=False, default=False)  # type: ignore[assignment]


class SeenSerializer(serializers.Serializer[Any]):
    cluster = serializers.CharField(max_length=100)
    namespace = serializers.CharField(max_length=100, allow_blank=True, default="")
    kind = serializers.CharField(max_length=50, default="Deployment")
    name = serializers.CharField(max_length=253)
    application = serializers.SlugField(max_length=100)
    images = serializers.ListField(child=serializers.CharField(max_length=700), max_length=200)
    volumes = serializers.ListField(
        child=MountSerializer(),
        required=False,
        max_length=MAX_MOUNTS,
        help_text="what it mounts; without it they stay as they are",
    )

    def seen(self) -> Seen:
        """What was sent."""
        words = dict(self.validated_data)
        mounts = words.pop("volumes", None)
        images = tuple(words.pop("images"))
        return Seen(**words, images=images, volumes=None if mounts is None else tuple(Mount(**m) for m in mounts))


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
            OpenApiParameter("cluster_kind", str, enum=KINDS, description="Workloads in clusters of this kind."),
            OpenApiParameter(
                "holds_data", bool, description="Whether they mount what holds data, or the node's folders."
            ),
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
        rows = rows.select_related("cluster", "application").prefetch_related("images", "volumes")
        return self._filtered(rows, user) if self.action == "list" else rows

    def _filtered(self, rows: WorkloadQuerySet, user: Any) -> QuerySet[Workload]:
        if image := text_of(self.request, "image"):
            rows = rows.filter(images=find_image(user, image))
        for name, path in _FILTERS.items():
            if text := text_of(self.request, name):
                rows = rows.filter(**{path: text})
        if kind := choice_of(self.request, "cluster_kind", KINDS):
            rows = rows.filter(cluster__kind=kind)
        held = flag_of(self.request, "holds_data")
        return rows if held is None else rows.with_data(held)

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = SeenSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        workload = note(asked.seen(), actor=user)
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
