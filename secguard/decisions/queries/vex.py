"""The decisions that hold now, as VEX says them: of one image, or of all images in a scope that somebody may see."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from secguard.accounts.models import User, owner_filter
from secguard.advisories.models import Alias
from secguard.bulk import among
from secguard.decisions.controls import counts_until
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.models import Decision
from secguard.decisions.queries.covering import SPOT, Spot, standing_in
from secguard.decisions.queries.scopes import Scope, places_in
from secguard.decisions.queries.standing import at_worst, lineage_of
from secguard.decisions.scope import ScopedDecision, ScopeKind
from secguard.decisions.vex.judgements import Judgement, Product, Ruling, Told, product
from secguard.errors import TooLarge
from secguard.findings.models import OPEN, Finding
from secguard.images.models import Image, ImageRepository, IndexImage

MOST = 100_000
"""How many findings with a decision one document is about at most."""


def judgements_of(image_id: int, now: datetime) -> list[Judgement]:
    """One for each vulnerability that a decision covers at ``now``. A constant number of queries.

    Why it is not affected is told only where one team keeps the image: a document that goes along with an image is
    read by everybody who gets it, and no team's words are another's to publish.
    """
    world = _World(Image.objects.filter(pk=image_id), now)
    return list(world.judgements_of(image_id, may_tell=world.is_one_teams(image_id)))


def told_of(scope: Scope, user: User, about: str, author: str, now: datetime) -> Told:
    """What is in force at ``now`` on the images inside ``scope`` that ``user`` may see, under names that they may see.

    A constant number of queries. Reasons are told as ``judgements_of`` tells them, and only where all that ``user``
    sees of the images is one team's: nobody's words are published under a name that several teams stand for; and to a
    limited token only of images that lie inside of its limit alone. Raises ``TooLarge`` past ``MOST`` findings.
    """
    seen = places_in(scope).filter(owner_filter(user, "repository__application"))
    world = _World(_images(scope, seen), now)
    shown = {(image, repository) for image, repository in seen.values_list("image_id", "repository_id").iterator()}
    owners = {
        row.spot.team for image in world.purls for row in world.places[image] if (image, row.spot.repository) in shown
    }
    rulings = []
    for image in world.purls:
        inside = [row for row in world.places[image] if (image, row.spot.repository) in shown]
        named = world.product_of(image, inside)
        is_whole = user.limit is None or len(inside) == len(world.places[image])
        may_tell = len(owners) == 1 and world.is_one_teams(image) and is_whole
        rulings += [Ruling(named, one) for one in world.judgements_of(image, may_tell=may_tell)]
    return Told(about, author, rulings, now)


def _images(scope: Scope, seen: QuerySet[ImageRepository]) -> QuerySet[Image]:
    """An image that lies nowhere can be asked for by its digest alone, by those whom ``find_scope`` lets."""
    if scope.kind is ScopeKind.IMAGE:
        return Image.objects.filter(pk=scope.id or 0)
    return Image.objects.filter(pk__in=seen.values("image_id"))


_COLUMNS = (
    "pk", "risk_id", "kind", "scope_kind", "scope_label", "image_id", "repository_id", "application_id", "reason",
    "justification", "decided_at", "requested_at", "expires_at", "controls_until", "risk__vulnerability_id",
    "risk__vulnerability__name", "snapshot", "conditions",
)  # fmt: skip


class _Decided(NamedTuple):
    """All that is read of a decision: a row, since ten thousand of the model's objects take longer than the answer."""

    pk: int
    risk: int
    kind: str
    scope_kind: str
    scope_label: str
    image: int | None
    repository: int | None
    application: int | None
    reason: str
    justification: str
    decided_at: datetime | None
    requested_at: datetime
    expires_at: datetime
    controls_until: datetime | None
    flaw: int
    name: str
    snapshot: Any
    conditions: Any

    @property
    def scoped(self) -> ScopedDecision:
        """As ``covering.scoped`` makes one of a decision."""
        return ScopedDecision(
            id=self.pk,
            risk=self.risk,
            kind=_KINDS[self.kind],
            scope=_SCOPES[self.scope_kind],
            scope_id=self.image or self.repository or self.application,
            scope_label=self.scope_label,
            approved_at=self.decided_at,
            expires_at=counts_until(self.expires_at, self.controls_until),
        )


_KINDS = {k.value: k for k in DecisionKind}
_SCOPES = {k.value: k for k in ScopeKind}


class _Row(NamedTuple):
    """Where an image lies, and what that is called."""

    spot: Spot
    name: str


class _World:
    """All that is decided on some images, read at once: seven queries at most, however many there are."""

    def __init__(self, images: QuerySet[Image], now: datetime) -> None:
        self.now = now
        in_force = Decision.objects.in_force(now).filter(risk__vulnerability__isnull=False)
        found = Finding.objects.filter(status=OPEN, image__in=images, risk__in=in_force.values("risk_id"))
        rows = _findings(found)
        self.purls = _purls(rows)
        """{image: {risk: its packages in it}}, of what something is decided on somewhere."""
        self._known = {image: at_worst(row[3:] for row in of_image) for image, of_image in rows.items()}
        risks = {risk for inside in self.purls.values() for risk in inside}
        # By what was found: as a part of each statement the search for it would be made anew.
        decided = in_force.filter(risk__in=among(sorted(risks)))
        self._told = {row[0]: _Decided(*row) for row in decided.values_list(*_COLUMNS)}
        self._decisions = _by_scope(self._told.values())
        self._aliases = _aliases({one.flaw for one in self._told.values()})
        self.places: dict[int, list[_Row]] = defaultdict(list)
        self._indexes: dict[int, list[tuple[str, str]]] = defaultdict(list)
        self._read_places(sorted(self.purls))
        repositories = {row.spot.repository for rows in self.places.values() for row in rows}
        self._lineage = lineage_of(((d.risk, d) for d in self._told.values()), repositories)

    def _read_places(self, images: Sequence[int]) -> None:
        self._digests = dict(Image.objects.filter(pk__in=among(images)).values_list("pk", "digest"))
        rows = ImageRepository.objects.filter(image__in=among(images)).values_list(
            "image_id", *SPOT, "repository__name"
        )
        for image, *spot, name in rows:
            self.places[image].append(_Row(Spot(*spot), name))
        self._read_indexes(images)

    def _read_indexes(self, images: Sequence[int]) -> None:
        """An index stands for an image on an architecture that no other of its images is for (arm has variants)."""
        alike: dict[tuple[str, str], set[int]] = defaultdict(set)
        around = IndexImage.objects.filter(image__in=among(images)).values("index_id")
        members = IndexImage.objects.filter(index__in=around)
        for index, image, platform in members.values_list("index__digest", "image_id", "platform"):
            architecture = platform.partition("/")[2].partition("/")[0]
            alike[index, architecture].add(image)
        for (index, architecture), found in alike.items():
            if len(found) == 1 and architecture:
                self._indexes[next(iter(found))].append((index, architecture))

    def is_one_teams(self, image: int) -> bool:
        return len({row.spot.team for row in self.places[image]}) == 1

    def product_of(self, image: int, places: Sequence[_Row]) -> Product:
        return product(self._digests[image], [row.name for row in places], self._indexes[image])

    def judgements_of(self, image: int, *, may_tell: bool) -> Iterator[Judgement]:
        """Those that apply in this image: the narrowest scope wins, as everywhere (``covering``)."""
        risks, places = self.purls.get(image, {}), [row.spot for row in self.places[image]]
        keys: set[tuple[ScopeKind, int | None]] = {(ScopeKind.IMAGE, image), (ScopeKind.ORGANISATION, None)}
        keys |= {(ScopeKind.REPOSITORY, p.repository) for p in places}
        keys |= {(ScopeKind.APPLICATION, p.application) for p in places if p.application is not None}
        fitting = [
            (d, self._told[d.id]) for risk in risks for key in keys for d in self._decisions.get((risk, *key), ())
        ]
        known = self._known.get(image, {})
        chosen = standing_in(image, places, fitting, known, self.now, lineage=self._lineage).chosen
        for risk, decision in chosen.items():
            yield self._judgement(self._told[decision.id], risks[risk], may_tell)

    def _judgement(self, decision: _Decided, purls: set[str], may_tell: bool) -> Judgement:
        return Judgement(
            decision=decision.pk,
            kind=_KINDS[decision.kind],
            vulnerability=decision.name,
            aliases=self._aliases[decision.flaw],
            purls=sorted(purls),
            approved_at=decision.decided_at or decision.requested_at,
            expires_at=decision.expires_at,
            why=decision.reason if may_tell else "",
            justification=decision.justification,
        )


_FOUND = ("image_id", "risk_id", "component__purl", "risk_id", "severity", "fixed_versions", "risk__known_exploited",
          "risk__epss")  # fmt: skip
"""The last five as ``at_worst`` takes them."""


def _findings(found: QuerySet[Finding]) -> dict[int, list[tuple[Any, ...]]]:
    rows = list(found.values_list(*_FOUND)[: MOST + 1])
    if len(rows) > MOST:
        raise TooLarge(
            f"More than {MOST:,} findings with a decision are in what was asked for; one document holds that many at "
            "most. Ask for one repository (?repository=) or application (?application=) at a time.",
            code="vex-too-large",
        )
    by_image = defaultdict(list)
    for row in rows:
        by_image[row[0]].append(row)
    return by_image


def _purls(by_image: Mapping[int, Iterable[tuple[Any, ...]]]) -> dict[int, dict[int, set[str]]]:
    purls: dict[int, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for image, rows in by_image.items():
        for _, risk, purl, *_ in rows:
            purls[image][risk].update([purl] if purl else [])
    return purls


def _by_scope(decided: Iterable[_Decided]) -> dict[tuple[int, ScopeKind, int | None], list[ScopedDecision]]:
    found = defaultdict(list)
    for one in decided:
        as_scoped = one.scoped
        found[as_scoped.risk, as_scoped.scope, as_scoped.scope_id].append(as_scoped)
    return found


def _aliases(flaws: set[int]) -> dict[int, list[str]]:
    found = defaultdict(list)
    rows = Alias.objects.filter(vulnerability__in=among(sorted(flaws)))
    for flaw, name in rows.values_list("vulnerability_id", "name"):
        found[flaw].append(name)
    return found
