"""Where clusters' agents fetch snapshots, and bring what they answered from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.cache import get_conditional_response
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.authentication import KEYWORD, TokenAuthentication
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.admission import services
from secguard.admission.models import ClusterGate
from secguard.admission.services.answering import TOKEN_PREFIX, note_heard
from secguard.errors import NotAllowed, NotFound
from secguard.signing.dsse import MEDIA_TYPE
from secguard.web.parameters import text_of

OWN = "own"
"""In place of a cluster's id: the one whose token is shown."""


class ClusterTokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer sgk_…``: a cluster, which is nobody's user; ``request.auth`` is its gate."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, ClusterGate] | None:
        words = get_authorization_header(request).split()
        if len(words) != 2 or not words[1].startswith(TOKEN_PREFIX.encode()):
            return None
        return AnonymousUser(), services.gate_of(words[1].decode("latin-1"))

    def authenticate_header(self, request: Request) -> str:
        return f'{KEYWORD} realm="SecGuard"'


class ClusterTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document describes it."""

    target_class = "secguard.admission.views.agents.ClusterTokenAuthentication"
    name = "clusterToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "sgk_ and 43 characters",
            "description": "A cluster's token, made on its page under Settings, Clusters.",
        }


class IsClusterOrPerson(BasePermission):
    """Somebody who is known; what they may is asked by the view."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, ClusterGate) or bool(request.user and request.user.is_authenticated)


class _AgentView(APIView):
    authentication_classes = [ClusterTokenAuthentication, TokenAuthentication, SessionAuthentication]
    permission_classes = [IsClusterOrPerson]

    def own_gate(self, request: Request, pk: str) -> ClusterGate | None:
        """The gate whose token is shown; ``None`` for a person. Raises ``NotFound`` where it is another's."""
        gate = request.auth
        if not isinstance(gate, ClusterGate):
            return None
        if pk != OWN and int(pk) != gate.pk:
            raise NotFound(f"There is no cluster {pk} that this token speaks for; it is {gate.cluster.name}'s own.")
        return gate


class EnvelopeSignatureSerializer(serializers.Serializer[Any]):
    keyid = serializers.CharField(allow_blank=True, help_text="the key's fingerprint; a hint that proves nothing")
    sig = serializers.CharField(help_text="base64")


class EnvelopeSerializer(serializers.Serializer[Any]):
    """A DSSE envelope: what a signature is over is told by the protocol."""

    payload = serializers.CharField(help_text="base64 of the snapshot's JSON")
    payloadType = serializers.CharField()
    signatures = EnvelopeSignatureSerializer(many=True)


class SnapshotView(_AgentView):
    """Everything that answers a cluster at one instant, signed: what its agent answers from while this server is away.

    For the cluster itself (``own`` in place of its id, too) and for who may cluster:edit. Break-glass is not in it.
    """

    @extend_schema(
        parameters=[OpenApiParameter("key", str, description="The name of the key that is to sign.")],
        responses={(200, MEDIA_TYPE): EnvelopeSerializer},
    )
    def get(self, request: Request, pk: str) -> HttpResponseBase:
        kept = services.snapshot(self._gate(request, pk), text_of(request, "key"))
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        body: HttpResponseBase = StreamingHttpResponse(services.chunks(kept, packed=packed), content_type=MEDIA_TYPE)
        if packed:
            body["Content-Encoding"] = "gzip"
            body["Content-Length"] = str(kept.path.stat().st_size)
        body["ETag"] = f"W/{kept.tag}"
        body["Vary"] = "Accept-Encoding"
        body["Cache-Control"] = "private, no-cache"
        same = get_conditional_response(request._request, etag=body["ETag"], response=HttpResponse())
        return body if same is None or same.status_code == 200 else same

    def _gate(self, request: Request, pk: str) -> ClusterGate:
        gate = self.own_gate(request, pk)
        if gate is not None:
            note_heard(gate, timezone.now())
            return gate
        user: Any = request.user
        require(user, Permission.CLUSTER_EDIT)
        found = None if pk == OWN else ClusterGate.objects.select_related("cluster").filter(pk=int(pk)).first()
        if found is None:
            raise NotFound(f"There is no cluster {pk}.")
        return found


class AnswerPartSerializer(serializers.Serializer[Any]):
    image = serializers.CharField(
        max_length=4096, allow_blank=True, help_text="as written; empty: what the pod asks for"
    )
    digest = serializers.CharField(max_length=135, allow_blank=True, default="")
    image_digest = serializers.CharField(max_length=135, allow_blank=True, default="", help_text="what was judged")
    evaluation = serializers.IntegerField(allow_null=True, default=None, min_value=1, max_value=2**63 - 1)
    outcome = serializers.ChoiceField(choices=services.FROM_SNAPSHOTS)
    reason = serializers.CharField(max_length=20_000, allow_blank=True, default="")
    until = serializers.DateTimeField(allow_null=True, default=None, help_text="the end of its grace")


class GivenAnswerSerializer(serializers.Serializer[Any]):
    """One review that an agent answered from a snapshot."""

    uid = serializers.CharField(max_length=200, help_text="of the review; one that was told counts once")
    at = serializers.DateTimeField()
    snapshot_at = serializers.DateTimeField(allow_null=True, default=None, help_text="when the snapshot was made")
    namespace = serializers.CharField(max_length=253, allow_blank=True, default="")
    kind = serializers.CharField(max_length=63, allow_blank=True, default="")
    name = serializers.CharField(max_length=253, allow_blank=True, default="")
    owner_kind = serializers.CharField(max_length=63, allow_blank=True, default="")
    owner_name = serializers.CharField(max_length=253, allow_blank=True, default="")
    user = serializers.CharField(max_length=200, allow_blank=True, default="")
    mode = serializers.ChoiceField(choices=services.MODES)
    allowed = serializers.BooleanField()
    parts = serializers.ListField(child=AnswerPartSerializer(), max_length=1001)


class GivenAnswersSerializer(serializers.Serializer[Any]):
    answers = serializers.ListField(child=GivenAnswerSerializer(), max_length=services.MAX_ANSWERS)


class TakenAnswersSerializer(serializers.Serializer[Any]):
    taken = serializers.IntegerField(help_text="answers that were new")
    known = serializers.IntegerField(help_text="answers that were told before, or are too old to be told now")


class AnswersView(_AgentView):
    """What a cluster's agent answered from a snapshot while this server was away, for the log. Safe to send twice."""

    @extend_schema(request=GivenAnswersSerializer, responses=TakenAnswersSerializer)
    def post(self, request: Request, pk: str) -> Response:
        gate = self.own_gate(request, pk)
        if gate is None:
            raise NotAllowed("Only the cluster tells what it was answered: send its own token.", code="cluster-token")
        asked = GivenAnswersSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        given: Sequence[services.Given] = [_given(row) for row in asked.validated_data["answers"]]
        taken = services.take_answers(gate, given)
        return Response({"taken": taken, "known": len(given) - taken})


def _given(row: dict[str, Any]) -> services.Given:
    parts = tuple(services.GivenPart(**part) for part in row.pop("parts"))
    return services.Given(**row, parts=parts)
