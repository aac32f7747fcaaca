"""Trying drafts over REST."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse
from rest_framework.views import APIView

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Invalid
from secguard.images.models import Image
from secguard.images.queries import find_image
from secguard.laboratory import queries, services
from secguard.laboratory.lifecycle import Status
from secguard.laboratory.models import Redecided, Simulation, Turned
from secguard.policies.api import MAX_SOURCE, STAGES, VerdictDocument
from secguard.policies.facts import Gate
from secguard.policies.language import parse_policy
from secguard.policies.services import simulate, verdict_of
from secguard.web.filters import Filters

MAX_IMAGES = 50


class SimulateSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=MAX_SOURCE, required=False, trim_whitespace=False, help_text="the draft of a policy, YAML"
    )
    appetite = serializers.CharField(
        max_length=MAX_SOURCE, required=False, trim_whitespace=False, help_text="or that of a risk appetite"
    )
    estate = serializers.BooleanField(default=False, help_text="try it over every image that you see: a job")
    since = serializers.DateTimeField(
        required=False, help_text="and over the gates and admissions from here on, at most 366 days back"
    )
    until = serializers.DateTimeField(required=False, help_text="to here; now where left out")
    images = serializers.ListField(
        child=serializers.CharField(max_length=700), required=False, max_length=MAX_IMAGES, help_text="digests or tags"
    )
    stage = serializers.ChoiceField(choices=STAGES, default=Gate.BUILD.value, help_text="with `images`: the gate")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("source" in attrs) == ("appetite" in attrs):
            raise serializers.ValidationError("Send a policy as `source`, or a risk appetite as `appetite`.")
        return attrs


class SimulatedSerializer(serializers.Serializer[Any]):
    image = serializers.CharField()
    now = serializers.CharField(help_text="the verdict in force")
    then = serializers.CharField(help_text="the verdict of the draft")
    document = VerdictDocument(help_text="the draft's verdict document")


class JobProgressSerializer(serializers.Serializer[Any]):
    status = serializers.CharField()
    text = serializers.CharField(source="progress_text", allow_blank=True)
    done = serializers.IntegerField(source="progress_done")
    total = serializers.IntegerField(source="progress_total")


class SimulationSerializer(serializers.ModelSerializer[Simulation]):
    asked_by = serializers.CharField(source="asked_by.username")

    class Meta:
        model = Simulation
        fields = ["id", "kind", "name", "status", "since", "until", "asked_by", "asked_at", "finished_at", "expires_at"]
        read_only_fields = fields


class NumbersLineSerializer(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    rows = serializers.SerializerMethodField(help_text="the query of `rows/` that shows what is counted")
    numbers = serializers.DictField(
        child=serializers.DictField(child=serializers.IntegerField()), help_text="by origin, then by change"
    )

    def get_rows(self, line: queries.Line) -> dict[str, str]:
        return line.query


class NumbersTableSerializer(serializers.Serializer[Any]):
    by = serializers.CharField(help_text="team, repository, stage, environment, workload (running now) or where")
    lines = NumbersLineSerializer(many=True, help_text=f"at most {queries.GROUPED}, most blocked first")
    more = serializers.IntegerField(help_text="lines that are not told")


class DecidedTeamSerializer(serializers.Serializer[Any]):
    team = serializers.CharField()
    decisions = serializers.IntegerField()


class DecidedSerializer(serializers.Serializer[Any]):
    needs = serializers.DictField(
        child=serializers.IntegerField(), help_text="`more`, `fewer` or `other` approvals than were asked for"
    )
    ends = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="`refused` (it waits, and could not be asked for with this end), `sooner`, `over` (it would have "
        "ended by now)",
    )
    short = serializers.IntegerField(help_text="in force with votes that would not be enough")
    votes = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="`short` (in force, its votes would not be enough), `lost` (in force, and who approved no longer "
        "holds the roles), `enough` (it waits, and its votes would be enough)",
    )
    reach = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="`nobody` holds the roles that it would need, or only people who are `away` and whose deputies may "
        "not vote on it",
    )
    teams = serializers.SerializerMethodField()

    @extend_schema_field(DecidedTeamSerializer(many=True))
    def get_teams(self, found: queries.Decided) -> list[dict[str, Any]]:
        return [{"team": team, "decisions": number} for team, number in found.teams]


class SimulationDetailSerializer(SimulationSerializer):
    """What the draft would turn, as far as you may see it."""

    against = serializers.SerializerMethodField(help_text="the policy version that was in force")
    progress = serializers.SerializerMethodField()
    totals = serializers.SerializerMethodField(
        help_text="how much was judged; null where that would count what you may not see"
    )
    numbers = serializers.SerializerMethodField(
        help_text="`estate` (images as they are), `gate`, `promotion`, `admission`, each with `blocked`, `unblocked`, "
        "`warned`, `cleared`; what does not stand there is 0"
    )
    decisions = serializers.SerializerMethodField(
        help_text="what a draft of the risk appetite makes of decisions that wait or are in force; null: of a policy"
    )
    tables = serializers.SerializerMethodField(help_text="the same by team, repository, gate and workload")

    class Meta(SimulationSerializer.Meta):
        fields = [
            *SimulationSerializer.Meta.fields,
            "source",
            "against",
            "problem",
            "progress",
            "totals",
            "numbers",
            "tables",
            "decisions",
        ]
        read_only_fields = fields

    def to_representation(self, instance: Simulation) -> dict[str, Any]:
        # What is kept so far of one that runs would read as its result.
        is_done = instance.status == Status.DONE
        self._numbers, self._tables = queries.figures(self.context["request"].user, instance) if is_done else ({}, [])
        return super().to_representation(instance)

    def get_against(self, simulation: Simulation) -> dict[str, Any] | None:
        version = simulation.against
        return {"name": version.policy.name, "version": version.number} if version is not None else None

    @extend_schema_field(JobProgressSerializer(allow_null=True))
    def get_progress(self, simulation: Simulation) -> dict[str, Any] | None:
        job = queries.job_of(simulation)
        return dict(JobProgressSerializer(job).data) if job is not None else None

    def get_totals(self, simulation: Simulation) -> dict[str, Any] | None:
        return queries.totals_for(self.context["request"].user, simulation)

    def get_numbers(self, simulation: Simulation) -> dict[str, dict[str, int]]:
        return {origin: dict(changes) for origin, changes in self._numbers.items()}

    @extend_schema_field(NumbersTableSerializer(many=True))
    def get_tables(self, simulation: Simulation) -> Any:
        return NumbersTableSerializer(self._tables, many=True).data

    @extend_schema_field(DecidedSerializer(allow_null=True))
    def get_decisions(self, simulation: Simulation) -> Any:
        is_done = simulation.status == Status.DONE
        found = queries.decided(self.context["request"].user, simulation) if is_done else None
        return DecidedSerializer(found).data if found is not None else None


class TurnedSerializer(serializers.ModelSerializer[Turned]):
    image = serializers.CharField(source="image.digest")
    repository = serializers.CharField(source="repository.name", default=None, allow_null=True)
    reasons = serializers.ListField(
        child=serializers.DictField(),
        help_text="of the worse answer: rule, effect, message and how many findings",
    )

    class Meta:
        model = Turned
        fields = [
            "id", "origin", "change", "image", "repository", "stage", "was", "would", "reasons", "where",
            "environment", "outcome", "evaluation", "at", "times",
        ]  # fmt: skip
        read_only_fields = fields


class SimulateView(APIView):
    """Try a draft: of some images at once, or as a job over the estate and a period. Nothing gates by it."""

    @extend_schema(
        request=SimulateSerializer,
        responses={
            200: SimulatedSerializer(many=True),
            202: SimulationSerializer,
        },
    )
    def post(self, request: Request) -> Response:
        """With `estate` or `since`: 202 and a simulation to look at. Else what a draft of a policy would say of images
        now (those named, else the newest); nothing is kept."""
        user: Any = request.user
        require(user, Permission.POLICY_READ, anywhere=True)
        asked = SimulateSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        words = asked.validated_data
        if words["estate"] or "since" in words or "appetite" in words:
            return self._begin(request, user, words)
        return Response(_of_images(user, words))

    def _begin(self, request: Request, user: Any, words: dict[str, Any]) -> Response:
        if "images" in words:
            raise Invalid("A simulation over the estate takes all that you see; leave `images` out.", where="images")
        kind: Any = "appetite" if "appetite" in words else "policy"
        source = words.get("appetite") or words["source"]
        begun = services.ask(services.Draft(kind, source, words.get("since"), words.get("until")), actor=user)
        where = reverse("api:simulation-detail", args=[begun.pk], request=request)
        return Response(SimulationSerializer(begun).data, status=202, headers={"Location": where})


def _of_images(user: Any, words: dict[str, Any]) -> list[dict[str, Any]]:
    rules, stage, named = parse_policy(words["source"]), Gate(words["stage"]), words.get("images")
    newest = Image.objects.visible_to(user).order_by("-first_seen_at", "-id")
    now = timezone.now()
    found = []
    for image in [find_image(user, name) for name in named] if named else newest[:MAX_IMAGES]:
        draft = simulate(rules, image, stage, now)
        current = verdict_of(image, stage, now).verdict
        found.append({"image": image.digest, "now": current, "then": draft["verdict"], "document": draft})
    return found


@extend_schema_view(list=extend_schema(description="Simulations that you may see, newest first."))
class SimulationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Simulation]):
    """What drafts would turn: `POST /api/v1/policies/simulate/` begins one; it is kept for 14 days."""

    queryset = Simulation.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"
    filter_backends: list[Any] = []

    def get_serializer_class(self) -> type[serializers.ModelSerializer[Any]]:
        return SimulationSerializer if self.action == "list" else SimulationDetailSerializer

    def get_queryset(self) -> QuerySet[Simulation]:
        user: Any = self.request.user
        return Simulation.objects.visible_to(user).select_related("asked_by", "against__policy")

    @extend_schema(request=None, responses=SimulationSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Call it off."""
        user: Any = request.user
        return Response(SimulationSerializer(services.cancel(int(pk), actor=user)).data)


class TurnedViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Turned]):
    """The verdicts that a simulation's draft would turn, with reasons, newest first."""

    serializer_class = TurnedSerializer
    queryset = Turned.objects.none()
    ordering = "-id"
    filter_backends = [Filters]
    filterset_class = queries.RowFilter

    def get_queryset(self) -> QuerySet[Turned]:
        if getattr(self, "swagger_fake_view", False):
            return Turned.objects.none()
        user: Any = self.request.user
        return queries.rows_of(user, queries.simulation_for(user, int(self.kwargs["pk"])))


class RedecidedSerializer(serializers.ModelSerializer[Redecided]):
    risk = serializers.CharField(source="decision.risk.name")
    kind = serializers.CharField(source="decision.kind")
    scope = serializers.CharField(source="decision.scope_label")
    status = serializers.CharField(source="decision.status")
    expires_at = serializers.DateTimeField(source="decision.expires_at")

    class Meta:
        model = Redecided
        fields = [
            "id", "decision", "risk", "kind", "scope", "status", "needs", "ends", "is_short", "votes", "reach",
            "missing", "open_parts", "row_was", "row_would", "approvers_was", "approvers_would", "expires_at",
            "latest_end",
        ]  # fmt: skip
        read_only_fields = fields


class RedecidedViewSet(mixins.ListModelMixin, viewsets.GenericViewSet[Redecided]):
    """The decisions that the draft of a risk appetite makes something else of, newest first."""

    serializer_class = RedecidedSerializer
    queryset = Redecided.objects.none()
    ordering = "-id"
    filter_backends = [Filters]
    filterset_class = queries.RedecidedFilter

    def get_queryset(self) -> QuerySet[Redecided]:
        if getattr(self, "swagger_fake_view", False):
            return Redecided.objects.none()
        user: Any = self.request.user
        return queries.redecided_of(user, queries.simulation_for(user, int(self.kwargs["pk"])))
