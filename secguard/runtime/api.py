"""``/api/v1/baselines/…`` and ``/api/v1/baseline-changes/…``: what is normal for images, and what is asked of it."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import User
from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.errors import NotFound
from secguard.images.api import DIGEST
from secguard.runtime import queries
from secguard.runtime.baseline import Deviation, Status
from secguard.runtime.baseline_items import MAX_TEXT, NO_PORT, Item, ItemKind
from secguard.runtime.models import Baseline, BaselineChange, BaselineDeviation, BaselineItem, Origin
from secguard.runtime.seccomp import Otherwise
from secguard.runtime.services import baselines
from secguard.runtime.services.baseline_deciding import MAX_ITEMS
from secguard.runtime.services.baseline_deciding import MAX_TEXT as MAX_REASON
from secguard.web.parameters import choice_of

CHANGE_STATES: Final = ("waiting", "approved", "rejected", "withdrawn")
STATUSES: Final = [s.value for s in Status]


class NormalItem(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=[k.value for k in ItemKind])
    name = serializers.CharField(help_text="program, file, peer or system call; `*` stands for what is volatile")
    how = serializers.CharField(help_text="what started it; open, read or write; outbound or inbound and the protocol")
    port = serializers.IntegerField(help_text="-1: not told")
    words = serializers.CharField()


class BaselineItemDocument(serializers.ModelSerializer[BaselineItem]):
    words = serializers.CharField(source="item")
    origin = serializers.ChoiceField(choices=Origin.values)

    class Meta:
        model = BaselineItem
        fields = ["id", "kind", "name", "how", "port", "words", "origin", "count", "severity", "first_at", "last_at"]
        read_only_fields = fields


class DeviationDocument(serializers.ModelSerializer[BaselineDeviation]):
    words = serializers.CharField(source="item")
    deviation = serializers.ChoiceField(choices=[d.value for d in Deviation])

    class Meta:
        model = BaselineDeviation
        fields = [
            "id", "kind", "name", "how", "port", "words", "deviation", "reason", "is_new", "count", "first_at",
            "last_at",
        ]  # fmt: skip
        read_only_fields = fields


class BaselineDocument(serializers.Serializer[Any]):
    image = serializers.CharField(help_text="the digest")
    called = serializers.CharField()
    status = serializers.ChoiceField(choices=STATUSES)
    lacking = serializers.ListField(child=serializers.CharField(), help_text="what learning still lacks")
    learning_since = serializers.DateTimeField()
    learned_until = serializers.DateTimeField(allow_null=True)
    locked_at = serializers.DateTimeField(allow_null=True)
    events = serializers.IntegerField()
    replicas = serializers.IntegerField(help_text="64: so many, or more")
    counts = serializers.DictField(child=serializers.IntegerField())
    varied = serializers.ListField(child=serializers.CharField(), help_text="kinds that are too varied to be told")
    outside = serializers.IntegerField(help_text="events that were outside of it")
    last_at = serializers.DateTimeField(allow_null=True)


class DifferenceDocument(serializers.Serializer[Any]):
    before = serializers.CharField(allow_null=True, help_text="the digest of the version before")
    words = serializers.CharField()
    added = NormalItem(many=True)
    gone = NormalItem(many=True)


class BaselineVote(serializers.Serializer[Any]):
    voter = serializers.CharField()
    choice = serializers.ChoiceField(choices=[c.value for c in Choice])
    comment = serializers.CharField()
    at = serializers.DateTimeField()


class BaselineChangeDocument(serializers.Serializer[Any]):
    """Asked for by one person, approved by another."""

    id = serializers.IntegerField()
    baseline = serializers.CharField(help_text="the image's digest")
    what = serializers.ChoiceField(choices=["lock", "join"])
    items = NormalItem(many=True)
    reason = serializers.CharField()
    status = serializers.ChoiceField(choices=CHANGE_STATES)
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    votes = BaselineVote(many=True)
    may_vote = serializers.BooleanField()


class ReasonRequest(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=MAX_REASON)


class ItemRequest(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=[k.value for k in ItemKind])
    name = serializers.CharField(max_length=MAX_TEXT)
    how = serializers.CharField(max_length=MAX_TEXT, allow_blank=True, default="")
    port = serializers.IntegerField(min_value=NO_PORT, max_value=65_535, default=NO_PORT)


class ExpectRequest(ReasonRequest):
    items = serializers.ListField(child=ItemRequest(), min_length=1, max_length=MAX_ITEMS)


class CommentRequest(serializers.Serializer[Any]):
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_COMMENT)


def _sent(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    form = serializer(data=request.data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


class _ByUser(viewsets.GenericViewSet[Any]):
    @property
    def _user(self) -> User:
        return self.request.user  # type: ignore[return-value]


@extend_schema_view(list=extend_schema(summary="Baselines, those that were seen last first"))
class BaselineViewSet(_ByUser):
    """What is normal for each image: processes, files, connections and system calls, by its digest."""

    queryset = Baseline.objects.none()
    serializer_class = BaselineDocument
    filterset_class = queries.BaselineFilter
    lookup_value_regex = DIGEST
    lookup_field = "digest"
    ordering_fields = ("id", "outside")
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Any]:
        return queries.listed(self._user)

    def list(self, request: Request) -> Response:
        """Filters: `status`, `team`, `application`, `repository`."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(BaselineDocument([_document(row) for row in page], many=True).data)

    def retrieve(self, request: Request, digest: str) -> Response:
        """One image's. 404 with the code `no-baseline` where nothing was told of the image yet."""
        return Response(BaselineDocument(_document(self._baseline(digest))).data)

    @extend_schema(responses=BaselineItemDocument(many=True))
    @action(detail=True, filter_backends=[])
    def items(self, request: Request, digest: str) -> Response:
        """What is normal, by kind and name."""
        rows = BaselineItem.objects.filter(baseline=self._baseline(digest)).seen_by(self._user).order_by("-pk")
        return self.get_paginated_response(BaselineItemDocument(self.paginate_queryset(rows) or [], many=True).data)

    @extend_schema(responses=DeviationDocument(many=True))
    @action(detail=True, filter_backends=[])
    def outside(self, request: Request, digest: str) -> Response:
        """What was seen outside of it, each with its reason, counted."""
        rows = BaselineDeviation.objects.filter(baseline=self._baseline(digest)).seen_by(self._user).order_by("-pk")
        return self.get_paginated_response(DeviationDocument(self.paginate_queryset(rows) or [], many=True).data)

    @extend_schema(responses=DifferenceDocument)
    @action(detail=True, pagination_class=None, filter_backends=[])
    def difference(self, request: Request, digest: str) -> Response:
        """What this version adds to the one before it, and what it was not seen doing."""
        row = self._baseline(digest)
        found = queries.compared(row, queries.version_before(row, self._user), self._user)
        found["before"] = found["before"].image.digest if found["before"] else None
        found |= {name: [queries.item_document(i) for i in found[name]] for name in ("added", "gone")}
        return Response(DifferenceDocument(found).data)

    @extend_schema(request=ReasonRequest, responses={201: BaselineChangeDocument})
    @action(detail=True, methods=["post"])
    def ask(self, request: Request, digest: str) -> Response:
        """Ask that it is locked. It is, once a security reviewer who is somebody else has approved it."""
        reason = _sent(ReasonRequest, request)["reason"]
        made = baselines.ask(self._baseline(digest).pk, reason, actor=self._user)
        return _change(made.pk, self._user, status.HTTP_201_CREATED)

    @extend_schema(request=ExpectRequest, responses={200: BaselineDocument, 201: BaselineChangeDocument})
    @action(detail=True, methods=["post"])
    def expect(self, request: Request, digest: str) -> Response:
        """What is expected joins: at once (200) while it is not locked, else once it was approved (201)."""
        sent = _sent(ExpectRequest, request)
        items = [Item(ItemKind(i["kind"]), i["name"], i["how"], i["port"]) for i in sent["items"]]
        made = baselines.expected(self._baseline(digest).pk, items, sent["reason"], actor=self._user)
        if made is not None:
            return _change(made.pk, self._user, status.HTTP_201_CREATED)
        return Response(BaselineDocument(_document(self._baseline(digest))).data)

    @extend_schema(request=ReasonRequest, responses=BaselineDocument)
    @action(detail=True, methods=["post"])
    def reopen(self, request: Request, digest: str) -> Response:
        """Learn it anew, from now on; what is normal stays so."""
        reason = _sent(ReasonRequest, request)["reason"]
        baselines.reopen(self._baseline(digest).pk, reason, actor=self._user)
        return Response(BaselineDocument(_document(self._baseline(digest))).data)

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    @action(detail=True, pagination_class=None, filter_backends=[])
    def falco(self, request: Request, digest: str) -> HttpResponse:
        """Rules for Falco that raise an alert beyond it."""
        text = queries.falco_of(self._baseline(digest), self._user)
        return _file(text, "text/plain; charset=utf-8", digest, "falco.yaml")

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    @action(detail=True, pagination_class=None, filter_backends=[])
    def apparmor(self, request: Request, digest: str) -> HttpResponse:
        """A profile for AppArmor."""
        text = queries.apparmor_of(self._baseline(digest), self._user)
        return _file(text, "text/plain; charset=utf-8", digest, "apparmor")

    @extend_schema(
        parameters=[
            OpenApiParameter("otherwise", str, enum=[o.value for o in Otherwise], description="any other call")
        ],
        responses=OpenApiTypes.OBJECT,
    )
    @action(detail=True, pagination_class=None, filter_backends=[])
    def seccomp(self, request: Request, digest: str) -> Response:
        """A seccomp profile. 409 with the code `no-syscalls` where no agent told of system calls."""
        word = choice_of(request, "otherwise", tuple(Otherwise), Otherwise.REFUSE)
        found = queries.seccomp_of(self._baseline(digest), self._user, Otherwise(word))
        return Response(found, headers=_disposition(digest, "seccomp.json"))

    def _baseline(self, digest: str) -> Baseline:
        return queries.baseline_of(digest, self._user)


class BaselineChangeViewSet(_ByUser):
    """What was asked to change of baselines: approve, reject, withdraw."""

    queryset = BaselineChange.objects.none()
    serializer_class = BaselineChangeDocument
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id",)
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Any]:
        return queries.changes(self._user)

    @extend_schema(parameters=[OpenApiParameter("waiting", bool, description="`true`: only those that wait.")])
    def list(self, request: Request) -> Response:
        """All of them, newest first; with `waiting` those alone that wait for an answer."""
        rows = self.get_queryset()
        if choice_of(request, "waiting", ("true", "false")) == "true":
            rows = rows.filter(pk__in=BaselineChange.objects.waiting().values("pk"))
        page = self.paginate_queryset(rows.order_by("-pk")) or []
        found = queries.change_documents(page, self._user)
        return self.get_paginated_response(BaselineChangeDocument(found, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        """One of them, with its votes."""
        return _change(int(pk), self._user)

    @extend_schema(request=CommentRequest, responses=BaselineChangeDocument)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Say yes; never to one's own request."""
        comment = _sent(CommentRequest, request)["comment"]
        baselines.vote(int(pk), Choice.APPROVE, comment=comment, actor=self._user)
        return _change(int(pk), self._user)

    @extend_schema(request=CommentRequest, responses=BaselineChangeDocument)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Say no, with a comment that says why."""
        comment = _sent(CommentRequest, request)["comment"]
        baselines.vote(int(pk), Choice.REJECT, comment=comment, actor=self._user)
        return _change(int(pk), self._user)

    @extend_schema(request=None, responses=BaselineChangeDocument)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take it back while it waits."""
        baselines.withdraw(int(pk), actor=self._user)
        return _change(int(pk), self._user)


def _document(row: Baseline) -> dict[str, Any]:
    state = queries.state_of(row, timezone.now())
    same = ("learning_since", "learned_until", "locked_at", "events", "counts", "varied", "outside", "last_at")
    return {
        "image": row.image.digest,
        "called": queries.called(row.image),
        "replicas": len(row.replicas),
        "status": state["status"],
        "lacking": state["lacking"],
        **{name: getattr(row, name) for name in same},
    }


def _change(pk: int, user: User, code: int = status.HTTP_200_OK) -> Response:
    row = queries.changes(user).filter(pk=pk).first()
    if row is None:
        raise NotFound(f"Nothing {pk} was asked of a baseline that you may see.", code="no-change")
    (found,) = queries.change_documents([row], user)
    return Response(BaselineChangeDocument(found).data, status=code)


def _file(text: str, media: str, digest: str, ending: str) -> HttpResponse:
    return HttpResponse(text, content_type=media, headers=_disposition(digest, ending))


def _disposition(digest: str, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{digest.replace(":", "-")[:19]}.{ending}"'}
