"""Policies and verdicts over REST."""

from __future__ import annotations

import re
import zlib
from typing import Any

from django.db.models import F, Q, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.images.models import Image
from secguard.images.queries import find_image
from secguard.policies import vocabulary
from secguard.policies.checking import METHODS
from secguard.policies.facts import Gate
from secguard.policies.language import parse_policy
from secguard.policies.library import library
from secguard.policies.models import Evaluation, Policy, PolicyVersion
from secguard.policies.queries import shown_to, stored_document
from secguard.policies.services import (
    activate_version,
    active_version,
    create_version,
    read_document,
    run_tests,
    verdict_of,
)
from secguard.policies.staging import Mode, check_modes
from secguard.web.parameters import choice_of, flag_of, text_of, time_of

STAGES = tuple(g.value for g in Gate)
VERDICTS = ("pass", "warn", "block")
MAX_SOURCE = 262_144


class VersionSerializer(serializers.ModelSerializer[PolicyVersion]):
    policy = serializers.CharField(source="policy.name")
    author = serializers.CharField(source="author.username", default=None, allow_null=True)
    staging = serializers.DictField(
        child=serializers.DictField(), help_text="gate to `mode` (`observe`, `warn`); enforced at the others"
    )
    gates = serializers.SerializerMethodField(help_text="whether this version is the one that gates now")

    class Meta:
        model = PolicyVersion
        fields = [
            "id",
            "policy",
            "number",
            "source",
            "tests",
            "staging",
            "sha256",
            "comment",
            "author",
            "created_at",
            "activated_at",
            "gates",
        ]
        read_only_fields = fields

    def get_gates(self, version: PolicyVersion) -> bool:
        return version.policy.is_gating and version.policy.active_version_id == version.pk


class PolicySerializer(serializers.ModelSerializer[Policy]):
    active_version = serializers.IntegerField(source="active_version.number", default=None, allow_null=True)

    class Meta:
        model = Policy
        fields = ["id", "name", "is_gating", "active_version", "created_at"]
        read_only_fields = fields


class PolicyRequestSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100, default="default")
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=MAX_SOURCE, trim_whitespace=False, help_text="YAML, see docs/policy.md"
    )
    tests = serializers.CharField(
        max_length=MAX_SOURCE,
        required=False,
        allow_blank=True,
        trim_whitespace=False,
        help_text="YAML, see docs/policy-laboratory.md; left out: those of the version before stay",
    )
    draft = serializers.BooleanField(default=False, help_text="keep it though tests fail; it gates only once they pass")
    comment = serializers.CharField(max_length=300, required=False, allow_blank=True)
    activate = serializers.BooleanField(default=False, help_text="gate with it at once")


class SourceSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(max_length=MAX_SOURCE, trim_whitespace=False)  # type: ignore[assignment]


class ActivationSerializer(serializers.Serializer[Any]):
    modes = serializers.DictField(
        child=serializers.ChoiceField(choices=[m.value for m in Mode]),
        required=False,
        help_text='by gate, such as {"admit": "observe", "promote": "warn"}; enforced at the others, so empty: at all',
    )


class TestsRequestSerializer(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment]
        max_length=MAX_SOURCE,
        required=False,
        trim_whitespace=False,
        help_text="of the newest version where left out",
    )
    tests = serializers.CharField(
        max_length=MAX_SOURCE, required=False, allow_blank=True, trim_whitespace=False, help_text="likewise"
    )


class OutcomeSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    line = serializers.IntegerField(help_text="where the test begins in its document")
    passed = serializers.BooleanField()
    expected = serializers.ChoiceField(choices=VERDICTS)
    found = serializers.ChoiceField(choices=VERDICTS)
    missing = serializers.ListField(child=serializers.CharField(), help_text="rules that should have fired")
    unwanted = serializers.ListField(child=serializers.CharField(), help_text="rules that should not have fired")
    reasons = serializers.ListField(child=serializers.CharField(), help_text="of the first rules that fired")


class TestsRunSerializer(serializers.Serializer[Any]):
    passed = serializers.IntegerField()
    failed = serializers.IntegerField()
    results = OutcomeSerializer(many=True)


class WordSerializer(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="as conditions write it")
    type = serializers.CharField()
    about = serializers.CharField()
    words = serializers.ListField(child=serializers.CharField(), help_text="the only values, of a closed vocabulary")


class ReadyRuleSerializer(serializers.Serializer[Any]):
    title = serializers.CharField()
    description = serializers.CharField()
    rule = serializers.CharField(help_text="an entry of `rules`")
    tests = serializers.CharField(help_text="entries of `tests`")


class VocabularySerializer(serializers.Serializer[Any]):
    words = WordSerializer(many=True)
    functions = serializers.ListField(child=serializers.CharField())
    library = ReadyRuleSerializer(many=True)


class CheckedSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    rules = serializers.ListField(child=serializers.CharField())


class PolicyRefSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    version = serializers.IntegerField()
    mode = serializers.CharField(
        required=False, help_text="`warn` or `observe` while the version is tried at this gate; else left out"
    )
    decided_by = serializers.IntegerField(
        required=False, help_text="while it observes: the id of the policy version whose rules decided"
    )


class ObservedSerializer(serializers.Serializer[Any]):
    """What a version that observes would have said: it changed nothing."""

    verdict = serializers.ChoiceField(choices=VERDICTS)
    reasons = serializers.ListField(child=serializers.DictField(), help_text="rule, effect, message, findings_total")


class ReasonSerializer(serializers.Serializer[Any]):
    rule = serializers.CharField()
    effect = serializers.ChoiceField(choices=["warn", "block"])
    message = serializers.CharField()
    findings = serializers.ListField(child=serializers.DictField(), help_text="by name, at most 1000 of them")
    findings_total = serializers.IntegerField()
    remedy = serializers.DictField(help_text="`upgrades`, `exception` (with `url`), `text`")
    until = serializers.DateTimeField(allow_null=True, help_text="from when a warning in its grace blocks")
    error = serializers.CharField(allow_blank=True, help_text="why the condition could not be answered")


class VerdictDocument(serializers.Serializer[Any]):
    """May this image go on, and why: `secguard.policies.evaluation.Verdict` with its findings spelled out."""

    image = serializers.CharField(help_text="the manifest digest")
    reference = serializers.CharField(allow_blank=True)
    stage = serializers.ChoiceField(choices=STAGES)
    verdict = serializers.ChoiceField(choices=VERDICTS)
    valid_until = serializers.DateTimeField(help_text="the earliest instant at which the answer can change")
    policy = PolicyRefSerializer()
    reasons = ReasonSerializer(many=True)
    covered = serializers.ListField(child=serializers.DictField(), help_text="what decisions let pass")
    counts = serializers.DictField(child=serializers.DictField(child=serializers.IntegerField()))
    decisions = serializers.ListField(child=serializers.DictField())
    scans = serializers.ListField(child=serializers.IntegerField())
    scanned_at = serializers.DateTimeField(allow_null=True, help_text="the last complete scan for vulnerabilities")
    data_updated_at = serializers.DateTimeField(
        allow_null=True, help_text="how old the vulnerability data is that it rests on"
    )
    evaluated_at = serializers.DateTimeField()
    observed = ObservedSerializer(required=False, help_text="there where a version observes at this gate")


class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    image = serializers.CharField(source="image.digest")
    policy = serializers.CharField(source="policy_version.policy.name")
    version = serializers.IntegerField(source="policy_version.number")

    class Meta:
        model = Evaluation
        fields = ["id", "image", "stage", "verdict", "observed", "policy", "version", "evaluated_at", "valid_until"]
        read_only_fields = fields


class EvaluationDetailSerializer(EvaluationSerializer):
    document = VerdictDocument(source="kept_document", help_text="as it was answered then, as far as you may see it")
    is_whole = serializers.BooleanField(
        read_only=True, default=True, help_text="false: places and decisions of other teams were left out"
    )

    class Meta(EvaluationSerializer.Meta):
        fields = [*EvaluationSerializer.Meta.fields, "is_whole", "document"]
        read_only_fields = fields

    def to_representation(self, instance: Evaluation) -> dict[str, Any]:
        """The image may have lain with another team alone when it was judged: theirs is left out."""
        told: dict[str, Any] = super().to_representation(instance)
        part = shown_to(self.context["request"].user, instance, told["document"])
        return told | {"is_whole": part == told["document"], "document": part}


@extend_schema_view(create=extend_schema(request=PolicyRequestSerializer, responses={201: VersionSerializer}))
class PolicyViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.CreateModelMixin, viewsets.GenericViewSet[Policy]
):
    """Policies. Saving one makes a new version; only the active version of the gating policy counts."""

    serializer_class = PolicySerializer
    queryset = Policy.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "name"

    def get_queryset(self) -> QuerySet[Policy]:
        active_version()
        return Policy.objects.select_related("active_version")

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        asked = PolicyRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        words = asked.validated_data
        version = create_version(
            words["name"],
            words["source"],
            comment=words.get("comment", ""),
            actor=user,
            activate=words["activate"],
            tests=words.get("tests"),
            draft=words["draft"],
        )
        return Response(VersionSerializer(version).data, status=201)

    @extend_schema(request=TestsRequestSerializer, responses=TestsRunSerializer)
    @action(detail=True, methods=["post"])
    def tests(self, request: Request, pk: str) -> Response:
        """Run the policy's tests, on a draft of it or with a draft of them where these are sent. Nothing is kept."""
        asked = TestsRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        newest = self.get_object().versions.order_by("-number").first()
        source = asked.validated_data.get("source") or (newest.source if newest else "")
        tests = asked.validated_data.get("tests", newest.tests if newest else "")
        outcomes = run_tests(parse_policy(source), tests)
        passed = sum(outcome.passed for outcome in outcomes)
        found = {"passed": passed, "failed": len(outcomes) - passed, "results": outcomes}
        return Response(TestsRunSerializer(found).data)

    @extend_schema(responses=VersionSerializer(many=True))
    @action(detail=True, pagination_class=None, filter_backends=[])
    def versions(self, request: Request, pk: str) -> Response:
        """Every version of the policy, newest first."""
        rows = self.get_object().versions.select_related("policy", "author")[:500]
        return Response(VersionSerializer(rows, many=True).data)

    @extend_schema(responses=VocabularySerializer)
    @action(detail=False, pagination_class=None, filter_backends=[])
    def vocabulary(self, request: Request) -> Response:
        """What conditions may use, and a library of ready rules: for editors."""
        words = [
            {"name": name, "type": str(type_), "about": about, "words": list(type_.words)}
            for name, type_, about in vocabulary.listed()
        ]
        found = {"words": words, "functions": list(METHODS), "library": library()}
        return Response(VocabularySerializer(found).data)

    @extend_schema(request=SourceSerializer, responses=CheckedSerializer)
    @action(detail=False, methods=["post"])
    def check(self, request: Request) -> Response:
        """Check a draft; a fault is a problem with `errors`: line, column, message."""
        asked = SourceSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        rules = parse_policy(asked.validated_data["source"])
        return Response({"name": rules.name, "rules": [r.id for r in rules.rules]})


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("policy", str, description="Only versions of the policy of this name."),
            OpenApiParameter("gates", bool, description="Only the version that gates, or only the others."),
        ]
    )
)
class PolicyVersionViewSet(viewsets.ReadOnlyModelViewSet[PolicyVersion]):
    """Policy versions; `activate` lets one gate."""

    serializer_class = VersionSerializer
    queryset = PolicyVersion.objects.select_related("policy", "author")
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_queryset(self) -> QuerySet[PolicyVersion]:
        rows = super().get_queryset()
        if self.action != "list":
            return rows
        if name := text_of(self.request, "policy"):
            rows = rows.filter(policy__name=name)
        gates = flag_of(self.request, "gates")
        if gates is None:
            return rows
        active_version()
        gating = Q(policy__is_gating=True, policy__active_version=F("pk"))
        return rows.filter(gating if gates else ~gating)

    @extend_schema(request=ActivationSerializer, responses=VersionSerializer)
    @action(detail=True, methods=["post"])
    def activate(self, request: Request, pk: str) -> Response:
        """Let this version gate from now on; every verdict is asked again. With `modes` it is tried, as one more
        version that observes or warns at these gates."""
        user: Any = request.user
        asked = ActivationSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        modes = check_modes(asked.validated_data["modes"]) if "modes" in asked.validated_data else None
        return Response(VersionSerializer(activate_version(int(pk), actor=user, modes=modes)).data)


_DEFLATE = re.compile(r"(?:^|,)\s*deflate\s*(?:,|$|;\s*q=(?!0(?:\.0*)?\s*(?:,|$)))", re.IGNORECASE)


def _packed(document: bytes, request: Request) -> HttpResponse:
    """A document as it is kept, to whoever takes "deflate" (RFC 9110 section 8.4.1.2: zlib's format); else unpacked."""
    if _DEFLATE.search(request.headers.get("Accept-Encoding", "")):
        answer = HttpResponse(document, content_type="application/json", headers={"Content-Encoding": "deflate"})
    else:
        answer = HttpResponse(zlib.decompress(document), content_type="application/json")
    patch_vary_headers(answer, ["Accept-Encoding"])
    return answer


class VerdictView(APIView):
    """May this image go on, and why."""

    @extend_schema(
        responses=VerdictDocument,
        parameters=[OpenApiParameter("stage", str, enum=list(STAGES), description="`build` where it is not given.")],
    )
    def get(self, request: Request, digest: str) -> HttpResponse:
        user: Any = request.user
        stage = Gate(choice_of(request, "stage", STAGES, Gate.BUILD.value))
        stored = stored_document(user, digest, stage, timezone.now())
        if stored is not None:
            return _packed(stored, request)
        return Response(read_document(verdict_of(find_image(user, digest), stage), user))


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("image", str, description="A digest or a reference."),
            OpenApiParameter("stage", str, enum=list(STAGES), description="Only this gate."),
            OpenApiParameter("verdict", str, enum=list(VERDICTS), description="Only this answer."),
            OpenApiParameter(
                "observed", str, enum=list(VERDICTS), description="Only where a version that observed said this."
            ),
            OpenApiParameter("before", OpenApiTypes.DATETIME, description="Judged before this instant."),
        ]
    )
)
class EvaluationViewSet(viewsets.ReadOnlyModelViewSet[Evaluation]):
    """Every judgement that was made: why an image was let pass on a day, and by whose decision."""

    queryset = Evaluation.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_serializer_class(self) -> type[EvaluationSerializer]:
        return EvaluationSerializer if self.action == "list" else EvaluationDetailSerializer

    def get_queryset(self) -> QuerySet[Evaluation]:
        user: Any = self.request.user
        rows = Evaluation.objects.filter(image__in=Image.objects.visible_to(user))
        rows = rows.select_related("image", "policy_version__policy")
        return self._filtered(rows.defer("document"), user) if self.action == "list" else rows

    def _filtered(self, rows: QuerySet[Evaluation], user: Any) -> QuerySet[Evaluation]:
        if image := text_of(self.request, "image"):
            rows = rows.filter(image=find_image(user, image))
        if stage := choice_of(self.request, "stage", STAGES):
            rows = rows.filter(stage=stage)
        if verdict := choice_of(self.request, "verdict", VERDICTS):
            rows = rows.filter(verdict=verdict)
        if observed := choice_of(self.request, "observed", VERDICTS):
            rows = rows.filter(observed=observed)
        if before := time_of(self.request, "before"):
            rows = rows.filter(evaluated_at__lt=before)
        return rows
