"""``/api/v1/compliance/…``: frameworks, how applications stand with their controls on any day, and reports."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar, Final

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.models import Application, Team
from secguard.compliance import documents, pdf, queries, report, services
from secguard.compliance.framework import MAX_BYTES, load
from secguard.compliance.queries import Moment, Scope
from secguard.compliance.standing import BY_WORD, State
from secguard.decisions.vex_api import FormatIsOurs
from secguard.errors import NotFound
from secguard.planning.checks import CHECKS
from secguard.web import spreadsheet
from secguard.web.parameters import BadParameter, choice_of, text_of

NAME: Final = r"(?P<name>[a-z0-9][-a-z0-9]{0,59})"
CONTROL: Final = r"(?P<control>[A-Za-z0-9][-._A-Za-z0-9]{0,39})"
STATES: Final = [state.word for state in State]
FORMATS: Final = ("json", "csv", "pdf")


class CountsDocument(serializers.Serializer[Any]):
    """How many stand so."""

    exception = serializers.IntegerField(help_text="covered by an approved decision; never counted as pass")
    not_measured = serializers.IntegerField(help_text="never counted as pass")
    fail = serializers.IntegerField()  # type: ignore[assignment]

    def get_fields(self) -> dict[str, Any]:
        return {"pass": serializers.IntegerField(), **super().get_fields()}


class FrameworkDocument(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    version = serializers.CharField(help_text="of the source")
    number = serializers.IntegerField(help_text="of the version, counted here")
    digest = serializers.CharField(help_text="sha256 of its text")
    source = serializers.CharField(help_text="an https address")  # type: ignore[assignment]
    description = serializers.CharField()
    is_shipped = serializers.BooleanField(help_text="comes with the product")
    added_by = serializers.CharField(allow_null=True)
    added_at = serializers.DateTimeField()
    valid_from = serializers.DateTimeField()
    valid_until = serializers.DateTimeField(allow_null=True)
    controls = serializers.IntegerField()


class FrameworkRowDocument(FrameworkDocument):
    standing = CountsDocument(help_text="controls by state")


class FrameworkListDocument(serializers.Serializer[Any]):
    results = FrameworkRowDocument(many=True)
    next = serializers.CharField(allow_null=True, help_text="always null: all are on one page")
    previous = serializers.CharField(allow_null=True)


class ControlCheckDocument(serializers.Serializer[Any]):
    name = serializers.CharField()
    about = serializers.CharField()


class CheckListDocument(serializers.Serializer[Any]):
    results = ControlCheckDocument(many=True)
    next = serializers.CharField(allow_null=True, help_text="always null: all are on one page")
    previous = serializers.CharField(allow_null=True)


class FrameworkControlDocument(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    about = serializers.CharField()
    checks = ControlCheckDocument(many=True, help_text="what is measured; all count, and the worst wins")
    unmeasured = serializers.CharField(help_text="why nothing here can tell, where there are no checks")
    state = serializers.ChoiceField(choices=STATES, help_text="pass only where every application passes")
    counts = CountsDocument(help_text="applications by state")


class FrameworkSectionDocument(serializers.Serializer[Any]):
    id = serializers.CharField()
    title = serializers.CharField()
    controls = FrameworkControlDocument(many=True)


class FrameworkStandingDocument(FrameworkRowDocument):
    day = serializers.DateField()
    at = serializers.DateTimeField(help_text="the instant that is told of: now, or the end of a past day (UTC)")
    is_past = serializers.BooleanField()
    sections = FrameworkSectionDocument(many=True)


class MeasureEvidenceDocument(serializers.Serializer[Any]):
    lacking = serializers.ListField(child=serializers.CharField(), help_text="digests or names; the first twenty")
    untold = serializers.ListField(child=serializers.CharField(), help_text="of these nobody knows")
    looked_at = serializers.ListField(child=serializers.CharField(), help_text="when it was measured so first")


class FrameworkLinkDocument(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    path = serializers.CharField()


class CoveredDocument(serializers.Serializer[Any]):
    """Why what lacks counts as an exception."""

    kind = serializers.ChoiceField(choices=["decision", "waiver"])
    id = serializers.IntegerField()
    what = serializers.CharField(help_text="the decision's kind, or not applicable")
    requirement = serializers.CharField(required=False, help_text="of a waiver")
    asked_by = serializers.CharField()
    approved_by = serializers.ListField(child=serializers.CharField())
    until = serializers.DateTimeField()


class MeasureDocument(serializers.Serializer[Any]):
    id = serializers.IntegerField(allow_null=True, help_text="of what was measured; null where nothing was")
    check = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    says = serializers.CharField()
    total = serializers.IntegerField(allow_null=True, help_text="rows looked at; null where it counts none")
    lacking = serializers.IntegerField(allow_null=True)
    untold = serializers.IntegerField(allow_null=True)
    evidence = MeasureEvidenceDocument()
    links = FrameworkLinkDocument(many=True, help_text="the pages that show the rows, as they are today")
    exceptions = CoveredDocument(many=True, help_text="the first twenty")
    exceptions_total = serializers.IntegerField()
    since = serializers.DateTimeField(allow_null=True, help_text="since when it was measured so, each time")


class ControlApplicationDocument(serializers.Serializer[Any]):
    application = serializers.CharField()
    name = serializers.CharField()
    team = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    since = serializers.DateTimeField(allow_null=True)
    measures = MeasureDocument(many=True)


class FrameworkText(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=MAX_BYTES, trim_whitespace=False, help_text="YAML, see docs/compliance.md"
    )


class FrameworkChecked(serializers.Serializer[Any]):
    name = serializers.CharField()
    controls = serializers.ListField(child=serializers.CharField())


class FrameworkReportDocument(serializers.Serializer[Any]):
    """A report for an auditor. `sha256` is of `content` alone, as canonical JSON."""

    format = serializers.CharField()
    content = serializers.DictField()
    sha256 = serializers.CharField()
    made_at = serializers.CharField()
    made_for = serializers.CharField()


ON: Final = OpenApiParameter("on", OpenApiTypes.DATE, description="A day (UTC), as it ended; now where it is left out.")
TEAM: Final = OpenApiParameter("team", str, description="Only this team's applications.")
APPLICATION: Final = OpenApiParameter("application", str, description="Only this application.")
SCOPE: Final = [ON, TEAM, APPLICATION]


def _when(request: Request) -> Moment:
    text = text_of(request, "on")
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        raise BadParameter(f"`on` is {text[:40]!r}; expected a day such as 2026-01-31.", where="on") from None
    when = queries.moment(day)
    if day is not None and day > when.day:
        raise BadParameter(f"`on` is {text}, which is yet to come; leave it out for now.", where="on")
    return when


def _scope(request: Request) -> Scope:
    user: Any = request.user
    team = application = None
    if slug := text_of(request, "team"):
        team = Team.objects.visible_to(user).filter(slug=slug).first()
        if team is None:
            raise NotFound(f"There is no team {slug[:100]!r} that you may see.", code="team")
    if slug := text_of(request, "application"):
        application = Application.objects.visible_to(user).filter(slug=slug).first()
        if application is None:
            raise NotFound(f"There is no application {slug[:100]!r} that you may see.", code="application")
    return Scope(user=user, team=team, application=application)


def _sent(request: Request) -> str:
    form = FrameworkText(data=request.data)
    form.is_valid(raise_exception=True)
    return str(form.validated_data["source"])


class FrameworkList(APIView):
    """Frameworks in force, and own ones."""

    @extend_schema(operation_id="compliance_frameworks_list", parameters=SCOPE, responses=FrameworkListDocument)
    def get(self, request: Request) -> Response:
        """Every framework in force, with how many of its controls stand how."""
        services.ensure_shipped()
        scope, when = _scope(request), _when(request)
        versions = queries.in_force(when.at)
        found = queries.standings(versions, scope, when)
        rows = [
            {**documents.version_document(v), "standing": documents.counts_document(found[v.pk].tally)}
            for v in versions
        ]
        return Response(FrameworkListDocument({"results": rows, "next": None, "previous": None}).data)

    @extend_schema(request=FrameworkText, responses={201: FrameworkDocument})
    def post(self, request: Request) -> Response:
        """Write down a framework, or the next version of one, in force at once. A fault is a problem with `errors`:
        line, column, message."""
        user: Any = request.user
        made = services.make_framework(_sent(request), actor=user)
        document = FrameworkDocument(documents.version_document(made)).data
        return Response(document, status=status.HTTP_201_CREATED)


class FrameworkCheck(APIView):
    """Check a draft."""

    @extend_schema(request=FrameworkText, responses=FrameworkChecked)
    def post(self, request: Request) -> Response:
        """Check a draft of a framework. Nothing is kept."""
        found = load(_sent(request), CHECKS)
        return Response({"name": found.name, "controls": [control.id for control in found.controls]})


class FrameworkChecks(APIView):
    """What can be measured."""

    @extend_schema(responses=CheckListDocument)
    def get(self, request: Request) -> Response:
        """The names that `checks` of a control takes."""
        rows = sorted(CHECKS.values(), key=lambda check: check.name)
        return Response(CheckListDocument({"results": rows, "next": None, "previous": None}).data)


class FrameworkDetail(APIView):
    """One framework, its standing, and its next version."""

    @extend_schema(parameters=SCOPE, responses=FrameworkStandingDocument)
    def get(self, request: Request, name: str) -> Response:
        """Its controls, and how many applications stand how with each: now, or when a past day ended."""
        services.ensure_shipped()
        scope, when = _scope(request), _when(request)
        version = queries.find_version(name, when.at)
        standing = queries.standings([version], scope, when)[version.pk]
        return Response(FrameworkStandingDocument(documents.standing_document(version, standing, when)).data)

    @extend_schema(request=FrameworkText, responses=FrameworkDocument)
    def put(self, request: Request, name: str) -> Response:
        """Write its next version, or its first. The `name` in the text must be the one in the address."""
        user: Any = request.user
        made = services.make_framework(_sent(request), actor=user, name=name)
        return Response(FrameworkDocument(documents.version_document(made)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, name: str) -> Response:
        """Take an own framework out of force. Its past days stay."""
        user: Any = request.user
        services.retire_framework(name, actor=user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class FrameworkSource(APIView):
    """A framework's text."""

    @extend_schema(parameters=[ON], responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request, name: str) -> HttpResponse:
        """The YAML, as it was written; of the version that was in force `on` a day."""
        services.ensure_shipped()
        version = queries.find_version(name, _when(request).at)
        attached = f'attachment; filename="{version.name}-{version.number}.yaml"'
        headers = {"Content-Disposition": attached}
        return HttpResponse(version.text, content_type="text/plain; charset=utf-8", headers=headers)


class ControlApplications(viewsets.GenericViewSet[Application]):
    """How each application stands with one control."""

    queryset = Application.objects.none()
    serializer_class = ControlApplicationDocument
    filter_backends = ()
    ordering_fields: ClassVar[dict[str, tuple[str, ...]]] = {"state": ("state", "-name"), "name": ("name",)}
    ordering = "-state"

    @extend_schema(
        summary="How each application stands with one control",
        parameters=[
            *SCOPE,
            OpenApiParameter("state", str, enum=STATES, description="Only those that stand so."),
        ],
    )
    def list(self, request: Request, name: str, control: str) -> Response:
        """Applications, the worst first, each with what was measured and its evidence."""
        scope, when = _scope(request), _when(request)
        version = queries.find_version(name, when.at)
        found = queries.find_control(version, control)
        rows = queries.at_control(found, scope, when)
        if word := choice_of(request, "state", tuple(STATES)):
            rows = rows.filter(state=int(BY_WORD[word]))
        told = documents.application_documents(self.paginate_queryset(rows) or [], found, when)
        return self.get_paginated_response(ControlApplicationDocument(told, many=True).data)


class FrameworkReport(APIView):
    """A report for an auditor."""

    content_negotiation_class = FormatIsOurs

    @extend_schema(
        parameters=[
            *SCOPE,
            OpenApiParameter("format", str, enum=list(FORMATS), description="`json` where it is not given."),
        ],
        responses={
            (200, "application/json"): FrameworkReportDocument,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "application/pdf"): OpenApiTypes.BINARY,
        },
    )
    def get(self, request: Request, name: str) -> HttpResponseBase:
        """Each control with its state, counts and evidence on a day, and the exceptions with who decided. The three
        forms hold the same, and name the same fingerprint."""
        services.ensure_shipped()
        scope, when = _scope(request), _when(request)
        kind = choice_of(request, "format", FORMATS, "json")
        made = services.make_report(queries.find_version(name, when.at), scope, when)
        answer: HttpResponseBase
        if kind == "pdf":
            answer = HttpResponse(pdf.document(made), content_type="application/pdf")
        elif kind == "csv":
            lines = spreadsheet.lines(report.HEADS, report.rows(made["content"]))
            answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        else:
            answer = HttpResponse(report.canonical(made), content_type="application/json")
        answer["Cache-Control"] = "private, no-store"
        answer["Content-Disposition"] = f'attachment; filename="{name}-{when.day}.{kind}"'
        return answer
