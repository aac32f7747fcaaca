"""Gather what a policy may ask about, and read what was answered."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import datetime
from functools import lru_cache
from importlib import metadata

from django.conf import settings
from django.db import connection
from django.db.models import Min, QuerySet, TextField
from django.db.models.functions import Cast

from secguard.accounts.models import Application, User
from secguard.decisions.queries import judgements_of
from secguard.decisions.queries.covering import standing_for_image
from secguard.decisions.scope import ScopedDecision
from secguard.decisions.vex import openvex
from secguard.errors import NotFound
from secguard.findings.models import OPEN, Exposure, Finding, Observation
from secguard.findings.severity import Severity
from secguard.images import cyclonedx
from secguard.images.bill import Bill
from secguard.images.models import Image, ImageRepository, Repository, Tag
from secguard.images.queries import bill_in
from secguard.policies.facts import DecisionFact, Facts, FindingFact, Gate, ImageFact, ScanFact
from secguard.policies.models import Evaluation, Policy, Verdict
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.scans.services.matching import data_of
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
    return Facts(stage=stage, image=_image_fact(image), findings=_finding_facts(image, now), scans=scan_facts(image))


def _image_fact(image: Image) -> ImageFact:
    places = list(
        ImageRepository.objects.filter(image=image)
        .select_related("repository__registry", "repository__application__team")
        .order_by("repository__name")
    )
    tags = list(Tag.objects.filter(image=image).order_by("-moved_at", "name").values_list("repository_id", "name"))
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
        recalled=Recall.objects.standing().filter(digest=image.digest).values_list("reason", flat=True).first() or "",
    )


_COLUMNS = (
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


def _finding_facts(image: Image, now: datetime) -> tuple[FindingFact, ...]:
    standing = standing_for_image(image.pk, now)
    decisions = {risk: decision_fact(d) for risk, d in standing.chosen.items()}
    sources = _sources(image)
    since, due = _lineage(image)
    facts = []
    # As text: most findings share their few lists of versions, and one is read only once.
    rows = Finding.objects.filter(image=image, status=OPEN).annotate(fixes=Cast("fixed_versions", TextField()))
    for row in rows.order_by("id").values_list(*_COLUMNS):
        pk, risk, kind, severity, flaw, purl, package, name, version, fixes, kev, epss, cvss, title, rule, path, at = (
            row
        )
        fixed = _versions(fixes)
        facts.append(
            FindingFact(
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
                first_seen_at=min(at, since.get(risk, at)),
                due_at=due.get(risk),
                sources=sources.get(pk, ()),
                decision=decisions.get(risk),
                is_decided_in_part=risk in standing.in_part,
            )
        )
    return tuple(facts)


@lru_cache(maxsize=16_384)
def _versions(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def decision_fact(d: ScopedDecision) -> DecisionFact:
    scope = d.scope.value if d.scope_label == d.scope.value else f"{d.scope.value} {d.scope_label}"
    return DecisionFact(id=d.id, kind=d.kind.value, scope=scope, starts_at=d.approved_at, expires_at=d.expires_at)


def _sources(image: Image) -> dict[int, tuple[str, ...]]:
    found: dict[int, list[str]] = defaultdict(list)
    rows = Observation.objects.filter(finding__image=image, finding__status=OPEN, withdrawn_at=None)
    for finding, scanner in rows.order_by("scanner").values_list("finding_id", "scanner"):
        found[finding].append(scanner)
    return {finding: tuple(names) for finding, names in found.items()}


def _lineage(image: Image) -> tuple[dict[int, datetime], dict[int, datetime]]:
    """(risk to first seen in the image's repositories, risk to its deadline): a rebuild begins no grace anew."""
    repositories = image.places.values("repository_id")
    rows = (
        Exposure.objects.filter(repository_id__in=repositories)
        .values_list("risk_id")
        .annotate(Min("since"), Min("due_at"))
    )
    since, due = {}, {}
    for risk, first, deadline in rows:
        since[risk] = first
        if deadline is not None:
            due[risk] = deadline
    return since, due


def scan_facts(image: Image) -> tuple[ScanFact, ...]:
    """The latest finished scan of each scanner.

    An inventory that is known here is held against each advisory that comes, without another scan: the data of the
    scan that listed it last is as old as what was imported last.
    """
    latest: dict[str, Scan] = {}
    rows = Scan.objects.filter(image=image, status=ScanStatus.FINISHED).order_by("-id")
    for scan in rows.only("id", "scanner", "finished_at", "is_complete", "covers", "database_updated_at")[:200]:
        latest.setdefault(scan.scanner, scan)
    fresh = max((s.pk for s in latest.values() if s.is_complete and s.database_updated_at), default=None)
    imported = data_of(image) if fresh else None
    return tuple(
        ScanFact(
            id=s.pk,
            scanner=s.scanner,
            finished_at=s.finished_at or s.created_at,
            complete=s.is_complete,
            covers=tuple(s.covers),
            database_updated_at=_latest(s.database_updated_at, imported if s.pk == fresh else None),
        )
        for _, s in sorted(latest.items())
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
