"""What an image is, where it stands on its way, and what is judged of it at an environment's gate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import APPROVERS, Permission
from secguard.approvals.models import ApprovalRequest, Vote
from secguard.approvals.queries import Seat, open_for, outcomes, seats_of_others, votes_of, whose_seat
from secguard.approvals.quorum import Outcome
from secguard.approvals.services import UNOWNED
from secguard.errors import Invalid, NotFound
from secguard.images.models import Image, ImageRepository, Index, IndexImage, Repository, Tag
from secguard.images.reference import Reference, is_digest, parse
from secguard.jobs.models import Job
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.policies.services import document_of, verdict_of
from secguard.promotion import route
from secguard.promotion.lifecycle import PromotionStatus
from secguard.promotion.models import Environment, Promotion
from secguard.promotion.route import Stop
from secguard.signing.models import Attestation, Recall
from secguard.signing.services import TAKE_AWAY, reach_of
from secguard.signing.statements import PROMOTION
from secguard.workloads.models import Workload

MAX_RUNS = 500
"""Workloads that are listed of one digest."""
MAX_WAITING = 100
"""Promotions that are looked at for whether somebody may vote on them."""
MAX_LATEST = 20
"""Promotions of one image that its page knows of."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a reference names: a digest in a repository, and the images behind it (an index has several)."""

    repository: Repository
    digest: str
    images: tuple[Image, ...]


def choose(text: str, *, actor: User | None) -> Chosen:
    """What a reference names here now: a digest itself, a tag what it pointed to when it was scanned last.

    Raises ``Invalid`` for a digest without a repository, ``NotFound`` for what is not known or not to be seen.
    """
    if is_digest(text.strip()):
        raise Invalid("Name the repository too: registry/repository@sha256:…", code="bad-reference", where="image")
    reference = parse(text)
    seen = Repository.objects.visible_to(actor) if actor else Repository.objects.all()
    repository = seen.filter(name=reference.repository).select_related("registry", "application__team").first()
    if repository is None:
        raise NotFound(
            f"There is no repository {reference.repository} that you may see. Have the image scanned first "
            f"(secguard scan {text[:200]}).",
            code="no-repository",
            where="image",
        )
    digest = reference.digest or _pointed(repository, reference)
    images = images_of(digest)
    here = set(ImageRepository.objects.filter(repository=repository, image__in=images).values_list("image", flat=True))
    if not images or here != {image.pk for image in images}:
        raise NotFound(
            f"{digest} is not known to lie in {repository.name}. Have it scanned there first "
            f"(secguard scan {repository.name}@{digest}).",
            code="no-image",
            where="image",
        )
    if any(not image.is_digest_asserted for image in images):
        raise Invalid(
            f"Of {text[:200]} only the configuration's digest is known, not the manifest's that registries keep. Push "
            "it, and have it scanned there.",
            code="not-pushed",
            where="image",
        )
    return Chosen(repository, digest, tuple(images))


def images_of(digest: str) -> list[Image]:
    """The image of that digest, or the platforms of that index as far as they are known."""
    image = Image.objects.filter(digest=digest).first()
    if image is not None:
        return [image]
    members = IndexImage.objects.filter(index__digest=digest).values("image_id")
    return list(Image.objects.filter(pk__in=members).order_by("pk"))


def _pointed(repository: Repository, reference: Reference) -> str:
    name = reference.tag or "latest"
    tag = Tag.objects.filter(repository=repository, name=name).select_related("image", "index").first()
    if tag is None:
        raise NotFound(
            f"There is no tag {name!r} of {repository.name} here. Have it scanned first (secguard scan {reference}).",
            code="no-tag",
            where="image",
        )
    return tag.index.digest if tag.index else tag.image.digest


def index_of(digest: str) -> Index | None:
    return Index.objects.filter(digest=digest).first()


# --- the way ---


def stops() -> list[Stop]:
    return [e.stop for e in Environment.objects.select_related("registry")]


def promotable() -> list[str]:
    """The environments that images are promoted to: all but the first, which they are pushed to."""
    return list(Environment.objects.order_by("position").values_list("name", flat=True))[1:]


def environment_named(name: str) -> Environment:
    found = Environment.objects.select_related("registry").filter(name=name.strip()).first()
    if found is None:
        known = ", ".join(Environment.objects.values_list("name", flat=True)) or "none yet"
        raise NotFound(f"There is no environment {name[:80]!r}; known: {known}.", code="no-environment", where="to")
    return found


def standing_in(digests: Iterable[str], environment: str, now: datetime) -> set[str]:
    """Those of the digests that were promoted to the environment, by a statement that counts now. One query."""
    rows = Attestation.objects.standing(now).filter(
        digest__in=list(digests), environment=environment, predicate_type=PROMOTION
    )
    return set(rows.values_list("digest", flat=True))


def why_not_yet(source: Repository, digest: str, environment: Environment, now: datetime) -> str:
    """In words, where the digest does not stand in the environment that comes before; else empty."""
    before = route.previous(stops(), environment.name)
    if before is None or digest in standing_in([digest], before.name, now):
        return ""
    return (
        f"{digest} does not stand in {before.name}, which comes before {environment.name}. Promote it there first: "
        f"secguard promote {source.name}@{digest} --to {before.name}"
    )


def environments_of(digests: Sequence[str], now: datetime) -> dict[str, datetime]:
    """{environment: since when} that any of the digests stands in. One query."""
    rows = Attestation.objects.standing(now).filter(digest__in=digests, predicate_type=PROMOTION)
    return dict(rows.order_by("-made_at").values_list("environment", "made_at"))


# --- the verdict ---


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on all images of a digest at a gate: the worst counts."""

    verdicts: tuple[Verdict, ...]

    @property
    def worst(self) -> Verdict:
        return max(self.verdicts, key=lambda v: ("pass", "warn", "block").index(v.verdict))

    @property
    def is_blocked(self) -> bool:
        return self.worst.verdict == "block"

    @property
    def evaluation_ids(self) -> list[int]:
        return sorted({v.evaluation_id for v in self.verdicts})

    @property
    def reasons(self) -> list[dict[str, Any]]:
        """Of what blocks, once each; with the digest of the image where it is one of several."""
        found: dict[str, dict[str, Any]] = {}
        for verdict in self.verdicts:
            for reason in document_of(verdict)["reasons"] if verdict.verdict == "block" else ():
                if reason["effect"] == "block":
                    found.setdefault(f"{reason['rule']} {reason['message']}", {"image": verdict.image.digest} | reason)
        return list(found.values())


def judge(images: Sequence[Image], gate: Gate, now: datetime | None = None) -> Judged:
    """What the policy that gates says of each image, judged anew where the stored answer may not hold."""
    return Judged(tuple(verdict_of(image, gate, now) for image in images))


def why_blocked(judged: Judged) -> str:
    said = " ".join(str(r["message"]).rstrip(".") + "." for r in judged.reasons[:5])
    return f"The verdict at the gate {judged.worst.stage} is block. {said}".strip()


# --- reading ---


RELATED = (
    "source__registry", "source__application", "environment__registry", "requested_by", "approval", "image",
)  # fmt: skip

OF_ONE = ("source__registry", "source__application", "environment")
"""Of a single one no more: PostgreSQL takes ten times as long to plan a join of nine tables as to answer it."""


def promotions(user: User) -> QuerySet[Promotion]:
    return Promotion.objects.visible_to(user).select_related(*RELATED)


def teams_of(promotion: Promotion) -> frozenset[int]:
    """The teams whose thing a promotion is, as a ballot wants them."""
    application = promotion.source.application
    return frozenset({application.team_id if application else UNOWNED})


def approvals_of(rows: Sequence[Promotion]) -> dict[int, Outcome]:
    """{approval request: how it stands at this moment}. Two queries."""
    requests = _asked(rows)
    return outcomes(requests, votes_of(request for request, _ in requests.values()))


def _asked(rows: Sequence[Promotion]) -> dict[int, tuple[ApprovalRequest, frozenset[int]]]:
    return {p.approval.pk: (p.approval, teams_of(p)) for p in rows if p.approval is not None}


def seats_for(rows: Sequence[Promotion], user: User, now: datetime) -> dict[int, User]:
    """{promotion: in whose seat ``user``'s vote would count}: their own, or that of somebody away; of those alone that
    wait for them. Nothing of what they asked for, or voted on."""
    if not any(p.status == PromotionStatus.WAITING for p in rows):
        return {}
    return _seats(rows, user, now, seats_of_others(user, now))


def _seats(rows: Sequence[Promotion], user: User, now: datetime, others: Sequence[Seat]) -> dict[int, User]:
    waiting = [p for p in rows if p.status == PromotionStatus.WAITING and p.requested_by_id != user.pk]
    requests = _asked(waiting)
    if not requests:
        return {}
    votes = votes_of(request for request, _ in requests.values())
    standing = outcomes(requests, votes)
    found = {}
    for p in waiting:
        request, teams = requests[p.approval_id or 0]
        cast = votes.get(request.pk, [])
        taken = frozenset(v.seat_of_id or v.voter_id for v in cast)
        if user.pk in taken | {v.voter_id for v in cast}:
            continue
        seat = whose_seat(user, request, standing[request.pk], teams, now, others, taken)
        if seat is not None:
            found[p.pk] = seat
    return found


def voters(promotion: Promotion, counted: Sequence[int]) -> list[str]:
    """The names of those whose votes count."""
    rows = Vote.objects.filter(request=promotion.approval_id, voter_id__in=counted).order_by("pk")
    return list(rows.values_list("voter__username", flat=True))


def runs(digest: str, user: User) -> list[Workload]:
    """Where the digest, or a platform of that index, runs now, of what ``user`` may see."""
    images = [image.pk for image in images_of(digest)]
    rows = Workload.objects.visible_to(user).running().filter(images__in=images).select_related("cluster")
    return list(rows.distinct().order_by("cluster__name", "namespace", "kind", "name")[:MAX_RUNS])


def latest_recall(digest: str, *, actor: User) -> Recall | None:
    """The latest recall of it, lifted or not; raises ``NotFound`` where ``actor`` may see nothing of the digest."""
    reach_of(digest, actor=actor)
    rows = Recall.objects.filter(digest=digest).select_related("recalled_by", "lifted_by")
    return rows.order_by("-pk").first()


# --- pages ---


def waiting_for(user: User, now: datetime | None = None) -> list[Promotion]:
    """What ``user`` may vote on: not their own, not voted on by them, with an empty seat that a role of theirs fills,
    or one of somebody who is away and in whose seat they vote: then ``seat_of`` says whose.

    The oldest first, at most ``MAX_WAITING``; next to nothing is asked of the database for whoever approves nothing.
    """
    at = now or timezone.now()
    others = seats_of_others(user, at)
    if not others and not any(role in APPROVERS for role, _ in user.grants()):
        return []
    asked = open_for(
        user, prefix="approval__", in_team=lambda team: Q(source__application__team_id=team), now=at, others=others
    )
    rows = list(promotions(user).filter(asked, status=PromotionStatus.WAITING).order_by("pk")[:MAX_WAITING])
    seats = _seats(rows, user, at, others) if rows else {}
    for p in rows:
        p.seat_of = _other(seats.get(p.pk), user)
    return [p for p in rows if p.pk in seats]


def _other(seat: User | None, user: User) -> User | None:
    """Whose seat it is, where it is not the person's own."""
    return None if seat is None or seat.pk == user.pk else seat


@dataclass(frozen=True, slots=True)
class Stand:
    """An image at one environment of the order."""

    environment: Environment
    is_first: bool
    since: datetime | None
    """Since when it stands there; in the first one, which images are pushed to, since when it is known there."""
    under_way: Promotion | None
    after: str
    """The environment that it has to be promoted to before; empty where nothing is in the way."""
    reference: str
    """What to ask for, to have it promoted here; empty where this person may not, or it stands here by being pushed."""
    tags: str


@dataclass(frozen=True, slots=True)
class Journey:
    """Where an image stands on its way, as its page says it to one person."""

    stands: list[Stand]
    latest: list[Promotion]
    recall: CalledBack | None
    may_recall: bool


@dataclass(frozen=True, slots=True)
class CalledBack:
    """A recall that stands, where the digest runs, and the job that takes our signatures away."""

    recall: Recall
    runs: list[Workload]
    job: Job | None


def journey_of(image: Image, user: User, now: datetime) -> Journey:
    """``image``: with its places (``images.queries.with_places``). A fixed number of queries."""
    environments = list(Environment.objects.select_related("registry"))
    latest = _latest(image, user)
    return Journey(
        _stands(image, environments, latest, user, now),
        latest,
        called_back(image.digest, user),
        may_recall(image.digest, user),
    )


def _stands(
    image: Image, environments: Sequence[Environment], latest: Sequence[Promotion], user: User, now: datetime
) -> list[Stand]:
    order = [e.stop for e in environments]
    since = environments_of([image.digest], now) if environments else {}
    under_way = {p.environment_id: p for p in reversed(latest) if p.is_open}
    found = []
    for place, environment in enumerate(environments):
        before = route.previous(order, environment.name)
        reference, tags = ("", "") if place == 0 else _asked_for(image, environment, order, user)
        found.append(
            Stand(
                environment,
                is_first=place == 0,
                since=_pushed(image, order) if place == 0 else since.get(environment.name),
                under_way=under_way.get(environment.pk),
                after=before.name if before and before.name not in since else "",
                reference=reference,
                tags=tags,
            )
        )
    return found


def _host(repository: Repository) -> str:
    return repository.name.removesuffix(f"/{repository.path}")


def _pushed(image: Any, order: Sequence[Stop]) -> datetime | None:
    """Since when it lies in a repository of the first environment, as far as its reader sees its places."""
    first = route.in_order(order)[0]
    here = [p.first_seen_at for p in image.seen_places if _home(order, p.repository) == first]
    return min(here, default=None)


def _home(order: Sequence[Stop], repository: Repository) -> Stop | None:
    return route.home_of(order, _host(repository), repository.path)


def _asked_for(image: Any, target: Environment, order: Sequence[Stop], user: User) -> tuple[str, str]:
    """(reference, its tags): from the place nearest before the target where ``user`` may ask for it; by the digest of
    the index where that is what the tags there name."""
    teams = user.teams_with(Permission.PROMOTION_REQUEST)
    best, nearest = None, -1
    for place in image.seen_places if image.is_digest_asserted else ():
        owner, home = place.repository.application, _home(order, place.repository)
        position = home.position if home else 0
        if (teams is None or (owner and owner.team_id in teams)) and nearest < position < target.position:
            best, nearest = place.repository, position
    if best is None:
        return "", ""
    tags = [t for t in image.shown_tags if t.repository_id == best.pk]
    indexes = {m.index_id: m.index.digest for m in image.seen_indexes}
    index = next((t.index_id for t in tags if t.index_id in indexes), None)
    named = [t.name for t in tags if t.index_id == index]
    return f"{best.name}@{indexes.get(index, image.digest)}", " ".join(named[:MAX_LATEST])


def _latest(image: Image, user: User) -> list[Promotion]:
    """The latest promotions of it, or of an index that it is a platform of."""
    members = IndexImage.objects.filter(index__in=IndexImage.objects.filter(image=image).values("index"))
    rows = list(members.values_list("index__digest", "image_id").distinct())
    digests, images = {image.digest} | {d for d, _ in rows}, {image.pk} | {i for _, i in rows}
    return list(promotions(user).filter(image__in=images, digest__in=digests).order_by("-pk")[:MAX_LATEST])


def called_back(digest: str, user: User) -> CalledBack | None:
    """The recall of the digest that stands; of a platform that of its index, where that was called back whole."""
    rows = Recall.objects.standing().select_related("recalled_by")
    found = rows.filter(digest=digest).first()
    if found is None:
        return None
    whole = found if found.digest == found.asked_digest else rows.filter(digest=found.asked_digest).first() or found
    job = Job.objects.filter(kind=TAKE_AWAY, key=str(whole.pk)).order_by("-pk").first()
    return CalledBack(whole, runs(digest, user), job)


def may_recall(digest: str, user: User) -> bool:
    """Whether ``user`` may call it back, and lift that: image:recall in every team that has it."""
    teams = user.teams_with(Permission.IMAGE_RECALL)
    return teams is None or (bool(teams) and reach_of(digest, actor=user).teams <= teams)
