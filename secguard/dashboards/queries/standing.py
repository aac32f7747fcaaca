"""What the pages over everything read. Each function: a fixed number of queries, whatever the number of rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from secguard.accounts.models import Application, User
from secguard.dashboards.figures import Figures, spread
from secguard.dashboards.models import DailyFigure
from secguard.dashboards.queries.layers import with_layer
from secguard.decisions.models import Decision, DecisionQuerySet
from secguard.findings.models import OPEN, Exposure, Finding, Observation, Risk
from secguard.findings.queries import rebuild_offer
from secguard.images.models import Image, ImageRepository, Repository
from secguard.images.queries import with_places
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.policies.services import document_of
from secguard.workloads.models import Workload

WEEK = timedelta(days=7)
MONTH = timedelta(days=30)


def image_rows(user: User, gate: Gate = Gate.PROMOTE) -> QuerySet[Image]:
    """Images with their places, tags and the stored verdict at ``gate`` (``verdict_word``)."""
    stored = Verdict.objects.filter(image=OuterRef("pk"), stage=gate).values("verdict")[:1]
    rows = Image.objects.visible_to(user).annotate(verdict_word=Subquery(stored))
    return with_places(rows, user)


def blocked_rows(user: User, ids: Any, gate: Gate = Gate.PROMOTE) -> QuerySet[Image]:
    """``image_rows`` of those of the images ``ids`` (a query of them) that block at ``gate``, the worst first.

    By the verdicts: asked for each image, the database goes through all there are in the order of the list.
    """
    blocks = Verdict.objects.filter(stage=gate, verdict="block", image__in=ids).values("image")
    return image_rows(user, gate).filter(pk__in=blocks).order_by("-worst_severity", "-open_findings", "-id")


def verdicts_of(image: Image) -> dict[str, Verdict]:
    """{gate: the stored verdict}."""
    return {v.stage: v for v in Verdict.objects.filter(image=image).select_related("evaluation")}


def image_findings(image: Image) -> QuerySet[Finding]:
    """Findings with ``came_with``: the layer that brought them, by one of its names; empty where nobody knows."""
    rows = with_layer(Finding.objects.filter(image=image))
    return rows.select_related("risk__vulnerability", "component").defer(
        "risk__description", "risk__vulnerability__description", "risk__vulnerability__references"
    )


def with_sources(findings: Sequence[Finding]) -> None:
    """Give each finding ``sources``: the scanners that report it now. One query."""
    found: dict[int, list[str]] = defaultdict(list)
    rows = Observation.objects.filter(finding_id__in=[f.pk for f in findings], withdrawn_at=None).order_by("scanner")
    for pk, scanner in rows.values_list("finding_id", "scanner"):
        found[pk].append(scanner)
    for f in findings:
        f.sources = found[f.pk]  # type: ignore[attr-defined]


def running(image: Image, user: User) -> QuerySet[Workload]:
    """Workloads that run the image now, as far as ``user`` may see them."""
    rows = Workload.objects.running().visible_to(user).filter(images=image)
    return rows.select_related("cluster", "application").order_by("cluster__name", "namespace", "name")


def lineage(image: Image, user: User) -> list[ImageRepository]:
    """The newest images of the repositories in which the image lies, newest first."""
    mine = Repository.objects.visible_to(user).filter(places__image=image)
    rows = ImageRepository.objects.filter(repository__in=mine).select_related("image", "repository")
    return list(rows.order_by("-first_seen_at", "-id")[:20])


def risk_rows(user: User) -> QuerySet[Risk]:
    return (
        Risk.objects.visible_to(user)
        .select_related("vulnerability")
        .defer("description", "vulnerability__description", "vulnerability__references")
    )


def open_images_of(risk_ids: Iterable[int], user: User) -> dict[int, int]:
    """{risk id: images that ``user`` may see in which it stands open}. One query for a page of risks."""
    rows = Finding.objects.visible_to(user).filter(risk_id__in=list(risk_ids), status=OPEN)
    return dict(rows.order_by().values_list("risk_id").annotate(n=Count("image_id", distinct=True)))


def exposures_of(risk: Risk, user: User) -> QuerySet[Exposure]:
    """Where the risk stands or stood: by repository, present ones first, worst first."""
    rows = Exposure.objects.visible_to(user).filter(risk=risk).select_related("repository", "application__team")
    return rows.order_by("resolved_at", "-severity", "repository__name")


def open_work(user: User) -> QuerySet[Exposure]:
    """Risks that stand in the newest image of a repository: the work there is, and what every figure counts."""
    rows = Exposure.objects.present().visible_to(user)
    return rows.select_related("risk__vulnerability", "repository__newest_image", "application").defer(
        "risk__description", "risk__vulnerability__description", "risk__vulnerability__references"
    )


def by_deadline(now: datetime, soon: datetime) -> dict[str, Q]:
    """The words for where an open risk stands against its deadline, and the rows that each means.

    Every row is in exactly one: what a decision covers has no deadline to miss while it holds.
    """
    covered = Q(decided_until__gt=now)
    bare = Q(decided_until=None) | Q(decided_until__lte=now)
    return {
        "overdue": bare & Q(due_at__lte=now),
        "soon": bare & Q(due_at__gt=now, due_at__lte=soon),
        "later": bare & Q(due_at__gt=soon),
        "none": bare & Q(due_at=None),
        "covered": covered,
    }


def open_images(risk: Risk, user: User, *, limit: int = 50) -> list[Image]:
    """Images in which the risk stands open, newest first."""
    here = Finding.objects.filter(image=OuterRef("pk"), risk=risk, status=OPEN)
    rows = Image.objects.visible_to(user).filter(Exists(here)).order_by("-first_seen_at", "-id")
    return named(with_places(rows, user)[:limit])


def named(images: Iterable[Image]) -> list[Image]:
    """The images, each with its ``name``; they come from ``with_places``."""
    found = list(images)
    for image in found:
        image.name = name_of(image)  # type: ignore[attr-defined]
    return found


def with_upgrades(images: Sequence[Image], gate: Gate = Gate.PROMOTE) -> list[Image]:
    """The images, each with the ``upgrades`` that its stored verdict names as the way out of what blocks. One query."""
    rows = Verdict.objects.filter(image__in=images, stage=gate).select_related("evaluation") if images else ()
    documents = {row.image_id: document_of(row) for row in rows}
    found = list(images)
    for image in found:
        reasons = documents.get(image.pk, {}).get("reasons", ())
        blocking = (up for r in reasons if r["effect"] == "block" for up in (r.get("remedy") or {}).get("upgrades", ()))
        once = {(up["name"], up["from"], up["to"]): up for up in blocking}
        image.upgrades = list(once.values())  # type: ignore[attr-defined]
    return found


def decisions_on(risk_ids: Iterable[int], user: User) -> QuerySet[Decision]:
    rows = Decision.objects.visible_to(user).filter(risk_id__in=list(risk_ids))
    return rows.select_related("requested_by", "risk__vulnerability").order_by("-id")


def name_of(image: Image) -> str:
    """How people call an image: repository and tag; the digest where it lies nowhere that they may see."""
    tags = image.shown_tags
    places: list[Any] = getattr(image, "seen_places", [])
    if tags:
        return f"{tags[0].repository.name}:{tags[0].name}"
    return str(places[0].repository.name) if places else image.digest[:19]


def base_of(image: Image, user: User) -> dict[str, Any]:
    """``base``: what the image was built on; ``rebuild``: what building it on the newest of that would change, and
    ``newest_base`` that image. Each with its ``name``, and ``None`` where it is unknown or ``user`` may not see it."""
    offer = rebuild_offer(image, user)
    wanted = [pk for pk in (image.base_image_id, offer.newest.pk if offer else None) if pk]
    rows = with_places(Image.objects.visible_to(user).filter(pk__in=wanted), user)
    found = {base.pk: base for base in rows}
    for base in found.values():
        base.name = first_name_of(base)  # type: ignore[attr-defined]
    return {
        "base": found.get(image.base_image_id or 0),
        "rebuild": offer,
        "newest_base": found.get(offer.newest.pk) if offer else None,
    }


def first_name_of(image: Image) -> str:
    """What it was called where it was known first: a base is known by its own repository, not by who re-tagged it."""
    places: list[Any] = getattr(image, "seen_places", [])
    if not places:
        return image.digest[:19]
    first = min(places, key=lambda place: (place.first_seen_at, place.pk)).repository
    tags = [tag.name for tag in image.shown_tags if tag.repository_id == first.pk]
    return f"{first.name}:{tags[0]}" if tags else str(first.name)


# --- the figures ---


def newest_images(user: User, team_id: int | None = None) -> QuerySet[Repository]:
    """Repositories with a newest image, as ``user`` may see them (and of one team, where asked)."""
    rows = Repository.objects.visible_to(user).exclude(newest_image=None)
    return rows if team_id is None else rows.filter(application__team_id=team_id)


def figures(user: User, now: datetime, *, team_id: int | None = None, gate: Gate = Gate.PROMOTE) -> Figures:
    """The figures as they stand now. Six queries."""
    decisions = Decision.objects.visible_to(user)
    exposures = Exposure.objects.present().visible_to(user)
    if team_id is not None:
        decisions, exposures = decisions.filter(team_id=team_id), exposures.filter(team_id=team_id)
    return figures_of(newest_images(user, team_id), exposures, decisions, now, gate)


def figures_of(
    newest: QuerySet[Repository],
    exposures: QuerySet[Exposure],
    decisions: DecisionQuerySet,
    now: datetime,
    gate: Gate = Gate.PROMOTE,
) -> Figures:
    """The figures of these repositories (each with its newest image), open risks and decisions. Six queries."""
    verdicts, images = _verdicts(newest, gate)
    within, applications = _applications(newest, gate)
    in_force = decisions.in_force(now).aggregate(n=Count("pk"), soon=Count("pk", filter=Q(expires_at__lte=now + MONTH)))
    return Figures(
        images=images,
        verdicts=verdicts,
        applications=applications,
        applications_within=within,
        open=_open(exposures, now),
        exceptions=in_force["n"],
        exceptions_ending=in_force["soon"],
        waiting=decisions.waiting().filter(expires_at__gt=now).count(),
    )


def _verdicts(repositories: QuerySet[Repository], gate: Gate) -> tuple[dict[str, int], int]:
    newest = repositories.values("newest_image_id")
    images = newest.distinct().count()
    rows = Verdict.objects.filter(stage=gate, image_id__in=newest).values_list("verdict").annotate(n=Count("pk"))
    found = dict.fromkeys(("pass", "warn", "block"), 0) | dict(rows.order_by())
    return {**found, "unknown": images - sum(found.values())}, images


def _applications(repositories: QuerySet[Repository], gate: Gate) -> tuple[int, int]:
    """(within policy, all): applications with images, none of whose newest is blocked or not judged."""
    judged = Verdict.objects.filter(stage=gate, image=OuterRef("newest_image_id")).exclude(verdict="block")
    rows = repositories.exclude(application=None)
    all_ = rows.values("application_id").distinct().count()
    outside = rows.filter(~Exists(judged)).values("application_id").distinct().count()
    return all_ - outside, all_


def _open(exposures: QuerySet[Exposure], now: datetime) -> dict[str, dict[str, int]]:
    words = by_deadline(now, now + WEEK)
    counted: Any = (
        exposures.order_by().values("severity").annotate(**{w: Count("pk", filter=q) for w, q in words.items()})
    )
    return spread((row["severity"], {w: row[w] for w in words}) for row in counted)


def measured_applications(user: User, gate: Gate = Gate.PROMOTE) -> QuerySet[Application]:
    """Applications with images, and where each stands: ``outside`` policy, ``images`` newest, ``blocked``, ``overdue``.

    The sets are those of ``figures``, so that every number there is the count of rows here.
    """
    mine = Repository.objects.visible_to(user).filter(application=OuterRef("pk")).exclude(newest_image=None)
    judged = Verdict.objects.filter(stage=gate, image=OuterRef("newest_image_id"))
    let_pass = judged.exclude(verdict="block")
    rows = Application.objects.visible_to(user).filter(Exists(mine)).select_related("team")
    return rows.annotate(
        outside=Exists(mine.filter(~Exists(let_pass))),
        images=_number(mine, "newest_image_id"),
        blocked=_number(mine.filter(Exists(judged.filter(verdict="block"))), "newest_image_id"),
    )


def _number(rows: QuerySet[Any], column: str) -> Coalesce:
    """How many different ``column`` the correlated ``rows`` have, as a subquery; 0 where there is none."""
    counted = rows.order_by().values("application_id").annotate(n=Count(column, distinct=True)).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def open_by_application(application_ids: Iterable[int], user: User, now: datetime) -> dict[int, dict[str, int]]:
    """{application id: {deadline word: open risks, and ``open`` for all of them}}. One query."""
    rows = Exposure.objects.present().visible_to(user).filter(application_id__in=list(application_ids))
    words = {word: Count("pk", filter=q) for word, q in by_deadline(now, now + WEEK).items()}
    counted: Any = rows.order_by().values("application_id").annotate(open=Count("pk"), **words)
    return {row["application_id"]: row for row in counted}


def trend(team_ids: Sequence[int], since: date) -> dict[date, list[Mapping[str, Any]]]:
    """{day: the figures kept of these teams (0: the organisation)}."""
    found: dict[date, list[Mapping[str, Any]]] = defaultdict(list)
    for row in DailyFigure.objects.filter(team_id__in=team_ids, day__gte=since).order_by("day"):
        found[row.day].append(row.figures)
    return found
