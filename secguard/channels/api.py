"""``/api/v1/channels/``: where news are posted to. Addresses and secrets go in and never come out."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import Team
from secguard.channels import queries, services
from secguard.channels.formats import Format
from secguard.channels.models import Channel, Delivery
from secguard.channels.services import ChannelEdit
from secguard.errors import Invalid

STATES = ("off", "failing", "working", "unused")


class ChannelSerializer(serializers.ModelSerializer[Channel]):
    """A channel. Its address and its secret are not shown."""

    team = serializers.CharField(
        source="team.slug", default=None, allow_null=True, help_text="none: the organisation's"
    )
    format = serializers.CharField(help_text=", ".join(Format))
    kinds = serializers.ListField(child=serializers.CharField(), help_text="kinds of news; empty: all of them")
    state = serializers.SerializerMethodField()
    waiting = serializers.IntegerField(default=0, help_text="messages that wait")
    is_signed = serializers.BooleanField()

    class Meta:
        model = Channel
        fields = [
            "id",
            "name",
            "team",
            "format",
            "host",
            "kinds",
            "is_active",
            "is_signed",
            "former_until",
            "state",
            "failures",
            "error",
            "next_at",
            "sent_at",
            "waiting",
            "created_at",
        ]
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(help_text=", ".join(STATES)))
    def get_state(self, channel: Channel) -> str:
        return queries.state_of(channel, timezone.now())


class NewChannelAnswerSerializer(ChannelSerializer):
    """The channel that was made, with the secret that is shown this once."""

    secret = serializers.CharField(help_text="whsec_…; empty where the receiver checks no signatures")

    class Meta(ChannelSerializer.Meta):
        fields = [*ChannelSerializer.Meta.fields, "secret"]
        read_only_fields = fields


class ChannelEditSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, required=False)
    url = serializers.CharField(max_length=2_000, required=False, write_only=True, help_text="https://…")
    kinds = serializers.ListField(
        child=serializers.CharField(max_length=32),
        max_length=100,
        required=False,
        help_text="kinds of news; empty: all",
    )
    is_active = serializers.BooleanField(required=False)


class NewChannelSerializer(ChannelEditSerializer):
    name = serializers.CharField(max_length=100)
    url = serializers.CharField(max_length=2_000, write_only=True, help_text="https://…")
    format = serializers.ChoiceField(choices=[f.value for f in Format], default=Format.SECGUARD.value)
    team = serializers.CharField(
        max_length=100, required=False, allow_null=True, help_text="slug; none: a channel of the organisation"
    )


class SecretSerializer(serializers.Serializer[Any]):
    secret = serializers.CharField(help_text="shown this once")
    former_until = serializers.DateTimeField(help_text="until then the former secret signs too")


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    status = serializers.CharField(help_text="waiting, sent or failed")

    class Meta:
        model = Delivery
        fields = [
            "id",
            "message_id",
            "kind",
            "total",
            "is_test",
            "status",
            "attempts",
            "answer",
            "error",
            "created_at",
            "ended_at",
        ]
        read_only_fields = fields


class ChannelViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[Channel]):
    """Where news are posted to: the channels that the person who asks may edit."""

    queryset = Channel.objects.none()
    serializer_class = ChannelSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"
    ordering_fields = ("name", "created_at")

    def get_queryset(self) -> QuerySet[Channel]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        user: Any = self.request.user
        return queries.channels(user)

    @extend_schema(request=NewChannelSerializer, responses={201: NewChannelAnswerSerializer})
    def create(self, request: Request) -> Response:
        """Set up a channel. The secret that signs what is posted is in this answer, and in none after it."""
        asked = NewChannelSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        fields = dict(asked.validated_data)
        format_, team = fields.pop("format"), _team(fields.pop("team", None), user)
        channel, secret = services.add_channel(ChannelEdit(**fields), format_=format_, team=team, actor=user)
        document = ChannelSerializer(channel, context=self.get_serializer_context()).data
        return Response({**document, "secret": secret}, status=201)

    @extend_schema(request=ChannelEditSerializer, responses=ChannelSerializer)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Change what is named, and leave the rest."""
        asked = ChannelEditSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        services.edit_channel(int(pk), ChannelEdit(**asked.validated_data), actor=user)
        return Response(self.get_serializer(queries.find(user, int(pk))).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Remove a channel, with what waits for it."""
        user: Any = request.user
        services.remove_channel(int(pk), actor=user)
        return Response(status=204)

    @extend_schema(request=None, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Post a test message at once; `deliveries/` says what became of it."""
        user: Any = request.user
        return Response(DeliverySerializer(services.send_test(int(pk), actor=user)).data, status=202)

    @extend_schema(request=None, responses={201: SecretSerializer})
    @action(detail=True, methods=["post"])
    def secret(self, request: Request, pk: str) -> Response:
        """A new secret; the former one signs too for a day."""
        user: Any = request.user
        channel, secret = services.renew_secret(int(pk), actor=user)
        return Response(SecretSerializer({"secret": secret, "former_until": channel.former_until}).data, status=201)

    @extend_schema(responses=DeliverySerializer(many=True))
    @action(detail=True, serializer_class=DeliverySerializer, ordering="-created_at", ordering_fields=None)
    def deliveries(self, request: Request, pk: str) -> Response:
        """What was posted to the channel and what waits, the newest first, for ninety days."""
        user: Any = request.user
        rows = Delivery.objects.filter(channel=queries.find(user, int(pk)))
        page: Any = self.paginate_queryset(rows) or []  # type: ignore[arg-type]
        return self.get_paginated_response(DeliverySerializer(page, many=True).data)


def _team(slug: str | None, user: Any) -> Team | None:
    """The team of that slug, if ``user`` may see it; else ``Invalid``."""
    if slug is None:
        return None
    found = Team.objects.visible_to(user).filter(slug=slug).first()
    if found is None:
        raise Invalid(f"There is no team {slug!r}; expected the slug of one of your teams.", where="team")
    return found
