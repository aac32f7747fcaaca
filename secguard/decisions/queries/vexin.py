"""What VEX documents of others are about here: the findings, the decisions there are, and whom to trust."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from django.db.models import Q, QuerySet

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.advisories.models import Alias, Vulnerability
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus
from secguard.decisions.models import Decision, VexAuthor, VexDocument, counts_at
from secguard.decisions.scope import ScopeKind
from secguard.decisions.vexin import Document, authors
from secguard.decisions.vexin.matching import Ask, Stand
from secguard.errors import TooLarge
from secguard.findings.models import OPEN, Finding
from secguard.images.models import Image, ImageRepository, Repository

MAX_STANDS = 20_000
_COLUMNS = (
    "risk_id",
    "risk__vulnerability_id",
    "image_id",
    "image__digest",
    "component__package",
    "component__name",
    "component__version",
)
_STEP = 5_000
"""Values asked for at once: SQLite takes 32,766 in one statement."""


def trusting(document: Document) -> list[VexAuthor]:
    """The authors by which the document is trusted, somewhere; none where it names nobody. One query."""
    who = authors.identity(document)
    return [a for a in VexAuthor.objects.trusted() if who and authors.matches(a.pattern, who)]


def stands_of(document: Document, user: User, image: Image | None, applications: Collection[int] | None) -> list[Stand]:
    """The open findings that the document may speak of and ``user`` may ask about; of ``image`` alone where given.

    ``applications``: those in which its author is trusted, ``None`` for everywhere. An image that lies elsewhere as
    well is left out: a decision on it would hold there too. Raises ``TooLarge`` past ``MAX_STANDS``.
    """
    flaws = _flaws({name for one in document.statements for name in (one.vulnerability, *one.aliases)})
    rows: list[tuple[int, int, int, str, str, str, str]] = []
    for step in _steps(sorted(flaws)):
        found = _findings(user, image).filter(risk__vulnerability_id__in=step).order_by("id")
        rows += found.values_list(*_COLUMNS)[: MAX_STANDS + 1]
        if len(rows) > MAX_STANDS:
            raise TooLarge(
                f"The document speaks of more than {MAX_STANDS:,} findings that you may ask about; post it to one "
                "image, or split it.",
                code="document-too-large",
            )
    places = _places({row[2] for row in rows}, user, applications)
    return [
        Stand(
            risk=risk,
            names=frozenset(flaws[flaw]),
            image=of,
            digest=digest,
            repositories=places[of],
            package=package or "",
            name=name or "",
            version=version or "",
        )
        for risk, flaw, of, digest, package, name, version in rows
        if of in places
    ]


def _findings(user: User, image: Image | None) -> QuerySet[Finding]:
    rows = Finding.objects.visible_to(user).filter(status=OPEN)
    teams = user.teams_with(Permission.DECISION_REQUEST)
    if teams is not None:
        mine = ImageRepository.objects.filter(repository__application__team_id__in=teams)
        rows = rows.filter(image_id__in=mine.values("image_id"))
    return rows if image is None else rows.filter(image=image)


def _flaws(names: set[str]) -> dict[int, set[str]]:
    """{vulnerability: its names, in capitals, among those asked for}."""
    spelled = {s for n in names for s in (n, n.upper(), f"{n[:5].upper()}{n[5:].lower()}") if len(s) <= 100}
    found: dict[int, set[str]] = defaultdict(set)
    for step in _steps(sorted(spelled)):
        for pk, name in Vulnerability.objects.filter(name__in=step).values_list("pk", "name"):
            found[pk].add(name.upper())
        for pk, name in Alias.objects.filter(name__in=step).values_list("vulnerability_id", "name"):
            found[pk].add(name.upper())
    return found


def _places(
    images: set[int], user: User, applications: Collection[int] | None
) -> dict[int, tuple[tuple[int, str], ...]]:
    """{image: the repositories that the user may ask about}, without images that the author's trust leaves out."""
    teams = user.teams_with(Permission.DECISION_REQUEST)
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    outside: set[int] = set()
    columns = ("image_id", "repository_id", "repository__name", "repository__application_id")
    for step in _steps(sorted(images)):
        rows = ImageRepository.objects.filter(image_id__in=step).order_by("repository__name")
        for image, pk, name, application, team in rows.values_list(*columns, "repository__application__team_id"):
            if applications is not None and application not in applications:
                outside.add(image)
            if teams is None or team in teams:
                found[image].append((pk, name))
    return {image: tuple(places) for image, places in found.items() if image not in outside}


def same_asked(asks: Iterable[Ask], sha256: str, now: datetime) -> dict[tuple[int, str, int], Decision]:
    """The decisions that make asking again pointless, by (risk, scope, scope's id).

    The same kind for the same scope, in force; or rejected, when this very document asked for it.
    """
    wanted = {(a.risk, a.scope.value, a.scope_id): a.kind.value for a in asks}
    again = Q(status="rejected", vex_proposal__document__sha256=sha256)
    holds = counts_at(now)
    found: dict[tuple[int, str, int], Decision] = {}
    for step in _steps(sorted({risk for risk, _, _ in wanted})):
        for decision in Decision.objects.filter(again | holds, risk_id__in=step).order_by("id"):
            scope_id = decision.image_id if decision.scope_kind == ScopeKind.IMAGE else decision.repository_id
            key = (decision.risk_id, decision.scope_kind, scope_id or 0)
            if wanted.get(key) == decision.kind:
                found[key] = decision
    return found


def said_otherwise(stands: Collection[Stand], user: User, now: datetime) -> dict[Stand, int]:
    """Of findings that a document calls affected: the decision, in force or asked for, that has them not affected."""
    places = {place for stand in stands for place, _ in stand.repositories}
    owners: dict[int, int | None] = {}
    for step in _steps(sorted(places)):
        owners.update(Repository.objects.filter(pk__in=step).values_list("pk", "application_id"))
    asked = Q(status=DecisionStatus.REQUESTED, expires_at__gt=now)
    by_risk: dict[int, list[Decision]] = defaultdict(list)
    for step in _steps(sorted({stand.risk for stand in stands})):
        rows = Decision.objects.visible_to(user).filter(asked | counts_at(now), kind=DecisionKind.NOT_AFFECTED)
        for decision in rows.filter(risk_id__in=step).order_by("id"):
            by_risk[decision.risk_id].append(decision)
    found: dict[Stand, int] = {}
    for stand in stands:
        inside: dict[ScopeKind, set[int | None]] = {
            ScopeKind.IMAGE: {stand.image},
            ScopeKind.REPOSITORY: {place for place, _ in stand.repositories},
            ScopeKind.APPLICATION: {owners.get(place) for place, _ in stand.repositories},
            ScopeKind.ORGANISATION: {None},
        }
        for decision in by_risk.get(stand.risk, ()):
            of = decision.image_id or decision.repository_id or decision.application_id
            if of in inside[ScopeKind(decision.scope_kind)]:
                found.setdefault(stand, decision.pk)
    return found


def newer_than(document: Document, user: User) -> VexDocument | None:
    """A later edition of the same document that the user may see, if any."""
    if not document.id or document.at is None:
        return None
    same = VexDocument.objects.visible_to(user).filter(
        format=document.format, name=document.id, author=document.author, namespace=document.namespace
    )
    return same.filter(made_at__gt=document.at).order_by("-made_at").first()


def _steps(values: list[int] | list[str]) -> Iterator[list[int] | list[str]]:
    for start in range(0, len(values), _STEP):
        yield values[start : start + _STEP]
