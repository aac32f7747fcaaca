"""``/api/v1/export-targets/``: where events are sent to. ``/api/v1/events/export/``: events to pull, with a cursor."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.models import Application, Team
from secguard.audit.api import NdjsonRenderer
from secguard.errors import Invalid
from secguard.events.record import Kind
from secguard.exports import queries, services
from secguard.exports.item import compact, document
from secguard.exports.models import ExportTarget
from secguard.exports.services import Start, TargetEdit
from secguard.exports.services.sending import written
from secguard.exports.targets import Audience, Format, Sink, State, cursor
from secguard.findings.severity import LABELS, Severity

MOST_PULLED: Final = 2_000
PULLED: Final = (Format.JSON, Format.OCSF, Format.CEF)
_SEVERITIES: Final = ", ".join(LABELS)


class ExportTargetSerializer(serializers.ModelSerializer[ExportTarget]):
    """A target. The address of a webhook, keys and secrets are not shown."""

    sink = serializers.CharField(help_text=", ".join(Sink))
    format = serializers.CharField(help_text=", ".join(Format))
    state = serializers.CharField(help_text=", ".join(State))
    kinds = serializers.ListField(child=serializers.CharField(), help_text="kinds of events; empty: all of them")
    least_severity = serializers.SerializerMethodField()
    teams: Any = serializers.SlugRelatedField(many=True, read_only=True, slug_field="slug")
    applications: Any = serializers.SlugRelatedField(many=True, read_only=True, slug_field="slug")
    is_protected = serializers.BooleanField(help_text="nobody on the way reads or changes what it is sent")
    shows_certificate = serializers.BooleanField(source="client_certificate")
    waiting = serializers.IntegerField(help_text=f"events that wait for it, counted up to {queries.COUNTED}")
    lag_seconds = serializers.SerializerMethodField()
    position = serializers.CharField(help_text="a cursor: it has every event up to there")

    class Meta:
        model = ExportTarget
        fields = [
            "id",
            "name",
            "sink",
            "format",
            "host",
            "is_protected",
            "needs_close_notify",
            "ca_certificate",
            "shows_certificate",
            "kinds",
            "least_severity",
            "is_wide",
            "teams",
            "applications",
            "state",
            "since",
            "reason",
            "failures",
            "next_at",
            "position",
            "sent",
            "sent_at",
            "waiting",
            "waiting_since",
            "lag_seconds",
            "tested_at",
            "test_error",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(help_text=_SEVERITIES))
    def get_least_severity(self, target: ExportTarget) -> str:
        return Severity(target.least_severity).label

    @extend_schema_field(serializers.IntegerField(help_text="how long the first event that waits has waited"))
    def get_lag_seconds(self, target: ExportTarget) -> int:
        return int(queries.lag(target, timezone.now()).total_seconds())


class NewTargetAnswerSerializer(ExportTargetSerializer):
    """The target that was made, with the secret that is shown this once."""

    secret = serializers.CharField(help_text="whsec_…, signs what a webhook is posted; empty for syslog")

    class Meta(ExportTargetSerializer.Meta):
        fields = [*ExportTargetSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class TargetEditSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    address = serializers.CharField(
        max_length=2_000, required=False, write_only=True, help_text="host:port of a syslog receiver, or https://…"
    )
    format = serializers.CharField(max_length=16, required=False, help_text=", ".join(Format))
    ca_certificate = serializers.CharField(
        max_length=65_536, required=False, allow_blank=True, help_text="PEM; then no other authority is trusted"
    )
    client_certificate = serializers.CharField(
        max_length=65_536, required=False, allow_blank=True, write_only=True, help_text="PEM, shown to the receiver"
    )
    client_key = serializers.CharField(
        max_length=65_536, required=False, allow_blank=True, write_only=True, help_text="PEM, without a passphrase"
    )
    needs_close_notify = serializers.BooleanField(required=False)
    kinds = serializers.ListField(
        child=serializers.CharField(max_length=32), max_length=50, required=False, help_text="empty: all kinds"
    )
    least_severity = serializers.CharField(max_length=16, required=False, help_text=_SEVERITIES)
    is_wide = serializers.BooleanField(required=False, help_text="everybody's events, and those of nobody")
    teams = serializers.ListField(child=serializers.CharField(max_length=100), max_length=200, required=False)
    applications = serializers.ListField(child=serializers.CharField(max_length=100), max_length=1_000, required=False)

    def edit(self, user: Any) -> TargetEdit:
        """What was asked for; raises ``Invalid`` where a team or an application is not known."""
        fields = dict(self.validated_data)
        for name in ("sink", "start"):
            fields.pop(name, None)
        if "least_severity" in fields:
            fields["least_severity"] = _severity(fields["least_severity"])
        if "teams" in fields:
            fields["teams"] = _named(Team.objects.visible_to(user), fields["teams"], "teams")
        if "applications" in fields:
            fields["applications"] = _named(
                Application.objects.visible_to(user), fields["applications"], "applications"
            )
        return TargetEdit(**fields)


class NewTargetSerializer(TargetEditSerializer):
    name = serializers.CharField(max_length=100)
    address = serializers.CharField(
        max_length=2_000, write_only=True, help_text="host:port of a syslog receiver, or https://…"
    )
    sink = serializers.ChoiceField(choices=[s.value for s in Sink], default=Sink.SYSLOG_TLS.value)
    format = serializers.CharField(max_length=16, default=Format.OCSF.value, help_text=", ".join(Format))
    start = serializers.ChoiceField(choices=[s.value for s in Start], default=Start.NOW.value)


class MoveSerializer(serializers.Serializer[Any]):
    start = serializers.ChoiceField(choices=[s.value for s in Start])


class ExportSecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="shown this once")


def _severity(label: str) -> Severity:
    if label not in LABELS:
        raise Invalid(f"There is no severity {label!r}; expected one of {_SEVERITIES}.", where="least_severity")
    return Severity[label.upper()]


def _named(rows: QuerySet[Any], slugs: list[str], where: str) -> list[Any]:
    found = list(rows.filter(slug__in=set(slugs)))
    if unknown := sorted(set(slugs) - {row.slug for row in found}):
        raise Invalid(f"There is no {unknown[0]!r} among the {where} that you may see.", where=where)
    return found


class ExportTargetViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[ExportTarget]):
    """Where events are sent to, how far each has got, and what keeps it."""

    queryset = ExportTarget.objects.none()
    serializer_class = ExportTargetSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"
    ordering_fields = ("name", "created_at")

    def get_queryset(self) -> QuerySet[ExportTarget]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        return queries.targets(user)

    def _answer(self, pk: str) -> Response:
        user: Any = self.request.user
        return Response(self.get_serializer(queries.find(user, int(pk))).data)

    @extend_schema(request=NewTargetSerializer, responses={201: NewTargetAnswerSerializer})
    def create(self, request: Request) -> Response:
        """Set up a target. The secret that signs what a webhook is posted is in this answer, and in none after it."""
        asked = NewTargetSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        sink, start = asked.validated_data["sink"], Start(asked.validated_data["start"])
        target, secret = services.add_target(asked.edit(user), sink=sink, start=start, actor=user)
        made = ExportTargetSerializer(queries.find(user, target.pk), context=self.get_serializer_context()).data
        return Response({**made, "secret": secret}, status=201)

    @extend_schema(request=TargetEditSerializer, responses=ExportTargetSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is named, and leave the rest; the position stays."""
        asked = TargetEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        services.edit_target(int(pk), asked.edit(user), actor=user)
        return self._answer(pk)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a target."""
        user: Any = request.user
        services.remove_target(int(pk), actor=user)
        return Response(status=204)

    @extend_schema(request=None, responses={202: ExportTargetSerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a test message at once; `tested_at` and `test_error` say what became of it."""
        user: Any = request.user
        services.send_test(int(pk), actor=user)
        answer = self._answer(pk)
        answer.status_code = 202
        return answer

    @extend_schema(request=None, responses=ExportTargetSerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Request, pk: str) -> Response:
        """Send nothing until it is resumed; events wait in the store."""
        user: Any = request.user
        services.pause_target(int(pk), actor=user)
        return self._answer(pk)

    @extend_schema(request=None, responses=ExportTargetSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on from the position."""
        user: Any = request.user
        services.resume_target(int(pk), actor=user)
        return self._answer(pk)

    @extend_schema(request=MoveSerializer, responses=ExportTargetSerializer)
    @action(detail=True, methods=["post"])
    def move(self, request: Request, pk: str) -> Response:
        """Go on from now (what waits is not sent), or from the oldest event that is kept (all of it again)."""
        asked = MoveSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        services.move_target(int(pk), Start(asked.validated_data["start"]), actor=user)
        return self._answer(pk)

    @extend_schema(request=None, responses={201: ExportSecretSerializer})
    @action(detail=True, methods=["post"])
    def secret(self, request: Request, pk: str) -> Response:
        """A new secret of a webhook; it signs from now on."""
        user: Any = request.user
        _, secret = services.renew_secret(int(pk), actor=user)
        return Response({"secret": secret}, status=201)


class PullSerializer(serializers.Serializer[Any]):
    """What is asked for in the query of a pull."""

    after = serializers.CharField(
        max_length=60,
        required=False,
        help_text="the Next-Cursor of the answer before; `now`: what comes from now on; none: from the oldest event",
    )
    limit = serializers.IntegerField(min_value=1, max_value=MOST_PULLED, default=1_000)
    form = serializers.ChoiceField(choices=[f.value for f in PULLED], default=Format.JSON.value)
    kind = serializers.MultipleChoiceField(choices=[k.value for k in Kind], required=False)
    least_severity = serializers.CharField(max_length=16, required=False, help_text=_SEVERITIES)
    team = serializers.CharField(max_length=100, required=False, help_text="a team's slug")
    application = serializers.CharField(max_length=100, required=False, help_text="an application's slug")

    def audience(self, user: Any) -> Audience:
        told = self.validated_data
        team, application = told.get("team"), told.get("application")
        teams = _named(Team.objects.visible_to(user), [team], "teams") if team else []
        owned = _named(Application.objects.visible_to(user), [application], "applications") if application else []
        return Audience(
            kinds=frozenset(told.get("kind", ())),
            least_severity=_severity(told.get("least_severity", "unknown")),
            is_wide=not teams and not owned,
            teams=frozenset(row.pk for row in teams),
            applications=frozenset(row.pk for row in owned),
        )


class EventExportView(APIView):
    """Events to pull, one a line, in the order of their commits."""

    renderer_classes = [NdjsonRenderer, JSONRenderer]

    @extend_schema(
        parameters=[
            PullSerializer,
            OpenApiParameter("Next-Cursor", str, OpenApiParameter.HEADER, response=True, description="for `after`"),
            OpenApiParameter(
                "More-Events", bool, OpenApiParameter.HEADER, response=True, description="ask again at once"
            ),
        ],
        responses={(200, "application/x-ndjson"): OpenApiTypes.STR},
    )
    def get(self, request: Request) -> HttpResponse:
        """The next events after a cursor that you may see. The answer may be empty and its cursor go on all the same:
        keep the cursor of every answer, once you have stored its events."""
        asked = PullSerializer(data=request.query_params)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        rows, now, after = queries.readable_by(user), timezone.now(), asked.validated_data.get("after")
        if after == "now":
            batch = queries.Batch([], queries.now_cursor(now), more=False)
        else:
            begin = cursor(after) if after else queries.BEGINNING
            batch = queries.read(rows, begin, asked.audience(user), asked.validated_data["limit"], now)
        form = Format(asked.validated_data["form"])
        lines = (compact(document(i)) if form == Format.JSON else written(i, form) for i in batch.items)
        kind = "text/plain; charset=utf-8" if form == Format.CEF else NdjsonRenderer.media_type
        response = HttpResponse("".join(f"{line}\n" for line in lines), content_type=kind)
        response["Next-Cursor"] = str(batch.cursor)
        response["More-Events"] = str(batch.more).lower()
        return response
