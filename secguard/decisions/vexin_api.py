"""VEX documents of others over REST: taking them in, what was kept of them, and the authors that are trusted."""

from __future__ import annotations

import base64
import io
import zlib
from collections import Counter
from typing import IO, Any, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.decisions.models import VexAuthor, VexDocument
from secguard.decisions.queries import Scope, find_scope
from secguard.decisions.scope import ScopeKind
from secguard.decisions.services import vexin as services
from secguard.decisions.vexin import MAX_BYTES
from secguard.errors import Invalid, NotFound, TooLarge
from secguard.images.models import Image
from secguard.images.queries import find_image
from secguard.web.parameters import BadParameter, choice_of, text_of, time_of

MAX_TOLD: Final = 20
"""Statements that are named as examples of each reason why nothing was asked for."""
_CHUNK: Final = 2**20


class VexParser(BaseParser):
    """The body as it came, whatever its type says; never held whole past ``MAX_BYTES``."""

    media_type = "*/*"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        if (media_type or "").lower().startswith(("multipart/form-data", "application/x-www-form-urlencoded")):
            raise Invalid(
                "The document came as a form upload; expected the document itself as the body, for example: "
                "curl --data-binary @vex.json -H 'Content-Type: application/json'.",
                code="form-upload",
                where="Content-Type",
            )
        body = io.BytesIO()
        while body.tell() <= MAX_BYTES and (part := stream.read(_CHUNK)):
            body.write(part)
        if body.tell() > MAX_BYTES:
            raise TooLarge(
                f"The VEX document has more than {MAX_BYTES:,} bytes, which is what is read. Split it.",
                code="document-too-large",
                where="body",
            )
        return body.getvalue()


# --- documents ---


class VexProblem(serializers.Serializer[Any]):
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    where = serializers.CharField(allow_blank=True)


class VexItem(serializers.Serializer[Any]):
    """One decision that the document asks for."""

    outcome = serializers.ChoiceField(
        choices=["requested", "open", "decided", "refused"],
        help_text="requested now; asked for already; in force, or rejected to this very document; or refused",
    )
    statement = serializers.IntegerField(help_text="which of the document's statements, from 0")
    vulnerability = serializers.CharField()
    product = serializers.CharField()
    risk = serializers.IntegerField()
    scope = serializers.CharField(help_text="image, repository")
    scope_label = serializers.CharField()
    decision = serializers.IntegerField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    problem = VexProblem(allow_null=True)


class VexTold(serializers.Serializer[Any]):
    """Statements that ask for nothing, by the reason."""

    why = serializers.CharField()
    count = serializers.IntegerField()
    statements = serializers.ListField(child=serializers.CharField(), help_text=f"at most {MAX_TOLD} of them")


class VexTaken(serializers.Serializer[Any]):
    """What became of a document: each decision for itself, and what it says besides."""

    document = serializers.IntegerField(
        allow_null=True, help_text="as it is kept: /api/v1/vex-documents/{id}/; null in a preview, which keeps nothing"
    )
    signed_by = serializers.CharField(allow_blank=True, help_text="fingerprint of the author's key that signed it")
    format = serializers.CharField()
    author = serializers.CharField()
    statements = serializers.IntegerField()
    requested = serializers.IntegerField(help_text="decisions that were asked for now")
    results = VexItem(many=True)
    told = VexTold(many=True)
    left_out = serializers.ListField(child=serializers.CharField(), help_text="what is in it and is no statement")


def taken_document(taken: services.Taken, *, is_preview: bool = False) -> dict[str, Any]:
    """The answer to a posted document. Of a preview, what was asked for and kept was undone: it has no number."""
    said = taken.document.statements
    reasons = Counter(told.why for told in taken.told)
    named: dict[str, list[str]] = {}
    for told in taken.told:
        if len(examples := named.setdefault(told.why, [])) < MAX_TOLD:
            examples.append(f"{said[told.statement].vulnerability}: {_product(taken, told.statement)}")
    return {
        "document": None if is_preview else taken.stored.pk,
        "signed_by": taken.stored.signed_by,
        "format": taken.document.format,
        "author": taken.document.author or taken.document.namespace,
        "statements": len(said),
        "requested": sum(1 for one in taken.proposed if one.outcome == "requested"),
        "results": [_item(taken, one, is_preview) for one in taken.proposed],
        "told": [{"why": why, "count": count, "statements": named[why]} for why, count in reasons.most_common()],
        "left_out": list(taken.document.left_out),
    }


def _item(taken: services.Taken, one: services.Proposed, is_preview: bool) -> dict[str, Any]:
    refusal = one.refusal if one.outcome == "refused" else None
    is_undone = is_preview and one.outcome == "requested"
    return {
        "outcome": one.outcome,
        "statement": one.statement,
        "vulnerability": taken.document.statements[one.statement].vulnerability,
        "product": _product(taken, one.statement),
        "risk": one.risk,
        "scope": one.scope.kind.value,
        "scope_label": one.scope.label,
        "decision": one.decision.pk if one.decision and not is_undone else None,
        "expires_at": one.decision.expires_at if one.decision else None,
        "problem": refusal
        and {
            "title": refusal.title,
            "status": refusal.status,
            "detail": refusal.detail,
            "code": refusal.code,
            "where": refusal.where,
        },
    }


def _product(taken: services.Taken, number: int) -> str:
    product = taken.document.statements[number].product
    return product.label[:500] if product else "the image"


_POST: Final[dict[str, Any]] = {
    "request": {"application/json": OpenApiTypes.ANY, "application/octet-stream": OpenApiTypes.BINARY},
    "parameters": [
        OpenApiParameter(
            "expires_at",
            OpenApiTypes.DATETIME,
            description="When the decisions are to end at the latest; without it, as late as the risk appetite allows.",
        ),
        OpenApiParameter("preview", bool, description="Say what would be asked for, and ask and keep nothing."),
        OpenApiParameter(
            "signature", str, description="Base64 of a signature over the body (DER), as `cosign sign-blob` writes it."
        ),
    ],
    "responses": {
        200: VexTaken,
        403: OpenApiResponse(
            description="You may not; the document's author is not trusted (`vex-author`); or the author's key is "
            "known and did not sign it (`vex-signature`)."
        ),
        409: OpenApiResponse(description="A later edition was posted already (`vex-older`)."),
        413: OpenApiResponse(description="Too large, or it asks for too many decisions at once."),
        422: OpenApiResponse(description="No document that can be read: `detail` and `where` say why."),
    },
}


def _take(request: Request, image: Image | None, within: Scope | None = None) -> Response:
    user: Any = request.user
    raw = request.data if isinstance(request.data, bytes) else b""
    is_preview = choice_of(request, "preview", ("true", "false"), "false") == "true"
    act = services.preview if is_preview else services.take_in
    taken = act(
        raw,
        actor=user,
        image=image,
        within=within,
        signature=_signature(text_of(request, "signature")),
        expires_at=time_of(request, "expires_at"),
    )
    return Response(VexTaken(taken_document(taken, is_preview=is_preview)).data)


def _signature(text: str) -> bytes:
    try:
        # "+" in an address is a space to whoever did not escape it.
        return base64.b64decode(text.strip().replace(" ", "+"), validate=True)
    except ValueError:
        raise BadParameter(
            "`signature` is no base64; expected what `cosign sign-blob` writes.", where="signature"
        ) from None


def within_of(user: User, repository: str, application: str) -> Scope | None:
    """The repository or application that is named, as ``user`` may see it; ``None`` where neither is."""
    if repository and application:
        raise BadParameter(
            "Both `repository` and `application` are given; expected one of them, or neither.", where="application"
        )
    if repository:
        return find_scope(user, ScopeKind.REPOSITORY, repository)
    return find_scope(user, ScopeKind.APPLICATION, application) if application else None


_WITHIN: Final = [
    OpenApiParameter("repository", str, description="Ask for nothing outside of this repository (registry/path)."),
    OpenApiParameter("application", str, description="Ask for nothing outside of this application (its slug)."),
]


class TakesVex(APIView):
    """A document about whatever its products match among what you may ask for."""

    parser_classes = [VexParser]

    @extend_schema(operation_id="vex_create", **(_POST | {"parameters": [*_POST["parameters"], *_WITHIN]}))
    def post(self, request: Request) -> Response:
        """Take a VEX document in: OpenVEX, CycloneDX, CSAF. What it says becomes requests that other people decide."""
        user: Any = request.user
        within = within_of(user, text_of(request, "repository"), text_of(request, "application"))
        return _take(request, None, within)


class TakesImageVex(APIView):
    """A document about one image."""

    parser_classes = [VexParser]

    @extend_schema(operation_id="images_vex_create", **_POST)
    def post(self, request: Request, digest: str) -> Response:
        """Take a VEX document, or a scanner's ignore list, in for this image. Other people decide what it asks for."""
        user: Any = request.user
        return _take(request, find_image(user, digest))


# --- what was kept ---


class VexDocumentSerializer(serializers.ModelSerializer[VexDocument]):
    """A document as it was posted; the text itself is at `raw/`."""

    posted_by = serializers.CharField(source="posted_by.username")

    class Meta:
        model = VexDocument
        fields = [
            "id",
            "format",
            "author",
            "namespace",
            "name",
            "version",
            "made_at",
            "statements",
            "outcomes",
            "signed_by",
            "sha256",
            "size_bytes",
            "posted_by",
            "posted_at",
        ]
        read_only_fields = fields


@extend_schema_view(list=extend_schema(summary="VEX documents that were posted, newest first"))
class VexDocumentViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[VexDocument]):
    """VEX documents of others that asked for decisions of your teams."""

    serializer_class = VexDocumentSerializer
    queryset = VexDocument.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"
    ordering_fields = ("id", "posted_at")

    def get_queryset(self) -> QuerySet[VexDocument]:
        user: Any = self.request.user
        return VexDocument.objects.visible_to(user).select_related("posted_by").defer("body")

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    @action(detail=True)
    def raw(self, request: Request, pk: str) -> HttpResponse:
        """The document, byte for byte."""
        user: Any = request.user
        found = VexDocument.objects.visible_to(user).filter(pk=int(pk)).first()
        if found is None:
            raise NotFound(f"There is no VEX document {pk}.")
        answer = HttpResponse(zlib.decompress(bytes(found.body)), "application/octet-stream")
        answer["Content-Disposition"] = f'attachment; filename="vex-{found.pk}"'
        answer["X-Content-Type-Options"] = "nosniff"
        return answer


# --- authors ---


class VexAuthorSerializer(serializers.ModelSerializer[VexAuthor]):
    """Whose documents may ask for decisions, and where: `application` null means everywhere."""

    application = serializers.CharField(source="application.slug", default=None, allow_null=True)
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)

    class Meta:
        model = VexAuthor
        fields = [
            "id",
            "pattern",
            "application",
            "note",
            "fingerprint",
            "created_at",
            "created_by",
            "withdrawn_at",
            "reason",
        ]
        read_only_fields = fields


class TrustAuthor(serializers.Serializer[Any]):
    pattern = serializers.CharField(
        max_length=300, help_text="the author as documents write it, or a CSAF publisher's namespace; * for any text"
    )
    application = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="the slug of the only application it is for"
    )
    note = serializers.CharField(required=False, allow_blank=True, max_length=300)
    public_key = serializers.CharField(
        required=False, allow_blank=True, max_length=16_384, help_text="PEM, P-256: only what it signed counts then"
    )


class WithdrawAuthor(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300)


class VexAuthorViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[VexAuthor]):
    """The authors of VEX documents that are trusted to ask for decisions; managed by whoever manages signing keys."""

    serializer_class = VexAuthorSerializer
    queryset = VexAuthor.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"
    ordering_fields = ("id", "pattern")

    def get_queryset(self) -> QuerySet[VexAuthor]:
        """Authors for one application are shown to who may see that application."""
        user: Any = self.request.user
        require(user, Permission.SIGNING_KEY_READ, anywhere=True)
        rows = VexAuthor.objects.select_related("application", "created_by")
        if user.sees_everything:
            return rows
        return rows.filter(application=None) | rows.filter(application__in=Application.objects.visible_to(user))

    @extend_schema(request=TrustAuthor, responses={201: VexAuthorSerializer})
    def create(self, request: Request) -> Response:
        """Let an author's documents ask for decisions."""
        user: Any = request.user
        require(user, Permission.SIGNING_KEY_MANAGE)
        asked = TrustAuthor(data=request.data)
        asked.is_valid(raise_exception=True)
        data = asked.validated_data
        application = None
        if slug := data.get("application"):
            application = Application.objects.visible_to(user).filter(slug=slug).first()
            if application is None:
                raise NotFound(f"There is no application {slug}.", where="application")
        words = {"note": data.get("note", ""), "public_key": data.get("public_key", "")}
        made = services.trust_author(data["pattern"], actor=user, application=application, **words)
        return Response(self.get_serializer(made).data, status=201)

    @extend_schema(request=WithdrawAuthor, responses=VexAuthorSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """The author's documents ask for nothing more; what they asked for stays."""
        asked = WithdrawAuthor(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        return Response(
            self.get_serializer(services.withdraw_author(int(pk), asked.validated_data["reason"], actor=user)).data
        )
