"""``/api/v1/network/segments/``, ``…/rules/``, the matrix, and policies made of rules or tried from a file."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.models import Team
from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.errors import NotFound
from secguard.network import segmentation
from secguard.network.models import Segment, SegmentRule
from secguard.network.policy import Form
from secguard.network.queries import segments as queries
from secguard.network.segmentation import Effect, Stance
from secguard.network.services import generating, ruling, segments
from secguard.network.services.proposing import summary_of
from secguard.network.services.ruling import MAX_TEXT, RuleEdit
from secguard.network.services.segments import SegmentEdit
from secguard.network.views.rules import RuleFilter
from secguard.web.parameters import choice_of, text_of

STANCES: Final = [s.value for s in Stance]
EFFECTS: Final = [e.value for e in Effect]


class SegmentMember(serializers.Serializer[Any]):
    """Ends for which all of this holds."""

    application = serializers.CharField(required=False, max_length=100, help_text="its slug")
    cluster = serializers.CharField(required=False, max_length=100, help_text="* stands for any characters")
    namespace = serializers.CharField(required=False, max_length=100, help_text="likewise")
    production = serializers.BooleanField(required=False)
    exposed = serializers.BooleanField(required=False, help_text="its application is reachable from outside")
    impact = serializers.ChoiceField(
        required=False, choices=list(segmentation.IMPACTS), help_text="of its application, or more"
    )
    outside = serializers.BooleanField(required=False, help_text="everything outside of clusters; nothing else with it")


class SegmentSerializer(serializers.ModelSerializer[Segment]):
    team = serializers.CharField(
        source="team.slug", default=None, allow_null=True, help_text="null: the organisation's"
    )
    stance = serializers.ChoiceField(choices=STANCES, help_text="closed: what no rule allows breaks it")
    members = SegmentMember(many=True, help_text="one of them is enough")
    made_by = serializers.CharField(source="made_by.username")

    class Meta:
        model = Segment
        fields = ["id", "name", "description", "team", "stance", "closed_at", "members", "made_by", "made_at"]
        read_only_fields = fields


class SegmentEditRequest(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, allow_blank=True, default="", max_length=segments.MAX_TEXT)
    stance = serializers.ChoiceField(choices=STANCES, default=Stance.OBSERVE.value)
    members = SegmentMember(many=True)

    @property
    def edit(self) -> SegmentEdit:
        told = self.validated_data
        members = [dict(one) for one in told["members"]]
        return SegmentEdit(told["name"], members, told["description"], Stance(told["stance"]))


class NewSegmentRequest(SegmentEditRequest):
    team = serializers.CharField(required=False, allow_null=True, default=None, help_text="its slug; null: everybody's")


@extend_schema_view(list=extend_schema(summary="Segments"), retrieve=extend_schema(summary="One segment"))
class SegmentViewSet(viewsets.ReadOnlyModelViewSet[Segment]):
    """Ends that are spoken of together: those of one's teams, and those of the whole organisation."""

    queryset = Segment.objects.none()
    serializer_class = SegmentSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id", "name")
    ordering = "id"

    @property
    def user(self) -> Any:
        return self.request.user

    def get_queryset(self) -> QuerySet[Segment]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return queries.segments(self.user)

    @extend_schema(request=NewSegmentRequest, responses={201: SegmentSerializer})
    def create(self, request: Request) -> Response:
        """Make a segment. Needs workload:edit in its team, or in the whole organisation."""
        asked = NewSegmentRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        slug = asked.validated_data["team"]
        team = Team.objects.visible_to(self.user).filter(slug=slug).first() if slug is not None else None
        if slug is not None and team is None:
            raise NotFound(f"There is no team {slug[:80]!r} that you may see.", where="team")
        made = segments.create(asked.edit, team.pk if team else None, actor=self.user)
        return Response(SegmentSerializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=SegmentEditRequest, responses=SegmentSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Say a segment anew. Its members change only while no rule names it (409)."""
        asked = SegmentEditRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response(SegmentSerializer(segments.edit(int(pk), asked.edit, actor=self.user)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """End it. Raises a conflict while a rule names it."""
        segments.end(int(pk), actor=self.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RuleVote(serializers.Serializer[Any]):
    voter = serializers.CharField()
    choice = serializers.CharField()
    comment = serializers.CharField()
    at = serializers.DateTimeField()


class RulePorts(serializers.Serializer[Any]):
    protocol = serializers.CharField()
    first = serializers.IntegerField(allow_null=True, help_text="null: every port")
    last = serializers.IntegerField(allow_null=True)


class NetworkRuleSerializer(serializers.ModelSerializer[SegmentRule]):
    """Ends that one may not see are "another team's application"."""

    source = serializers.CharField(source="source_name")  # type: ignore[assignment]
    destination = serializers.CharField(source="destination_name")
    ports = serializers.CharField(source="ports_words", help_text="tcp/443, udp/53; or every port")
    state = serializers.ChoiceField(choices=["waiting", "in force", "ended", "rejected", "withdrawn"])
    asked_by = serializers.CharField(source="asked_by.username")
    ended_by = serializers.CharField(source="ended_by.username", default=None, allow_null=True)
    flows = serializers.IntegerField(source="usage.flows", help_text="recorded under it, as far as one may see them")
    last_used_at = serializers.DateTimeField(source="usage.last_at", allow_null=True)
    usage = serializers.CharField(source="usage_words", help_text="used 12,000 times; not used in 30 days")
    votes = RuleVote(many=True)

    class Meta:
        model = SegmentRule
        fields = [
            "id", "source", "destination", "ports", "effect", "reason", "state", "asked_by", "asked_at", "ends_at",
            "ended_at", "ended_by", "end_reason", "flows", "last_used_at", "usage", "votes",
        ]  # fmt: skip
        read_only_fields = fields


class NetworkRuleRequest(serializers.Serializer[Any]):
    source = serializers.CharField(
        max_length=120, help_text="segment:12, application:shop, or edge:12 for the application at that end of an edge"
    )  # type: ignore[assignment]
    destination = serializers.CharField(max_length=120, help_text="likewise")
    ports = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=2_000, help_text="tcp/443, tcp/8000-8100; empty: every"
    )
    effect = serializers.ChoiceField(choices=EFFECTS, default=Effect.ALLOW.value)
    reason = serializers.CharField(max_length=MAX_TEXT)
    ends_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class RuleCommentRequest(serializers.Serializer[Any]):
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_COMMENT)


class RuleReasonRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_TEXT)


class NetworkRuleViewSet(viewsets.ReadOnlyModelViewSet[SegmentRule]):
    """Who may speak to whom. A rule is approved by a reviewer of the team that is spoken to, and never changes."""

    queryset = SegmentRule.objects.none()
    serializer_class = NetworkRuleSerializer
    filterset_class = RuleFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id",)
    ordering = "-id"

    @property
    def user(self) -> Any:
        return self.request.user

    def get_queryset(self) -> QuerySet[SegmentRule]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return queries.rules(self.user)

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        if args and not getattr(self, "swagger_fake_view", False):
            self._described(list(args[0]) if kwargs.get("many") else [args[0]])
        return super().get_serializer(*args, **kwargs)

    def _described(self, rows: list[Any]) -> None:
        queries.describe(self.user, rows, timezone.now())
        cast = queries.votes(rows)
        for row in rows:
            row.votes = cast[row.pk]

    def _answer(self, pk: int, code: int = 200) -> Response:
        return Response(self.get_serializer(queries.find_rule(self.user, pk)).data, status=code)

    @extend_schema(request=NetworkRuleRequest, responses={201: NetworkRuleSerializer})
    def create(self, request: Request) -> Response:
        """Ask for a rule. Needs decision:request in the team of either end."""
        asked = NetworkRuleRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        told = asked.validated_data
        edit = RuleEdit(
            told["source"], told["destination"], told["ports"], Effect(told["effect"]), told["reason"], told["ends_at"]
        )
        return self._answer(ruling.ask(edit, actor=self.user).pk, status.HTTP_201_CREATED)

    @extend_schema(request=RuleCommentRequest, responses=NetworkRuleSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Say yes to it: a security reviewer of the team that is spoken to, who did not ask for it."""
        return self._voted(request, pk, Choice.APPROVE)

    @extend_schema(request=RuleCommentRequest, responses=NetworkRuleSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Say no to it, with a comment."""
        return self._voted(request, pk, Choice.REJECT)

    def _voted(self, request: Request, pk: str, choice: Choice) -> Response:
        asked = RuleCommentRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        ruling.vote(int(pk), choice, comment=asked.validated_data["comment"], actor=self.user)
        return self._answer(int(pk))

    @extend_schema(request=None, responses=NetworkRuleSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take it back, while it waits: who asked for it."""
        ruling.withdraw(int(pk), actor=self.user)
        return self._answer(int(pk))

    @extend_schema(request=RuleReasonRequest, responses=NetworkRuleSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """End it. Needs decision:revoke in the team that is spoken to."""
        asked = RuleReasonRequest(data=request.data)
        asked.is_valid(raise_exception=True)
        ruling.end(int(pk), asked.validated_data["reason"], actor=self.user)
        return self._answer(int(pk))


class MatrixHead(serializers.Serializer[Any]):
    key = serializers.CharField(help_text="as the edges' `source` and `destination` take it")
    label = serializers.CharField()  # type: ignore[assignment]


class MatrixCell(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]
    destination = serializers.CharField()
    observed = serializers.IntegerField(help_text="edges")
    allowed = serializers.IntegerField(help_text="of them by a rule")
    breaking = serializers.IntegerField(help_text="of them let through although the rules say no")


class MatrixDocument(serializers.Serializer[Any]):
    heads = MatrixHead(many=True)
    cells = MatrixCell(many=True)
    is_cut = serializers.BooleanField(help_text="there is more than is told here")


class MatrixView(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("by", OpenApiTypes.STR, enum=["segment", "application"])], responses=MatrixDocument
    )
    def get(self, request: Request) -> Response:
        """Who speaks to whom, by segment or by application, held against the rules."""
        user: Any = request.user
        by = choice_of(request, "by", ("segment", "application"), "segment")
        return Response(MatrixDocument(queries.matrix(user, by).document).data)


class TriedDocument(serializers.Serializer[Any]):
    words = serializers.CharField()
    asked = serializers.IntegerField(help_text="recorded edges")
    cut = serializers.IntegerField(help_text="edges that would be denied, and are not now")
    flows = serializers.IntegerField(help_text="flows of those")
    namespaces = serializers.ListField(child=serializers.CharField())
    opened = serializers.IntegerField()
    unsure = serializers.IntegerField(help_text="edges of which it would not be known")
    edges = serializers.ListField(child=serializers.IntegerField(), help_text="ids of the first that would be cut")


class OmittedDocument(serializers.Serializer[Any]):
    subject = serializers.CharField()
    why = serializers.CharField()


class ClusterPoliciesDocument(serializers.Serializer[Any]):
    cluster = serializers.CharField()
    documents = serializers.ListField(child=serializers.DictField())
    yaml = serializers.CharField(help_text="all of them, as `kubectl apply -f` takes it")
    left_out = OmittedDocument(many=True)
    simulated = TriedDocument()


class RulePoliciesDocument(serializers.Serializer[Any]):
    clusters = ClusterPoliciesDocument(many=True)


class RulePoliciesView(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("form", OpenApiTypes.STR, enum=[form.value for form in Form])],
        responses=RulePoliciesDocument,
    )
    def get(self, request: Request, slug: str) -> Response:
        """What the rules in force say of one application, as policies for its clusters, and what they would do."""
        user: Any = request.user
        form = Form(choice_of(request, "form", tuple(Form), Form.KUBERNETES.value))
        found = generating.from_rules(slug, form, timezone.now(), actor=user)
        documents = [
            {
                "cluster": one.cluster,
                "documents": one.documents,
                "yaml": one.text,
                "left_out": [{"subject": subject, "why": why} for subject, why in one.left_out],
                "simulated": summary_of(one.simulated),
            }
            for one in found
        ]
        return Response(RulePoliciesDocument({"clusters": documents}).data)


class UnreadPolicy(serializers.Serializer[Any]):
    where = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class TrialDocument(serializers.Serializer[Any]):
    policies = serializers.IntegerField(help_text="that were read")
    refused = UnreadPolicy(many=True)
    simulated = TriedDocument()


class TryView(APIView):
    @extend_schema(
        parameters=[OpenApiParameter("cluster", OpenApiTypes.STR, required=True)],
        request=OpenApiTypes.OBJECT,
        responses=TrialDocument,
    )
    def post(self, request: Request) -> Response:
        """What a policy, or a list of them under `items`, would do to what was recorded of a cluster, where one may
        know both ends. Those of the same name are replaced; nothing is kept."""
        user: Any = request.user
        found = generating.try_documents(text_of(request, "cluster"), request.data, actor=user)
        refused = [{"where": w, "code": c, "detail": d} for w, c, d in found.refused[:100]]
        document = {"policies": found.policies, "refused": refused, "simulated": summary_of(found.simulated)}
        return Response(TrialDocument(document).data)
