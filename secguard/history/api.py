"""An image's timeline, what held at an instant, and its passport over REST."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.views import APIView

from secguard.decisions.vex_api import FormatIsOurs
from secguard.history import services, timeline
from secguard.history.queries import events
from secguard.history.queries.events import Span
from secguard.history.queries.held import Held, held
from secguard.history.timeline import Kind, Place
from secguard.images.queries import find_image
from secguard.policies.api import STAGES, VerdictDocument, VerdictView
from secguard.policies.facts import Gate
from secguard.signing import dsse
from secguard.web.parameters import BadParameter, choice_of, number_of, text_of, time_of

LIMIT, MAX_LIMIT = 50, 200
PDF = "application/pdf"


class EventSerializer(serializers.Serializer[Any]):
    kind = serializers.CharField(help_text=", ".join(Kind))
    at = serializers.DateTimeField()
    who = serializers.CharField(allow_blank=True, help_text="a user's name, a key's, or the rule; empty: nobody")
    words = serializers.CharField()
    link = serializers.CharField(allow_blank=True, help_text="a path on this server that tells more; empty: none")


class TimelineSerializer(serializers.Serializer[Any]):
    results = EventSerializer(many=True)
    next = serializers.URLField(allow_null=True, help_text="the next page, of older events; null on the last")
    previous = serializers.URLField(allow_null=True, help_text="always null: pages lead back in time only")


class HeldSerializer(serializers.Serializer[Any]):
    """Which judgement held at an instant, and whether its stored input gives the same verdict again."""

    image = serializers.CharField(help_text="the manifest digest")
    stage = serializers.CharField()
    at = serializers.DateTimeField()
    held = serializers.BooleanField(help_text="whether the judgement held at that instant")
    why_not = serializers.CharField(allow_blank=True, help_text="why it held no more; empty where it did")
    evaluation = serializers.IntegerField(allow_null=True, help_text="of `/api/v1/evaluations/`")
    replayed = serializers.BooleanField(allow_null=True, help_text="computed again from what was stored: the same?")
    differences = serializers.ListField(child=serializers.CharField(), help_text="where it was not the same")
    policy_sha256 = serializers.CharField(allow_null=True)
    input_sha256 = serializers.CharField(allow_null=True)
    is_whole = serializers.BooleanField(help_text="false: places and decisions of other teams were left out")
    document = VerdictDocument(allow_null=True, help_text="as it was answered then")


class PassportSignatureSerializer(serializers.Serializer[Any]):
    keyid = serializers.CharField(allow_blank=True)
    sig = serializers.CharField(help_text="base64 of a DER signature over the pre-authentication encoding")


class PassportEnvelopeSerializer(serializers.Serializer[Any]):
    """A DSSE envelope around the passport."""

    payload = serializers.CharField(help_text="base64 of the passport, UTF-8 JSON")
    payloadType = serializers.CharField()
    signatures = PassportSignatureSerializer(many=True, help_text="none where no key signs here")


class ImageHistory(APIView):
    """What happened to an image, newest first: what you may see of it."""

    @extend_schema(
        responses=TimelineSerializer,
        parameters=[
            OpenApiParameter("from", OpenApiTypes.DATETIME, description="Events at or after this instant."),
            OpenApiParameter("to", OpenApiTypes.DATETIME, description="Events up to this instant; now by default."),
            OpenApiParameter("cursor", str, description="Opaque; taken from `next`."),
            OpenApiParameter("limit", int, description=f"Events on a page, 1 to {MAX_LIMIT}; {LIMIT} by default."),
        ],
    )
    def get(self, request: Request, digest: str) -> Response:
        user: Any = request.user
        start, end = time_of(request, "from"), time_of(request, "to") or timezone.now()
        limit = number_of(request, "limit", least=1, most=MAX_LIMIT) or LIMIT
        span = Span(end, start, _cursor(text_of(request, "cursor")))
        page, after = events.timeline(find_image(user, digest), user, span, limit)
        here = request.build_absolute_uri()
        link = replace_query_param(here, "cursor", after.encode()) if after else None
        return Response({"results": EventSerializer(page, many=True).data, "next": link, "previous": None})


def _cursor(text: str) -> Place | None:
    try:
        return timeline.decode(text) if text else None
    except ValueError:
        raise BadParameter(
            "The cursor is none that this server made. Take it unchanged from `next`, or leave it out to start anew.",
            code="broken_cursor",
            where="cursor",
        ) from None


class ImageVerdict(VerdictView):
    """May this image go on, and why; or, with `at`, whether it might at that instant, and what was answered then."""

    @extend_schema(
        responses=PolymorphicProxySerializer(
            component_name="VerdictNowOrThen",
            serializers=[VerdictDocument, HeldSerializer],
            resource_type_field_name=None,
        ),
        parameters=[
            OpenApiParameter("stage", str, enum=list(STAGES), description="`build` where it is not given."),
            OpenApiParameter(
                "at", OpenApiTypes.DATETIME, description="What held at this instant, from what is stored."
            ),
        ],
    )
    def get(self, request: Request, digest: str) -> HttpResponse:
        at = time_of(request, "at")
        if at is None:
            return super().get(request, digest)
        if at > timezone.now():
            raise BadParameter("`at` is in the future; nothing is known of it. Leave it out for now.", where="at")
        user: Any = request.user
        stage = Gate(choice_of(request, "stage", STAGES, Gate.BUILD.value))
        return Response(_held(digest, held(find_image(user, digest), stage, at, user)))


def _held(digest: str, found: Held) -> dict[str, Any]:
    evaluation = found.evaluation
    return {
        "image": digest,
        "stage": found.stage,
        "at": found.at,
        "held": found.holds,
        "why_not": found.why_not,
        "evaluation": evaluation.pk if evaluation else None,
        "replayed": found.replay.is_same if evaluation else None,
        "differences": found.replay.differences,
        "policy_sha256": evaluation.policy_version.sha256 if evaluation else None,
        "input_sha256": evaluation.input.sha256 if evaluation else None,
        "is_whole": found.is_whole,
        "document": found.document,
    }


class ImagePassport(APIView):
    """All that is known of an image in one signed document, as you may see it: to keep, or to hand to an auditor."""

    content_negotiation_class = FormatIsOurs

    @extend_schema(
        responses={
            (200, dsse.MEDIA_TYPE): PassportEnvelopeSerializer,
            (200, PDF): OpenApiTypes.BINARY,
        },
        parameters=[
            OpenApiParameter(
                "key", str, description="The name of the key that signs; by default the newest that does."
            ),
            OpenApiParameter(
                "format",
                str,
                enum=["json", "pdf"],
                description="`pdf`: the same for people, with the signed envelope attached; also by "
                "`Accept: application/pdf`.",
            ),
        ],
    )
    def get(self, request: Request, digest: str) -> HttpResponseBase:
        user: Any = request.user
        accepted = "pdf" if PDF in request.headers.get("Accept", "") else "json"
        kind = choice_of(request, "format", ("json", "pdf"), accepted)
        envelope = services.issue(find_image(user, digest), text_of(request, "key"), timezone.now(), actor=user)
        if kind == "pdf":
            answer = HttpResponse(services.printed(envelope), content_type=PDF)
        else:
            answer = HttpResponse(envelope.encode(), content_type=dsse.MEDIA_TYPE)
        answer["Cache-Control"] = "private, no-store"
        answer["Vary"] = "Accept"
        answer["Content-Disposition"] = f'attachment; filename="{digest.replace(":", "-")[:23]}.passport.{kind}"'
        return answer
