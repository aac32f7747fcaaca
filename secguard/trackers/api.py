"""``/api/v1/trackers/`` and ``/api/v1/issues/``. Credentials and secrets go in and never come out."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import Team
from secguard.errors import Invalid
from secguard.findings.severity import Severity
from secguard.trackers import queries, services
from secguard.trackers.keeping import RemoteState, TrackerKind, path_word
from secguard.trackers.models import Act, Issue, Tracker
from secguard.trackers.services import TrackerEdit

STATES = ("off", "failing", "working", "unused")
SEVERITIES = ", ".join(s.label for s in Severity if int(s))


class TrackerSerializer(serializers.ModelSerializer[Tracker]):
    """A tracker. Its token and its secret are not shown."""

    team = serializers.CharField(source="team.slug", default=None, allow_null=True, help_text="none: serves all teams")
    kind = serializers.CharField(help_text=", ".join(TrackerKind))
    state = serializers.SerializerMethodField()
    waiting = serializers.IntegerField(default=0, help_text="what is still to be told")
    opens_from = serializers.SerializerMethodField(help_text=f"opens issues by itself from this severity: {SEVERITIES}")
    opens_application = serializers.CharField(source="opens_application.slug", default=None, allow_null=True)
    hook_url = serializers.SerializerMethodField(help_text="where the tracker's webhook is to go")

    class Meta:
        model = Tracker
        fields = [
            "id",
            "name",
            "team",
            "kind",
            "base_url",
            "project",
            "issue_type",
            "login",
            "is_active",
            "closes",
            "reopens",
            "opens_from",
            "opens_overdue",
            "opens_application",
            "hook_url",
            "state",
            "failures",
            "error",
            "next_at",
            "worked_at",
            "heard_at",
            "tried_at",
            "tried",
            "waiting",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(help_text=", ".join(STATES)))
    def get_state(self, tracker: Tracker) -> str:
        return tracker.state()

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_opens_from(self, tracker: Tracker) -> str | None:
        return None if tracker.opens_from is None else Severity(tracker.opens_from).label

    def get_hook_url(self, tracker: Tracker) -> str:
        return queries.hook_url(tracker)


class TrackerSecretSerializer(serializers.Serializer[Any]):
    """What a tracker's webhook is set up with, shown this once."""

    secret = serializers.CharField(help_text="GitHub's and Jira Cloud's secret")
    hook_url = serializers.CharField()
    secret_url = serializers.CharField(help_text="for a Jira that signs nothing; empty for GitHub")


class NewTrackerAnswerSerializer(TrackerSerializer):
    """The tracker that was made, with the secret that is shown this once."""

    secret = serializers.CharField()
    secret_url = serializers.CharField(help_text="for a Jira that signs nothing; empty for GitHub")

    class Meta(TrackerSerializer.Meta):
        fields = [*TrackerSerializer.Meta.fields, "secret", "secret_url"]
        read_only_fields = fields


class TrackerEditSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    base_url = serializers.CharField(max_length=500, required=False, help_text="of the API: https://api.github.com")
    issue_type = serializers.CharField(max_length=100, required=False, allow_blank=True, help_text="Jira's: Task")
    login = serializers.CharField(max_length=200, required=False, allow_blank=True, help_text="Jira Cloud: the e-mail")
    token = serializers.CharField(max_length=1_000, required=False, write_only=True)
    is_active = serializers.BooleanField(required=False)
    closes = serializers.BooleanField(required=False, help_text="close our issues when fixed or accepted")
    reopens = serializers.BooleanField(required=False, help_text="open them again when the finding comes back")
    opens_from = serializers.CharField(required=False, allow_blank=True, help_text=f"empty: none; {SEVERITIES}")
    opens_overdue = serializers.BooleanField(required=False)
    opens_application = serializers.CharField(max_length=100, required=False, allow_blank=True, help_text="slug")


class NewTrackerSerializer(TrackerEditSerializer):
    name = serializers.CharField(max_length=100)
    base_url = serializers.CharField(max_length=500, help_text="of the API: https://api.github.com")
    token = serializers.CharField(max_length=1_000, write_only=True)
    kind = serializers.CharField(max_length=20, help_text=", ".join(TrackerKind))
    project = serializers.CharField(max_length=150, help_text="owner/repository, or the project's key")
    team = serializers.CharField(
        max_length=100, required=False, allow_null=True, help_text="slug; none: serves all teams"
    )


class TrackerActSerializer(serializers.ModelSerializer[Act]):
    """One thing that the tracker is told."""

    kind = serializers.CharField(help_text="open, link or tell")
    word = serializers.CharField(help_text="of tell: open, fixed or accepted")
    status = serializers.CharField(help_text="waiting, done or failed")

    class Meta:
        model = Act
        fields = ["id", "issue_id", "kind", "word", "status", "attempts", "error", "created_at", "ended_at"]
        read_only_fields = fields


class IssueSerializer(serializers.ModelSerializer[Issue]):
    """A risk of one team, linked with an issue of a tracker."""

    risk = serializers.IntegerField(source="risk_id")
    risk_name = serializers.CharField(source="risk.name")
    team = serializers.CharField(source="team.slug", default=None, allow_null=True)
    tracker = serializers.CharField(source="tracker.name")
    status = serializers.CharField(help_text="of the link: waiting, linked, failed or ended")
    state = serializers.CharField(help_text=f"there: {', '.join(s for s in RemoteState if s)}; empty: not known yet")
    stands = serializers.CharField(help_text="here, as was last told: open, fixed or accepted")
    difference = serializers.CharField(help_text="in words, where it is otherwise there than here")
    url = serializers.CharField(help_text="the issue's page")
    error = serializers.CharField(default="", help_text="why what was last to be told did not arrive")

    class Meta:
        model = Issue
        fields = [
            "id",
            "risk",
            "risk_name",
            "team",
            "tracker",
            "status",
            "key",
            "url",
            "title",
            "state",
            "remote_status",
            "resolution",
            "assignee",
            "remote_at",
            "checked_at",
            "stands",
            "difference",
            "is_ours",
            "is_by_rule",
            "error",
            "created_at",
            "ended_at",
        ]
        read_only_fields = fields


class NewIssueSerializer(serializers.Serializer[Any]):
    risk = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    tracker = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    team = serializers.CharField(
        max_length=100, required=False, allow_null=True, help_text="slug; none: what belongs to no team"
    )
    existing = serializers.CharField(
        max_length=600, required=False, allow_blank=True, help_text="key or address of an issue to link instead"
    )


class TrackerViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Tracker]):
    """Where issues are opened: the trackers that the person who asks may set up."""

    queryset = Tracker.objects.none()
    serializer_class = TrackerSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"
    ordering_fields = ("name", "created_at")

    def get_queryset(self) -> QuerySet[Tracker]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        return queries.trackers(user)

    @extend_schema(request=NewTrackerSerializer, responses={201: NewTrackerAnswerSerializer})
    def create(self, request: Request) -> Response:
        """Set up a tracker. The secret of its webhook is in this answer, and in none after it."""
        asked = NewTrackerSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        fields = dict(asked.validated_data)
        kind, project, team = fields.pop("kind"), fields.pop("project"), team_of(fields.pop("team", None), user)
        tracker, secret = services.add_tracker(TrackerEdit(**fields), kind=kind, project=project, team=team, actor=user)
        document = TrackerSerializer(tracker, context=self.get_serializer_context()).data
        return Response({**document, **shown_once(tracker, secret)}, status=201)

    @extend_schema(request=TrackerEditSerializer, responses=TrackerSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is named, and leave the rest."""
        asked = TrackerEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        services.edit_tracker(int(pk), TrackerEdit(**asked.validated_data), actor=user)
        return Response(self.get_serializer(queries.find(user, int(pk))).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a tracker with its links; the issues stay where they are."""
        user: Any = request.user
        services.remove_tracker(int(pk), actor=user)
        return Response(status=204)

    @extend_schema(request=None, responses={202: TrackerSerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Ask the tracker, soon, without changing anything there; `tried` then says what was found."""
        user: Any = request.user
        services.ask_for_try(int(pk), actor=user)
        return Response(self.get_serializer(queries.find(user, int(pk))).data, status=202)

    @extend_schema(request=None, responses={201: TrackerSecretSerializer})
    @action(detail=True, methods=["post"])
    def secret(self, request: Request, pk: str) -> Response:
        """A new secret for the webhook; the former one no longer counts."""
        user: Any = request.user
        tracker, secret = services.renew_secret(int(pk), actor=user)
        return Response(TrackerSecretSerializer(shown_once(tracker, secret)).data, status=201)

    @extend_schema(responses=TrackerActSerializer(many=True))
    @action(detail=True, serializer_class=TrackerActSerializer, ordering="-created_at", ordering_fields=None)
    def acts(self, request: Request, pk: str) -> Response:
        """What the tracker was told and what waits, the newest first, for ninety days."""
        user: Any = request.user
        rows = Act.objects.filter(tracker=queries.find(user, int(pk)))
        page: Any = self.paginate_queryset(rows) or []  # type: ignore[arg-type]
        return self.get_paginated_response(TrackerActSerializer(page, many=True).data)


class IssueViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Issue]):
    """Issues that risks of one's teams are linked with."""

    queryset = Issue.objects.none()
    serializer_class = IssueSerializer
    filterset_class = queries.IssueFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-created_at"

    def get_queryset(self) -> QuerySet[Issue]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        return queries.issues(user)

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The issues of one's teams, the newest first; also those that are unlinked."""
        rows: Any = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        queries.with_words(rows)
        return self.get_paginated_response(self.get_serializer(rows, many=True).data)

    @extend_schema(request=NewIssueSerializer, responses={201: IssueSerializer})
    def create(self, request: Request) -> Response:
        """Have an issue opened, or an `existing` one linked. Asking twice opens one."""
        asked = NewIssueSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        risk, tracker = asked.validated_data["risk"], asked.validated_data["tracker"]
        team, existing = team_of(asked.validated_data.get("team"), user), asked.validated_data.get("existing", "")
        if existing:
            made = services.link_issue(risk, tracker, existing, team=team, actor=user)
        else:
            made = services.open_issue(risk, tracker, team=team, actor=user)
        return Response(self._told(user, made.pk), status=201)

    @extend_schema(responses=IssueSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """One issue: as it is there, and as it stands here."""
        return Response(self._told(request.user, int(pk)))

    @extend_schema(request=None, responses={202: IssueSerializer})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Try again what was given up, or ask the tracker now what the issue is like."""
        user: Any = request.user
        services.retry(int(pk), actor=user)
        return Response(self._told(user, int(pk)), status=202)

    @extend_schema(request=None, responses=IssueSerializer)
    @action(detail=True, methods=["post"])
    def unlink(self, request: Request, pk: str) -> Response:
        """No longer follow the issue; it stays where it is."""
        user: Any = request.user
        services.unlink(int(pk), actor=user)
        return Response(self._told(user, int(pk)))

    def _told(self, user: Any, pk: int) -> Any:
        return self.get_serializer(queries.find_issue(user, pk)).data


def team_of(slug: str | None, user: Any) -> Team | None:
    """The team of that slug, if ``user`` may see it; else ``Invalid``."""
    if not slug:
        return None
    found = Team.objects.visible_to(user).filter(slug=slug).first()
    if found is None:
        raise Invalid(f"There is no team {slug!r}; expected the slug of one of your teams.", where="team")
    return found


def shown_once(tracker: Tracker, secret: str) -> dict[str, str]:
    """What the webhook is set up with."""
    url = queries.hook_url(tracker)
    is_jira = TrackerKind(tracker.kind).is_jira
    return {"secret": secret, "hook_url": url, "secret_url": f"{url}{path_word(secret)}/" if is_jira else ""}
