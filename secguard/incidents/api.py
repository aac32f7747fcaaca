"""``/api/v1/incidents/`` and ``/api/v1/expectations/``: incidents, what people do with them, and what is expected."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Invalid, NotFound
from secguard.findings.severity import Severity
from secguard.incidents import queries
from secguard.incidents.containment import Form
from secguard.incidents.lifecycle import LIVE, Decision, Means, Status, Step
from secguard.incidents.models import Containment, Expectation, Incident, IncidentEntry, IncidentStory
from secguard.incidents.services import containing, expecting, handling
from secguard.incidents.services.acting import MAX_TEXT
from secguard.incidents.services.handling import DEFAULT_DAYS, MOST_DAYS, Scope, Verdict

SEVERITIES = [(s.label, s.label) for s in sorted(Severity, reverse=True)]
STATUSES = [(s.value, s.value) for s in Status]
_PROPOSAL = r"containments/(?P<containment>[0-9]{1,18})"


class IncidentSerializer(serializers.ModelSerializer[Incident]):
    status = serializers.CharField(help_text=", ".join(Status))
    severity = serializers.SerializerMethodField()
    workload = serializers.CharField(source="workload_name", help_text="its name, as it was")
    workload_id = serializers.IntegerField(allow_null=True)
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    assigned_to = serializers.CharField(source="assigned_to.username", default=None, allow_null=True)
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    events = serializers.IntegerField(source="count")
    rank = serializers.SerializerMethodField(help_text="of what the score is made")
    decision = serializers.CharField(help_text=f"{', '.join(Decision)}, or empty")
    before = serializers.IntegerField(
        source="before_id", allow_null=True, help_text="the incident that it goes on from"
    )

    class Meta:
        model = Incident
        fields = [
            "id", "status", "severity", "score", "rank", "title", "rule", "technique", "kind", "cluster", "namespace",
            "workload", "workload_id", "host", "application", "digest", "events", "first_at", "last_at", "created_at",
            "assigned_to", "decision", "decided_by", "decided_at", "reason", "before",
        ]  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(help_text=", ".join(word for word, _ in SEVERITIES)))
    def get_severity(self, incident: Incident) -> str:
        return Severity(incident.severity).label

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_rank(self, incident: Incident) -> list[str]:
        return [f"{words} ({points})" for points, words in incident.reasons]


class IncidentStorySerializer(serializers.ModelSerializer[IncidentStory]):
    severity = serializers.SerializerMethodField()
    events = serializers.IntegerField(source="count")

    class Meta:
        model = IncidentStory
        fields = ["story", "title", "rule", "object", "kind", "severity", "events", "first_at", "last_at"]
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(help_text=", ".join(word for word, _ in SEVERITIES)))
    def get_severity(self, story: IncidentStory) -> str:
        return Severity(story.severity).label


class ContainmentSerializer(serializers.ModelSerializer[Containment]):
    kind = serializers.CharField(help_text=", ".join(Means))
    status = serializers.CharField(help_text=", ".join(Step))
    touches = serializers.ListField(child=serializers.CharField(), help_text="what it changes, in words")
    decided_by = serializers.CharField(source="decided_by.username", default=None, allow_null=True)
    done_by = serializers.CharField(
        source="done_by.username", default=None, allow_null=True, help_text="none, though it is done: it was seen so"
    )

    class Meta:
        model = Containment
        fields = [
            "id", "kind", "status", "document", "touches", "proposed_at", "decided_by", "decided_at", "done_by",
            "done_at", "note",
        ]  # fmt: skip
        read_only_fields = fields


class IncidentEntrySerializer(serializers.ModelSerializer[IncidentEntry]):
    person = serializers.CharField(source="person.username", default=None, allow_null=True)

    class Meta:
        model = IncidentEntry
        fields = ["at", "person", "what", "text"]
        read_only_fields = fields


class IncidentDetailSerializer(IncidentSerializer):
    stories = IncidentStorySerializer(many=True)
    other_events = serializers.IntegerField(source="more_count", help_text="of stories past those that are kept")
    containments = ContainmentSerializer(many=True)
    history = serializers.SerializerMethodField(help_text=f"the last {queries.MOST_HISTORY}")

    class Meta(IncidentSerializer.Meta):
        fields = [*IncidentSerializer.Meta.fields, "stories", "other_events", "containments", "history"]
        read_only_fields = fields

    @extend_schema_field(IncidentEntrySerializer(many=True))
    def get_history(self, incident: Incident) -> Any:
        rows = incident.history.select_related("person")[: queries.MOST_HISTORY]
        return IncidentEntrySerializer(rows, many=True).data


class ExpectationSerializer(serializers.ModelSerializer[Expectation]):
    repository = serializers.CharField(source="repository.name", default=None, allow_null=True)
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    decided_by = serializers.CharField(source="decided_by.username")
    incident = serializers.IntegerField(source="incident_id", allow_null=True)

    class Meta:
        model = Expectation
        fields = [
            "id", "rule", "object", "place", "repository", "application", "incident", "until", "reason", "decided_by",
            "decided_at", "ended_at", "count", "last_at",
        ]  # fmt: skip
        read_only_fields = fields


class AssignRequest(serializers.Serializer[Any]):
    assignee = serializers.CharField(max_length=150, allow_null=True, help_text="a user's name; null: nobody")


class IncidentReason(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_TEXT)


class IncidentComment(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=MAX_TEXT)


class DecideRequest(IncidentReason):
    decision = serializers.RegexField("^(expected|attack)$", help_text=", ".join(Decision))
    scope = serializers.RegexField(
        "^(place|repository)$", default=Scope.PLACE.value, help_text="of what is expected: place or repository"
    )
    days = serializers.IntegerField(min_value=1, max_value=MOST_DAYS, default=DEFAULT_DAYS)


class ContainmentYes(serializers.Serializer[Any]):
    labels = serializers.CharField(
        max_length=2_000, required=False, help_text="of its pods, to cut the network off: app=web,tier=front"
    )
    form = serializers.RegexField(
        "^(kubernetes|cilium)$", default=Form.KUBERNETES.value, help_text="of the policy: kubernetes or cilium"
    )


class IncidentApiFilter(django_filters.FilterSet):
    status = django_filters.ChoiceFilter(choices=[*STATUSES, ("live", "live")], method="by_status")
    severity = django_filters.ChoiceFilter(choices=SEVERITIES, method="by_severity")
    application = django_filters.CharFilter(field_name="application__slug", max_length=100)
    cluster = django_filters.CharFilter(max_length=100)
    namespace = django_filters.CharFilter(max_length=253)
    technique = django_filters.CharFilter(max_length=64)
    digest = django_filters.CharFilter(max_length=135)
    assigned_to = django_filters.CharFilter(field_name="assigned_to__username", max_length=150)
    search = django_filters.CharFilter(method="by_text", max_length=200)

    class Meta:
        model = Incident
        fields: list[str] = []

    def by_status(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(status__in=LIVE) if value == "live" else rows.filter(status=value)

    def by_severity(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(severity=Severity[value.upper()])

    def by_text(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(
            Q(title__icontains=value) | Q(workload_name__icontains=value) | Q(namespace__icontains=value)
        )


def _sent(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    form = serializer(data=request.data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


class IncidentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Incident]):
    """Incidents: what sensors saw and nobody expects. Acts need incident:handle in the team whose it is."""

    queryset = Incident.objects.none()
    serializer_class = IncidentSerializer
    filterset_class = IncidentApiFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id", "score", "severity", "count", "first_at", "last_at")
    ordering = "-score"

    def get_queryset(self) -> QuerySet[Incident]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        require(self._user, Permission.INCIDENT_READ, anywhere=True)
        return queries.incidents(self._user).select_related("decided_by")

    @property
    def _user(self) -> User:
        return self.request.user  # type: ignore[return-value]

    def _told(self, pk: str) -> Response:
        return Response(IncidentDetailSerializer(queries.incident_of(int(pk), self._user)).data)

    @extend_schema(responses=IncidentDetailSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """One incident: what happened, what would contain it, and what was done."""
        require(self._user, Permission.INCIDENT_READ, anywhere=True)
        return self._told(pk)

    @extend_schema(request=None, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def acknowledge(self, request: Request, pk: str) -> Response:
        """Say that you look at it; it is yours where it is nobody's."""
        handling.acknowledge(int(pk), actor=self._user)
        return self._told(pk)

    @extend_schema(request=AssignRequest, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def assign(self, request: Request, pk: str) -> Response:
        """Make it somebody's, or nobody's."""
        name = _sent(AssignRequest, request)["assignee"]
        queries.incident_of(int(pk), self._user)  # before anything is said of who there is
        handling.assign(int(pk), _person(name) if name else None, actor=self._user)
        return self._told(pk)

    @extend_schema(request=IncidentComment, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def comment(self, request: Request, pk: str) -> Response:
        """Say something about it."""
        handling.comment(int(pk), _sent(IncidentComment, request)["text"], actor=self._user)
        return self._told(pk)

    @extend_schema(request=DecideRequest, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def decide(self, request: Request, pk: str) -> Response:
        """Expected: the like of it makes no incident until its end. Attack: what would contain it is proposed."""
        said = _sent(DecideRequest, request)
        verdict = Verdict(Decision(said["decision"]), said["reason"], said["days"], Scope(said["scope"]))
        handling.decide(int(pk), verdict, actor=self._user)
        return self._told(pk)

    @extend_schema(request=IncidentReason, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Request, pk: str) -> Response:
        """End it; what was proposed and not done is refused with it."""
        handling.close(int(pk), _sent(IncidentReason, request)["reason"], actor=self._user)
        return self._told(pk)

    @extend_schema(request=IncidentReason, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def reopen(self, request: Request, pk: str) -> Response:
        """Take its end back."""
        handling.reopen(int(pk), _sent(IncidentReason, request)["reason"], actor=self._user)
        return self._told(pk)

    @extend_schema(request=None, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"])
    def propose(self, request: Request, pk: str) -> Response:
        """Propose anew what may contain an attack. Needs incident:contain."""
        containing.propose(int(pk), actor=self._user)
        return self._told(pk)

    @extend_schema(request=ContainmentYes, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"], url_path=f"{_PROPOSAL}/approve", url_name="approve")
    def approve(self, request: Request, pk: str, containment: str) -> Response:
        """Say yes. A recall is done at once; of the others the document is made. Needs incident:contain, for a recall
        image:recall as well, and a person."""
        said = _sent(ContainmentYes, request)
        yes = containing.Yes(said.get("labels", ""), Form(said["form"]))
        containing.approve(self._proposal(pk, containment), yes, actor=self._user)
        return self._told(pk)

    @extend_schema(request=IncidentReason, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"], url_path=f"{_PROPOSAL}/refuse", url_name="refuse")
    def refuse(self, request: Request, pk: str, containment: str) -> Response:
        """Say no."""
        reason = _sent(IncidentReason, request)["reason"]
        containing.refuse(self._proposal(pk, containment), reason, actor=self._user)
        return self._told(pk)

    @extend_schema(request=None, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"], url_path=f"{_PROPOSAL}/applied", url_name="applied")
    def applied(self, request: Request, pk: str, containment: str) -> Response:
        """Say that somebody has applied the document."""
        containing.applied(self._proposal(pk, containment), actor=self._user)
        return self._told(pk)

    @extend_schema(request=IncidentReason, responses=IncidentDetailSerializer)
    @action(detail=True, methods=["post"], url_path=f"{_PROPOSAL}/failed", url_name="failed")
    def failed(self, request: Request, pk: str, containment: str) -> Response:
        """Say that it could not be applied, and why; it may be approved again."""
        reason = _sent(IncidentReason, request)["reason"]
        containing.failed(self._proposal(pk, containment), reason, actor=self._user)
        return self._told(pk)

    def _proposal(self, pk: str, containment: str) -> int:
        """Its id, where it is one of this incident's and the incident is the user's to see."""
        seen = queries.incidents(self._user).filter(pk=int(pk)).values("pk")
        if not Containment.objects.filter(pk=int(containment), incident__in=seen).exists():
            raise NotFound(f"There is no proposal {containment} of incident {pk} that you may see.", code="no-proposal")
        return int(containment)


def _person(name: str) -> User:
    found = User.objects.people().filter(username__iexact=name).first()
    if found is None:
        raise Invalid(f"There is nobody called {name[:80]!r} who may handle it.", where="assignee", code="assignee")
    return found


class ExpectationFilter(django_filters.FilterSet):
    rule = django_filters.CharFilter(max_length=200)
    incident = django_filters.NumberFilter(field_name="incident_id", max_value=2**53)

    class Meta:
        model = Expectation
        fields: list[str] = []


class ExpectationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Expectation]):
    """What was decided to be expected: it makes no incident until its end."""

    queryset = Expectation.objects.none()
    serializer_class = ExpectationSerializer
    filterset_class = ExpectationFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id", "until", "count")
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Expectation]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        require(user, Permission.INCIDENT_READ, anywhere=True)
        return queries.expectations(user)

    @extend_schema(request=None, responses=ExpectationSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """Let it make incidents again."""
        user: Any = request.user
        expecting.end(int(pk), actor=user)
        return Response(self.get_serializer(self.get_queryset().get(pk=int(pk))).data)
