"""Every route, and the one API router."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import DefaultRouter

from secguard.accounts.api import (
    ApplicationViewSet,
    MembershipViewSet,
    MeView,
    TeamViewSet,
    TokenViewSet,
    UserViewSet,
)
from secguard.accounts.identities_api import CiIdentityViewSet, TokenExchange
from secguard.accounts.sessions_api import SecondFactorViewSet, SessionViewSet
from secguard.admission.api import AdmissionDecisionViewSet, BreakGlassViewSet, ClusterViewSet
from secguard.admission.urls import webhook_patterns
from secguard.admission.views.agents import AnswersView, SnapshotView
from secguard.advisories.api import AdvisoryViewSet, FeedViewSet, ImportViewSet
from secguard.approvals.api import AbsenceViewSet
from secguard.audit.api import AuditViewSet, CheckpointViewSet
from secguard.channels.api import ChannelViewSet
from secguard.compliance import api as frameworks
from secguard.dashboards.api import HomeView
from secguard.dashboards.views import applications as standing
from secguard.dashboards.views import (
    compliance,
    home,
    homes,
    images,
    landscape,
    rebuilding,
    repositories,
    risks,
    scanning,
    workloads,
)
from secguard.decisions.api import DecisionViewSet
from secguard.decisions.appetite_api import AppetiteViewSet
from secguard.decisions.controls_api import ControlViewSet
from secguard.decisions.vex_api import ImageVex, Vex
from secguard.decisions.vexin_api import VexAuthorViewSet, VexDocumentViewSet
from secguard.events.api import EventViewSet
from secguard.events.sensors_api import SensorViewSet
from secguard.exports.api import EventExportView, ExportTargetViewSet
from secguard.findings.api import ExposureViewSet, FindingViewSet, ImageDifference, ImageFindingList, RiskViewSet
from secguard.forecast.api import ForecastViewSet
from secguard.history.api import ImageHistory, ImagePassport, ImageVerdict
from secguard.images.api import DIGEST, ComponentList, ImageSbom, ImageViewSet, RegistryViewSet, RepositoryViewSet
from secguard.incidents.api import ExpectationViewSet, IncidentViewSet
from secguard.laboratory.api import RedecidedViewSet, SimulateView, SimulationViewSet, TurnedViewSet
from secguard.network.api import AppliedView, MapView, NetworkEdgeViewSet, NetworkPolicyViewSet, ReachView
from secguard.network.hooks import flows as flows_hook
from secguard.network.rules_api import MatrixView, NetworkRuleViewSet, RulePoliciesView, SegmentViewSet, TryView
from secguard.notifications.api import NoticeViewSet
from secguard.planning.api import (
    SLUG,
    AnswerViewSet,
    ChecklistMeasure,
    ChecklistView,
    ChecklistViewSet,
    NotApplicableAsk,
    NotApplicableViewSet,
    PlanningTemplateViewSet,
)
from secguard.policies import views as policy_views
from secguard.policies.api import EvaluationViewSet, PolicyVersionViewSet, PolicyViewSet
from secguard.promotion.api import EnvironmentViewSet, PromotionViewSet, RecallView
from secguard.runtime.api import BaselineChangeViewSet, BaselineViewSet
from secguard.runtime.hooks import events as runtime_events_hook
from secguard.sample.api import SampleView
from secguard.sample.views import sample
from secguard.scans.api import AffectedList, ReportView, ScanViewSet, WatchView
from secguard.scans.views import registry_hook
from secguard.signing.api import ImageSignatures, SigningJob, SigningKeyViewSet, TrustedKeyViewSet
from secguard.trackers.api import IssueViewSet, TrackerViewSet
from secguard.trackers.urls import hook_patterns
from secguard.web import health
from secguard.workloads.api import WorkloadViewSet

FRAMEWORK = rf"^compliance/frameworks/{frameworks.NAME}"

router = DefaultRouter()
router.register("images", ImageViewSet, "image")
router.register("repositories", RepositoryViewSet, "repository")
router.register("registries", RegistryViewSet, "registry")
router.register("advisories", AdvisoryViewSet, "advisory")
router.register("feeds", FeedViewSet, "feed")
router.register("imports", ImportViewSet, "import")
router.register("findings", FindingViewSet, "finding")
router.register("risks", RiskViewSet, "risk")
router.register("exposures", ExposureViewSet, "exposure")
router.register("scans", ScanViewSet, "scan")
router.register("decisions", DecisionViewSet, "decision")
router.register("absences", AbsenceViewSet, "absence")
router.register("controls", ControlViewSet, "control")
router.register("vex-authors", VexAuthorViewSet, "vex-author")
router.register("vex-documents", VexDocumentViewSet, "vex-document")
router.register("appetite", AppetiteViewSet, "appetite")
router.register("policies", PolicyViewSet, "policy")
router.register("policy-versions", PolicyVersionViewSet, "policy-version")
router.register("evaluations", EvaluationViewSet, "evaluation")
router.register("simulations", SimulationViewSet, "simulation")
router.register("workloads", WorkloadViewSet, "workload")
router.register("break-glass", BreakGlassViewSet, "break-glass")
router.register("clusters", ClusterViewSet, "cluster")
router.register("admission-decisions", AdmissionDecisionViewSet, "admission-decision")
router.register("environments", EnvironmentViewSet, "environment")
router.register("promotions", PromotionViewSet, "promotion")
router.register("signing-keys", SigningKeyViewSet, "signing-key")
router.register("trusted-keys", TrustedKeyViewSet, "trusted-key")
router.register("events", EventViewSet, "event")
router.register("sensors", SensorViewSet, "sensor")
router.register("users", UserViewSet, "user")
router.register("memberships", MembershipViewSet, "membership")
router.register("teams", TeamViewSet, "team")
router.register("applications", ApplicationViewSet, "application")
router.register("tokens", TokenViewSet, "token")
router.register("ci-identities", CiIdentityViewSet, "ci-identity")
router.register("sessions", SessionViewSet, "session")
router.register("second-factors", SecondFactorViewSet, "second-factor")
router.register("audit/checkpoints", CheckpointViewSet, "audit-checkpoint")
router.register("audit", AuditViewSet, "audit")
router.register("notifications", NoticeViewSet, "notification")
router.register("channels", ChannelViewSet, "channel")
router.register("forecast", ForecastViewSet, "forecast")
router.register("trackers", TrackerViewSet, "tracker")
router.register("export-targets", ExportTargetViewSet, "export-target")
router.register("issues", IssueViewSet, "issue")
router.register("incidents", IncidentViewSet, "incident")
router.register("expectations", ExpectationViewSet, "expectation")
router.register("baselines", BaselineViewSet, "baseline")
router.register("baseline-changes", BaselineChangeViewSet, "baseline-change")
router.register("network/edges", NetworkEdgeViewSet, "network-edge")
router.register("network/policies", NetworkPolicyViewSet, "network-policy")
router.register("network/rules", NetworkRuleViewSet, "network-rule")
router.register("network/segments", SegmentViewSet, "network-segment")
router.register("planning/templates", PlanningTemplateViewSet, "planning-template")
router.register("planning/checklists", ChecklistViewSet, "checklist")
router.register("planning/not-applicable", NotApplicableViewSet, "not-applicable")

OF_IMAGE = rf"^images/(?P<digest>{DIGEST})"
OF_CHECKLIST = rf"^applications/{SLUG}/checklist"

api_patterns: list[URLPattern | URLResolver] = [
    path("events/export/", EventExportView.as_view(), name="event-export"),
    path("homes/<str:audience>/", HomeView.as_view(), name="home"),
    path("me/", MeView.as_view(), name="me"),
    path("token-exchange/", TokenExchange.as_view(), name="token-exchange"),
    path("sample/", SampleView.as_view(), name="sample"),
    path("reports/", ReportView.as_view(), name="report"),
    re_path(r"^clusters/(?P<pk>[0-9]{1,18}|own)/snapshot/$", SnapshotView.as_view(), name="cluster-snapshot"),
    re_path(r"^clusters/(?P<pk>[0-9]{1,18}|own)/answers/$", AnswersView.as_view(), name="cluster-answers"),
    path("advisories/<str:name>/affected/", AffectedList.as_view(), name="advisory-affected"),
    re_path(r"^repositories/(?P<pk>[0-9]{1,18})/watch/$", WatchView.as_view(), name="repository-watch"),
    re_path(rf"{OF_IMAGE}/findings/$", ImageFindingList.as_view(), name="image-findings"),
    re_path(rf"{OF_IMAGE}/components/$", ComponentList.as_view(), name="image-components"),
    re_path(rf"{OF_IMAGE}/sbom/$", ImageSbom.as_view(), name="image-sbom"),
    path("policies/simulate/", SimulateView.as_view(), name="policy-simulate"),
    re_path(r"^simulations/(?P<pk>[0-9]{1,18})/rows/$", TurnedViewSet.as_view({"get": "list"}), name="simulation-rows"),
    re_path(
        r"^simulations/(?P<pk>[0-9]{1,18})/decisions/$",
        RedecidedViewSet.as_view({"get": "list"}),
        name="simulation-decisions",
    ),
    path("compliance/frameworks/", frameworks.FrameworkList.as_view(), name="framework-list"),
    path("compliance/checks/", frameworks.FrameworkChecks.as_view(), name="framework-checks"),
    path("compliance/check/", frameworks.FrameworkCheck.as_view(), name="framework-check"),
    re_path(rf"{FRAMEWORK}/$", frameworks.FrameworkDetail.as_view(), name="framework"),
    re_path(rf"{FRAMEWORK}/source/$", frameworks.FrameworkSource.as_view(), name="framework-source"),
    re_path(rf"{FRAMEWORK}/report/$", frameworks.FrameworkReport.as_view(), name="framework-report"),
    re_path(
        rf"{FRAMEWORK}/controls/{frameworks.CONTROL}/applications/$",
        frameworks.ControlApplications.as_view({"get": "list"}),
        name="framework-control-applications",
    ),
    re_path(rf"{OF_CHECKLIST}/$", ChecklistView.as_view(), name="application-checklist"),
    re_path(rf"{OF_CHECKLIST}/measure/$", ChecklistMeasure.as_view(), name="application-checklist-measure"),
    re_path(
        rf"{OF_CHECKLIST}/answers/$",
        AnswerViewSet.as_view({"get": "list", "post": "create"}),
        name="application-checklist-answers",
    ),
    re_path(
        rf"{OF_CHECKLIST}/not-applicable/$",
        NotApplicableAsk.as_view({"post": "create"}),
        name="application-checklist-not-applicable",
    ),
    path("network/map/", MapView.as_view(), name="network-map"),
    re_path(r"^network/reach/(?P<pk>[0-9]{1,18})/$", ReachView.as_view(), name="network-reach"),
    path("network/matrix/", MatrixView.as_view(), name="network-matrix"),
    path("applications/<slug:slug>/network-policies/", RulePoliciesView.as_view(), name="network-rule-policies"),
    path("network/simulate/", TryView.as_view(), name="network-simulate"),
    path("network/applied/", AppliedView.as_view(), name="network-applied"),
    path("vex/", Vex.as_view(), name="vex"),
    re_path(rf"{OF_IMAGE}/vex/$", ImageVex.as_view(), name="image-vex"),
    re_path(rf"{OF_IMAGE}/difference/$", ImageDifference.as_view(), name="image-difference"),
    re_path(rf"{OF_IMAGE}/signatures/$", ImageSignatures.as_view(), name="image-signatures"),
    re_path(rf"{OF_IMAGE}/signatures/job/$", SigningJob.as_view(), name="image-signing-job"),
    re_path(rf"{OF_IMAGE}/recall/$", RecallView.as_view(), name="image-recall"),
    re_path(rf"{OF_IMAGE}/verdict/$", ImageVerdict.as_view(), name="image-verdict"),
    re_path(rf"{OF_IMAGE}/history/$", ImageHistory.as_view(), name="image-history"),
    re_path(rf"{OF_IMAGE}/passport/$", ImagePassport.as_view(), name="image-passport"),
]

page_patterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("begin/", home.begin, name="begin"),
    path("sample/", sample, name="sample"),
]
home_patterns = [
    path("homes/views/", homes.view_list, name="views"),
    path("homes/views/new/", homes.view_new, name="view-new"),
    path("homes/views/<int:pk>/delete/", homes.view_delete, name="view-delete"),
    path("homes/views/<int:pk>/letters/", homes.letters, name="letters"),
    path("homes/views/<int:pk>/letters/end/", homes.letters_end, name="letters-end"),
    path("homes/unsubscribe/<str:key>/", homes.unsubscribe, name="unsubscribe"),
    path("homes/<str:audience>/", homes.home_detail, name="detail"),
]
landscape_patterns = [path("landscape/", landscape.landscape, name="home")]
image_patterns = [
    path("images/", images.image_list, name="list"),
    re_path(rf"{OF_IMAGE}/$", images.image_detail, name="detail"),
    re_path(rf"{OF_IMAGE}/components/$", images.image_components, name="components"),
    re_path(rf"{OF_IMAGE}/rebuild/$", rebuilding.image_rebuild, name="rebuild"),
]
repository_patterns = [
    path("repositories/", repositories.repository_list, name="list"),
    path("repositories/<int:pk>/", repositories.repository_detail, name="detail"),
    path("repositories/<int:pk>/tags/", repositories.repository_tags, name="tags"),
    path("repositories/<int:pk>/watch/", repositories.repository_watch, name="watch"),
]
scan_patterns = [
    path("scans/", scanning.scan_list, name="list"),
    path("scans/new/", scanning.scan_new, name="new"),
    path("scans/upload/", scanning.scan_upload, name="upload"),
    path("scans/<int:pk>/", scanning.scan_detail, name="detail"),
    path("scans/<int:pk>/cancel/", scanning.scan_cancel, name="cancel"),
    path("scans/<int:pk>/again/", scanning.scan_again, name="again"),
]
workload_patterns = [
    path("workloads/", workloads.workload_list, name="list"),
    path("workloads/<int:pk>/", workloads.workload_detail, name="detail"),
]
risk_patterns = [
    path("risks/", risks.risk_list, name="list"),
    path("risks/open/", risks.work_list, name="work"),
    path("risks/<int:pk>/", risks.risk_detail, name="detail"),
]
policy_patterns = [
    path("policy/", policy_views.detail, name="detail"),
    path("policy/new/", policy_views.edit, name="edit"),
    path("policy/observed/", policy_views.observed, name="observed"),
    path("policy/<int:pk>/", policy_views.version_detail, name="version"),
    path("policy/<int:pk>/activate/", policy_views.activate, name="activate"),
]
compliance_patterns = [
    path("compliance/", compliance.home, name="home"),
    path("compliance/applications/", standing.application_standing, name="applications"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    *webhook_patterns,  # first: they are asked most, and wait least
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics_page, name="metrics"),
    path("hooks/registry/", registry_hook, name="registry-hook"),
    path("hooks/flows/", flows_hook, name="flows-hook"),
    path("hooks/falco/", runtime_events_hook, name="runtime-hook"),
    *hook_patterns,
    path("api/v1/", include((router.urls + api_patterns, "api"))),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="web/api_docs.html"),
        name="docs",
    ),
    path("", include("secguard.accounts.urls")),
    path("", include("secguard.admission.urls")),
    path("", include("secguard.advisories.urls")),
    path("", include("secguard.audit.urls")),
    path("", include("secguard.channels.urls")),
    path("", include("secguard.compliance.urls")),
    path("", include("secguard.exports.urls")),
    path("", include("secguard.approvals.urls")),
    path("", include("secguard.decisions.urls")),
    path("", include("secguard.decisions.controls_urls")),
    path("", include("secguard.events.urls")),
    path("", include("secguard.forecast.urls")),
    path("", include("secguard.history.urls")),
    path("", include("secguard.images.urls")),
    path("", include("secguard.incidents.urls")),
    path("", include("secguard.runtime.urls")),
    path("", include("secguard.laboratory.urls")),
    path("", include("secguard.network.urls")),
    path("", include("secguard.notifications.urls")),
    path("", include("secguard.planning.urls")),
    path("", include("secguard.promotion.urls")),
    path("", include("secguard.signing.urls")),
    path("", include("secguard.trackers.urls")),
    path("", include(page_patterns)),
    path("", include((home_patterns, "homes"))),
    path("", include((landscape_patterns, "landscape"))),
    path("", include((image_patterns, "images"))),
    path("", include((repository_patterns, "repositories"))),
    path("", include((scan_patterns, "scans"))),
    path("", include((workload_patterns, "workloads"))),
    path("", include((risk_patterns, "risks"))),
    path("", include((policy_patterns, "policies"))),
    path("", include((compliance_patterns, "compliance"))),
]

handler400 = "secguard.web.problems.bad_request"
handler403 = "secguard.web.problems.permission_denied"
handler404 = "secguard.web.problems.page_not_found"
handler500 = "secguard.web.problems.server_error"
