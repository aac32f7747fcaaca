"""Keys over REST. A private key goes in, sealed, and never comes out."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.images.queries import find_image
from secguard.signing import ecdsa
from secguard.signing.keylife import KeyStatus, Provider
from secguard.signing.models import Signature, SigningKey, TrustedKey
from secguard.signing.services import (
    OVERLAP_DAYS,
    Ask,
    NewKey,
    Trust,
    ask,
    create_key,
    latest_job,
    retire_key,
    revoke_key,
    rotate_key,
    trust_key,
    withdraw_trust,
)
from secguard.web.parameters import choice_of, text_of

PROVIDERS = tuple(p.value for p in Provider)
STATES = tuple(s.value for s in KeyStatus)


class SigningKeySerializer(serializers.ModelSerializer[SigningKey]):
    """A key of ours; its private part is never shown."""

    status = serializers.CharField(source="current_status", help_text="active, retiring, retired or revoked")
    provider = serializers.CharField()
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)

    class Meta:
        model = SigningKey
        fields = [
            "id",
            "name",
            "status",
            "provider",
            "fingerprint",
            "public_pem",
            "is_imported",
            "created_at",
            "created_by",
            "counts_until",
            "ended_at",
            "reason",
        ]
        read_only_fields = fields


class PrivatePartSerializer(serializers.Serializer[Any]):
    private_key = serializers.CharField(
        max_length=ecdsa.MAX_PEM,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        write_only=True,
        help_text="PEM of a P-256 key to import (PKCS #8 or SEC 1); empty: one is made",
    )
    password = serializers.CharField(
        max_length=1024,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        write_only=True,
        help_text="of the PEM",
    )
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=100, required=False, allow_blank=True, help_text="pkcs11: of a key that is in the token already"
    )

    def part(self, provider: str) -> NewKey:
        """What was sent, as where the new key comes from."""
        sent = self.validated_data
        return NewKey(Provider(provider), sent.get("private_key", ""), sent.get("password", ""), sent.get("label", ""))


class NewKeySerializer(PrivatePartSerializer):
    name = serializers.CharField(max_length=63, help_text="lower-case letters, digits and '-'")
    provider = serializers.ChoiceField(choices=PROVIDERS, default=Provider.LOCAL.value)


class RotateSerializer(PrivatePartSerializer):
    provider = serializers.ChoiceField(choices=PROVIDERS, required=False, help_text="default: the former key's")
    overlap_days = serializers.IntegerField(
        default=OVERLAP_DAYS, min_value=0, max_value=3650, help_text="how long what the former key signed counts"
    )


class EndKeySerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500)


class RetireKeySerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("name", str, description="Keys of this line, the former ones too."),
            OpenApiParameter("status", str, enum=STATES, description="Keys in this state now."),
        ]
    ),
    create=extend_schema(request=NewKeySerializer, responses={201: SigningKeySerializer}),
)
class SigningKeyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[SigningKey]):
    """The keys that SecGuard signs with. Everybody reads the public parts."""

    serializer_class = SigningKeySerializer
    queryset = SigningKey.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-created_at"
    ordering_fields = ("created_at", "name")

    def get_queryset(self) -> QuerySet[SigningKey]:
        user: Any = self.request.user
        require(user, Permission.SIGNING_KEY_READ, anywhere=True)
        rows = SigningKey.objects.select_related("created_by")
        if self.action != "list":
            return rows
        if name := text_of(self.request, "name"):
            rows = rows.filter(name=name)
        status = choice_of(self.request, "status", ("", *STATES), "")
        return rows.in_state(KeyStatus(status)) if status else rows

    def create(self, request: Request) -> Response:
        asked = NewKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        sent = asked.validated_data
        made = create_key(sent["name"], asked.part(sent["provider"]), actor=user)
        return Response(self.get_serializer(made).data, status=201)

    @extend_schema(request=RotateSerializer, responses={201: SigningKeySerializer})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """A new key takes over; what the former one signed counts for the overlap. Answers with the new key."""
        asked = RotateSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        sent = asked.validated_data
        says_where = any(sent.get(name) for name in ("provider", "private_key", "label"))
        new = asked.part(sent.get("provider") or ("pkcs11" if sent.get("label") else "local")) if says_where else None
        made = rotate_key(int(pk), new, overlap_days=sent["overlap_days"], actor=user)
        return Response(self.get_serializer(made).data, status=201)

    @extend_schema(request=RetireKeySerializer, responses=SigningKeySerializer)
    @action(detail=True, methods=["post"])
    def retire(self, request: Request, pk: str) -> Response:
        """What the key signed counts no more, without a word against it."""
        asked = RetireKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        return Response(
            self.get_serializer(retire_key(int(pk), asked.validated_data.get("reason", ""), actor=user)).data
        )

    @extend_schema(request=EndKeySerializer, responses=SigningKeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Nothing that the key ever signed counts, at once and for good."""
        asked = EndKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        return Response(self.get_serializer(revoke_key(int(pk), asked.validated_data["reason"], actor=user)).data)


class TrustedKeySerializer(serializers.ModelSerializer[TrustedKey]):
    """Somebody else's key, and where its signatures count."""

    status = serializers.CharField(source="current_status", help_text="trusted, expired or withdrawn")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)

    class Meta:
        model = TrustedKey
        fields = [
            "id",
            "name",
            "status",
            "repositories",
            "fingerprint",
            "public_pem",
            "valid_until",
            "created_at",
            "created_by",
            "withdrawn_at",
            "reason",
        ]
        read_only_fields = fields


class TrustSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, help_text="whose key it is")
    public_key = serializers.CharField(
        max_length=ecdsa.MAX_PEM, trim_whitespace=False, help_text="PEM of a P-256 public key"
    )
    repositories = serializers.CharField(max_length=300, help_text="registry.example/shop/*, or registry.example/**")
    valid_until = serializers.DateTimeField(required=False, allow_null=True)


@extend_schema_view(create=extend_schema(request=TrustSerializer, responses={201: TrustedKeySerializer}))
class TrustedKeyViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[TrustedKey]):
    """Other people's public keys: whose signatures count, and in which repositories."""

    serializer_class = TrustedKeySerializer
    queryset = TrustedKey.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-created_at"
    ordering_fields = ("created_at", "name")

    def get_queryset(self) -> QuerySet[TrustedKey]:
        user: Any = self.request.user
        require(user, Permission.SIGNING_KEY_READ, anywhere=True)
        return TrustedKey.objects.select_related("created_by")

    def create(self, request: Request) -> Response:
        asked = TrustSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        made = trust_key(Trust(**asked.validated_data), actor=user)
        return Response(self.get_serializer(made).data, status=201)

    @extend_schema(request=EndKeySerializer, responses=TrustedKeySerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """What the key signed counts no more."""
        asked = EndKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        return Response(self.get_serializer(withdraw_trust(int(pk), asked.validated_data["reason"], actor=user)).data)


class SignatureSerializer(serializers.ModelSerializer[Signature]):
    """A signature or attestation that was seen beside an image, and what it is worth now."""

    repository = serializers.CharField(source="repository.name")
    form = serializers.CharField(help_text="tag, attestation-tag or bundle")
    standing = serializers.CharField(help_text="trusted, recalled, unknown or invalid")
    by = serializers.CharField(help_text="whose key made it, also where that counts no more; empty: nobody known")
    is_ours = serializers.SerializerMethodField()

    class Meta:
        model = Signature
        fields = [
            "id",
            "repository",
            "digest",
            "form",
            "standing",
            "by",
            "is_ours",
            "predicate_type",
            "docker_reference",
            "place",
            "problem",
            "first_seen_at",
            "verified_at",
            "gone_at",
        ]
        read_only_fields = fields

    def get_is_ours(self, row: Signature) -> bool:
        return row.signing_key_id is not None


class AskForSignatureSerializer(serializers.Serializer[Any]):
    repository = serializers.CharField(max_length=511, help_text="where the image lies: registry/path")
    key = serializers.CharField(
        max_length=63, required=False, allow_blank=True, help_text="the name of the key; empty: only look"
    )
    attest = serializers.BooleanField(
        default=False, help_text="put the verdict, the decisions in force and the SBOM beside it too, signed"
    )


class SigningJobSerializer(serializers.Serializer[Any]):
    job = serializers.IntegerField(source="pk", default=None, allow_null=True)
    status = serializers.CharField(default="none", help_text="none, queued, running, succeeded, failed or cancelled")
    error = serializers.CharField(default="", help_text="why it failed, or is tried again")
    result = serializers.DictField(default=dict, help_text="how many signatures were seen, and how many are trusted")


class ImageSignatures(ListAPIView[Signature]):
    """What was seen beside an image when it was last looked at; ours and others'."""

    serializer_class = SignatureSerializer
    queryset = Signature.objects.none()
    ordering = "-first_seen_at"
    ordering_fields = ("first_seen_at", "verified_at")

    def get_queryset(self) -> QuerySet[Signature]:
        user: Any = self.request.user
        image = find_image(user, self.kwargs["digest"])
        rows = Signature.objects.visible_to(user).filter(digest=image.digest)
        return rows.select_related("repository").with_standing()

    @extend_schema(request=AskForSignatureSerializer, responses={202: SigningJobSerializer})
    def post(self, request: Request, digest: str) -> Response:
        """Have a worker sign the image where it lies, in both forms, and look at what is there."""
        asked = AskForSignatureSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        job = ask(find_image(user, digest), Ask(**asked.validated_data), actor=user)
        return Response(SigningJobSerializer(job).data, status=202)


class SigningJob(APIView):
    """What became of the latest request to sign an image or to look at its signatures."""

    @extend_schema(
        parameters=[OpenApiParameter("repository", str, description="Where the image lies; else anywhere.")],
        responses=SigningJobSerializer,
    )
    def get(self, request: Request, digest: str) -> Response:
        user: Any = request.user
        image = find_image(user, digest)
        job = latest_job(image, text_of(request, "repository"), actor=user)
        return Response(SigningJobSerializer(job or {}).data)
