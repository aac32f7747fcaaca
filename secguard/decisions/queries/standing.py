"""How a risk stands inside a scope, and how much a decision over it would cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef

from secguard.accounts.models import User
from secguard.decisions.lifecycle import RiskSnapshot
from secguard.decisions.models import Decision
from secguard.decisions.queries.scopes import Scope, places_in, places_with
from secguard.decisions.scope import ScopeKind
from secguard.findings.models import OPEN, Exposure, Finding, Risk
from secguard.findings.severity import Severity
from secguard.images.models import ImageRepository
from secguard.workloads.models import Workload


@dataclass(frozen=True, slots=True)
class Standing:
    """One way in which a risk stands inside a scope: the facts that a risk appetite asks for."""

    severity: Severity
    known_exploited: bool
    fix_available: bool
    exposed: bool


def standings(risk: Risk, scope: Scope) -> frozenset[Standing]:
    """The different ways in which ``risk`` stands open in ``scope``; empty where it does not stand there.

    From the newest images (``Exposure``) where it stands in one, else from the older images' findings, which is also
    where an image's own scope looks.
    """
    if scope.kind is not ScopeKind.IMAGE:
        rows = Exposure.objects.present().filter(risk=risk, **({} if scope.id is None else scope.column))
        columns = ("severity", "known_exploited", "fix_available", "application__is_exposed")
        if found := set(rows.values_list(*columns).distinct()):
            return frozenset(Standing(Severity(s), x or risk.known_exploited, f, bool(e)) for s, x, f, e in found)
    inside = places_in(scope)
    older = Finding.objects.filter(risk=risk, status=OPEN, image_id__in=inside.values("image_id"))
    severities = set(older.values_list("severity", flat=True).distinct())
    exposed = (
        bool(severities)
        and inside.filter(repository__application__is_exposed=True, image_id__in=older.values("image_id")).exists()
    )
    return frozenset(Standing(Severity(s), risk.known_exploited, risk.fix_available, exposed) for s in severities)


def kinds_of_standing(risk_ids: Sequence[int], scope: Scope) -> set[tuple[str, Standing]]:
    """The different (kind of finding, standing) of several risks in ``scope``, in one query; for a preview.

    Unlike ``standings`` it looks into newest images only, but for an image's own scope.
    """
    if scope.kind is ScopeKind.IMAGE:
        exposed = places_in(scope).filter(repository__application__is_exposed=True)
        findings = Finding.objects.filter(risk_id__in=risk_ids, status=OPEN, image_id=scope.id or 0).values_list(
            "risk__kind", "severity", "risk__known_exploited", "risk__fix_available", Exists(exposed)
        )
        rows = set(findings.distinct())
    else:
        exposures = Exposure.objects.present().filter(risk_id__in=risk_ids, **scope.column)
        columns = ("kind", "severity", "known_exploited", "fix_available", "application__is_exposed")
        rows = set(exposures.values_list(*columns).distinct())
    return {(kind, Standing(Severity(s), exploited, fix, bool(e))) for kind, s, exploited, fix, e in rows}


def snapshot(risk: Risk, ways: Iterable[Standing]) -> RiskSnapshot:
    """What is known of ``risk`` where it stands in ``ways`` (of one scope): the worst of each fact."""
    seen = list(ways)
    return RiskSnapshot(
        severity=max((w.severity for w in seen), default=Severity(risk.severity)),
        known_exploited=risk.known_exploited or any(w.known_exploited for w in seen),
        epss=risk.epss,
        fix_available=any(w.fix_available for w in seen),
        exposed=any(w.exposed for w in seen),
    )


def snapshots_now(decisions: Sequence[Decision]) -> dict[int, RiskSnapshot]:
    """{decision id: what is known of its risk inside its scope now}, in four queries at most however many decisions.

    A decision whose risk no longer stands in its scope is left out: nothing changed for the worse there.
    """
    risk_ids = {d.risk_id for d in decisions}
    risks = {r.pk: r for r in Risk.objects.filter(pk__in=risk_ids).defer("description", "remediation")}
    places: dict[int, list[tuple[int, int | None, Standing]]] = defaultdict(list)
    exposures = Exposure.objects.present().filter(risk_id__in=risk_ids)
    columns = ("severity", "known_exploited", "fix_available", "application__is_exposed")
    rows = exposures.values_list("risk_id", "repository_id", "application_id", *columns)
    for risk, repository, application, severity, exploited, fix, outside in rows:
        places[risk].append((repository, application, Standing(Severity(severity), exploited, fix, bool(outside))))
    images: dict[tuple[int, int], list[Standing]] = defaultdict(list)
    if wanted := {d.image_id for d in decisions if d.image_id is not None}:
        findings = Finding.objects.filter(risk_id__in=risk_ids, image_id__in=wanted, status=OPEN)
        outside = Exists(
            ImageRepository.objects.filter(image=OuterRef("image_id"), repository__application__is_exposed=True)
        )
        facts = findings.values_list("risk_id", "image_id", "severity", "fixed_versions", outside)
        for risk, image, severity, fixes, exposed in facts:
            images[risk, image].append(Standing(Severity(severity), False, bool(fixes), exposed))
    found: dict[int, RiskSnapshot] = {}
    for d in decisions:
        ways = images[d.risk_id, d.image_id] if d.image_id else [w for r, a, w in places[d.risk_id] if _inside(d, r, a)]
        if ways:
            found[d.pk] = snapshot(risks[d.risk_id], ways)
    return found


def _inside(decision: Decision, repository: int, application: int | None) -> bool:
    if decision.repository_id is not None:
        return decision.repository_id == repository
    return decision.application_id is None or decision.application_id == application


@dataclass(frozen=True, slots=True)
class BlastRadius:
    """How much a decision would cover, as far as the asking person may see."""

    images: int
    repositories: int
    applications: int
    workloads: int
    severities: dict[str, int]
    """{severity word: open findings}, worst first."""


def blast_radius(risk_ids: Sequence[int], scope: Scope, user: User) -> BlastRadius:
    """Images, repositories, applications and running workloads that a decision on these risks over ``scope`` covers.

    Counts hold what ``user`` may see and nothing else: not even that there is more. Three queries.
    """
    places = places_with(risk_ids, scope, user)
    counts = places.aggregate(
        images=Count("image_id", distinct=True),
        repositories=Count("repository_id", distinct=True),
        applications=Count("repository__application_id", distinct=True),
    )
    running = Workload.objects.running().visible_to(user).filter(images__in=places.values("image_id"))
    spread = (
        Finding.objects.filter(risk_id__in=risk_ids, status=OPEN, image_id__in=places.values("image_id"))
        .order_by("-severity")
        .values_list("severity")
        .annotate(n=Count("id"))
    )
    return BlastRadius(
        **counts,
        workloads=running.aggregate(n=Count("pk", distinct=True))["n"],
        severities={Severity(s).label: n for s, n in spread},
    )
