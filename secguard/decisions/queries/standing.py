"""How a risk stands inside a scope, and how much a decision over it would cover."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec
from django.db.models import Count, Exists, OuterRef

from secguard import bulk
from secguard.accounts.models import User
from secguard.decisions.lifecycle import (
    DecisionKind,
    RiskSnapshot,
    material_change,
    parse_conditions,
    still_stands,
)
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


def known_in_image(image_id: int, risk_ids: Sequence[int]) -> dict[int, RiskSnapshot]:
    """{risk id: what is known of it in this one image}, of those of the risks that stand open there; one query.

    Not whether that is reachable from outside: an image may lie in several places.
    """
    if not risk_ids:
        return {}
    rows = Finding.objects.filter(image_id=image_id, risk_id__in=bulk.among(risk_ids), status=OPEN)
    return at_worst(rows.values_list("risk_id", "severity", "fixed_versions", "risk__known_exploited", "risk__epss"))


def at_worst(rows: Iterable[tuple[int, int, Any, bool, float | None]]) -> dict[int, RiskSnapshot]:
    """{risk id: what is known of it in one image}, of several findings the worst. No query.

    Each row is a finding there: (risk, severity, versions that fix it, known exploitation, EPSS).
    """
    found: dict[int, RiskSnapshot] = {}
    for risk, severity, fixes, exploited, epss in rows:
        before = found.get(risk)
        found[risk] = RiskSnapshot(
            severity=max(Severity(severity), before.severity if before else Severity.UNKNOWN),
            known_exploited=exploited,
            epss=epss,
            fix_available=bool(fixes) or (before is not None and before.fix_available),
        )
    return found


class Terms(Protocol):
    """What a decision was agreed under, as its row keeps it."""

    @property
    def kind(self) -> str: ...
    @property
    def snapshot(self) -> Any: ...
    @property
    def conditions(self) -> Any: ...
    @property
    def requested_at(self) -> datetime: ...


Lineage = Mapping[tuple[int, int], datetime | None]
"""{(risk, repository): when it last came back there}, of the risks that stand in the repositories' newest images."""


def ends_with_fix_of(terms: Terms) -> bool:
    """Whether it was agreed "until it is fixed", in each repository for itself."""
    return bool(terms.conditions.get("until_fixed"))


def lineage_of(decided: Iterable[tuple[int, Terms]], repositories: Collection[int]) -> Lineage:
    """How the risks stand in these repositories that one of ``decided`` ((risk, its terms)) waits to be fixed; one
    query, none where none does."""
    risks = sorted({risk for risk, terms in decided if ends_with_fix_of(terms)})
    if not risks:
        return {}
    rows = Exposure.objects.present().filter(
        risk_id__in=bulk.among(risks), repository_id__in=bulk.among(sorted(repositories))
    )
    return {(risk, r): returned for risk, r, returned in rows.values_list("risk_id", "repository_id", "returned_at")}


def fixed_everywhere(decisions: Sequence[Decision]) -> set[int]:
    """Those that were agreed "until it is fixed" and are fixed in each repository they cover; two queries at most."""
    until = [d for d in decisions if ends_with_fix_of(d)]
    if not until:
        return set()
    exposures = Exposure.objects.present().filter(risk_id__in=bulk.among(sorted({d.risk_id for d in until})))
    by_risk: dict[int, list[tuple[int, int | None, datetime | None]]] = defaultdict(list)
    columns = ("risk_id", "repository_id", "application_id", "returned_at")
    for risk, repository, application, returned in exposures.values_list(*columns):
        by_risk[risk].append((repository, application, returned))
    images = {d.image_id for d in until if d.image_id is not None}
    places = ImageRepository.objects.filter(image_id__in=images) if images else ImageRepository.objects.none()
    lies_in = set(places.values_list("image_id", "repository_id"))

    def stands(d: Decision) -> bool:
        inside = (
            returned
            for repository, application, returned in by_risk[d.risk_id]
            if ((d.image_id, repository) in lies_in if d.image_id else _inside(d, repository, application))
        )
        return any(still_stands(d.requested_at, True, returned) for returned in inside)

    return {d.pk for d in until if not stands(d)}


def stands_in_newest(risk: Risk, scope: Scope) -> bool:
    """Whether the newest image of a repository in ``scope`` has ``risk``: what can still be fixed there."""
    repositories = places_in(scope).values("repository_id")
    return Exposure.objects.present().filter(risk=risk, repository_id__in=repositories).exists()


def changes(decision: Terms, current: RiskSnapshot) -> list[str]:
    """Why ``decision`` no longer stands on what it was asked for under, now that ``current`` is known."""
    return material_change(
        msgspec.convert(decision.snapshot, RiskSnapshot),
        current,
        parse_conditions(decision.conditions),
        DecisionKind(decision.kind),
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
    clusters: int
    """Where those workloads run."""
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
        **running.aggregate(workloads=Count("pk", distinct=True), clusters=Count("cluster_id", distinct=True)),
        severities={Severity(s).label: n for s, n in spread},
    )
