"""Remove everything that is sample, and nothing else.

What real people did to sample rows (a vote, a decision, a scan) hangs on them and goes with them; what sample people or
teams hold that is real stays, and so do they, without the mark or deactivated. The audit log keeps all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.admission.models import BreakGlass
from secguard.advisories.models import Vulnerability
from secguard.approvals.models import ApprovalRequest, Vote
from secguard.audit import services as audit
from secguard.audit.actions import Action
from secguard.compliance import services as compliance
from secguard.dashboards.models import DailyFigure
from secguard.decisions.models import Control, ControlEvidence, Decision, RiskAppetite
from secguard.decisions.services import FOLLOWERS, refresh_coverage
from secguard.errors import Conflict
from secguard.findings.models import Exposure, Finding, Risk
from secguard.images.models import Component, Image, ImageComponent, ImageRepository, Registry, Repository
from secguard.policies.models import Evaluation, EvaluationInput, PolicyVersion, Verdict
from secguard.sample.organisation import REGISTRY
from secguard.sample.queries import Standing, open_job, sample_images, standing
from secguard.sample.services.days import SAMPLE_FIGURE
from secguard.scans.models import Report, Scan
from secguard.workloads.models import Cluster


def remove(*, actor: User | None) -> str:
    """Remove the sample at once, in this process; returns a sentence about what went and what stays.

    Raises ``NotAllowed`` without sample:load, ``Conflict`` where there is no sample or a worker is at it.
    """
    require(actor, Permission.SAMPLE_LOAD)
    job = open_job()
    if job is not None:
        raise Conflict(f"A worker is at it just now (job {job.pk}, {job.progress_text}).", code="sample-busy")
    if standing() is Standing.ABSENT:
        raise Conflict("The sample is not loaded, so there is nothing to remove.", code="sample-absent")
    return clear(actor)


@transaction.atomic
def clear(actor: User | None) -> str:
    """All of it or nothing. Safe to run twice."""
    now = timezone.now()
    images = sorted(sample_images().values_list("pk", flat=True))
    risks = _risks_in(images)
    removed = _remove_decisions(now) + len(images)
    _remove_images(images)
    _remove_places(now)
    _remove_knowledge(risks)
    kept = _remove_organisation()
    audit.record(
        Action.SAMPLE_REMOVE,
        actor=actor,
        subject_type="sample",
        subject_id="sample",
        subject="sample organisation",
        details={"images": len(images), "rows": removed, "kept": kept},
    )
    return "The sample organisation is removed." + (
        f" Kept, because real things need them: {', '.join(kept)}." if kept else ""
    )


def _risks_in(images: list[int]) -> list[int]:
    """Risks and where they were met: before the rows that tell go."""
    met = Q(findings__image__in=bulk.among(images)) | Q(exposures__repository__registry__host=REGISTRY)
    return sorted(set(Risk.objects.filter(met).values_list("pk", flat=True)))


def _remove_decisions(now: datetime) -> int:
    """Decisions over sample places, on risks that stand nowhere else, and all that sample people asked for."""
    images = sample_images().values("pk")
    here = Q(repository__registry__host=REGISTRY) | Q(application__is_sample=True) | Q(image__in=images)
    real = Finding.objects.filter(risk=OuterRef("risk")).exclude(image__in=images)
    rows = Decision.objects.filter(
        here | Q(requested_by__is_sample=True) | ~Exists(real) & Q(scope_kind="organisation")
    )
    gone = list(rows.select_related("risk"))
    approvals = [d.approval_id for d in gone]
    Decision.objects.filter(pk__in=[d.pk for d in gone]).delete()
    Control.objects.filter(Q(application__is_sample=True) | Q(proposed_by__is_sample=True)).delete()
    ApprovalRequest.objects.filter(pk__in=approvals).delete()
    for follow in FOLLOWERS if gone else ():
        follow(gone)
    refresh_coverage(Q(decision_id__in=[d.pk for d in gone]), now)
    return len(gone)


def _remove_images(images: list[int]) -> None:
    rows = bulk.among(images)
    Verdict.objects.filter(image__in=rows).delete()
    Evaluation.objects.filter(image__in=rows).delete()
    _orphans(EvaluationInput, Evaluation, "input").delete()
    components = set(ImageComponent.objects.filter(image__in=rows).values_list("component_id", flat=True))
    components |= set(
        Finding.objects.filter(image__in=rows).exclude(component=None).values_list("component_id", flat=True)
    )
    scans = Scan.objects.filter(Q(image__in=rows) | Q(image=None, requested_by__is_sample=True))
    reports = set(scans.values_list("report_id", flat=True))
    scans.delete()
    Report.objects.filter(pk__in=bulk.among(sorted(r for r in reports if r)), scans=None).delete()
    Image.objects.filter(pk__in=rows).delete()
    unused = Component.objects.filter(pk__in=bulk.among(sorted(components)), occurrences=None)
    unused.filter(~Exists(Finding.objects.filter(component=OuterRef("pk")))).delete()


def _orphans(model: type[models.Model], pointing: type[models.Model], column: str) -> models.QuerySet[models.Model]:
    """Rows of ``model`` to which none of ``pointing`` points any more."""
    return model._default_manager.filter(~Exists(pointing._default_manager.filter(**{column: OuterRef("pk")})))


def _remove_places(now: datetime) -> None:
    """The registry with its repositories; a real repository that was given to a sample application belongs to none."""
    Exposure.objects.filter(repository__registry__host=REGISTRY).delete()
    ImageRepository.objects.filter(repository__registry__host=REGISTRY).delete()
    Repository.objects.filter(registry__host=REGISTRY).delete()
    Registry.objects.filter(host=REGISTRY).delete()
    Cluster.objects.filter(is_sample=True).delete()
    Exposure.objects.filter(application__is_sample=True).update(application=None, team_id=None)
    Repository.objects.filter(application__is_sample=True).update(application=None)


def _remove_knowledge(risks: list[int]) -> None:
    """Risks that now stand nowhere and that nobody decided on, with the flaws behind them."""
    rows = Risk.objects.filter(pk__in=bulk.among(risks), findings=None, exposures=None, decisions=None)
    flaws = set(rows.exclude(vulnerability=None).values_list("vulnerability_id", flat=True))
    ids = sorted(rows.values_list("pk", flat=True))
    Risk.objects.filter(pk__in=bulk.among(ids)).delete()
    Vulnerability.objects.filter(pk__in=bulk.among(sorted(f for f in flaws if f)), risks=None).delete()


def _remove_organisation() -> list[str]:
    """Applications, teams, people and their figures; returns the names of what stays because real things need it."""
    teams = Team.objects.filter(is_sample=True)
    DailyFigure.objects.filter(team_id__in=bulk.among(sorted(teams.values_list("pk", flat=True)))).delete()
    DailyFigure.objects.filter(**{f"figures__{SAMPLE_FIGURE}": True}).delete()
    compliance.forget_counts(list(Application.objects.filter(is_sample=True).values_list("pk", flat=True)))
    Application.objects.filter(is_sample=True).delete()
    owning = teams.filter(Exists(Application.objects.filter(team=OuterRef("pk"))))
    kept = [f"team {name}" for name in owning.values_list("name", flat=True)]
    owning.update(is_sample=False)
    Team.objects.filter(is_sample=True).delete()
    return kept + _remove_people()


def _remove_people() -> list[str]:
    """Sample people on whom a real row depends (a vote on a real request) are deactivated instead: it names them."""
    people = User.objects.filter(is_sample=True)
    bound = [people.filter(Exists(model._default_manager.filter(**{c: OuterRef("pk")}))) for model, c in _NAMING]
    needed = {pk for rows in bound for pk in rows.values_list("pk", flat=True)}
    people.exclude(pk__in=needed).delete()
    people.filter(pk__in=needed).update(is_active=False)
    return [f"{name} (deactivated)" for name in people.values_list("username", flat=True)]


_NAMING: Iterable[tuple[type[models.Model], str]] = (
    (Control, "owner"),
    (Control, "proposed_by"),
    (Control, "confirmed_by"),
    (Control, "retired_by"),
    (ControlEvidence, "by"),
    (Vote, "voter"),
    (ApprovalRequest, "requester"),
    (Decision, "requested_by"),
    (Decision, "ended_by"),
    (RiskAppetite, "author"),
    (PolicyVersion, "author"),
    (BreakGlass, "requested_by"),
    (BreakGlass, "decided_by"),
    (BreakGlass, "reviewed_by"),
)
