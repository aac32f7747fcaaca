"""What SecGuard stands for: the digests it has stated something of, and those that were called back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound, SecGuardError
from secguard.images.models import Image, ImageRepository, Index, IndexImage, Repository
from secguard.images.services import pusher_of
from secguard.jobs import services as jobs
from secguard.jobs.registry import Run
from secguard.signing import ecdsa
from secguard.signing.adapters import attached
from secguard.signing.models import Attestation, Recall, Signature, SigningKey
from secguard.signing.services.images import look
from secguard.signing.services.jobs import keep

TAKE_AWAY = "signing.take-away"
MAX_REASON = 500
RECALLED: list[Callable[[Recall, Sequence[int], datetime], None]] = []
"""Called inside the transaction with the recall that was asked for, the ids of the images that are called back with it,
and the instant; again when it is lifted. Upper apps add themselves: what they have judged or begun stands no more."""

ENVIRONMENTS: list[Callable[[], Sequence[str]]] = []
"""What names the environments that images may be promoted to; the app that has them adds itself."""


def known_environments() -> list[str]:
    """The environments that a statement may be about, in their order."""
    return [name for names in ENVIRONMENTS for name in names()]


@dataclass(frozen=True, slots=True)
class Reach:
    """What a digest names here: itself and, of an index, its platforms; and whose they are."""

    digests: tuple[str, ...]
    image_ids: tuple[int, ...]
    teams: frozenset[int | None]
    """None: a place that no team owns, which is the organisation's."""


def reach_of(digest: str, *, actor: User | None) -> Reach:
    """Raises ``NotFound`` where ``actor`` may see nothing of it."""
    pks = list(IndexImage.objects.filter(index__digest=digest).values_list("image_id", flat=True))
    images = list(Image.objects.filter(digest=digest)) + list(Image.objects.filter(pk__in=pks).order_by("pk"))
    seen = Image.objects.visible_to(actor) if actor else Image.objects.all()
    if not images or not seen.filter(pk__in=[i.pk for i in images]).exists():
        raise NotFound(f"There is no image {digest[:140]} that you may see.", code="no-image", where="digest")
    digests = dict.fromkeys((digest, *(i.digest for i in images)))
    places = ImageRepository.objects.filter(image__in=images).select_related("repository__application")
    teams = frozenset(p.repository.application.team_id if p.repository.application else None for p in places)
    return Reach(tuple(digests), tuple(sorted({i.pk for i in images})), teams or frozenset({None}))


@transaction.atomic
def recall(digest: str, reason: str, *, actor: User | None) -> Recall:
    """Call a digest back: no gate lets it pass from now on, and what was signed of it counts no more.

    Needs image:recall in every team that has it. Workers take our signatures away from beside it where the registries
    let them. Raises ``NotFound``, ``Invalid`` without a reason, ``Conflict`` where it is called back already.
    """
    reach, said = reach_of(digest, actor=actor), _reason(reason)
    for team in reach.teams:
        require(actor, Permission.IMAGE_RECALL, team_id=team)
    now = timezone.now()
    standing = set(Recall.objects.standing().filter(digest__in=reach.digests).values_list("digest", flat=True))
    if digest in standing:
        raise Conflict(f"{digest} is called back already.", code="recalled-already")
    fresh = [d for d in reach.digests if d not in standing]
    try:
        with transaction.atomic():
            made = Recall.objects.bulk_create(
                Recall(digest=d, asked_digest=digest, reason=said, recalled_by=actor, recalled_at=now) for d in fresh
            )
    except IntegrityError:
        raise Conflict(f"{digest} was called back at the same time.", code="recalled-already") from None
    asked = next(row for row in made if row.digest == digest)
    _withdraw(reach.digests, f"called back: {said}", now)
    for follow in RECALLED:
        follow(asked, reach.image_ids, now)
    _record(Action.IMAGE_RECALL, asked, reach, actor, {"reason": said})
    jobs.enqueue(TAKE_AWAY, {"recall": asked.pk}, key=str(asked.pk))
    return asked


@transaction.atomic
def lift_recall(digest: str, reason: str, *, actor: User | None) -> Recall:
    """Let the gates judge a digest by itself again. What was withdrawn stays so: it has to be promoted anew.

    Raises ``NotFound`` where nothing of it is called back, ``Invalid`` without a reason.
    """
    reach, said = reach_of(digest, actor=actor), _reason(reason)
    for team in reach.teams:
        require(actor, Permission.IMAGE_RECALL, team_id=team)
    rows = list(Recall.objects.standing().select_for_update().filter(asked_digest=digest).order_by("pk"))
    if not rows:
        raise NotFound(f"{digest} is not called back.", code="not-recalled", where="digest")
    now = timezone.now()
    Recall.objects.filter(pk__in=[r.pk for r in rows]).update(lifted_by=actor, lifted_at=now, lift_reason=said)
    asked = next((r for r in rows if r.digest == digest), rows[0])
    asked.refresh_from_db()
    for follow in RECALLED:
        follow(asked, reach.image_ids, now)
    _record(Action.IMAGE_RECALL_LIFT, asked, reach, actor, {"reason": said})
    return asked


def recalled(digests: Collection[str]) -> dict[str, Recall]:
    """Those of the digests that are called back now. One query."""
    return {r.digest: r for r in Recall.objects.standing().filter(digest__in=digests)}


def note_attestations(
    digests: Iterable[str], repository: Repository, predicate_type: str, environment: str, key: SigningKey, at: datetime
) -> None:
    """Keep that we stated this of each digest; what stood of the same before, by another key perhaps, is replaced."""
    rows = list(digests)
    same = {"repository": repository, "predicate_type": predicate_type, "environment": environment}
    before = Attestation.objects.filter(digest__in=rows, withdrawn_at__isnull=True, **same)
    before.update(withdrawn_at=at, reason="stated anew")
    Attestation.objects.bulk_create(Attestation(digest=d, signing_key=key, made_at=at, **same) for d in rows)


def take_away(run: Run) -> Mapping[str, Any]:
    """The job: take our signatures from beside what was called back, wherever we put them. Safe to run twice."""
    asked = Recall.objects.get(pk=run.args["recall"])
    digests = list(Recall.objects.filter(asked_digest=asked.asked_digest).values_list("digest", flat=True))
    if asked.lifted_at is not None:
        return {"removed": 0, "left": 0, "failed": []}
    removed, left, failed = 0, 0, []
    for repository in _places(digests):
        run.progress(f"Taking signatures away in {repository.name}")
        try:
            # What was lifted meanwhile may have been signed anew.
            gone, stays = withdraw_signatures(repository, recalled(digests), run.require_lease)
        except SecGuardError as error:
            failed.append(f"{repository.name}: {error.detail}"[:500])
            continue
        removed, left = removed + gone, left + stays
    return {"removed": removed, "left": left, "failed": failed}


def withdraw_signatures(repository: Repository, digests: Iterable[str], still: Callable[[], None]) -> tuple[int, int]:
    """Take what our keys signed away from beside these digests; (how many went, how many the registry kept).

    What other people signed stays. ``still`` raises where whoever asked is too late. Raises ``Unavailable``,
    ``NotAllowed`` as the registry does.
    """
    keys = [ecdsa.load_public(pem) for pem in SigningKey.objects.values_list("public_pem", flat=True)]
    removed = left = 0
    with pusher_of(repository.registry, still) as client:
        for digest in digests:
            done = attached.withdraw(client, repository.path, digest, keys)
            removed, left = removed + done.removed, left + done.left
            now = timezone.now()
            keep(repository, digest, look(client, repository, digest, now), now)
    return removed, left


def _places(digests: Sequence[str]) -> list[Repository]:
    """Where we ever stated or signed something of them."""
    stated = Attestation.objects.filter(digest__in=digests).values("repository_id")
    signed = Signature.objects.filter(digest__in=digests, signing_key__isnull=False).values("repository_id")
    rows = Repository.objects.filter(registry__configured_at__isnull=False).select_related("registry")
    return list((rows.filter(pk__in=stated) | rows.filter(pk__in=signed)).distinct().order_by("pk"))


def _withdraw(digests: Sequence[str], why: str, now: datetime) -> None:
    standing = Attestation.objects.filter(digest__in=digests, withdrawn_at__isnull=True)
    standing.update(withdrawn_at=now, reason=why[:MAX_REASON])


def _reason(text: str) -> str:
    said = text.strip().replace("\x00", "")
    if not said:
        raise Invalid("Say why: whoever meets the refused image reads it.", where="reason")
    if len(said) > MAX_REASON:
        raise Invalid(f"The reason has {len(said):,} characters; at most {MAX_REASON} are kept.", where="reason")
    return said


def _record(action: Action, row: Recall, reach: Reach, actor: User | None, details: Mapping[str, Any]) -> None:
    subject = Image.objects.filter(digest=row.asked_digest).first() or Index.objects.get(digest=row.asked_digest)
    teams = {t for t in reach.teams if t is not None}
    record(
        action,
        actor=actor,
        subject_type="image",
        subject_id=subject.pk if isinstance(subject, Image) else reach.image_ids[0],
        subject=row.asked_digest,
        team_id=teams.pop() if len(teams) == 1 else None,
        details={"digests": list(reach.digests), **details},
    )
