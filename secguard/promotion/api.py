"""``/api/v1/promotions/`` and ``/api/v1/environments/``; and calling a digest back."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.queries import votes_of
from secguard.jobs.models import Job
from secguard.promotion import queries, services
from secguard.promotion.lifecycle import PromotionStatus, Step
from secguard.promotion.models import GATES, Environment, Promotion
from secguard.promotion.services.asking import MAX_TAGS
from secguard.signing.models import Recall
from secguard.signing.services import lift_recall, recall
from secguard.signing.services.standing import MAX_REASON
from secguard.web.parameters import choice_of, number_of, text_of

STATES = tuple(s.value for s in PromotionStatus)


class EnvironmentSerializer(serializers.ModelSerializer[Environment]):
    """Where images are promoted to. The first one of the order is where they are pushed."""

    registry = serializers.CharField(source="registry.host")
    approvers = serializers.DictField(child=serializers.IntegerField(), help_text="{role: number of people}")

    class Meta:
        model = Environment
        fields = [
            "id",
            "name",
            "position",
            "registry",
            "path_prefix",
            "gate",
            "key_name",
            "approvers",
            "requires_previous",
            "is_automatic",
            "automatic_for",
            "created_at",
        ]
        read_only_fields = fields


class EnvironmentEditSerializer(serializers.Serializer[Any]):
    position = serializers.IntegerField(required=False, help_text="the place in the order; default: the last")
    registry = serializers.CharField(max_length=255, required=False, help_text="the host, as it is set up here")
    path_prefix = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="what its repositories' paths begin with"
    )
    gate = serializers.CharField(max_length=8, required=False, help_text=", ".join(GATES))
    key_name = serializers.CharField(
        max_length=63, required=False, allow_blank=True, help_text="of the keys that sign what comes there"
    )
    approvers = serializers.DictField(
        child=serializers.IntegerField(min_value=0),
        required=False,
        help_text='who must approve: {"security-reviewer": 1}; {} asks nobody',
    )
    requires_previous = serializers.BooleanField(
        required=False, help_text="only what was promoted to the environment before comes here"
    )
    is_automatic = serializers.BooleanField(required=False, help_text="what passes the gate comes here by itself")
    automatic_for = serializers.CharField(
        max_length=300, required=False, allow_blank=True, help_text="of these repositories: registry.example/shop/*"
    )

    def edit(self) -> services.EnvironmentEdit:
        """What was sent, as the service takes it."""
        return services.EnvironmentEdit(**{k: v for k, v in self.validated_data.items() if k != "name"})


class NewEnvironmentSerializer(EnvironmentEditSerializer):
    name = serializers.CharField(max_length=63, help_text="lower-case letters, digits and '-'")


@extend_schema_view(
    create=extend_schema(request=NewEnvironmentSerializer, responses={201: EnvironmentSerializer}),
    partial_update=extend_schema(request=EnvironmentEditSerializer, responses=EnvironmentSerializer),
)
class EnvironmentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Environment]):
    """The environments in their order. Everybody reads them; environment:edit changes them."""

    serializer_class = EnvironmentSerializer
    queryset = Environment.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "position"
    ordering_fields = ("position", "name")

    def get_queryset(self) -> QuerySet[Environment]:
        user: Any = self.request.user
        require(user, Permission.PROMOTION_READ, anywhere=True)
        return Environment.objects.select_related("registry")

    def create(self, request: Request) -> Response:
        asked = NewEnvironmentSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        made = services.add_environment(asked.validated_data["name"], asked.edit(), actor=user)
        return Response(self.get_serializer(made).data, status=201)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Change it for what is asked for from now on. What is not sent stays."""
        asked = EnvironmentEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        return Response(self.get_serializer(services.edit_environment(int(pk), asked.edit(), actor=user)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Take away one that nothing was ever promoted to."""
        user: Any = request.user
        services.delete_environment(int(pk), actor=user)
        return Response(status=204)


class StepDocument(serializers.Serializer[Any]):
    step = serializers.CharField()
    at = serializers.DateTimeField(help_text="when it was begun, the last time")


class PromotionProgress(serializers.Serializer[Any]):
    text = serializers.CharField(source="progress_text")
    done = serializers.IntegerField(source="progress_done", help_text="bytes, while blobs are copied")
    total = serializers.IntegerField(source="progress_total")
    attempt = serializers.IntegerField(source="attempts")
    error = serializers.CharField(help_text="why the attempt before failed, where it is tried again")


class PromotionVote(serializers.Serializer[Any]):
    voter = serializers.CharField(source="voter.username")
    choice = serializers.CharField()
    comment = serializers.CharField()
    seat_of = serializers.CharField(
        source="seat_of.username", default=None, allow_null=True, help_text="the person away in whose seat it was cast"
    )
    at = serializers.DateTimeField(source="created_at")


class PromotionApproval(serializers.Serializer[Any]):
    required = serializers.DictField(child=serializers.IntegerField(), help_text="{role: people}")  # type: ignore[assignment]
    missing = serializers.DictField(child=serializers.IntegerField(), help_text="seats still empty, by role")
    status = serializers.CharField()
    votes = PromotionVote(many=True, help_text="oldest first")
    may_vote = serializers.BooleanField(help_text="whether your vote is asked for")
    votes_for = serializers.CharField(allow_null=True, help_text="whose seat your vote would fill: who is away")


class PromotionSerializer(serializers.ModelSerializer[Promotion]):
    """One digest on its way to one environment."""

    source = serializers.CharField(source="source.name")  # type: ignore[assignment]
    environment = serializers.CharField(source="environment.name")
    destination = serializers.CharField(source="destination_name")
    requested_by = serializers.CharField(source="requested_by.username", default=None, allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    steps = serializers.SerializerMethodField()
    reasons = serializers.ListField(
        child=serializers.DictField(), help_text="of the verdict that refused it, as in the verdict document"
    )
    evaluations = serializers.ListField(
        source="evaluation_ids", child=serializers.IntegerField(), help_text="the judgements that it rests on"
    )

    class Meta:
        model = Promotion
        fields = [
            "id",
            "digest",
            "asked_reference",
            "source",
            "environment",
            "destination",
            "tags",
            "status",
            "why",
            "reasons",
            "evaluations",
            "steps",
            "copied_bytes",
            "requested_by",
            "requested_at",
            "finished_at",
        ]
        read_only_fields = fields

    def get_steps(self, promotion: Promotion) -> list[dict[str, str]]:
        return [{"step": step, "at": promotion.steps[step]} for step in Step if step in promotion.steps]


class PromotionDetailSerializer(PromotionSerializer):
    progress = serializers.SerializerMethodField()
    approval = serializers.SerializerMethodField()

    class Meta(PromotionSerializer.Meta):
        fields = [*PromotionSerializer.Meta.fields, "progress", "approval"]
        read_only_fields = fields

    @extend_schema_field(PromotionProgress(allow_null=True))
    def get_progress(self, promotion: Promotion) -> dict[str, Any] | None:
        job = Job.objects.filter(pk=promotion.job_id).first() if promotion.is_open and promotion.job_id else None
        return dict(PromotionProgress(job).data) if job else None

    @extend_schema_field(PromotionApproval(allow_null=True))
    def get_approval(self, promotion: Promotion) -> dict[str, Any] | None:
        if promotion.approval is None or promotion.approval_id is None:
            return None
        outcome = queries.approvals_of([promotion])[promotion.approval_id]
        user: Any = self.context["request"].user
        seat = queries.seats_for([promotion], user, timezone.now()).get(promotion.pk)
        return {
            "required": promotion.approval.required,
            "missing": {role.value: count for role, count in outcome.missing.items()},
            "status": promotion.approval.status,
            "votes": PromotionVote(votes_of([promotion.approval])[promotion.approval_id], many=True).data,
            "may_vote": seat is not None,
            "votes_for": seat.username if seat is not None and seat.pk != user.pk else None,
        }


class AskForPromotionSerializer(serializers.Serializer[Any]):
    image = serializers.CharField(max_length=700, help_text="registry/repository:tag, or registry/repository@digest")
    to = serializers.CharField(max_length=63, help_text="the environment")
    tags = serializers.ListField(
        child=serializers.CharField(max_length=128),
        required=False,
        max_length=MAX_TAGS,
        help_text="that are moved to it there; default: the tag that the image is named by",
    )


class VoteSerializer(serializers.Serializer[Any]):
    comment = serializers.CharField(max_length=4000, required=False, allow_blank=True)


MAX_WAIT = 120
_WAIT = OpenApiParameter(
    "wait", int, description=f"Seconds to wait, at most {MAX_WAIT}, while it is on its way; not for people's approval."
)


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("status", str, enum=STATES),
            OpenApiParameter("environment", str, description="Its name."),
            OpenApiParameter("digest", str),
            OpenApiParameter(
                "waiting_for", str, enum=("me",), description="Those that your vote is asked for, deputies' among them."
            ),
        ]
    ),
    retrieve=extend_schema(parameters=[_WAIT], responses=PromotionDetailSerializer),
    create=extend_schema(
        parameters=[_WAIT], request=AskForPromotionSerializer, responses={201: PromotionDetailSerializer}
    ),
)
class PromotionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Promotion]):
    """Promotions from repositories of your teams."""

    serializer_class = PromotionSerializer
    queryset = Promotion.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[Promotion]:
        user: Any = self.request.user
        require(user, Permission.PROMOTION_READ, anywhere=True)
        if self.action != "list":
            return Promotion.objects.visible_to(user).select_related(*queries.OF_ONE)
        rows = queries.promotions(user)
        if status := choice_of(self.request, "status", ("", *STATES), ""):
            rows = rows.filter(status=status)
        if environment := text_of(self.request, "environment"):
            rows = rows.filter(environment__name=environment)
        if digest := text_of(self.request, "digest"):
            rows = rows.filter(digest=digest)
        if choice_of(self.request, "waiting_for", ("", "me"), ""):
            rows = rows.filter(pk__in=[p.pk for p in queries.waiting_for(user)])
        return rows

    def get_serializer_class(self) -> Any:
        return PromotionSerializer if self.action == "list" else PromotionDetailSerializer

    def create(self, request: Request) -> Response:
        """Ask for it. 201 with the promotion: running, waiting for approvals, or refused with the verdict's reasons."""
        asked = AskForPromotionSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        sent, wait = asked.validated_data, self._wait()
        made = services.ask(services.Ask(sent["image"], sent["to"], sent.get("tags")), actor=user)
        services.wait_while_running(made.pk, wait)
        return Response(self.get_serializer(self._again(made.pk)).data, status=201)

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """One promotion: how far it is, what it waits for, and what came of it."""
        wait, number = self._wait(), int(self.kwargs["pk"])
        if wait and self.get_queryset().filter(pk=number).exists():
            services.wait_while_running(number, wait)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=VoteSerializer, responses=PromotionDetailSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Approve it. Never one's own, and only in a role that the environment asks for."""
        user: Any = request.user
        services.approve(int(pk), actor=user, comment=self._comment(request))
        return Response(self.get_serializer(self._again(int(pk))).data)

    @extend_schema(request=VoteSerializer, responses=PromotionDetailSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Reject it, with a comment that says what would be accepted."""
        user: Any = request.user
        services.reject(int(pk), actor=user, comment=self._comment(request))
        return Response(self.get_serializer(self._again(int(pk))).data)

    @extend_schema(request=None, responses=PromotionDetailSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Call it off, until its tags are moved."""
        user: Any = request.user
        services.withdraw(int(pk), actor=user)
        return Response(self.get_serializer(self._again(int(pk))).data)

    @extend_schema(request=None, responses=PromotionDetailSerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Go on with one that failed, where it stopped; or at once with one that waits for its next attempt."""
        user: Any = request.user
        services.retry(int(pk), actor=user)
        return Response(self.get_serializer(self._again(int(pk))).data)

    def _wait(self) -> int:
        return number_of(self.request, "wait", least=0, most=MAX_WAIT) or 0

    def _again(self, pk: int) -> Promotion:
        return Promotion.objects.select_related(*queries.OF_ONE).get(pk=pk)

    def _comment(self, request: Request) -> str:
        said = VoteSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        return str(said.validated_data.get("comment", ""))


class RecallSerializer(serializers.ModelSerializer[Recall]):
    recalled_by = serializers.CharField(source="recalled_by.username", default=None, allow_null=True)
    lifted_by = serializers.CharField(source="lifted_by.username", default=None, allow_null=True)

    class Meta:
        model = Recall
        fields = ["id", "reason", "recalled_by", "recalled_at", "lifted_by", "lifted_at", "lift_reason"]
        read_only_fields = fields


class RunningDocument(serializers.Serializer[Any]):
    cluster = serializers.CharField(source="cluster.name")
    namespace = serializers.CharField()
    kind = serializers.CharField()
    name = serializers.CharField()


class StandingSerializer(serializers.Serializer[Any]):
    """Whether a digest is called back, how that came or ended, and where it runs."""

    digest = serializers.CharField()
    is_recalled = serializers.BooleanField()
    recall = RecallSerializer(allow_null=True, help_text="the latest one, lifted or not")
    runs = RunningDocument(many=True, help_text="where it runs now, of what you may see")


class RecallReasonSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON, help_text="whoever meets the refused image reads it")


class RecallView(APIView):
    """Calling a digest back: gates refuse it, what was signed of it counts no more, and where it runs is told."""

    @extend_schema(responses=StandingSerializer)
    def get(self, request: Request, digest: str) -> Response:
        """Whether the digest is called back, and where it runs."""
        user: Any = request.user
        return self._standing(digest, queries.latest_recall(digest, actor=user))

    @extend_schema(request=RecallReasonSerializer, responses={201: StandingSerializer})
    def post(self, request: Request, digest: str) -> Response:
        """Call it back. Needs image:recall in every team that has it."""
        user: Any = request.user
        return self._standing(digest, recall(digest, self._reason(request), actor=user), status=201)

    @extend_schema(request=RecallReasonSerializer, responses=StandingSerializer)
    def delete(self, request: Request, digest: str) -> Response:
        """Lift the recall. What was promoted has to be promoted anew."""
        user: Any = request.user
        return self._standing(digest, lift_recall(digest, self._reason(request), actor=user))

    def _standing(self, digest: str, row: Recall | None, status: int = 200) -> Response:
        user: Any = self.request.user
        stands = row is not None and row.lifted_at is None
        told = {"digest": digest, "is_recalled": stands, "recall": row, "runs": queries.runs(digest, user)}
        return Response(StandingSerializer(told).data, status=status)

    def _reason(self, request: Request) -> str:
        said = RecallReasonSerializer(data=request.data)
        said.is_valid(raise_exception=True)
        return str(said.validated_data["reason"])
