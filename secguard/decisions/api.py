"""``/api/v1/decisions/``: asking for decisions, deciding, and what a decision would reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from secguard.accounts.models import User
from secguard.approvals.quorum import Choice
from secguard.decisions import queries, services
from secguard.decisions.controls import ControlState
from secguard.decisions.justifications import Justification
from secguard.decisions.lifecycle import SEVERITY_LINES, DecisionKind, DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries.documents import RELATED
from secguard.decisions.scope import ScopeKind
from secguard.decisions.services.controls_leaning import MAX_CONTROLS
from secguard.decisions.services.requesting import MAX_BULK, MAX_REASON
from secguard.decisions.spreading import MAX_SPREAD
from secguard.errors import Invalid, NotFound, SecGuardError

MAX_VOTES = 10_000
MAX_ID = 2**63 - 1

# --- documents ---


class ScopeField(serializers.Serializer[Any]):
    """Exactly one of the four: `{"repository": "registry.example.org/shop/api"}`."""

    image = serializers.CharField(required=False, max_length=135, help_text="the image's digest")
    repository = serializers.CharField(required=False, max_length=511, help_text="the repository's full name")
    application = serializers.CharField(required=False, max_length=100, help_text="the application's slug")
    organisation = serializers.BooleanField(required=False, help_text="`true`")

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping) or len(data) != 1:
            known = ", ".join(k.value for k in ScopeKind)
            raise serializers.ValidationError(f"Expected is an object with exactly one of: {known}.")
        return dict(super().to_internal_value(data)) or {str(k): v for k, v in data.items()}


class ConditionsField(serializers.Serializer[Any]):
    until_fix = serializers.BooleanField(required=False, help_text="end when a fix appears")
    max_epss = serializers.FloatField(required=False, min_value=0, max_value=1, help_text="end when EPSS rises above")
    until_fixed = serializers.BooleanField(
        required=False, help_text="end in each repository once its newest image is scanned and no longer has it"
    )
    max_severity = serializers.ChoiceField(
        choices=list(SEVERITY_LINES), required=False, help_text="end when it is rated above"
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping) and (unknown := sorted(map(str, set(data) - set(self.fields)))):
            raise serializers.ValidationError(
                f"Unknown: {', '.join(unknown)[:200]}. Known are: {', '.join(self.fields)}."
            )
        return dict(super().to_internal_value(data))


class RiskDocument(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.CharField()
    severity = serializers.CharField()
    package = serializers.CharField()
    target = serializers.CharField()
    title = serializers.CharField()
    known_exploited = serializers.BooleanField()
    fix_available = serializers.BooleanField()


class VoteDocument(serializers.Serializer[Any]):
    voter = serializers.CharField()
    choice = serializers.ChoiceField(choices=[c.value for c in Choice])
    roles = serializers.ListField(child=serializers.CharField())
    comment = serializers.CharField()
    at = serializers.DateTimeField()
    away_until = serializers.DateTimeField(allow_null=True, help_text="until when the one in `for` is away")
    second_look = serializers.CharField(
        allow_null=True, help_text="why it was too much too fast: it counts only together with one person more"
    )

    def get_fields(self) -> dict[str, Any]:
        """``for`` is a word of Python's: whose seat the voter sat in, as their deputy."""
        return {**super().get_fields(), "for": serializers.CharField(allow_null=True)}


class ApprovalDocument(serializers.Serializer[Any]):
    status = serializers.CharField()
    required = serializers.DictField(child=serializers.IntegerField(), help_text="{role: people}")  # type: ignore[assignment]
    missing = serializers.DictField(child=serializers.IntegerField(), help_text="seats still empty, by role")
    waits_until = serializers.DateTimeField(allow_null=True, help_text="from then on it waits too long")
    then = serializers.CharField(allow_null=True, help_text="the role that may fill any seat from then on")
    has_escalated = serializers.BooleanField()
    votes = VoteDocument(many=True)


class AppetiteRef(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    row = serializers.CharField()


class ControlRef(serializers.Serializer[Any]):
    """A control that a decision leans on, as it stands at this instant; more at `/api/v1/controls/{id}/`."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    state = serializers.ChoiceField(choices=[s.value for s in ControlState])
    holds_until = serializers.DateTimeField(allow_null=True, help_text="with no more evidence; null: it does not hold")


class EndingDocument(serializers.Serializer[Any]):
    """One thing that would end it, with its present value."""

    by = serializers.CharField(
        help_text="`date`, `control`, `exploitation`, `fix`, `fixed`, `severity`, `exposure` or `epss`"
    )
    when = serializers.CharField()
    now = serializers.CharField(allow_blank=True, help_text="how far off it is")
    at = serializers.DateTimeField(allow_null=True, help_text="the instant, where it is known")


class DecisionDocument(serializers.Serializer[Any]):
    """A decision; `effective_status` is what counts at this instant (past its end it is `ended`)."""

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(choices=[k.value for k in DecisionKind])
    status = serializers.ChoiceField(choices=[s.value for s in DecisionStatus])
    effective_status = serializers.ChoiceField(choices=[s.value for s in DecisionStatus])
    risk = RiskDocument()
    scope = ScopeField()
    scope_label = serializers.CharField()
    reason = serializers.CharField()
    justification = serializers.CharField(
        allow_blank=True, help_text="of `not_affected`: why, in the words of OpenVEX and CSAF; empty where not told"
    )
    conditions = serializers.DictField()
    ends_when = serializers.ListField(
        child=serializers.CharField(), help_text="what would end it before its date; empty once it has ended"
    )
    endings = EndingDocument(many=True, help_text="everything that would end it; empty once it has ended")
    requested_by = serializers.CharField()
    requested_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    counts_until = serializers.DateTimeField(help_text="its end, or that of the first control it leans on")
    controls = ControlRef(many=True)
    decided_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    ended_by = serializers.CharField(allow_null=True)
    end_reason = serializers.CharField()
    approval = ApprovalDocument()
    appetite = AppetiteRef()
    may = serializers.ListField(child=serializers.CharField(), help_text="what you can be offered to do with it")


class GateTurn(serializers.Serializer[Any]):
    """Gates that would answer otherwise."""

    gate = serializers.CharField()
    was = serializers.CharField()
    would = serializers.CharField()
    repositories = serializers.IntegerField()


class TurnDocument(serializers.Serializer[Any]):
    gate = serializers.CharField()
    was = serializers.CharField()
    would = serializers.CharField()
    repository = serializers.CharField()
    digest = serializers.CharField()


class EnvironmentDocument(serializers.Serializer[Any]):
    name = serializers.CharField()
    images = serializers.IntegerField(help_text="of the covered ones, those that stand there")
    opens = serializers.IntegerField(help_text="repositories whose newest image its gate would no longer block")


class ClusterDocument(serializers.Serializer[Any]):
    name = serializers.CharField()
    workloads = serializers.IntegerField()


class ReachDocument(serializers.Serializer[Any]):
    """What approving it would turn, of what you may see; of one that does not wait, only where its images are."""

    gates = GateTurn(many=True)
    turns = TurnDocument(many=True, help_text="the first of them, those that open first")
    environments = EnvironmentDocument(many=True)
    clusters = ClusterDocument(many=True)
    looked = serializers.IntegerField(help_text="repositories whose gates were asked in the time there is")
    of = serializers.IntegerField(help_text="repositories whose newest image has it")
    shared = serializers.IntegerField(help_text="among them: turns once other teams decide their part of the image")


class BlastRadiusDocument(serializers.Serializer[Any]):
    """How much it covers, of what you may see."""

    images = serializers.IntegerField()
    repositories = serializers.IntegerField()
    applications = serializers.IntegerField()
    workloads = serializers.IntegerField()
    clusters = serializers.IntegerField(help_text="where those workloads run")
    severities = serializers.DictField(child=serializers.IntegerField())
    reach = ReachDocument(allow_null=True)


class DecisionDetail(DecisionDocument):
    covers = BlastRadiusDocument()


class ProblemDocument(serializers.Serializer[Any]):
    """Why one item was refused, in the words of RFC 9457."""

    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    where = serializers.CharField(allow_blank=True)


class ItemResult(serializers.Serializer[Any]):
    """One item of a bulk request: the decision, or why it was refused."""

    id = serializers.IntegerField(allow_null=True, help_text="the decision")
    risk = serializers.IntegerField(allow_null=True)
    status = serializers.CharField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    problem = ProblemDocument(allow_null=True)


class BulkResult(serializers.Serializer[Any]):
    done = serializers.IntegerField()
    refused = serializers.IntegerField()
    results = ItemResult(many=True)


# --- what is sent ---


class DecisionRequest(serializers.Serializer[Any]):
    kind = serializers.ChoiceField(choices=[k.value for k in DecisionKind])
    risk = serializers.IntegerField(min_value=1, max_value=MAX_ID)
    scope = ScopeField()
    reason = serializers.CharField(max_length=MAX_REASON)
    justification = serializers.ChoiceField(
        choices=[j.value for j in Justification],
        required=False,
        allow_blank=True,
        default="",
        help_text="of `not_affected` alone: why, in the words of OpenVEX and CSAF",
    )
    expires_at = serializers.DateTimeField()
    conditions = ConditionsField(required=False, allow_null=True)
    controls = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID),
        required=False,
        default=list,
        max_length=MAX_CONTROLS,
        help_text="ids of the controls it leans on; `mitigate` needs one at least",
    )


class BulkRequest(DecisionRequest):
    """The same for several risks: each becomes a decision of its own."""

    risk = None  # type: ignore[assignment]
    risks = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID), min_length=1, max_length=MAX_BULK
    )
    spread = serializers.IntegerField(
        default=0,
        min_value=0,
        max_value=MAX_SPREAD,
        help_text="spread the ends evenly over so many working days, the last of them `expires_at`; 0: all end then",
    )


class Comment(serializers.Serializer[Any]):
    comment = serializers.CharField(required=False, allow_blank=True, default="", max_length=4000)


class RequiredComment(serializers.Serializer[Any]):
    comment = serializers.CharField(max_length=4000)


class Reason(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=300)


class BulkVote(Comment):
    choice = serializers.ChoiceField(choices=[c.value for c in Choice])
    decisions = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_ID), min_length=1, max_length=MAX_VOTES
    )


def _sent(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    form = serializer(data=request.data)
    form.is_valid(raise_exception=True)
    return dict(form.validated_data)


def _asks(data: Mapping[str, Any], risks: Sequence[int], user: User) -> list[services.Ask]:
    ((kind, value),) = data["scope"].items()
    scope = queries.find_scope(user, kind, value)
    words = (data["kind"], scope, data["reason"], data["expires_at"], data.get("conditions"))
    return [
        services.Ask(risk, *words, justification=data["justification"], controls=data["controls"]) for risk in risks
    ]


def _item(result: Decision | SecGuardError, *, pk: int | None = None, risk: int | None = None) -> dict[str, Any]:
    if isinstance(result, Decision):
        end = result.expires_at
        return {"id": result.pk, "risk": result.risk_id, "status": result.status, "expires_at": end, "problem": None}
    problem = {
        "title": result.title,
        "status": result.status,
        "detail": result.detail,
        "code": result.code,
        "where": result.where,
    }
    return {"id": pk, "risk": risk, "status": None, "expires_at": None, "problem": problem}


def _bulk(items: list[dict[str, Any]]) -> Response:
    refused = sum(1 for item in items if item["problem"])
    return Response({"done": len(items) - refused, "refused": refused, "results": items})


_SCOPE_PARAMETERS = [
    OpenApiParameter("risk", int, required=True, many=True, description="A risk's id; may be given several times."),
    *(OpenApiParameter(k.value, str, description="One of the four scopes.") for k in ScopeKind),
    OpenApiParameter("kind", str, enum=[k.value for k in DecisionKind], description="As what; `accept` by default."),
]


@extend_schema_view(list=extend_schema(summary="Decisions, newest first"))
class DecisionViewSet(viewsets.GenericViewSet[Decision]):
    """Decisions over risks: ask, approve, reject, withdraw, revoke. What your teams did not ask for is not found."""

    queryset = Decision.objects.none()
    serializer_class = DecisionDocument
    filterset_class = queries.DecisionFilter
    lookup_value_regex = r"[0-9]{1,18}"
    ordering_fields = ("id", "requested_at", "expires_at")
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Decision]:
        return Decision.objects.visible_to(self._user).select_related(*RELATED)

    @property
    def _user(self) -> User:
        return self.request.user  # type: ignore[return-value]

    def list(self, request: Request) -> Response:
        """Filters: `status` (the one that counts now), `kind`, `risk`, `scope` and its values, `mine`, `waiting`."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        found = queries.documents(page, self._user, timezone.now())
        return self.get_paginated_response(DecisionDocument(found, many=True).data)

    @extend_schema(responses=DecisionDetail)
    def retrieve(self, request: Request, pk: str) -> Response:
        """One decision, with its votes and what it covers."""
        return self._detail(int(pk))

    @extend_schema(request=DecisionRequest, responses={201: DecisionDetail})
    def create(self, request: Request) -> Response:
        """Ask for a decision. It counts for nothing until the people that the risk appetite names approved it."""
        data = _sent(DecisionRequest, request)
        decision = services.request_decision(_asks(data, [data["risk"]], self._user)[0], actor=self._user)
        response = self._detail(decision.pk, status.HTTP_201_CREATED)
        response["Location"] = request.build_absolute_uri(f"{request.path}{decision.pk}/")
        return response

    @extend_schema(request=Comment, responses=DecisionDetail)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, pk: str) -> Response:
        """Vote for it. In force at once with the last vote needed; never by whoever asked."""
        services.approve(int(pk), actor=self._user, comment=_sent(Comment, request)["comment"])
        return self._detail(int(pk))

    @extend_schema(request=RequiredComment, responses=DecisionDetail)
    @action(detail=True, methods=["post"])
    def reject(self, request: Request, pk: str) -> Response:
        """Vote against it; one rejection settles it."""
        services.reject(int(pk), actor=self._user, comment=_sent(RequiredComment, request)["comment"])
        return self._detail(int(pk))

    @extend_schema(request=None, responses=DecisionDetail)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take a request back before it is decided."""
        services.withdraw(int(pk), actor=self._user)
        return self._detail(int(pk))

    @extend_schema(request=Reason, responses=DecisionDetail)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        """Take an approved decision back; what it let pass is judged without it at once."""
        services.revoke(int(pk), actor=self._user, reason=_sent(Reason, request)["reason"])
        return self._detail(int(pk))

    @extend_schema(request=None, responses=DecisionDetail)
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: str) -> Response:
        """Take back one's own vote within 15 seconds, where nobody else voted. Gives the request that waits again."""
        return self._detail(services.undo(int(pk), actor=self._user).pk)

    @extend_schema(request=BulkRequest, responses=BulkResult, filters=False)
    @action(detail=False, methods=["post"], pagination_class=None)
    def bulk(self, request: Request) -> Response:
        """Ask for several risks in one scope. Each is taken or refused for itself; a refused one leaves no trace."""
        data = _sent(BulkRequest, request)
        risks = list(dict.fromkeys(data["risks"]))
        results = services.request_many(_asks(data, risks, self._user), actor=self._user, spread_days=data["spread"])
        return _bulk([_item(r, risk=risk) for r, risk in zip(results, risks, strict=True)])

    @extend_schema(request=BulkVote, responses=BulkResult, filters=False)
    @action(detail=False, methods=["post"], url_path="bulk-vote", pagination_class=None)
    def bulk_vote(self, request: Request) -> Response:
        """Vote on several. Each is taken or refused for itself; a refused one leaves no trace."""
        data = _sent(BulkVote, request)
        choice = Choice(data["choice"])
        found = services.vote_many(data["decisions"], choice=choice, actor=self._user, comment=data["comment"])
        return _bulk([_item(result, pk=pk) for pk, result in found.items()])

    @extend_schema(parameters=_SCOPE_PARAMETERS, responses=BlastRadiusDocument, filters=False)
    @action(detail=False, url_path="blast-radius", pagination_class=None, filterset_class=None)
    def blast_radius(self, request: Request) -> Response:
        """How much a decision on these risks over that scope would cover, of what you may see. Nothing is asked for."""
        risks = _ids(request.query_params.getlist("risk"))
        scopes = [(k, request.query_params[k.value]) for k in ScopeKind if k.value in request.query_params]
        if len(scopes) != 1:
            known = ", ".join(k.value for k in ScopeKind)
            raise Invalid(f"{len(scopes)} scopes were given; expected is exactly one of {known}.", where="scope")
        kind, value = scopes[0]
        wanted: Any = value == "true" if kind is ScopeKind.ORGANISATION else value
        scope = queries.find_scope(self._user, kind, wanted)
        decided = request.query_params.get("kind", DecisionKind.ACCEPT.value)
        if decided not in set(DecisionKind):
            raise Invalid(f"{decided[:40]!r} is no kind; expected is one of {', '.join(DecisionKind)}.", where="kind")
        found = queries.blast_radius(risks, scope, self._user)
        return Response(_radius(found, queries.reach(risks, scope, decided, self._user)))

    def _detail(self, pk: int, code: int = status.HTTP_200_OK) -> Response:
        decision = self.get_queryset().filter(pk=pk).first()
        if decision is None:
            raise NotFound(f"There is no decision {pk}.")
        (document,) = queries.documents([decision], self._user, timezone.now())
        scope = queries.scope_of(decision)
        radius = queries.blast_radius([decision.risk_id], scope, self._user)
        document["covers"] = _radius(radius, queries.reach_of(decision, scope, self._user, timezone.now()))
        return Response(DecisionDetail(document).data, status=code)


def _ids(texts: Sequence[str]) -> list[int]:
    ids = [int(text) for text in texts if text.isascii() and text.isdigit() and len(text) < 19]
    if not ids or len(ids) != len(texts) or len(ids) > MAX_BULK:
        raise Invalid(f"Expected are 1 to {MAX_BULK} ids of risks (?risk=1&risk=2).", where="risk")
    return ids


def _reach(found: queries.Reach) -> dict[str, Any]:
    return {
        "gates": found.turned,
        "turns": [asdict(turn) for turn in found.turns],
        "environments": [asdict(environment) for environment in found.environments],
        "clusters": [{"name": name, "workloads": n} for name, n in found.clusters],
        "looked": found.looked,
        "of": found.of,
        "shared": found.shared,
    }


def _radius(found: queries.BlastRadius, reach: queries.Reach | None) -> dict[str, Any]:
    return {
        "reach": _reach(reach) if reach is not None else None,
        "images": found.images,
        "repositories": found.repositories,
        "applications": found.applications,
        "workloads": found.workloads,
        "clusters": found.clusters,
        "severities": found.severities,
    }
