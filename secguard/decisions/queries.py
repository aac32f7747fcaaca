"""Reads around decisions: what applies where, what a scope would cover, who waits for whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, Q, QuerySet, Value, When

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.approvals.queries import open_for
from secguard.approvals.services import UNOWNED
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus, RiskSnapshot
from secguard.decisions.models import Decision
from secguard.decisions.scope import DecisionIndex, Place, ScopedDecision, ScopeKind
from secguard.errors import Invalid, NotFound
from secguard.findings.models import OPEN, Exposure, Finding, Risk
from secguard.findings.severity import Severity
from secguard.images.models import Image, ImageRepository, Repository
from secguard.workloads.models import Workload

SAMPLE = 50
"""How many places a reviewer sees by name; the number says how many there are."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where a decision holds, found and named, with the teams that own it."""

    kind: ScopeKind
    id: int | None = None
    label: str = ScopeKind.ORGANISATION.value
    teams: frozenset[int] = frozenset()
    """``UNOWNED`` stands for a repository that no application owns; the organisation's scope names no team."""

    @property
    def column(self) -> dict[str, int]:
        """The decision's column that points at it: ``{"repository_id": 7}``."""
        return {} if self.id is None else {f"{self.kind.value}_id": self.id}

    @property
    def key(self) -> str:
        """``repository:7``: as forms send it."""
        return self.kind.value if self.id is None else f"{self.kind.value}:{self.id}"


ORGANISATION = Scope(ScopeKind.ORGANISATION)


def find_scope(user: User, kind: str, value: Any) -> Scope:
    """The scope that ``user`` means: an image by digest, a repository by name, an application by slug, or all.

    ``NotFound`` where there is none that this person may see, ``Invalid`` at an unknown kind.
    """
    try:
        wanted = ScopeKind(kind)
    except ValueError:
        known = ", ".join(k.value for k in ScopeKind)
        raise Invalid(f"{kind!r} is no scope; expected is one of {known}.", where="scope") from None
    text = str(value)[:600]
    match wanted:
        case ScopeKind.IMAGE:
            return _image_scope(Image.objects.visible_to(user).filter(digest=text), text)
        case ScopeKind.REPOSITORY:
            return _repository_scope(Repository.objects.visible_to(user).filter(name=text), text)
        case ScopeKind.APPLICATION:
            return _application_scope(Application.objects.visible_to(user).filter(slug=text), text)
        case ScopeKind.ORGANISATION:
            return _organisation_scope(value)
        case _:
            assert_never(wanted)


def find_scope_by_key(user: User, key: str) -> Scope:
    """The scope that a form sent (``Scope.key``); errors as in ``find_scope``."""
    kind, _, text = key.partition(":")
    if kind == ScopeKind.ORGANISATION:
        return ORGANISATION
    pk = int(text) if text.isdecimal() and len(text) < 19 else 0
    match kind:
        case ScopeKind.IMAGE:
            return _image_scope(Image.objects.visible_to(user).filter(pk=pk), text)
        case ScopeKind.REPOSITORY:
            return _repository_scope(Repository.objects.visible_to(user).filter(pk=pk), text)
        case ScopeKind.APPLICATION:
            return _application_scope(Application.objects.visible_to(user).filter(pk=pk), text)
    raise Invalid(f"{key[:80]!r} is no scope.", where="scope")


def _image_scope(rows: QuerySet[Image], text: str) -> Scope:
    image = rows.first()
    if image is None:
        raise NotFound(f"There is no image {text}. An image's scope is its digest (sha256:…).", where="scope.image")
    owners = ImageRepository.objects.filter(image=image).values_list("repository__application__team_id", flat=True)
    teams = frozenset(t or UNOWNED for t in owners) or frozenset({UNOWNED})
    return Scope(ScopeKind.IMAGE, image.pk, image.digest, teams)


def _repository_scope(rows: QuerySet[Repository], text: str) -> Scope:
    repository = rows.select_related("application").first()
    if repository is None:
        raise NotFound(
            f"There is no repository {text}. A repository's scope is its full name (registry/path).",
            where="scope.repository",
        )
    owner = repository.application.team_id if repository.application else UNOWNED
    return Scope(ScopeKind.REPOSITORY, repository.pk, repository.name, frozenset({owner}))


def _application_scope(rows: QuerySet[Application], text: str) -> Scope:
    application = rows.first()
    if application is None:
        raise NotFound(
            f"There is no application {text}. An application's scope is its slug.", where="scope.application"
        )
    return Scope(ScopeKind.APPLICATION, application.pk, application.name, frozenset({application.team_id}))


def _organisation_scope(value: Any) -> Scope:
    if value is not True:
        raise Invalid('The organisation\'s scope is written {"organisation": true}.', where="scope.organisation")
    return ORGANISATION


def teams_of(decisions: Sequence[Decision]) -> dict[int, frozenset[int]]:
    """{decision id: the teams that own its scope, now}, in at most two queries however many decisions."""
    images = {d.image_id for d in decisions if d.image_id is not None}
    owners: dict[int, set[int]] = defaultdict(set)
    if images:
        rows = ImageRepository.objects.filter(image_id__in=images)
        for image, team in rows.values_list("image_id", "repository__application__team_id"):
            owners[image].add(team or UNOWNED)
    repositories = {d.repository_id for d in decisions if d.repository_id is not None}
    applications = {d.application_id for d in decisions if d.application_id is not None}
    of_repository = dict(
        Repository.objects.filter(pk__in=repositories).values_list("pk", "application__team_id") if repositories else ()
    )
    of_application = dict(
        Application.objects.filter(pk__in=applications).values_list("pk", "team_id") if applications else ()
    )
    found: dict[int, frozenset[int]] = {}
    for d in decisions:
        if d.scope_kind == ScopeKind.IMAGE:
            found[d.pk] = frozenset(owners[d.image_id or 0]) or frozenset({UNOWNED})
        elif d.scope_kind == ScopeKind.REPOSITORY:
            found[d.pk] = frozenset({of_repository.get(d.repository_id or 0) or UNOWNED})
        elif d.scope_kind == ScopeKind.APPLICATION:
            found[d.pk] = frozenset({of_application.get(d.application_id or 0) or UNOWNED})
        else:
            found[d.pk] = frozenset()
    return found


def scope_of(decision: Decision) -> Scope:
    """The scope that ``decision`` was asked for."""
    pk = decision.image_id or decision.repository_id or decision.application_id
    return Scope(ScopeKind(decision.scope_kind), pk, decision.scope_label, teams_of([decision])[decision.pk])


_PLACE_COLUMN = {
    ScopeKind.IMAGE: "image_id",
    ScopeKind.REPOSITORY: "repository_id",
    ScopeKind.APPLICATION: "repository__application_id",
}


def places_in(scope: Scope) -> QuerySet[ImageRepository]:
    """The images in their repositories that lie inside ``scope``."""
    rows = ImageRepository.objects.all()
    return rows if scope.id is None else rows.filter(**{_PLACE_COLUMN[scope.kind]: scope.id})


def places_with(risk_ids: Sequence[int], scope: Scope, user: User) -> QuerySet[ImageRepository]:
    """Of ``places_in(scope)`` those that ``user`` may see and that have one of the risks open."""
    rows = places_in(scope)
    if not user.sees_everything:
        rows = rows.filter(repository__application__team_id__in=user.team_ids)
    return rows.filter(image_id__in=Finding.objects.filter(risk_id__in=risk_ids, status=OPEN).values("image_id"))


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


def snapshot(risk: Risk, ways: Iterable[Standing]) -> RiskSnapshot:
    """What is known of ``risk`` where it stands in ``ways`` (of one scope): the worst of each fact."""
    seen = list(ways)
    return RiskSnapshot(
        severity=max((w.severity for w in seen), default=Severity(risk.severity)),
        known_exploited=risk.known_exploited or any(w.known_exploited for w in seen),
        epss=risk.epss,
        fix_available=any(w.fix_available for w in seen),
    )


def snapshots_now(decisions: Sequence[Decision]) -> dict[int, RiskSnapshot]:
    """{decision id: what is known of its risk inside its scope now}, in three queries however many decisions.

    A decision whose risk no longer stands in its scope is left out: nothing changed for the worse there.
    """
    risk_ids = {d.risk_id for d in decisions}
    risks = {r.pk: r for r in Risk.objects.filter(pk__in=risk_ids).defer("description", "remediation")}
    places: dict[int, list[tuple[int, int | None, Standing]]] = defaultdict(list)
    exposures = Exposure.objects.present().filter(risk_id__in=risk_ids)
    columns = ("risk_id", "repository_id", "application_id", "severity", "known_exploited", "fix_available")
    for risk, repository, application, severity, exploited, fix in exposures.values_list(*columns):
        places[risk].append((repository, application, Standing(Severity(severity), exploited, fix, False)))
    images: dict[tuple[int, int], list[Standing]] = defaultdict(list)
    if wanted := {d.image_id for d in decisions if d.image_id is not None}:
        findings = Finding.objects.filter(risk_id__in=risk_ids, image_id__in=wanted, status=OPEN)
        for risk, image, severity, fixes in findings.values_list("risk_id", "image_id", "severity", "fixed_versions"):
            images[risk, image].append(Standing(Severity(severity), False, bool(fixes), False))
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


# --- what applies to an image ---


def scoped(decision: Decision) -> ScopedDecision:
    return ScopedDecision(
        id=decision.pk,
        risk=decision.risk_id,
        kind=DecisionKind(decision.kind),
        scope=ScopeKind(decision.scope_kind),
        scope_id=decision.image_id or decision.repository_id or decision.application_id,
        scope_label=decision.scope_label,
        approved_at=decision.decided_at,
        expires_at=decision.expires_at,
    )


def applicable_for_image(image_id: int, now: datetime) -> dict[int, ScopedDecision]:
    """{risk id: the decision that applies to it in this image at ``now``}: the narrowest scope wins. Two queries.

    A decision on the repository, its application or the organisation covers the repository's next image as well,
    without a new decision: nothing here is bound to a row of the image.
    """
    rows = ImageRepository.objects.filter(image_id=image_id).values_list("repository_id", "repository__application_id")
    places = list(rows)
    place = Place(
        image=image_id,
        repositories=frozenset(r for r, _ in places),
        applications=frozenset(a for _, a in places if a is not None),
    )
    inside = (
        Q(scope_kind=ScopeKind.ORGANISATION.value)
        | Q(image_id=image_id)
        | Q(repository_id__in=place.repositories)
        | Q(application_id__in=place.applications)
    )
    open_risks = Finding.objects.filter(image_id=image_id, status=OPEN).values("risk_id")
    decisions = Decision.objects.in_force(now).filter(inside, risk_id__in=open_risks).defer("reason", "conditions")
    return DecisionIndex(map(scoped, decisions), place, now).chosen()


# --- what a scope would cover ---


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


def suggested_scopes(risk_ids: Sequence[int], user: User) -> list[Scope]:
    """The scopes that ``user`` may ask for and that hold one of the risks, the narrowest that covers all first.

    One repository holds everything: that repository, because the next image of it is then covered too. Several
    repositories of one application: the application. Otherwise every application, one decision each. Three queries.
    """
    rows = (
        places_with(risk_ids, ORGANISATION, user)
        .order_by("repository__name")
        .values_list("repository_id", "repository__name", "repository__application_id")
        .distinct()
    )
    places = list(rows[: SAMPLE * 4])
    applications = {
        a.pk: Scope(ScopeKind.APPLICATION, a.pk, a.name, frozenset({a.team_id}))
        for a in Application.objects.filter(pk__in={a for _, _, a in places if a is not None})
    }
    repositories = [
        Scope(ScopeKind.REPOSITORY, r, name, applications[a].teams if a else frozenset({UNOWNED}))
        for r, name, a in places
    ]
    wide = [*applications.values()]
    if user.sees_everything:
        wide.append(ORGANISATION)
    found = [*repositories, *wide] if len(repositories) == 1 else [*wide, *repositories]
    if len(applications) != 1 and len(repositories) > 1:
        found = [*repositories, *wide]
    return [s for s in found if may_ask(user, s)]


def may_ask(user: User, scope: Scope) -> bool:
    """Whether ``user`` may ask for a decision over ``scope``: for one of the teams that own it, or for all."""
    teams = user.teams_with(Permission.DECISION_REQUEST)
    return teams is None or bool(scope.teams & teams)


# --- the review queue ---


def waiting_for(user: User, now: datetime) -> QuerySet[Decision]:
    """Requests that ``user`` may be asked to decide: visible, not their own, with a role of theirs, oldest first.

    Whether the seat is still empty is the quorum's to say (``approvals.queries.outcomes``).
    """
    return (
        Decision.objects.visible_to(user)
        .waiting()
        .filter(open_for(user, prefix="approval__", team_path="team_id"), expires_at__gt=now)
        .select_related("risk__vulnerability", "requested_by", "approval", "appetite")
        .order_by("requested_at", "pk")
    )


@dataclass(frozen=True, slots=True)
class Waiting:
    """One risk in the review queue, with the requests on it."""

    risk: Risk
    decisions: tuple[Decision, ...]


def queue(user: User, now: datetime, *, limit: int = 200) -> list[Waiting]:
    """What ``user`` may decide now, grouped by risk, the risk that waits longest first. One query."""
    groups: dict[int, list[Decision]] = {}
    for decision in waiting_for(user, now)[:limit]:
        groups.setdefault(decision.risk_id, []).append(decision)
    return [Waiting(rows[0].risk, tuple(rows)) for rows in groups.values()]


def waiting_count(user: User, now: datetime, *, bound: int = 100) -> int:
    """How many requests wait for ``user``, counted up to ``bound``: the navigation's badge."""
    return len(waiting_for(user, now).order_by().values_list("pk", flat=True)[:bound])


def earlier_decisions(risk: Risk, user: User, *, before: Decision | None = None) -> list[Decision]:
    """The latest decisions on ``risk`` that ``user`` may see, newest first, without ``before`` itself."""
    rows = Decision.objects.visible_to(user).filter(risk=risk).select_related("requested_by")
    if before is not None:
        rows = rows.exclude(pk=before.pk)
    return list(rows.order_by("-requested_at", "-pk")[:20])


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A repository where the risk stands, with the image that shows it and the fixes that tools name."""

    repository: str
    application: str
    team: str
    digest: str
    severity: Severity
    severity_source: str
    component: str
    fixed_versions: tuple[str, ...]


def occurrences(risk: Risk, scope: Scope, user: User) -> list[Occurrence]:
    """Where ``risk`` stands open inside ``scope``, as far as ``user`` may see; worst first, at most ``SAMPLE``."""
    places = places_with([risk.pk], scope, user)
    findings = (
        Finding.objects.filter(risk=risk, status=OPEN, image__places__in=places)
        .order_by("-severity", "image__places__repository__name", "-image__first_seen_at", "pk")
        .values_list(
            "image__places__repository__name",
            "image__places__repository__application__name",
            "image__places__repository__application__team__name",
            "image__digest",
            "severity",
            "severity_source",
            "component__purl",
            "path",
            "fixed_versions",
        )
    )
    return [
        Occurrence(repository, app or "", team or "", digest, Severity(severity), source, purl or path, tuple(fixes))
        for repository, app, team, digest, severity, source, purl, path, fixes in findings[:SAMPLE]
    ]


# --- which decision covers an exposure ---


def covering(now: datetime) -> QuerySet[Decision]:
    """For a query over ``Exposure``: the decisions in force on its risk and place, the one that applies first."""
    newest = Repository.objects.filter(pk=OuterRef(OuterRef("repository_id")), newest_image_id=OuterRef("image_id"))
    inside = (
        Q(repository_id=OuterRef("repository_id"))
        | Q(application_id=OuterRef("application_id"))
        | Q(scope_kind=ScopeKind.ORGANISATION.value)
        | Q(Exists(newest))
    )
    widths: Mapping[str, int] = {kind.value: width for width, kind in enumerate(ScopeKind)}
    return (
        Decision.objects.in_force(now)
        .filter(inside, risk_id=OuterRef("risk_id"))
        .annotate(width=_choice("scope_kind", widths))
        .order_by("width", "-decided_at", "-pk")
    )


def _choice(column: str, values: Mapping[str, int]) -> Any:
    whens = [When(**{column: name}, then=Value(number)) for name, number in values.items()]
    return Case(*whens, default=Value(len(values)), output_field=IntegerField())


def effective_status(decision: Decision, now: datetime) -> DecisionStatus:
    """The status as it counts at ``now``: past its end a request or an approved decision shows as ended (rule 5)."""
    status = DecisionStatus(decision.status)
    open_ones = (DecisionStatus.REQUESTED, DecisionStatus.APPROVED)
    return DecisionStatus.ENDED if status in open_ones and decision.expires_at <= now else status
