"""``/api/v1/controls/``: what mitigates elsewhere, and the evidence that it still does."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import Application, User
from secguard.decisions import services
from secguard.decisions.controls import (
    MAX_HOURS,
    MIN_HOURS,
    ControlKind,
    ControlState,
    ControlStatus,
    EvidenceKind,
    Says,
)
from secguard.decisions.models import Control, ControlEvidence
from secguard.decisions.queries import controls as queries
from secguard.decisions.queries.controls_filters import ControlFilter
from secguard.decisions.services.controls import MAX_NAME, MAX_REASON, MAX_TEXT, MAX_URL
from secguard.errors import NotFound

SENT_KINDS = [EvidenceKind.HEARTBEAT.value, EvidenceKind.CHECK.value]


class Covers(serializers.Serializer[Any]):
    """Exactly one of the two: `{"application": "shop"}` or `{"organisation": true}`."""

    application = serializers.CharField(required=False, max_length=100, help_text="the application's slug")
    organisation = serializers.BooleanField(required=False, help_text="`true`: all applications")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        found = dict(super().to_internal_value(data))
        if len(found) != 1 or found.get("organisation") is False:
            raise serializers.ValidationError('Expected is {"application": SLUG} or {"organisation": true}.')
        return found


class ControlDocument(serializers.Serializer[Any]):
    """A control; `state` is the one at this instant. Decisions count on it while it is `alive` or `going-stale`."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=[k.value for k in ControlKind])
    description = serializers.CharField()
    covers = Covers()
    owner = serializers.CharField(help_text="the person who answers for it, else the team")
    kept_alive_by = serializers.ChoiceField(choices=[k.value for k in EvidenceKind])
    every_hours = serializers.IntegerField(help_text="evidence must come at least this often")
    watch = serializers.DictField(help_text="what SecGuard itself observes")
    status = serializers.ChoiceField(choices=[s.value for s in ControlStatus])
    state = serializers.ChoiceField(choices=[s.value for s in ControlState])
    holds_until = serializers.DateTimeField(allow_null=True, help_text="with no more evidence; null: it does not hold")
    due_at = serializers.DateTimeField(allow_null=True, help_text="when evidence must have come next")
    last_seen_at = serializers.DateTimeField(allow_null=True)
    contradicted_at = serializers.DateTimeField(allow_null=True)
    proposed_by = serializers.CharField()
    proposed_at = serializers.DateTimeField()
    confirmed_by = serializers.CharField(allow_null=True)
    confirmed_at = serializers.DateTimeField(allow_null=True)
    retired_by = serializers.CharField(allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)
    retired_reason = serializers.CharField()
    leaning = serializers.IntegerField(help_text="decisions in force that lean on it")
    may = serializers.ListField(child=serializers.CharField(), help_text="what you can be offered to do with it")


class NewControlRequest(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=MAX_NAME)
    kind = serializers.ChoiceField(choices=[k.value for k in ControlKind])
    description = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_TEXT)
    covers = Covers()
    owner = serializers.CharField(
        required=False, allow_null=True, max_length=150, help_text="a person's user name; left out: the team"
    )
    kept_alive_by = serializers.ChoiceField(choices=[k.value for k in EvidenceKind])
    every_hours = serializers.IntegerField(min_value=MIN_HOURS, max_value=MAX_HOURS)
    watch = serializers.DictField(
        required=False, default=dict, help_text='of `observation` alone: `{"observer": "admission-settings", ...}`'
    )


class EvidenceDocument(serializers.ModelSerializer[ControlEvidence]):
    """What was seen; the same seen again by the same source moves `seen_at` and is counted."""

    kind = serializers.ChoiceField(choices=[k.value for k in EvidenceKind])
    says = serializers.ChoiceField(choices=[s.value for s in Says])
    url = serializers.CharField()
    by = serializers.CharField(source="by.username", default=None, allow_null=True, help_text="null: SecGuard itself")

    class Meta:
        model = ControlEvidence
        fields = (
            "id",
            "kind",
            "says",
            "first_seen_at",
            "seen_at",
            "noted_at",
            "count",
            "by",
            "source",
            "note",
            "url",
            "digest",
        )
        read_only_fields = fields


class EvidenceRequest(serializers.Serializer[Any]):
    """Nothing sent is a heartbeat: it holds, now."""

    kind = serializers.ChoiceField(choices=SENT_KINDS, default=EvidenceKind.HEARTBEAT.value)
    says = serializers.ChoiceField(choices=[s.value for s in Says], default=Says.HOLDS.value)
    seen_at = serializers.DateTimeField(required=False, allow_null=True, default=None, help_text="left out: now")
    note = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_TEXT)
    url = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_URL)
    digest = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=71, help_text="of a file that shows it: `sha256:...`"
    )


class RetireRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON)


class _Newest:
    """How a control's evidence is sorted, whatever its controls are sorted by."""

    ordering = "-id"
    ordering_fields = ("id",)


def _sent(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    form = serializer(data=request.data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


@extend_schema_view(list=extend_schema(summary="Controls, newest first"))
class ControlViewSet(viewsets.GenericViewSet[Control]):
    """Controls: propose, confirm, give evidence, retire. What covers another team's application is not found."""

    queryset = Control.objects.none()
    serializer_class = ControlDocument
    filterset_class = ControlFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id", "due_at", "name")
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Control]:
        rows = queries.with_leaning(Control.objects.visible_to(self._user), timezone.now())
        return rows.select_related(*queries.RELATED)

    @property
    def _user(self) -> User:
        return self.request.user  # type: ignore[return-value]

    def list(self, request: Request) -> Response:
        """Filters: `state` (the one at this instant), `kind`, `application`."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        found = queries.control_documents(page, self._user, timezone.now())
        return self.get_paginated_response(ControlDocument(found, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        """One control, as it stands at this instant."""
        return self._detail(int(pk))

    @extend_schema(request=NewControlRequest, responses={201: ControlDocument})
    def create(self, request: Request) -> Response:
        """Propose a control. Nothing counts on it before somebody else has confirmed it."""
        data = _sent(NewControlRequest, request)
        slug, owner = data.pop("covers").get("application"), data.pop("owner", None)
        made = services.propose(
            services.NewControl(**data, application=self._application(slug), owner=self._person(owner)),
            actor=self._user,
        )
        response = self._detail(made.pk, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{made.pk}/")
        return response

    @extend_schema(request=None, responses=ControlDocument)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, pk: str) -> Response:
        """Say that it is one; never by whoever proposed it or answers for it."""
        services.confirm(int(pk), actor=self._user)
        return self._detail(int(pk))

    @extend_schema(request=RetireRequest, responses=ControlDocument)
    @action(detail=True, methods=["post"])
    def retire(self, request: Request, pk: str) -> Response:
        """It is there no longer; the decisions that lean on it end at once."""
        services.retire(int(pk), reason=_sent(RetireRequest, request)["reason"], actor=self._user)
        return self._detail(int(pk))

    @extend_schema(responses=EvidenceDocument(many=True), filters=False)
    @action(detail=True, filterset_class=None)
    def evidence(self, request: Request, pk: str) -> Response:
        """Its evidence, newest first."""
        rows = self._found(int(pk)).evidence.select_related("by")
        assert self.paginator is not None  # noqa: S101 - the API's default
        page = self.paginator.paginate_queryset(rows, request, view=_Newest)  # type: ignore[arg-type]
        return self.get_paginated_response(EvidenceDocument(page, many=True).data)

    @extend_schema(request=EvidenceRequest, responses={201: EvidenceDocument})
    @evidence.mapping.post
    def add_evidence(self, request: Request, pk: str) -> Response:
        """A heartbeat (an empty body), or what a person saw. Contradicting evidence ends what leans on it at once."""
        sent = services.Evidence(**_sent(EvidenceRequest, request))
        row = services.add_evidence(int(pk), sent, actor=self._user)
        return Response(EvidenceDocument(row).data, status=status.HTTP_201_CREATED)

    def _application(self, slug: str | None) -> Application | None:
        if slug is None:
            return None
        found = Application.objects.visible_to(self._user).filter(slug=slug).first()
        if found is None:
            raise NotFound(f"There is no application {slug}.", where="covers.application")
        return found

    def _person(self, username: str | None) -> User | None:
        if not username:
            return None
        found = User.objects.visible_to(self._user).filter(username__iexact=username).first()
        if found is None:
            raise NotFound(f"There is no person {username}.", where="owner")
        return found

    def _found(self, pk: int) -> Control:
        control = self.get_queryset().filter(pk=pk).first()
        if control is None:
            raise NotFound(f"There is no control {pk}.")
        return control

    def _detail(self, pk: int, code: int = status.HTTP_200_OK) -> Response:
        (document,) = queries.control_documents([self._found(pk)], self._user, timezone.now())
        return Response(ControlDocument(document).data, status=code)
