"""``/api/v1/audit/``: the log, read only, its export, its checkpoints and its proofs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.audit import notary, queries, services
from secguard.audit.models import AuditCheckpoint, AuditEntry
from secguard.audit.words import MAX_QUERY
from secguard.errors import Invalid
from secguard.web import keyset
from secguard.web.pagination import CursorPages


class NdjsonRenderer(BaseRenderer):
    """Chosen by ``?format=ndjson`` or ``Accept``. The view streams the entries, so this renders refusals only."""

    media_type = "application/x-ndjson"
    format = "ndjson"

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return bytes(JSONRenderer().render(data))


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    details = serializers.DictField(read_only=True)

    class Meta:
        model = AuditEntry
        fields = (
            "sequence",
            "at",
            "actor",
            "actor_id",
            "token",
            "action",
            "subject_type",
            "subject_id",
            "subject",
            "team_id",
            "details",
            "request_id",
            "previous_digest",
            "digest",
        )
        read_only_fields = fields


FORMAT = OpenApiParameter(
    "format",
    OpenApiTypes.STR,
    enum=["json", "ndjson"],
    description="`ndjson`: all entries that match, oldest first, one a line, for `secguard audit verify --file`.",
)


def size_parameter(name: str, words: str, *, required: bool = False) -> OpenApiParameter:
    return OpenApiParameter(name, {"type": "integer", "minimum": 1}, description=words, required=required)


def _size(request: Request, name: str) -> int | None:
    """A number of entries in the query; None where it is left out."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0):
        raise Invalid(f"`{name}` is {text[:40]!r}; expected a number of entries, such as 4000.", where=name)
    return int(text)


class InclusionProofSerializer(serializers.Serializer[Any]):
    entry = serializers.DictField(help_text="As in a line of the export: its digest covers all of it.")
    leaf_index = serializers.IntegerField(help_text="The entry's place in the tree, from 0: its sequence less one.")
    path = serializers.ListField(
        child=serializers.CharField(), help_text="Hashes in base64, from the leaf's sibling to below the root."
    )
    checkpoint = serializers.CharField(help_text="The signed note, as c2sp.org/tlog-checkpoint has it.")


ConsistencyProofSerializer = inline_serializer(
    "AuditConsistencyProof",
    {
        "from": serializers.CharField(help_text="The older checkpoint's signed note."),
        "to": serializers.CharField(help_text="The newer checkpoint's signed note."),
        "path": serializers.ListField(child=serializers.CharField(), help_text="Hashes in base64."),
    },
)


class PublicKeySerializer(serializers.Serializer[Any]):
    fingerprint = serializers.CharField()
    public_pem = serializers.CharField(help_text="PEM; `secguard audit keys` writes all of them into one file.")
    status = serializers.CharField(help_text="active, retiring, retired or revoked.")
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="When it signed its last; null while it signs.")


class CheckpointSerializer(serializers.ModelSerializer[AuditCheckpoint]):
    class Meta:
        model = AuditCheckpoint
        fields = ("id", "size", "root", "fingerprint", "note", "made_at")
        read_only_fields = fields


class AskedSerializer(serializers.Serializer[Any]):
    job = serializers.IntegerField(help_text="The job that makes it.")


class CheckpointViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[AuditCheckpoint]):
    """Signed checkpoints of the log: made hourly, after 1,000 entries, and on request."""

    queryset = AuditCheckpoint.objects.none()
    serializer_class = CheckpointSerializer
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_queryset(self) -> QuerySet[AuditCheckpoint]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return queries.checkpoints(self.request.user)

    @extend_schema(responses=CheckpointSerializer)
    @action(detail=False, pagination_class=None)
    def latest(self, request: Request) -> Response:
        """The newest one. Kept elsewhere it shows later that nothing before it was cut off or rewritten."""
        return Response(CheckpointSerializer(queries.latest_checkpoint(request.user)).data)

    @extend_schema(request=None, responses={202: AskedSerializer})
    def create(self, request: Request) -> Response:
        """Have one made soon, of what the log holds then."""
        return Response({"job": services.ask_for_checkpoint(actor=request.user)}, status=202)


SEARCH = OpenApiParameter(
    "search",
    OpenApiTypes.STR,
    description="Words that the entry has, or their beginnings: of its actor, action, subject, details, token and "
    f"request. At most {MAX_QUERY} characters.",
)
SEARCH_SCHEMA = {
    "type": ["object", "null"],
    "description": "How far a search for words came; null without one.",
    "required": ["covered", "newest", "reached"],
    "properties": {
        "covered": {"type": "integer", "description": "It looks at the entries up to this one,"},
        "newest": {"type": "integer", "description": "and at those from this one on."},
        "reached": {
            "type": ["integer", "null"],
            "description": "It took its time and ended here with few entries or none: `next` goes on from there.",
        },
    },
}


class AuditPages(CursorPages):
    """Pages of the log that words are looked up for."""

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        self.search = queries.Search(queryset, _words(request))
        return super().paginate_queryset(queryset, request, view)

    def fetch(
        self, queryset: Any, keys: Sequence[keyset.Key], cursor: keyset.Cursor | None, limit: int
    ) -> keyset.Page[Any]:
        self.limit = limit
        return self.search.page(keys, cursor, limit)

    def counted(self, queryset: Any) -> tuple[int, bool]:
        return self.search.count()

    def get_paginated_response(self, data: Any) -> Response:
        response = super().get_paginated_response(data)
        response.data["search"] = self._search() if self.search.text else None
        return response

    def _search(self) -> dict[str, int | None]:
        seen, after = self.search.coverage, self.page.next
        is_cut = after is not None and len(self.page.rows) < self.limit
        return {"covered": seen.covered, "newest": seen.tail, "reached": after.values[0] if after and is_cut else None}

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        found = super().get_paginated_response_schema(schema)
        found["properties"]["search"] = SEARCH_SCHEMA
        found["required"].append("search")
        return found


def _words(request: Request) -> str:
    text = request.query_params.get("search", "").replace("\x00", "").strip()
    if len(text) > MAX_QUERY:
        raise Invalid(f"`search` has {len(text)} characters; expected at most {MAX_QUERY}.", where="search")
    return text


class AuditViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[AuditEntry]):
    """Everything that changed who may do or run what. Whoever reads it in a team sees that team's entries."""

    queryset = AuditEntry.objects.none()
    serializer_class = AuditEntrySerializer
    filterset_class = queries.EntryFilter
    lookup_value_regex = r"[0-9]{1,18}"
    pagination_class = AuditPages
    ordering = "-sequence"
    renderer_classes = [JSONRenderer, NdjsonRenderer]

    def get_queryset(self) -> queries.Entries:
        if getattr(self, "swagger_fake_view", False):
            return AuditEntry.objects.none()
        return queries.readable(self.request.user)

    @extend_schema(parameters=[FORMAT, SEARCH])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """The log, newest first; with `format=ndjson` its export, oldest first."""
        if getattr(request, "accepted_renderer").format != NdjsonRenderer.format:  # noqa: B009 - DRF sets it late
            return super().list(request, *args, **kwargs)
        return ndjson(cast(queries.Entries, self.filter_queryset(self.get_queryset())), _words(request))

    @extend_schema(
        parameters=[size_parameter("size", "Entries of the checkpoint to prove it in; the newest one if left out.")],
        responses=InclusionProofSerializer,
        filters=False,
    )
    @action(detail=True, pagination_class=None, filterset_class=None)
    def proof(self, request: Request, pk: str = "") -> Response:
        """That the entry is in a signed checkpoint; `secguard audit verify-proof` checks it without the server."""
        size = _size(request, "size")
        return Response(queries.inclusion(request.user, int(pk), size).document())

    @extend_schema(
        parameters=[
            size_parameter("from", "Entries of the older checkpoint.", required=True),
            size_parameter("to", "Entries of the newer checkpoint; the newest one if left out."),
        ],
        responses=ConsistencyProofSerializer,
        filters=False,
    )
    @action(detail=False, pagination_class=None, filterset_class=None)
    def consistency(self, request: Request) -> Response:
        """That the log of the newer checkpoint continues that of the older one and changed nothing in it."""
        old = _size(request, "from")
        if old is None:
            raise Invalid("Which checkpoint? Give `from`: how many entries the older one has.", where="from")
        return Response(queries.consistency(request.user, old, _size(request, "to")).document())

    @extend_schema(responses=PublicKeySerializer(many=True), filters=False)
    @action(detail=False, pagination_class=None, filterset_class=None)
    def keys(self, request: Request) -> Response:
        """The keys that checkpoints are signed with, and those that they were: the one that signs now first."""
        queries.readable(request.user)
        return Response(PublicKeySerializer(notary.notary().public_keys(), many=True).data)

    @extend_schema(
        responses=inline_serializer(
            "AuditHead",
            {
                "sequence": serializers.IntegerField(),
                "digest": serializers.CharField(),
                "head": serializers.CharField(),
            },
        ),
        filters=False,
    )
    @action(detail=False, pagination_class=None, filterset_class=None)
    def head(self, request: Request) -> Response:
        """Where the log ends now. Kept elsewhere it shows later that nothing before it was cut off or rewritten."""
        queries.readable(request.user)
        head = services.head()
        return Response({"sequence": head.sequence, "digest": head.digest, "head": str(head)})


def ndjson(entries: queries.Entries, text: str = "") -> HttpResponseBase:
    """The export as a download that is written while it is read."""
    return StreamingHttpResponse(
        queries.lines(entries, text),
        content_type=NdjsonRenderer.media_type,
        headers={"Content-Disposition": 'attachment; filename="audit.ndjson"'},
    )
