"""``/api/v1/sessions/`` and ``/api/v1/second-factors/``: where one is signed in, and with what besides a password.

Sessions are ended here, second factors are only read. Whoever removes a factor, or makes new recovery codes, shows on
the page that it is they: by the password, or by having signed in just now. A token shows neither. It lies in files and
pipelines; if it could take its owner's second factor away, the second factor would be worth no more than the token.
"""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts import services
from secguard.accounts.api import Visible
from secguard.accounts.authentication import person_of
from secguard.accounts.models import SecondFactor, SignedIn, User
from secguard.errors import NotFound


class SessionSerializer(serializers.ModelSerializer[SignedIn]):
    user = serializers.CharField(source="user.username")
    is_this_one = serializers.SerializerMethodField(help_text="The request came in this session.")

    class Meta:
        model = SignedIn
        fields = ("id", "user", "device", "address", "way", "created_at", "last_seen_at", "ends_at", "is_this_one")
        read_only_fields = fields

    def get_is_this_one(self, row: SignedIn) -> bool:
        return row.session_key == own_key(self.context["request"])


def own_key(request: Request) -> str:
    """The key of the session that the request came in; empty for a token's."""
    if request.auth is not None:
        return ""
    return str((getattr(request, "session", None) and request.session.session_key) or "")


class SessionFilter(django_filters.FilterSet):
    user = django_filters.CharFilter(field_name="user__username", label="A person's name")

    class Meta:
        model = SignedIn
        fields: list[str] = []


class EndSessionsSerializer(serializers.Serializer[Any]):
    user = serializers.CharField(max_length=150, required=False, help_text="Whose; default: one's own.")


class EndedSerializer(serializers.Serializer[Any]):
    ended = serializers.IntegerField()


class SessionViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """Where one is signed in; for who may user:manage in the whole organisation, where everybody is."""

    queryset = SignedIn.objects.select_related("user")
    serializer_class = SessionSerializer
    filterset_class = SessionFilter
    ordering = "-created_at"
    lookup_value_regex = r"[0-9]{1,18}"

    @extend_schema(responses={204: OpenApiResponse(description="Ended.")})
    def destroy(self, request: Request, pk: str) -> Response:
        """End a session: it is signed out at its next request."""
        services.end_session(self.get_object().pk, actor=person_of(request))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=EndSessionsSerializer, responses=EndedSerializer)
    @action(detail=False, methods=["post"])
    def end(self, request: Request) -> Response:
        """End all of one's own but the one that asks, or all of somebody's."""
        actor = person_of(request)
        sent = EndSessionsSerializer(data=request.data)
        sent.is_valid(raise_exception=True)
        name = sent.validated_data.get("user", actor.username)
        whose = User.objects.visible_to(actor).filter(username__iexact=name).first()
        if whose is None:
            raise NotFound(f"There is no user {name!r} that you may see.", where="user")
        ended = services.end_sessions(whose.pk, actor=actor, but=own_key(request) or None)
        return Response({"ended": ended})


class SecondFactorSerializer(serializers.ModelSerializer[SecondFactor]):
    class Meta:
        model = SecondFactor
        fields = ("id", "kind", "name", "created_at", "last_used_at")
        read_only_fields = fields


class SecondFactorViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """One's own second factors and passkeys, to read. The page alone adds and removes them, with fresh proof."""

    queryset = SecondFactor.objects.all()
    serializer_class = SecondFactorSerializer
    ordering = "-created_at"
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return SecondFactor.objects.none()
        return SecondFactor.objects.filter(user=person_of(self.request))
