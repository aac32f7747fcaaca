"""``/api/v1/absences/``: who is away, and who votes in their seat meanwhile."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import User
from secguard.approvals import services
from secguard.approvals.models import Absence

STATES = ("coming", "away", "over")


class AbsenceSerializer(serializers.ModelSerializer[Absence]):
    """From when to when somebody is away, and who votes for them."""

    person = serializers.CharField(source="person.username", help_text="who is away")
    deputy = serializers.CharField(source="deputy.username", help_text="who votes in their seat")
    until = serializers.DateTimeField(help_text="when it ends: `ends_at`, or when it was ended before that")
    state = serializers.SerializerMethodField()

    class Meta:
        model = Absence
        fields = ("id", "person", "deputy", "starts_at", "ends_at", "ended_at", "until", "state", "created_at")
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(help_text=", ".join(STATES)))
    def get_state(self, row: Absence) -> str:
        now = timezone.now()
        if row.until <= now:
            return "over"
        return "away" if row.starts_at <= now else "coming"


class NewAbsenceSerializer(serializers.Serializer[Any]):
    deputy = serializers.CharField(max_length=150, help_text="a username")
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class AbsenceViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Absence]):
    """One's own absences and those in which one is the deputy; all of them, for who may user:manage everywhere."""

    queryset = Absence.objects.none()
    serializer_class = AbsenceSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id", "starts_at", "ends_at")
    ordering = "-starts_at"

    def get_queryset(self) -> QuerySet[Absence]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return Absence.objects.visible_to(self._user).select_related("person", "deputy")

    @property
    def _user(self) -> User:
        return self.request.user  # type: ignore[return-value]

    @extend_schema(request=NewAbsenceSerializer, responses={201: AbsenceSerializer})
    def create(self, request: Request) -> Response:
        """Name a deputy for a time in which one is away. For oneself alone, and signed in: no token hands on a vote."""
        sent = NewAbsenceSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        data = sent.validated_data
        made = services.name_deputy(
            data["deputy"], starts_at=data["starts_at"], ends_at=data["ends_at"], actor=self._user
        )
        response = Response(AbsenceSerializer(made).data, status=201)
        response["Location"] = request.build_absolute_uri(f"{request.path}{made.pk}/")
        return response

    @extend_schema(request=None, responses=AbsenceSerializer)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """Be back before the time: at once the deputy votes for nobody. One's own, or anybody's with user:manage."""
        return Response(AbsenceSerializer(services.end_absence(int(pk), actor=self._user)).data)
