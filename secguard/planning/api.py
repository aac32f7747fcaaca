"""``/api/v1/planning/…`` and ``/api/v1/applications/{slug}/checklist/``: what is asked of applications, and how it
stands."""

from __future__ import annotations

from typing import Any, Final

import django_filters
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.models import User
from secguard.approvals.quorum import Choice
from secguard.approvals.services import MAX_COMMENT
from secguard.errors import NotFound
from secguard.planning import documents, services
from secguard.planning.checklist import By, State
from secguard.planning.checks import CHECKS
from secguard.planning.models import Checklist, PlanningTemplate, RequirementAnswer, RequirementWaiver
from secguard.planning.queries import application_of
from secguard.planning.services.answering import MAX_EVIDENCE, MAX_TEXT
from secguard.planning.template import MAX_BYTES, Stage, parse_template
from secguard.web.filters import ChipFilter
from secguard.web.parameters import choice_of

STATES: Final = [s.value for s in State]
WAIVER_STATES: Final = ("waiting", "approved", "rejected", "ended")
SLUG: Final = r"(?P<slug>[-a-zA-Z0-9_]{1,100})"


# --- templates ---


class RequirementDocument(serializers.Serializer[Any]):
    id = serializers.CharField()
    stage = serializers.ChoiceField(choices=[s.value for s in Stage])
    title = serializers.CharField()
    about = serializers.CharField()
    source = serializers.CharField(help_text="document and section")  # type: ignore[assignment]
    check = serializers.CharField(help_text="what SecGuard measures by itself; empty: a person answers")
    answer_days = serializers.IntegerField(help_text="how long a person's answer holds")


class TemplateSerializer(serializers.ModelSerializer[PlanningTemplate]):
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)

    class Meta:
        model = PlanningTemplate
        fields = ["id", "name", "version", "title", "is_shipped", "created_at", "created_by"]
        read_only_fields = fields


class TemplateDetailSerializer(TemplateSerializer):
    description = serializers.CharField(source="parsed.description")
    requirements = RequirementDocument(source="parsed.requirements", many=True)

    class Meta(TemplateSerializer.Meta):
        fields = [*TemplateSerializer.Meta.fields, "description", "requirements", "source"]
        read_only_fields = fields


class TemplateRequest(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=MAX_BYTES, trim_whitespace=False, help_text="YAML, see docs/planning.md"
    )


class TemplateChecked(serializers.Serializer[Any]):
    name = serializers.CharField()
    requirements = serializers.ListField(child=serializers.CharField())


class MeasuredCheck(serializers.Serializer[Any]):
    name = serializers.CharField()
    about = serializers.CharField()


class TemplateFilter(django_filters.FilterSet):
    name = django_filters.CharFilter(label="Name")

    class Meta:
        model = PlanningTemplate
        fields: list[str] = []


def _sent(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    form = serializer(data=request.data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


@extend_schema_view(list=extend_schema(summary="Templates of requirements, every version, newest first"))
class PlanningTemplateViewSet(viewsets.ReadOnlyModelViewSet[PlanningTemplate]):
    """Templates of requirements. Saving one makes a version; checklists made from it follow."""

    queryset = PlanningTemplate.objects.none()
    filterset_class = TemplateFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id",)
    ordering = "-id"

    def get_serializer_class(self) -> type[TemplateSerializer]:
        return TemplateSerializer if self.action == "list" else TemplateDetailSerializer

    def get_queryset(self) -> QuerySet[PlanningTemplate]:
        services.ensure_shipped()
        rows = PlanningTemplate.objects.select_related("created_by")
        return rows.defer("source") if self.action == "list" else rows

    @extend_schema(request=TemplateRequest, responses={201: TemplateDetailSerializer})
    def create(self, request: Request) -> Response:
        """Write down a template, or the next version of one. A fault is a problem with `errors`: line, column,
        message."""
        user: Any = request.user
        made = services.make_template(_sent(TemplateRequest, request)["source"], actor=user)
        return Response(TemplateDetailSerializer(made).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=TemplateRequest, responses=TemplateChecked)
    @action(detail=False, methods=["post"])
    def check(self, request: Request) -> Response:
        """Check a draft. Nothing is kept."""
        found = parse_template(_sent(TemplateRequest, request)["source"], CHECKS)
        return Response({"name": found.name, "requirements": [r.id for r in found.requirements]})

    @extend_schema(responses=MeasuredCheck(many=True))
    @action(detail=False, pagination_class=None, filter_backends=[])
    def checks(self, request: Request) -> Response:
        """What SecGuard can measure: the names that `check` of a requirement takes."""
        return Response(MeasuredCheck(sorted(CHECKS.values(), key=lambda c: c.name), many=True).data)

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    @action(detail=True)
    def export(self, request: Request, pk: str) -> HttpResponse:
        """The template's YAML, as it was written."""
        found = self.get_object()
        name = f"{found.name}-{found.version}.yaml"
        return HttpResponse(
            found.source,
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


# --- checklists ---


class LinkDocument(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    path = serializers.CharField()


class MeasuredDocument(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=["kept", "missing", "unmeasured"])
    says = serializers.CharField()
    links = LinkDocument(many=True, help_text="the pages that show the rows")
    changes_at = serializers.DateTimeField(allow_null=True)


class AnswerDocument(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    requirement = serializers.CharField()
    is_kept = serializers.BooleanField(help_text="false: not yet")
    text = serializers.CharField()
    evidence = serializers.CharField(help_text="an https address, or empty")
    answered_by = serializers.CharField()
    answered_at = serializers.DateTimeField()
    until = serializers.DateTimeField()


class RequirementVote(serializers.Serializer[Any]):
    voter = serializers.CharField()
    choice = serializers.ChoiceField(choices=[c.value for c in Choice])
    comment = serializers.CharField()
    at = serializers.DateTimeField()


class NotApplicableDocument(serializers.Serializer[Any]):
    """That a requirement does not apply: asked for by one person, approved by another."""

    id = serializers.IntegerField()
    application = serializers.CharField()
    requirement = serializers.CharField()
    reason = serializers.CharField()
    status = serializers.ChoiceField(choices=WAIVER_STATES)
    asked_by = serializers.CharField()
    asked_at = serializers.DateTimeField()
    until = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    votes = RequirementVote(many=True)
    may = serializers.ListField(child=serializers.CharField(), help_text="what you can be offered to do with it")


class ItemDocument(RequirementDocument):
    state = serializers.ChoiceField(choices=STATES)
    by = serializers.ChoiceField(choices=[b.value for b in By], help_text="whose word it is")
    measured = MeasuredDocument(allow_null=True)
    answer = AnswerDocument(allow_null=True, help_text="the last one, though it may not count any more")
    not_applicable = NotApplicableDocument(allow_null=True)
    ended = serializers.CharField(help_text="why the answer does not count any more")


class ChecklistRowDocument(serializers.Serializer[Any]):
    """A checklist, as it was counted last."""

    application = serializers.CharField()
    team = serializers.CharField()
    template = serializers.CharField()
    version = serializers.IntegerField()
    kept = serializers.IntegerField()
    missing = serializers.IntegerField(help_text="measured as lacking, or answered with not yet")
    open = serializers.IntegerField(help_text="nobody can tell")
    not_applicable = serializers.IntegerField()
    stages = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
    unkept = serializers.ListField(child=serializers.CharField(), help_text="what a gate counts: missing and open")
    measured_at = serializers.DateTimeField(allow_null=True)
    counted_at = serializers.DateTimeField(allow_null=True)
    next_change = serializers.DateTimeField(allow_null=True, help_text="when the clock alone may change it")


class ChecklistDocument(ChecklistRowDocument):
    """A checklist with its items, as it stands at this instant."""

    chosen_at = serializers.DateTimeField()
    chosen_by = serializers.CharField(allow_null=True)
    may = serializers.ListField(child=serializers.CharField(), help_text="what you can be offered to do with it")
    items = ItemDocument(many=True)


class ChooseRequest(serializers.Serializer[Any]):
    template = serializers.CharField(max_length=60, help_text="a template's name; its newest version is asked")


class AnswerRequest(serializers.Serializer[Any]):
    requirement = serializers.CharField(max_length=60)
    is_kept = serializers.BooleanField(help_text="false: not yet")
    text = serializers.CharField(max_length=MAX_TEXT, help_text="how it is done, or why not")
    evidence = serializers.CharField(
        required=False, allow_blank=True, default="", max_length=MAX_EVIDENCE, help_text="an https address"
    )
    until = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="left out: as long as the requirement's answers hold"
    )


class NotApplicableRequest(serializers.Serializer[Any]):
    requirement = serializers.CharField(max_length=60)
    reason = serializers.CharField(max_length=MAX_TEXT)
    until = serializers.DateTimeField(
        required=False, allow_null=True, default=None, help_text="left out: as long as the requirement's answers hold"
    )


class VoteRequest(serializers.Serializer[Any]):
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=MAX_COMMENT)


class ChecklistFilter(django_filters.FilterSet):
    """What lists of checklists can be narrowed by: the same words on the page and in the API."""

    application = ChipFilter(field_name="application__slug", label="Application")
    team = ChipFilter(field_name="application__team__slug", label="Team")
    template = ChipFilter(field_name="template__name", label="Template")

    class Meta:
        model = Checklist
        fields: list[str] = []


@extend_schema_view(list=extend_schema(summary="Checklists, by application"))
class ChecklistViewSet(viewsets.GenericViewSet[Checklist]):
    """Every application's checklist, as it was counted last."""

    queryset = Checklist.objects.none()
    serializer_class = ChecklistRowDocument
    filterset_class = ChecklistFilter
    ordering_fields = ("application__name", "missing", "open")
    ordering = "application__name"

    def get_queryset(self) -> QuerySet[Checklist]:
        user: Any = self.request.user
        return Checklist.objects.visible_to(user).select_related("application__team", "template")

    def list(self, request: Request) -> Response:
        """Filters: `application`, `team`, `template`."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        found = [documents.row_document(row) for row in page]
        return self.get_paginated_response(ChecklistRowDocument(found, many=True).data)


class ChecklistView(APIView):
    """One application's checklist."""

    @extend_schema(responses=ChecklistDocument)
    def get(self, request: Request, slug: str) -> Response:
        """Every requirement with its evidence, as it stands at this instant. 404 with the code `no-checklist` where
        nothing is asked of the application yet."""
        return _checklist(slug, request)

    @extend_schema(request=ChooseRequest, responses=ChecklistDocument)
    def post(self, request: Request, slug: str) -> Response:
        """Choose the template that is asked of it; everything is measured at once."""
        user: Any = request.user
        name = _sent(ChooseRequest, request)["template"]
        services.choose_template(application_of(slug, user).pk, name, actor=user)
        return _checklist(slug, request)


class ChecklistMeasure(APIView):
    """Measure an application's checklist now."""

    @extend_schema(request=None, responses=ChecklistDocument)
    def post(self, request: Request, slug: str) -> Response:
        """Measure everything anew: who has just mended something need not wait for the next round."""
        user: Any = request.user
        services.measure_now(application_of(slug, user).pk, actor=user)
        return _checklist(slug, request)


class _OfApplication(viewsets.GenericViewSet[Any]):
    ordering_fields = ("id",)
    ordering = "-id"

    @property
    def _user(self) -> User:
        return self.request.user  # type: ignore[return-value]


@extend_schema_view(list=extend_schema(summary="Everything that people answered, newest first"))
class AnswerViewSet(_OfApplication):
    """What people answered. A later answer replaces one before; none is taken away."""

    queryset = RequirementAnswer.objects.none()
    serializer_class = AnswerDocument

    def get_queryset(self) -> QuerySet[RequirementAnswer]:
        return documents.answers_of(documents.find_checklist(self.kwargs["slug"], self._user))

    @extend_schema(parameters=[OpenApiParameter("requirement", str, description="Only answers to this one.")])
    def list(self, request: Request, slug: str) -> Response:
        """Every answer, newest first."""
        rows = self.get_queryset()
        if asked := request.query_params.get("requirement", "").replace("\0", "")[:100]:
            rows = rows.filter(requirement=asked)
        found = [documents.answer_document(row) for row in self.paginate_queryset(rows) or []]
        return self.get_paginated_response(AnswerDocument(found, many=True).data)

    @extend_schema(request=AnswerRequest, responses={201: AnswerDocument})
    def create(self, request: Request, slug: str) -> Response:
        """Answer a requirement. What is measured stays as it is measured; the answer is kept beside it."""
        owner = application_of(slug, self._user)
        sent = _sent(AnswerRequest, request)
        requirement = sent.pop("requirement")
        row = services.answer(owner.pk, requirement, services.Said(**sent), actor=self._user)
        return Response(AnswerDocument(documents.answer_document(row)).data, status=status.HTTP_201_CREATED)


class NotApplicableAsk(_OfApplication):
    """Ask that a requirement does not apply to an application."""

    queryset = RequirementWaiver.objects.none()
    serializer_class = NotApplicableDocument

    @extend_schema(request=NotApplicableRequest, responses={201: NotApplicableDocument})
    def create(self, request: Request, slug: str) -> Response:
        """Ask for it. It counts once a security reviewer who is somebody else has approved it."""
        owner = application_of(slug, self._user)
        sent = _sent(NotApplicableRequest, request)
        row = services.ask_for_waiver(owner.pk, sent["requirement"], sent["reason"], sent["until"], actor=self._user)
        return _waiver(row.pk, self._user, status.HTTP_201_CREATED)


@extend_schema_view(
    list=extend_schema(
        summary="Requests that a requirement does not apply, newest first",
        parameters=[
            OpenApiParameter("waiting", bool, description="`true`: only those that wait for approval."),
        ],
    )
)
class NotApplicableViewSet(_OfApplication):
    """Requests that a requirement does not apply: approve, reject, end."""

    queryset = RequirementWaiver.objects.none()
    serializer_class = NotApplicableDocument
    lookup_value_regex = r"[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[RequirementWaiver]:
        return documents.waivers_visible_to(self._user)

    def list(self, request: Request) -> Response:
        """All of them; with `waiting` those alone that wait for approval."""
        rows = self.get_queryset()
        if choice_of(request, "waiting", ("true", "false")) == "true":
            rows = rows.filter(pk__in=RequirementWaiver.objects.waiting().values("pk"))
        found = documents.waiver_documents(self.paginate_queryset(rows) or [], self._user, timezone.now())
        return self.get_paginated_response(NotApplicableDocument(found, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        """One request, with its votes."""
        return _waiver(int(pk), self._user)

    @extend_schema(request=VoteRequest, responses=NotApplicableDocument)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Say that it does not apply; never one's own request."""
        comment = _sent(VoteRequest, request)["comment"]
        services.vote_on_waiver(int(pk), Choice.APPROVE, comment=comment, actor=self._user)
        return _waiver(int(pk), self._user)

    @extend_schema(request=VoteRequest, responses=NotApplicableDocument)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Say that it does apply, with a comment that says why."""
        comment = _sent(VoteRequest, request)["comment"]
        services.vote_on_waiver(int(pk), Choice.REJECT, comment=comment, actor=self._user)
        return _waiver(int(pk), self._user)

    @extend_schema(request=None, responses=NotApplicableDocument)
    @action(detail=True, methods=["post"])
    def end(self, request: Request, pk: str) -> Response:
        """Take it back, whether it waits or counts."""
        services.end_waiver(int(pk), actor=self._user)
        return _waiver(int(pk), self._user)


def _checklist(slug: str, request: Request) -> Response:
    user: Any = request.user
    found = documents.checklist_document(documents.find_checklist(slug, user), user, timezone.now())
    return Response(ChecklistDocument(found).data)


def _waiver(pk: int, user: User, code: int = status.HTTP_200_OK) -> Response:
    row = documents.waivers_visible_to(user).filter(pk=pk).first()
    if row is None:
        raise NotFound(f"There is no request {pk} that something is not applicable.")
    (found,) = documents.waiver_documents([row], user, timezone.now())
    return Response(NotApplicableDocument(found).data, status=code)
