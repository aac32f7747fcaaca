"""``/api/v1/vex/`` and ``/api/v1/images/{digest}/vex/``: the decisions in force as VEX, for others' tools."""

from __future__ import annotations

import base64
from types import ModuleType
from typing import Any, Final

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.text import slugify
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request

from secguard.accounts.models import User
from secguard.decisions import queries
from secguard.decisions.scope import ScopeKind
from secguard.decisions.services.vexsigning import signatures
from secguard.decisions.vex.judgements import Told
from secguard.decisions.vex.writers import csaf, cyclonedx, openvex
from secguard.decisions.vexin_api import TakesImageVex, TakesVex
from secguard.web.parameters import BadParameter, choice_of, text_of

FORMATS: Final[dict[str, ModuleType]] = {"openvex": openvex, "cyclonedx": cyclonedx, "csaf": csaf}
EVERYTHING: Final = "all images"
DSSE: Final = "application/vnd.dsse.envelope.v1+json"
_FORMAT = OpenApiParameter(
    "format",
    str,
    enum=list(FORMATS),
    description="OpenVEX 0.2.0 (by default), CycloneDX 1.6 VEX, or CSAF 2.0 (`csaf_vex`).",
)
_SIGNED = [
    OpenApiParameter(
        "signed",
        str,
        enum=["dsse", "detached"],
        description="`dsse`: in a signed DSSE envelope. `detached`: the document, and its signature (base64 of DER, as "
        "`cosign verify-blob` takes it) in the header `X-Signature`.",
    ),
    OpenApiParameter("key", str, description="The name of the key that signs; by default the newest that does."),
]
_RESPONSES: Final = {(200, module.MEDIA_TYPE.partition(";")[0]): OpenApiTypes.OBJECT for module in FORMATS.values()} | {
    (304, None): None
}


class FormatIsOurs(DefaultContentNegotiation):
    """``?format=`` names the kind of document, and not one of the framework's renderers."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


class ImageVex(TakesImageVex):
    """The decisions that hold for one image."""

    content_negotiation_class = FormatIsOurs

    @extend_schema(parameters=[_FORMAT, *_SIGNED], responses=_RESPONSES)
    def get(self, request: Request, digest: str) -> HttpResponseBase:
        """The decisions in force on this image's vulnerabilities, as VEX."""
        user: Any = request.user
        return _answer(request, queries.find_scope(user, ScopeKind.IMAGE, digest), user, digest)


class Vex(TakesVex):
    """The decisions that hold for a repository's images, an application's, or all that you may see."""

    content_negotiation_class = FormatIsOurs

    @extend_schema(
        parameters=[
            OpenApiParameter("repository", str, description="The repository's full name (registry/path)."),
            OpenApiParameter("application", str, description="The application's slug."),
            _FORMAT,
            *_SIGNED,
        ],
        responses=_RESPONSES,
    )
    def get(self, request: Request) -> HttpResponseBase:
        """The decisions in force, as VEX. At most 100,000 findings: past that 413, and narrower is asked for."""
        user: Any = request.user
        asked = {kind: text_of(request, kind.value) for kind in (ScopeKind.REPOSITORY, ScopeKind.APPLICATION)}
        given = {kind: text for kind, text in asked.items() if text}
        if len(given) > 1:
            raise BadParameter(
                "Both `repository` and `application` are given; expected one of them, or neither for all that you "
                "may see.",
                where="application",
            )
        for kind, text in given.items():
            return _answer(request, queries.find_scope(user, kind, text), user, text)
        return _answer(request, queries.ORGANISATION, user, EVERYTHING)


def _answer(request: Request, scope: queries.Scope, user: User, about: str) -> HttpResponseBase:
    """No Last-Modified: a decision that ends changes the document without anything being written at that moment."""
    name = choice_of(request, "format", tuple(FORMATS), "openvex")
    writer = FORMATS[name]
    told = queries.told_of(scope, user, about, f"{settings.PUBLIC_URL.rstrip('/')}/", timezone.now())
    how = choice_of(request, "signed", ("dsse", "detached"), "")
    tag = f'W/"{told.sha256[:32]}-{name}{how and f"-{how}"}"'
    kept = get_conditional_response(request._request, etag=tag)
    answer = kept if isinstance(kept, HttpResponse) else _written(told, writer, how, text_of(request, "key"))
    answer["ETag"] = tag
    answer["X-Statements"] = str(len(told.said))
    answer["Cache-Control"] = "private, no-cache"
    if answer.status_code == 200:
        ending = f"{writer.ENDING}{'.dsse' if how == 'dsse' else ''}"
        answer["Content-Disposition"] = f'attachment; filename="{_file_name(about)}.{ending}"'
    return answer


def _written(told: Told, writer: ModuleType, how: str, key_name: str) -> HttpResponse:
    """The document, signed as it was asked for."""
    body = writer.document(told)
    if how == "dsse":
        return HttpResponse(signatures().sealed(writer.PAYLOAD_TYPE, body, key_name), DSSE)
    answer = HttpResponse(body, writer.MEDIA_TYPE)
    if how == "detached":
        made = signatures().signed(body, key_name)
        answer["X-Signature"] = base64.b64encode(made.signature).decode()
        answer["X-Signature-Key"] = f"{made.key} {made.fingerprint}"
    return answer


def _file_name(about: str) -> str:
    """``sha256-`` and the digest's beginning of an image, else the name of what was asked for."""
    kind, _, value = about.partition(":")
    return f"{kind}-{value[:16]}" if kind in ("sha256", "sha512") else slugify(about.replace("/", "-"))[:100] or "vex"
