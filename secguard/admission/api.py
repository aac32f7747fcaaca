"""Clusters as they are answered, and what was answered, over REST."""

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
from secguard.admission import queries, services
from secguard.admission.answer import DEFAULT_EFFECTS, Effect, Mode, Outcome
from secguard.admission.breakglass import MAX_MINUTES
from secguard.admission.models import AdmissionDecision, BreakGlass, ClusterGate
from secguard.images.queries import find_image
from secguard.web.parameters import choice_of, text_of
from secguard.workloads.models import CLUSTER_KINDS

KINDS = [value for value, _ in CLUSTER_KINDS]


class ClusterSerializer(serializers.ModelSerializer[ClusterGate]):
    """A cluster and how it is answered. Its token is never shown, only whether there is one."""

    name = serializers.CharField(source="cluster.name")
    kind = serializers.CharField(source="cluster.kind")
    namespaces = serializers.DictField(child=serializers.CharField())
    effects = serializers.SerializerMethodField(help_text="what pods ask for, and what is done about it")
    paths = serializers.DictField(child=serializers.ListField(child=serializers.CharField()))
    signers = serializers.ListField(child=serializers.CharField(), help_text="one of whom signed what runs here")
    has_token = serializers.SerializerMethodField()

    class Meta:
        model = ClusterGate
        fields = [
            "id",
            "name",
            "kind",
            "mode",
            "namespaces",
            "effects",
            "paths",
            "requires_digest",
            "environment",
            "signers",
            "has_token",
            "token_made_at",
            "heard_at",
            "created_at",
        ]
        read_only_fields = fields

    def get_has_token(self, gate: ClusterGate) -> bool:
        return gate.token_hash is not None

    def get_effects(self, gate: ClusterGate) -> dict[str, str]:
        return {ask: str(gate.effects.get(ask, effect.value)) for ask, effect in DEFAULT_EFFECTS.items()}


class ClusterEditSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(max_length=12, required=False, help_text=", ".join(KINDS))
    mode = serializers.CharField(max_length=8, required=False, help_text=", ".join(Mode))
    namespaces = serializers.DictField(
        child=serializers.CharField(max_length=8),
        required=False,
        help_text='modes of namespaces; a beginning and * stands for several: {"team-*": "warn"}',
    )
    effects = serializers.DictField(
        child=serializers.CharField(max_length=5),
        required=False,
        help_text=f"{', '.join(DEFAULT_EFFECTS)}, each with one of {', '.join(Effect)}; all others as by default",
    )
    paths = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField(max_length=300)),
        required=False,
        help_text="group/Kind of custom resources to paths of pod specs or image references",
    )
    requires_digest = serializers.BooleanField(required=False, help_text="refuse tags that nothing has pinned")
    environment = serializers.CharField(
        max_length=63, required=False, allow_blank=True, help_text="what runs here was promoted to it; empty: not asked"
    )
    signers = serializers.ListField(
        child=serializers.CharField(max_length=100),
        required=False,
        max_length=50,
        help_text="keys of ours and trusted ones: one of them signed what runs here; none: not asked",
    )


class NewClusterSerializer(ClusterEditSerializer):
    name = serializers.CharField(max_length=100, help_text="as workloads are reported of it")


class ClusterTokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="shown this once; webhooks send it as Authorization: Bearer …")


@extend_schema_view(
    create=extend_schema(request=NewClusterSerializer, responses={201: ClusterSerializer}),
    partial_update=extend_schema(request=ClusterEditSerializer, responses=ClusterSerializer),
)
class ClusterViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ClusterGate]):
    """The clusters that ask before anything starts, and how each is answered; for who may cluster:edit."""

    serializer_class = ClusterSerializer
    queryset = ClusterGate.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "id"

    def get_queryset(self) -> QuerySet[ClusterGate]:
        require(self.request.user, Permission.CLUSTER_EDIT)
        return ClusterGate.objects.select_related("cluster")

    def create(self, request: Request) -> Response:
        asked = NewClusterSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        fields = dict(asked.validated_data)
        made = services.add_gate(fields.pop("name"), services.GateEdit(**fields), actor=user)
        return Response(self.get_serializer(made).data, status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        asked = ClusterEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        changed = services.edit_gate(int(pk), services.GateEdit(**asked.validated_data), actor=user)
        return Response(self.get_serializer(changed).data)

    @extend_schema(request=None, responses={201: ClusterTokenSerializer})
    @action(detail=True, methods=["post"])
    def token(self, request: Request, pk: str) -> Response:
        """A new token for the cluster's webhooks; the former one ends at once."""
        user: Any = request.user
        _, token = services.renew_token(int(pk), actor=user)
        return Response({"token": token}, status=201)


class AdmissionDecisionSerializer(serializers.ModelSerializer[AdmissionDecision]):
    cluster = serializers.CharField(source="cluster.name")
    image = serializers.CharField(source="image.digest", default=None, allow_null=True, help_text="what was judged")
    evaluation = serializers.IntegerField(
        source="evaluation_id", allow_null=True, help_text="the verdict and all that it was made from"
    )

    class Meta:
        model = AdmissionDecision
        fields = [
            "id",
            "cluster",
            "namespace",
            "workload_kind",
            "workload_name",
            "reference",
            "digest",
            "image",
            "outcome",
            "mode",
            "reason",
            "grace_until",
            "evaluation",
            "requested_by",
            "uid",
            "answered_by",
            "snapshot_at",
            "count",
            "first_at",
            "last_at",
        ]
        read_only_fields = fields


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("image", str, description="Answers about this image: a digest or a reference."),
            OpenApiParameter("cluster", str, description="Answers to this cluster, by its name."),
            OpenApiParameter("namespace", str, description="Answers about this namespace."),
            OpenApiParameter("outcome", str, enum=[o.value for o in Outcome], description="Answers of this outcome."),
        ]
    )
)
class AdmissionDecisionViewSet(viewsets.ReadOnlyModelViewSet[AdmissionDecision]):
    """What clusters were answered: denials, warnings and the first of what was allowed, each counted."""

    serializer_class = AdmissionDecisionSerializer
    queryset = AdmissionDecision.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-last_at"

    def get_queryset(self) -> QuerySet[AdmissionDecision]:
        user: Any = self.request.user
        rows = queries.decisions(user)
        return self._filtered(rows, user) if self.action == "list" else rows

    def _filtered(self, rows: QuerySet[AdmissionDecision], user: Any) -> QuerySet[AdmissionDecision]:
        if image := text_of(self.request, "image"):
            rows = rows.filter(image=find_image(user, image))
        if outcome := choice_of(self.request, "outcome", tuple(o.value for o in Outcome), ""):
            rows = rows.filter(outcome=outcome)
        for name, path in (("cluster", "cluster__name"), ("namespace", "namespace")):
            if text := text_of(self.request, name):
                rows = rows.filter(**{path: text})
        return rows


class BreakGlassSerializer(serializers.ModelSerializer[BreakGlass]):
    cluster = serializers.CharField(source="cluster.name")
    requested_by = serializers.CharField(source="requested_by.username")
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    reviewed_by = serializers.CharField(source="reviewed_by.username", default=None, allow_null=True)

    class Meta:
        model = BreakGlass
        fields = [
            "id",
            "cluster",
            "namespace",
            "digest",
            "minutes",
            "reason",
            "status",
            "requested_by",
            "requested_at",
            "decided_by",
            "decided_at",
            "expires_at",
            "used_at",
            "used_for",
            "reviewed_by",
            "reviewed_at",
            "review",
        ]
        read_only_fields = fields


class GlassRequestSerializer(serializers.Serializer[Any]):
    cluster = serializers.CharField(max_length=100, help_text="a cluster that asks here, by its name")
    namespace = serializers.CharField(max_length=63)
    digest = serializers.CharField(max_length=135, help_text="what is to start: sha256:…")
    minutes = serializers.IntegerField(default=60, min_value=1, max_value=MAX_MINUTES)
    reason = serializers.CharField(max_length=5000, help_text="why it cannot wait")


class GlassReviewSerializer(serializers.Serializer[Any]):
    review = serializers.CharField(max_length=5000, help_text="what came of it")


@extend_schema_view(create=extend_schema(request=GlassRequestSerializer, responses={201: BreakGlassSerializer}))
class BreakGlassViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[BreakGlass]):
    """One start of a digest that is refused otherwise: asked for by one person, granted by another, reviewed after."""

    serializer_class = BreakGlassSerializer
    queryset = BreakGlass.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_queryset(self) -> QuerySet[BreakGlass]:
        user: Any = self.request.user
        return queries.glass(user)

    def create(self, request: Request) -> Response:
        asked = GlassRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        words, user = dict(asked.validated_data), self._user
        at = (words.pop("cluster"), words.pop("namespace"), words.pop("digest"))
        return Response(BreakGlassSerializer(services.request_glass(*at, **words, actor=user)).data, status=201)

    @property
    def _user(self) -> Any:
        return self.request.user

    @extend_schema(request=None, responses=BreakGlassSerializer)
    @action(detail=True, methods=["post"])
    def grant(self, request: Request, pk: str) -> Response:
        """Let it be used once, from now on for its minutes."""
        return Response(BreakGlassSerializer(services.grant_glass(int(pk), actor=self._user)).data)

    @extend_schema(request=None, responses=BreakGlassSerializer)
    @action(detail=True, methods=["post"])
    def refuse(self, request: Request, pk: str) -> Response:
        """Say no."""
        return Response(BreakGlassSerializer(services.refuse_glass(int(pk), actor=self._user)).data)

    @extend_schema(request=None, responses=BreakGlassSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take it back before it is used."""
        return Response(BreakGlassSerializer(services.withdraw_glass(int(pk), actor=self._user)).data)

    @extend_schema(request=GlassReviewSerializer, responses=BreakGlassSerializer)
    @action(detail=True, methods=["post"])
    def review(self, request: Request, pk: str) -> Response:
        """Say what came of its use."""
        asked = GlassReviewSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        done = services.review_glass(int(pk), review=asked.validated_data["review"], actor=self._user)
        return Response(BreakGlassSerializer(done).data)
