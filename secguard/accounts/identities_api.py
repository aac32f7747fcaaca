"""``/api/v1/ci-identities/`` and ``/api/v1/token-exchange/``. The rules are in ``accounts.services.ci_identities``."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.parsers import FormParser
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts import services
from secguard.accounts.api import (
    ApplicationsField,
    LimitField,
    NamesField,
    PatternsField,
    Visible,
    VisibleTeam,
)
from secguard.accounts.assertion import MAX_BYTES, BadAssertion
from secguard.accounts.authentication import client_address, person_of
from secguard.accounts.models import CI_KIND_CHOICES, CI_ROLE_CHOICES, MAX_CI_MINUTES, CiIdentity
from secguard.accounts.services.ci_identities import ACCESS_TOKEN, GRANT_TYPE, MINUTES, TOKEN_TYPES
from secguard.accounts.trust import MAX_NAME, MAX_PATTERN, Kind, Trust
from secguard.web.parsers import BoundedJSONParser


class CiIdentitySerializer(serializers.ModelSerializer[CiIdentity]):
    """Whose signed tokens are exchanged for a short-lived one of ours."""

    kind = serializers.ChoiceField(CI_KIND_CHOICES)
    role = serializers.ChoiceField(CI_ROLE_CHOICES)
    claims = serializers.DictField(child=serializers.CharField(), help_text="Each with the pattern that it must match.")
    team = serializers.SlugField(source="team.slug", allow_null=True, default=None)
    applications = LimitField()
    repositories = NamesField()
    user = serializers.CharField(source="user.username", help_text="The service that the tokens belong to.")
    status = serializers.SerializerMethodField()
    has_own_keys = serializers.SerializerMethodField(help_text="The keys were entered; the issuer is not asked.")

    class Meta:
        model = CiIdentity
        fields = (
            "id",
            "name",
            "kind",
            "issuer",
            "audience",
            "claims",
            "has_own_keys",
            "user",
            "role",
            "team",
            "applications",
            "repositories",
            "minutes",
            "status",
            "exchanges",
            "last_used_at",
            "created_at",
            "withdrawn_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.ChoiceField(["trusted", "withdrawn"]))
    def get_status(self, identity: CiIdentity) -> str:
        return identity.state

    def get_has_own_keys(self, identity: CiIdentity) -> bool:
        return identity.keys is not None


class NewCiIdentitySerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(CI_KIND_CHOICES, default=Kind.OTHER.value)
    issuer = serializers.CharField(
        max_length=MAX_PATTERN, help_text="As it stands in the token's `iss`, to the letter."
    )
    audience = serializers.CharField(max_length=MAX_PATTERN, help_text="As it stands in the token's `aud`.")
    claims = serializers.DictField(
        child=serializers.CharField(max_length=MAX_PATTERN),
        help_text="{claim: pattern}, held against the whole value. `*`: within one part; `**`: any parts.",
    )
    jwks = serializers.JSONField(
        required=False, allow_null=True, help_text="A JWK Set, for an issuer that the server cannot reach."
    )
    role = serializers.ChoiceField(CI_ROLE_CHOICES)
    team = VisibleTeam(required=False, allow_null=True, help_text="null: in the whole organisation")
    applications = ApplicationsField()
    repositories = PatternsField()
    minutes = serializers.IntegerField(min_value=1, max_value=MAX_CI_MINUTES, default=MINUTES)

    def validate_claims(self, claims: dict[str, str]) -> dict[str, str]:
        if any(len(name) > MAX_NAME for name in claims):
            raise serializers.ValidationError(f"a claim's name has at most {MAX_NAME} characters")
        return claims


def new_identity(sent: dict[str, Any]) -> services.NewIdentity:
    """The use case's input, from checked fields of a form or a document."""
    trust = Trust(Kind(sent["kind"]), sent["issuer"], sent["audience"], sent["claims"])
    return services.NewIdentity(
        sent["name"],
        trust,
        sent["role"],
        sent.get("team"),
        sent["minutes"],
        sent.get("jwks") or None,
        list(sent["applications"]),
        sent["repositories"],
    )


class CiIdentityViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Visible):
    """Pipelines that need no secret: whose tokens are exchanged, and for what. For who may ci-identity:manage."""

    queryset = CiIdentity.objects.select_related("user", "team")
    serializer_class = CiIdentitySerializer
    filterset_fields = ("name", "kind", "issuer")
    ordering = "-created_at"
    ordering_fields = ("name", "created_at")
    lookup_value_regex = r"[0-9]{1,18}"

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        return NewCiIdentitySerializer if self.action == "create" else CiIdentitySerializer

    @extend_schema(request=NewCiIdentitySerializer, responses={201: CiIdentitySerializer})
    def create(self, request: Request) -> Response:
        """Trust a pipeline's tokens. To change what is trusted, withdraw it and create another."""
        made = services.create_ci_identity(new_identity(self.body()), actor=person_of(request))
        return Response(CiIdentitySerializer(made).data, 201)

    @extend_schema(request=None, responses=CiIdentitySerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """End the trust, and every token that came of it, now."""
        withdrawn = services.withdraw_ci_identity(self.get_object().pk, actor=person_of(request))
        return Response(CiIdentitySerializer(withdrawn).data)


class ExchangeSerializer(serializers.Serializer[Any]):
    grant_type = serializers.ChoiceField([GRANT_TYPE])
    subject_token = serializers.CharField(
        max_length=MAX_BYTES, help_text="The token that the pipeline's system signed."
    )
    subject_token_type = serializers.ChoiceField(list(TOKEN_TYPES))
    requested_token_type = serializers.ChoiceField([ACCESS_TOKEN], required=False)
    scope = serializers.CharField(
        max_length=100, required=False, allow_blank=True, help_text="A CI identity's name, where several fit."
    )


class ExchangedSerializer(serializers.Serializer[Any]):
    access_token = serializers.CharField(help_text="The token to send as `Authorization: Bearer`.")
    issued_token_type = serializers.ChoiceField([ACCESS_TOKEN])
    token_type = serializers.ChoiceField(["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds.")
    scope = serializers.CharField(help_text="The CI identity's name.")


class TokenExchange(APIView):
    """The exchange of RFC 8693, for pipelines that hold no secret of ours."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (FormParser, BoundedJSONParser)

    @extend_schema(
        auth=[],
        request={"application/x-www-form-urlencoded": ExchangeSerializer, "application/json": ExchangeSerializer},
        responses={
            200: ExchangedSerializer,
            400: OpenApiResponse(
                description="The token does not count; `error` and `error_description` are RFC 6749's (section 5.2)."
            ),
        },
    )
    def post(self, request: Request) -> Response:
        """Exchange a token that GitHub, GitLab, Kubernetes or another trusted issuer signed for a short-lived one."""
        sent = _read(request)
        done = services.exchange(
            sent["subject_token"], address=client_address(request), wanted=sent.get("scope", "").strip()
        )
        answer = {
            "access_token": done.raw,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": max(0, int((done.token.expires_at - timezone.now()).total_seconds())),
            "scope": done.identity.name,
        }
        return Response(answer, headers={"Cache-Control": "no-store"})


def _read(request: Request) -> dict[str, Any]:
    serializer = ExchangeSerializer(data=request.data)
    if serializer.is_valid():
        return dict(serializer.validated_data)
    name, faults = next(iter(serializer.errors.items()))
    fault = str(faults[0]) if isinstance(faults, list) and faults else "it cannot be read"
    wrong_grant = name == "grant_type" and "grant_type" in request.data
    raise BadAssertion(
        f"{name}: {fault} Expected grant_type={GRANT_TYPE}, subject_token and subject_token_type={TOKEN_TYPES[0]}.",
        code="bad-exchange",
        where=str(name),
        error="unsupported_grant_type" if wrong_grant else "invalid_request",
    )
