"""Gather what a policy may ask about, and read what was answered."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from importlib import metadata
from typing import Any, NamedTuple

import django_filters
import msgspec
from django.conf import settings
from django.db import connection
from django.db.models import Count, F, Max, Q, QuerySet, TextField
from django.db.models.functions import Cast

from secguard.accounts.models import Application, User
from secguard.decisions.models import Decision
from secguard.decisions.queries import judgements_of
from secguard.decisions.queries.covering import Spot, Standing, scoped, standing_in
from secguard.decisions.queries.deadlines import Gave, gave
from secguard.decisions.queries.standing import at_worst, lineage_of
from secguard.decisions.scope import ScopedDecision, ScopeKind
from secguard.decisions.vex import openvex
from secguard.errors import NotFound
from secguard.findings.models import OPEN, Exposure, Finding, Observation
from secguard.findings.severity import Severity
from secguard.images import cyclonedx
from secguard.images.bill import Bill
from secguard.images.models import Image, ImageRepository, Repository, Tag
from secguard.images.queries import bill_in
from secguard.planning.queries import Reading, readings
from secguard.policies import replaying
from secguard.policies.facts import (
    DecisionFact,
    DueFact,
    Facts,
    FindingFact,
    Gate,
    ImageFact,
    PlanningFact,
    ScanFact,
)
from secguard.policies.models import GATE_CHOICES, VERDICT_CHOICES, Evaluation, Policy, PolicyVersion, Verdict
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.scans.services.matching import data_of_images
from secguard.signing import statements
from secguard.signing.models import Recall
from secguard.signing.statements import Statement, Subject, Summary


def gating_policy() -> Policy | None:
    """The policy that gates, with its active version."""
    return Policy.objects.filter(is_gating=True).select_related("active_version").first()


def facts_of(image: Image, stage: Gate, now: datetime) -> Facts:
    """Everything that a verdict on ``image`` reads, as it stands now. The caller holds the image's lock.

    A fixed number of queries, whatever the image has.
    """
    return msgspec.structs.replace(facts_for([image], now)[image.pk], stage=stage)


def facts_for(images: Sequence[Image], now: datetime) -> dict[int, Facts]:
    """``facts_of`` for each of several images, for the gate ``build``: a fixed number of queries for all of them."""
    ids = [image.pk for image in images]
    places = _places(ids)
    heads, findings, scans = _image_facts(images, places, now), _finding_facts(ids, places, now), _scan_facts(ids)
    return {
        pk: Facts(stage=Gate.BUILD, image=heads[pk], findings=findings.get(pk, ()), scans=scans.get(pk, ()))
        for pk in ids
    }


def _places(image_ids: Sequence[int]) -> dict[int, list[ImageRepository]]:
    found: dict[int, list[ImageRepository]] = {pk: [] for pk in image_ids}
    rows = ImageRepository.objects.filter(image__in=image_ids)
    for place in rows.select_related("repository__registry", "repository__application__team").order_by(
        "repository__name"
    ):
        found[place.image_id].append(place)
    return found


def _image_facts(
    images: Sequence[Image], places: Mapping[int, list[ImageRepository]], now: datetime
) -> dict[int, ImageFact]:
    tags: dict[int, list[tuple[int, str]]] = defaultdict(list)
    rows = Tag.objects.filter(image__in=images).order_by("-moved_at", "name")
    for image, repository, name in rows.values_list("image_id", "repository_id", "name"):
        tags[image].append((repository, name))
    standing = Recall.objects.standing().filter(digest__in=[image.digest for image in images])
    recalled = dict(standing.values_list("digest", "reason"))
    owning = {p.repository.application_id for found in places.values() for p in found} - {None}
    planning = readings([pk for pk in owning if pk is not None], now) if owning else {}
    return {
        image.pk: msgspec.structs.replace(
            _image_fact(image, places[image.pk], tags[image.pk], recalled.get(image.digest, "")),
            planning=_planning_fact(places[image.pk], planning),
        )
        for image in images
    }


def _planning_fact(places: Sequence[ImageRepository], planning: Mapping[int, Reading]) -> PlanningFact | None:
    """Known only where everybody who owns it has a checklist; what is missing is named to one team alone."""
    owning = {p.repository.application_id for p in places}
    found = [planning[pk] for pk in sorted(pk for pk in owning if pk is not None) if pk in planning]
    if not owning or len(found) < len(owning):
        return None
    teams = {p.repository.application.team_id for p in places if p.repository.application}
    return PlanningFact(
        templates=tuple(sorted({one.template for one in found})),
        open=sum(len(one.unkept) for one in found),
        missing=tuple(sorted({id_ for one in found for id_ in one.unkept})) if len(teams) < 2 else (),
        turns_at=min((one.next_change for one in found if one.next_change is not None), default=None),
    )


def _image_fact(
    image: Image, places: Sequence[ImageRepository], tags: Sequence[tuple[int, str]], recalled: str
) -> ImageFact:
    first = places[0].repository if places else None
    application = next((p.repository.application for p in places if p.repository.application), None)
    named = next((name for repository, name in tags if first and repository == first.pk), "")
    # One verdict is read by every team that has the image: it names no team's place to another, nor to any team one
    # that no application owns, which is the organisation's.
    owners = {p.repository.application.team_id if p.repository.application else None for p in places}
    reference = (f"{first.name}:{named}" if named else first.name) if first and len(owners) < 2 else ""
    return ImageFact(
        digest=image.digest,
        reference=reference,
        registry=first.registry.host if first else "",
        repositories=tuple(p.repository.name for p in places),
        tags=tuple(sorted({name for _, name in tags})),
        application=application.slug if application else "",
        team=application.team.slug if application else "",
        os=image.os_name,
        size_bytes=image.size_bytes,
        created_at=image.first_seen_at,
        exposed=any(p.repository.application and p.repository.application.is_exposed for p in places),
        production=any(p.repository.application and p.repository.application.is_production for p in places),
        labels={str(k): str(v) for k, v in image.labels.items()},
        recalled=recalled,
    )


_COLUMNS = (
    "image_id",
    "id",
    "risk_id",
    "risk__kind",
    "severity",
    "risk__vulnerability__name",
    "component__purl",
    "component__package",
    "component__name",
    "component__version",
    "fixes",
    "risk__known_exploited",
    "risk__epss",
    "risk__vulnerability__cvss_score",
    "risk__title",
    "risk__rule",
    "path",
    "first_seen_at",
)


_LABELS = {s.value: s.label for s in Severity}


def _finding_facts(
    image_ids: Sequence[int], places: Mapping[int, list[ImageRepository]], now: datetime
) -> dict[int, tuple[FindingFact, ...]]:
    # As text: most findings share their few lists of versions, and one is read only once.
    rows = Finding.objects.filter(image__in=image_ids, status=OPEN).annotate(fixes=Cast("fixed_versions", TextField()))
    by_image: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for image, *columns in rows.order_by("id").values_list(*_COLUMNS):
        by_image[image].append(tuple(columns))
    risks = {image: {columns[1] for columns in found} for image, found in by_image.items()}
    standing = _standing(by_image, places, now)
    sources = _sources(image_ids)
    lineages = _lineages(risks, places)
    return {
        image: tuple(_finding_fact(columns, standing[image], lineages[image], sources) for columns in found)
        for image, found in by_image.items()
    }


def _finding_fact(
    columns: tuple[Any, ...], standing: Standing, lineage: Lineage, sources: Mapping[int, tuple[str, ...]]
) -> FindingFact:
    pk, risk, kind, severity, flaw, purl, package, name, version, fixes, kev, epss, cvss, title, rule, path, at = (
        columns
    )
    fixed = _versions(fixes)
    since, due, by = lineage.get(risk, (at, None, None))
    decision = standing.chosen.get(risk)
    return FindingFact(
        id=pk,
        risk=risk,
        kind=kind,
        severity=_LABELS[severity],
        vulnerability=flaw or "",
        purl=purl or "",
        package=package or "",
        name=name or "",
        version=version or "",
        fixed_versions=fixed,
        fix_available=bool(fixed),
        known_exploited=kev,
        epss=epss,
        cvss_score=cvss,
        title=title,
        rule=rule,
        path=path,
        first_seen_at=min(at, since),
        due_at=due,
        due_by=by,
        sources=sources.get(pk, ()),
        decision=decision_fact(decision) if decision is not None else None,
        is_decided_in_part=risk in standing.in_part,
    )


@lru_cache(maxsize=16_384)
def _versions(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


@lru_cache(maxsize=4096)
def decision_fact(d: ScopedDecision) -> DecisionFact:
    scope = d.scope.value if d.scope_label == d.scope.value else f"{d.scope.value} {d.scope_label}"
    return DecisionFact(id=d.id, kind=d.kind.value, scope=scope, starts_at=d.approved_at, expires_at=d.expires_at)


def _standing(
    by_image: Mapping[int, Sequence[tuple[Any, ...]]], places: Mapping[int, list[ImageRepository]], now: datetime
) -> dict[int, Standing]:
    """{image: what is decided about its open risks}: ``standing_for_image`` of each, in two queries at most."""
    where = {image: _spots(places[image]) for image in by_image}
    everywhere = [spot for found in where.values() for spot in found]
    inside = (
        Q(scope_kind=ScopeKind.ORGANISATION.value)
        | Q(image_id__in=list(by_image))
        | Q(repository_id__in={spot.repository for spot in everywhere})
        | Q(application_id__in={spot.application for spot in everywhere if spot.application is not None})
    )
    open_risks = Finding.objects.filter(image__in=list(by_image), status=OPEN).values("risk_id")
    by_risk: dict[int, list[Decision]] = defaultdict(list)
    for decision in Decision.objects.in_force(now).filter(inside, risk_id__in=open_risks).defer("reason"):
        by_risk[decision.risk_id].append(decision)
    decided_on = ((risk, d) for risk, rows in by_risk.items() for d in rows)
    lineage = lineage_of(decided_on, {spot.repository for spot in everywhere})
    found = {}
    for image, rows in by_image.items():
        known = at_worst(
            (risk, severity, _versions(fixes), kev, epss)
            for _, risk, _, severity, _, _, _, _, _, fixes, kev, epss, *_ in rows
            if risk in by_risk
        )
        decided = [(scoped(d), d) for risk in known for d in by_risk[risk]]
        found[image] = standing_in(image, where[image], decided, known, now, lineage=lineage)
    return found


def _spots(places: Sequence[ImageRepository]) -> list[Spot]:
    owned = [(p.repository_id, p.repository.application) for p in places]
    return [Spot(pk, a.pk, a.team_id, a.is_exposed) if a else Spot(pk, None, None, None) for pk, a in owned]


def _sources(image_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = defaultdict(list)
    rows = Observation.objects.filter(finding__image__in=image_ids, finding__status=OPEN, withdrawn_at=None)
    for finding, scanner in rows.order_by("scanner").values_list("finding_id", "scanner"):
        found[finding].append(scanner)
    return {finding: tuple(names) for finding, names in found.items()}


Lineage = Mapping[int, tuple[datetime, datetime | None, DueFact | None]]
"""{risk: (first seen in the image's repositories, its deadline, what gave that)}: a rebuild begins no grace anew."""


class _Exposed(NamedTuple):
    """An exposure, as far as a lineage goes."""

    pk: int
    since: datetime
    due: datetime | None


def _lineages(risks: Mapping[int, set[int]], places: Mapping[int, list[ImageRepository]]) -> dict[int, Lineage]:
    """Each image's lineage, as far as its open risks go. Three queries."""
    repositories = {p.repository_id for image in risks for p in places[image]}
    wanted = set().union(*risks.values())
    by_repository: dict[int, dict[int, _Exposed]] = defaultdict(dict)
    rows = Exposure.objects.filter(repository_id__in=repositories).values_list(
        "repository_id", "risk_id", "pk", "since", "due_at"
    )
    for repository, risk, pk, since, due in rows.iterator() if risks else ():
        if risk in wanted:
            by_repository[repository][risk] = _Exposed(pk, since, due)
    dated = (one for found in by_repository.values() for one in found.values() if one.due is not None)
    by = {pk: due_fact(found) for pk, found in gave(one.pk for one in dated).items()}
    return {
        image: _lineage(found, [by_repository[p.repository_id] for p in places[image]], by)
        for image, found in risks.items()
    }


@lru_cache(maxsize=4096)
def _due_fact(appetite: int, row: str, words: str) -> DueFact:
    return DueFact(appetite=appetite, row=row, words=words)


def due_fact(found: Gave) -> DueFact:
    return _due_fact(found.appetite, found.deadline.label, found.deadline.words)


def _lineage(risks: set[int], repositories: Sequence[Mapping[int, _Exposed]], by: Mapping[int, DueFact]) -> Lineage:
    """The first to end says what gave it."""
    found: dict[int, tuple[datetime, datetime | None, DueFact | None]] = {}
    for risk in risks:
        rows = [repository[risk] for repository in repositories if risk in repository]
        if rows:
            dated = [(one.due, one.pk) for one in rows if one.due is not None]
            due, pk = min(dated, default=(None, 0))
            found[risk] = (min(one.since for one in rows), due, by.get(pk))
    return found


def _scan_facts(image_ids: Sequence[int]) -> dict[int, tuple[ScanFact, ...]]:
    """The latest finished scan of each scanner on each image.

    An inventory that is known here is held against each advisory that comes, without another scan: the data of the
    scan that listed it last is as old as what was imported last.
    """
    finished = Scan.objects.filter(image__in=image_ids, status=ScanStatus.FINISHED).order_by()
    newest = finished.values("image_id", "scanner").annotate(newest=Max("id")).values("newest")
    by_image: dict[int, list[Scan]] = defaultdict(list)
    columns = ("id", "image_id", "scanner", "finished_at", "created_at", "is_complete", "covers", "database_updated_at")
    for scan in Scan.objects.filter(pk__in=newest).order_by("scanner").only(*columns):
        if scan.image_id is not None:
            by_image[scan.image_id].append(scan)
    fresh = {
        image: max((s.pk for s in scans if s.is_complete and s.database_updated_at), default=None)
        for image, scans in by_image.items()
    }
    imported = data_of_images([image for image, scan in fresh.items() if scan is not None])
    return {
        image: tuple(_scan_fact(s, imported.get(image) if s.pk == fresh[image] else None) for s in scans)
        for image, scans in by_image.items()
    }


def _scan_fact(scan: Scan, imported: datetime | None) -> ScanFact:
    return ScanFact(
        id=scan.pk,
        scanner=scan.scanner,
        finished_at=scan.finished_at or scan.created_at,
        complete=scan.is_complete,
        covers=tuple(scan.covers),
        database_updated_at=_latest(scan.database_updated_at, imported),
    )


def _latest(*moments: datetime | None) -> datetime | None:
    return max((m for m in moments if m is not None), default=None)


def stale_verdicts(now: datetime) -> QuerySet[Verdict]:
    """Answers that may no longer hold: past their time, or given by a policy that no longer gates."""
    policy = gating_policy()
    past = Verdict.objects.filter(valid_until__lte=now)
    if policy is None:
        return past
    other = Verdict.objects.exclude(evaluation__policy_version=policy.active_version_id)
    return past | other


def observing(user: User, version: PolicyVersion, now: datetime) -> QuerySet[Verdict]:
    """Answers that hold at ``now`` for images that ``user`` may see, where ``version`` observed and differs.

    One that holds no more may name who had the image before; it is judged anew soon.
    """
    rows = Verdict.objects.visible_to(user).filter(evaluation__policy_version=version, valid_until__gt=now)
    rows = rows.exclude(evaluation__observed="").exclude(evaluation__observed=F("verdict"))
    return rows.select_related("image", "evaluation")


def observed(user: User, version: PolicyVersion, now: datetime) -> list[tuple[str, str, str, int]]:
    """(gate, the verdict that holds, what ``version`` would say, how many images) of ``observing``."""
    rows = observing(user, version, now).values_list("stage", "verdict", "evaluation__observed").annotate(n=Count("id"))
    return list(rows.order_by("stage", "verdict", "evaluation__observed"))


class ObservedFilter(django_filters.FilterSet):
    gate = django_filters.ChoiceFilter(label="Gate", field_name="stage", choices=GATE_CHOICES)
    holds = django_filters.ChoiceFilter(label="What holds", field_name="verdict", choices=VERDICT_CHOICES)
    would = django_filters.ChoiceFilter(
        label="What it would say", field_name="evaluation__observed", choices=VERDICT_CHOICES
    )

    class Meta:
        model = Verdict
        fields: list[str] = []


def stored_document(user: User, digest: str, stage: Gate, now: datetime) -> bytes | None:
    """The stored answer that holds at ``now``, as kept, to whoever may see the image; ``None`` where the gate has to
    ask. One query."""
    teams = [] if user.sees_everything else sorted(user.team_ids)
    if not teams and not user.sees_everything:
        return None
    with connection.cursor() as cursor:
        moment = connection.ops.adapt_datetimefield_value(now)
        cursor.execute(_stored_answer(len(teams)), [digest, stage.value, moment, *teams])
        found = cursor.fetchone()
    return bytes(found[0]) if found else None


@lru_cache(maxsize=64)
def _stored_answer(teams: int) -> str:
    """The statement behind the gate's answer, ready made: composing it anew took longer than all the rest.

    As ``VerdictQuerySet.visible_to`` does, for members of that many teams; 0 for who sees everything.
    """
    models = (Verdict, Image, Evaluation, Policy, ImageRepository, Repository, Application)
    tables = {m.__name__: connection.ops.quote_name(m._meta.db_table) for m in models}
    statement = """
        SELECT evaluation.document
        FROM {Verdict} AS verdict
        JOIN {Image} AS image ON image.id = verdict.image_id
        JOIN {Evaluation} AS evaluation ON evaluation.id = verdict.evaluation_id
        JOIN {Policy} AS policy ON policy.active_version_id = evaluation.policy_version_id AND policy.is_gating
        WHERE image.digest = %s AND verdict.stage = %s AND verdict.valid_until > %s
    """
    if teams:
        statement += """
        AND EXISTS (
            SELECT 1 FROM {ImageRepository} AS place
            JOIN {Repository} AS repository ON repository.id = place.repository_id
            JOIN {Application} AS application ON application.id = repository.application_id
            WHERE place.image_id = image.id AND application.team_id IN (@)
        )
        """.replace("@", ", ".join(["%s"] * teams))
    return statement.format_map(tables)


def shown_to(user: User, evaluation: Evaluation, document: dict[str, Any]) -> dict[str, Any]:
    """The evaluation's ``document`` as ``user`` may read it: no other team's place, nor decision. Three queries.

    The digest may have lain with another team alone when it was judged; theirs is not told to whoever got it since.
    """
    if user.sees_everything:
        return document
    place = replaying.repository_of(str(document.get("reference") or ""))
    seen = Repository.objects.visible_to(user).filter(name=place).values_list("name", flat=True)
    decisions = Decision.objects.visible_to(user).filter(pk__in=evaluation.decision_ids).values_list("pk", flat=True)
    named = Repository.objects.filter(name=place).values_list(
        "registry__host", "application__slug", "application__team__slug"
    )
    owners = {name for row in named for name in row if name}
    elsewhere = replaying.ELSEWHERE if user.limit is None else replaying.BEYOND
    return replaying.shown(document, set(seen), set(decisions), owners, elsewhere)


# --- what goes along with an image, for others ---


def statements_of(verdict: Verdict, repository: Repository, now: datetime) -> list[Statement]:
    """What is said of an image in ``repository``: its verdict as a SLSA Verification Summary, the decisions that hold
    at ``now`` as OpenVEX and, where somebody has listed what is in it, its SBOM. To be signed and put beside it.
    """
    image, evaluation = verdict.image, verdict.evaluation
    subject, version = Subject(image.digest, repository.name), evaluation.policy_version
    home = settings.PUBLIC_URL.rstrip("/")
    summary = Summary(
        verifier=f"{home}/",
        verifier_version=metadata.version("secguard"),
        resource=f"{repository.name}@{image.digest}",
        policy=statements.PolicyRef(f"{home}/policy/{version.pk}/", version.sha256),
        passed=evaluation.verdict != "block",
        verified_at=evaluation.evaluated_at,
        decisions=evaluation.decision_ids,
        levels=[f"SECGUARD_{evaluation.stage}_{evaluation.verdict}".upper()],
    )
    product = Bill(digest=image.digest, at=now, name=repository.name, architecture=image.architecture).purl
    decided = openvex(product, image.digest, judgements_of(image.pk, now), author=f"{home}/", at=now)
    told = [statements.verification_summary(subject, summary), statements.vex(subject, decided)]
    try:
        listed = json.loads(cyclonedx.document(bill_in(image, repository)))
    except NotFound:
        return told
    return [*told, statements.bill(subject, listed)]
