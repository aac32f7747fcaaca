"""``/api/v1/network/…``: edges, the map, reach, generated policies, and what clusters apply."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.network import queries
from secguard.network.lifecycle import ProposalEvent, ProposalState
from secguard.network.models import Applied, Edge, Proposal
from secguard.network.netpol import as_yaml
from secguard.network.policy import Form
from secguard.network.queries import EdgeFilter
from secguard.network.services import applying, proposing
from secguard.network.services.proposing import About
from secguard.web.parameters import text_of

FORMS: Final = [form.value for form in Form]


class EdgeSerializer(serializers.ModelSerializer[Edge]):
    """All flows from one end to another at one port with one outcome. Ends of other teams are not named."""

    source = serializers.SerializerMethodField()  # type: ignore[assignment]
    destination = serializers.SerializerMethodField()
    source_id = serializers.SerializerMethodField(help_text="of its end; null where it is not named")
    destination_id = serializers.SerializerMethodField()
    source_place = serializers.SerializerMethodField(help_text="its cluster, and its kind or that it is outside")
    destination_place = serializers.SerializerMethodField()
    port = serializers.IntegerField(help_text="0: not told, or very many")
    verdict = serializers.SerializerMethodField(help_text="allowed, denied or unknown")
    is_new = serializers.SerializerMethodField()
    standing = serializers.SerializerMethodField(
        help_text="by the rules: allowed, denied, not-allowed, no-rule, not-known; empty: not judged yet"
    )
    breaks_rules = serializers.SerializerMethodField(help_text="it was let through although the rules say no")
    anomaly = serializers.CharField(help_text="ports (very many), volume (far more than usual), or empty")

    class Meta:
        model = Edge
        fields = [
            "id", "source", "source_id", "source_place", "destination", "destination_id", "destination_place",
            "protocol", "port", "verdict", "count", "bytes", "first_at", "last_at", "is_new", "standing",
            "breaks_rules", "anomaly",
        ]  # fmt: skip
        read_only_fields = fields

    def get_source(self, edge: Any) -> str:
        return queries.name_of(edge, "source")

    def get_destination(self, edge: Any) -> str:
        return queries.name_of(edge, "destination")

    def get_source_id(self, edge: Any) -> int | None:
        return edge.source_id if edge.source_shown else None

    def get_destination_id(self, edge: Any) -> int | None:
        return edge.destination_id if edge.destination_shown else None

    def get_source_place(self, edge: Any) -> str:
        return queries.place_of(edge, "source")

    def get_destination_place(self, edge: Any) -> str:
        return queries.place_of(edge, "destination")

    def get_verdict(self, edge: Edge) -> str:
        return queries.VERDICT_WORDS[edge.verdict]

    def get_standing(self, edge: Edge) -> str:
        return queries.standing_of(edge, timezone.now())

    def get_breaks_rules(self, edge: Edge) -> bool:
        return edge.broke_at is not None

    def get_is_new(self, edge: Edge) -> bool:
        return edge.new_until is not None and edge.new_until > timezone.now()


@extend_schema_view(list=extend_schema(summary="Who spoke to whom"))
class NetworkEdgeViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Edge]):
    """Edges of which one may see either end."""

    queryset = Edge.objects.none()
    serializer_class = EdgeSerializer
    filterset_class = EdgeFilter
    ordering_fields = ("id", "count", "last_at")
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Edge]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        return queries.edges(user)


class MapNode(serializers.Serializer[Any]):
    id = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    sort = serializers.CharField(help_text="namespace, workload, outside, own (the cluster's) or others")
    cluster = serializers.CharField()
    url = serializers.CharField()
    x = serializers.IntegerField()
    y = serializers.IntegerField()


class MapLink(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]
    destination = serializers.CharField()
    state = serializers.CharField(help_text="what matters most: denied, anomalous, new, allowed or unknown")
    allowed = serializers.IntegerField(help_text="edges; so are the next four")
    denied = serializers.IntegerField()
    unknown = serializers.IntegerField()
    new = serializers.IntegerField()
    anomalous = serializers.IntegerField()
    flows = serializers.IntegerField()
    url = serializers.CharField()


class MapDocument(serializers.Serializer[Any]):
    nodes = MapNode(many=True)
    links = MapLink(many=True)
    is_cut = serializers.BooleanField(help_text="there is more than is told here: what says most is")


class MapView(APIView):
    @extend_schema(
        parameters=[
            OpenApiParameter("cluster", OpenApiTypes.STR),
            OpenApiParameter("namespace", OpenApiTypes.STR, description="its workloads, instead of all namespaces"),
        ],
        responses=MapDocument,
    )
    def get(self, request: Request) -> Response:
        """Who speaks to whom, by namespace; or the workloads of one."""
        user: Any = request.user
        cluster, namespace, now = text_of(request, "cluster"), text_of(request, "namespace"), timezone.now()
        rows = queries.edges(user)
        if namespace:
            found = queries.opened(rows, cluster or "", namespace, now, {})
        else:
            narrowed = rows.filter(queries.about(cluster=cluster)) if cluster else rows
            found = queries.overview(narrowed, now, {"cluster": cluster} if cluster else {})
        return Response(MapDocument(found.document).data)


class NetworkFlawsDocument(serializers.Serializer[Any]):
    open = serializers.IntegerField()
    exploited = serializers.IntegerField(help_text="of them known to be exploited")


class NetworkReachedDocument(serializers.Serializer[Any]):
    name = serializers.CharField()
    workload_id = serializers.IntegerField(allow_null=True)
    hops = serializers.IntegerField()
    by = serializers.ListField(child=serializers.CharField(), help_text="observed, allowed")
    path = serializers.ListField(child=serializers.CharField())
    is_certain = serializers.BooleanField()
    is_outside = serializers.BooleanField()
    is_exposed = serializers.BooleanField(help_text="spoken to from outside")
    flaws = NetworkFlawsDocument()


class NetworkReachDocument(serializers.Serializer[Any]):
    start = serializers.CharField()
    is_exposed = serializers.BooleanField()
    has_policies = serializers.BooleanField(help_text="the cluster has told which policies it applies")
    observed = serializers.IntegerField()
    allowed = serializers.IntegerField()
    rows = NetworkReachedDocument(many=True)


class ReachView(APIView):
    @extend_schema(responses=NetworkReachDocument)
    def get(self, request: Request, pk: str) -> Response:
        """What could be reached from a workload (by the id of its end): known exploited first, 500 at most."""
        user: Any = request.user
        return Response(NetworkReachDocument(queries.reach_from(user, int(pk))).data)


class AppliedSerializer(serializers.ModelSerializer[Applied]):
    class Meta:
        model = Applied
        fields = ["id", "cluster", "namespace", "name", "form", "first_at", "reported_at"]
        read_only_fields = fields


class RefusedPolicy(serializers.Serializer[Any]):
    where = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ReportedDocument(serializers.Serializer[Any]):
    applied = serializers.IntegerField()
    gone = serializers.IntegerField(help_text="were applied before, and are no longer")
    refused = RefusedPolicy(many=True)


class AppliedView(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("cluster", OpenApiTypes.STR, required=True)],
        request=OpenApiTypes.OBJECT,
        responses=ReportedDocument,
    )
    def post(self, request: Request) -> Response:
        """What a cluster applies: `kubectl get networkpolicies,ciliumnetworkpolicies -A -o json`. What is not in the
        list is applied no longer. Needs workload:edit in the whole organisation."""
        user: Any = request.user
        found = applying.report(text_of(request, "cluster") or "", request.data, timezone.now(), actor=user)
        refused = [{"where": w, "code": c, "detail": d} for w, c, d in found.refused[:100]]
        return Response({"applied": found.applied, "gone": found.gone, "refused": refused})


class NetworkSimulatedDocument(serializers.Serializer[Any]):
    words = serializers.CharField()
    asked = serializers.IntegerField(help_text="recorded edges")
    cut = serializers.IntegerField(help_text="edges that would be denied, and are not now")
    flows = serializers.IntegerField(help_text="flows of those")
    namespaces = serializers.ListField(child=serializers.CharField())
    opened = serializers.IntegerField(help_text="edges that would be allowed, and are denied now")
    unsure = serializers.IntegerField(help_text="edges of which it would not be known")
    edges = serializers.ListField(child=serializers.IntegerField(), help_text="ids of the first that would be cut")


class LeftOutDocument(serializers.Serializer[Any]):
    subject = serializers.CharField()
    why = serializers.CharField()


class ProposalSerializer(serializers.ModelSerializer[Proposal]):
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    asked_by = serializers.CharField(source="asked_by.username")
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    state = serializers.ChoiceField(choices=[s.value for s in ProposalState])
    simulated = NetworkSimulatedDocument()
    left_out = LeftOutDocument(many=True)

    class Meta:
        model = Proposal
        fields = [
            "id", "cluster", "namespace", "name", "form", "subject", "application", "document", "made_from", "left_out",
            "simulated", "reason", "state", "asked_by", "asked_at", "decided_by", "decided_at", "answer",
        ]  # fmt: skip
        read_only_fields = fields


class ProposalRequest(serializers.Serializer[Any]):
    """For one workload (`end`: the id of its end), or for a namespace of a cluster."""

    form = serializers.ChoiceField(choices=FORMS, default=Form.KUBERNETES.value)
    end = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    cluster = serializers.CharField(required=False, max_length=100)
    namespace = serializers.CharField(required=False, max_length=63)
    reason = serializers.CharField(required=False, allow_blank=True, default="", max_length=proposing.MAX_TEXT)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("end" in attrs) == ("cluster" in attrs and "namespace" in attrs):
            raise serializers.ValidationError("Name either `end`, or `cluster` and `namespace`.")
        return attrs

    @property
    def about(self) -> About:
        sent = self.validated_data
        return About(Form(sent["form"]), sent.get("end"), sent.get("cluster", ""), sent.get("namespace", ""))


class NetworkDraftDocument(serializers.Serializer[Any]):
    document = serializers.DictField()
    made_from = serializers.IntegerField(help_text="edges")
    left_out = LeftOutDocument(many=True)
    simulated = NetworkSimulatedDocument()


class NetworkAnswerRequest(serializers.Serializer[Any]):
    answer = serializers.CharField(required=False, allow_blank=True, default="", max_length=proposing.MAX_TEXT)


@extend_schema_view(list=extend_schema(summary="Proposed policies, newest first"))
class NetworkPolicyViewSet(viewsets.ReadOnlyModelViewSet[Proposal]):
    """Policies that were generated from what was observed, asked for by one person and decided by another."""

    queryset = Proposal.objects.none()
    serializer_class = ProposalSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id",)
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Proposal]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        return Proposal.objects.visible_to(user).select_related("application", "asked_by", "decided_by")

    @extend_schema(request=ProposalRequest, responses={201: ProposalSerializer})
    def create(self, request: Request) -> Response:
        """Generate a policy, try it against what was recorded, and ask for it to be applied."""
        form = ProposalRequest(data=request.data)
        form.is_valid(raise_exception=True)
        user: Any = request.user
        made = proposing.propose(form.about, form.validated_data["reason"], actor=user)
        return Response(ProposalSerializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=ProposalRequest, responses=NetworkDraftDocument)
    @action(detail=False, methods=["post"])
    def draft(self, request: Request) -> Response:
        """Generate and try a policy. Nothing is kept."""
        form = ProposalRequest(data=request.data)
        form.is_valid(raise_exception=True)
        user: Any = request.user
        made = proposing.draft(form.about, actor=user)
        document = {
            "document": made.generated.document,
            "made_from": len(made.generated.edges),
            "left_out": [{"subject": out.subject, "why": out.why} for out in made.generated.left_out],
            "simulated": proposing.summary_of(made.simulated),
        }
        return Response(NetworkDraftDocument(document).data)

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    @action(detail=True, url_path="yaml")
    def as_yaml(self, request: Request, pk: str) -> HttpResponse:
        """The policy, as `kubectl apply -f` takes it."""
        return HttpResponse(as_yaml([self.get_object().document]), content_type="text/plain; charset=utf-8")

    @extend_schema(request=NetworkAnswerRequest, responses=ProposalSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Say yes to it. Needs policy:activate; who asked cannot."""
        return self._decided(request, pk, ProposalEvent.APPROVE)

    @extend_schema(request=NetworkAnswerRequest, responses=ProposalSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Say no to it. Needs policy:activate."""
        return self._decided(request, pk, ProposalEvent.REJECT)

    @extend_schema(request=NetworkAnswerRequest, responses=ProposalSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take one's own back."""
        return self._decided(request, pk, ProposalEvent.WITHDRAW)

    def _decided(self, request: Request, pk: str, event: ProposalEvent) -> Response:
        form = NetworkAnswerRequest(data=request.data)
        form.is_valid(raise_exception=True)
        user: Any = request.user
        return Response(
            ProposalSerializer(proposing.decide(int(pk), event, form.validated_data["answer"], actor=user)).data
        )
