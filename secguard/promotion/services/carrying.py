"""Carrying a promotion out: a job of steps, each of which may be done again (DESIGN rule 9).

Everything is written at the destination by digest; the tags are moved last, after all of it was read back and after the
verdict was asked for once more. A crash at any step goes on from what the destination has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.quorum import Standing as Quorum
from secguard.audit.actions import Action
from secguard.errors import Conflict, NotAllowed, NotFound, SecGuardError
from secguard.images import services as images_services
from secguard.images.adapters import copying
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import ImageIndex
from secguard.images.models import Image, Index, IndexImage, Repository, Tag
from secguard.images.reference import is_digest, parse
from secguard.images.services import pusher_of
from secguard.jobs import services as jobs
from secguard.jobs.registry import Run
from secguard.policies import services as policies
from secguard.policies.facts import Gate
from secguard.policies.queries import statements_of
from secguard.promotion import queries
from secguard.promotion.lifecycle import PromotionEvent, PromotionStatus, Step, sources
from secguard.promotion.models import Promotion
from secguard.promotion.queries import Judged, judge, why_blocked
from secguard.promotion.services.recording import note, require_place, team_of
from secguard.promotion.services.telling import tell_ended
from secguard.signing import ecdsa, statements
from secguard.signing.keylife import KeyStatus
from secguard.signing.models import Attestation, SigningKey
from secguard.signing.services import (
    attest,
    keep,
    look,
    note_attestations,
    recalled,
    sign_image,
    withdraw_signatures,
)
from secguard.signing.statements import COSIGN_SIGNATURE, PROMOTION, Promoted, Statement, Subject
from secguard.signing.verification import Judged as Seen

UNDO = "promotion.undo"
UNDO_AFTER = timedelta(seconds=45)
"""Past a lease: whoever carried it out has stopped by then."""

log = structlog.get_logger("secguard.promotion")


class Refused(Exception):
    """The promotion ends here, for a reason that trying again does not change."""

    def __init__(self, why: str, judged: Judged | None = None) -> None:
        super().__init__(why)
        self.why, self.judged = why, judged


class Ended(Exception):
    """Somebody ended it meanwhile."""


@dataclass(frozen=True)
class Way:
    """One promotion as it is carried out."""

    promotion: Promotion
    run: Run
    reading: RegistryClient
    writing: PushingClient
    destination: Repository
    key: SigningKey

    @property
    def source(self) -> Repository:
        return self.promotion.source

    @property
    def is_in_place(self) -> bool:
        return self.destination.pk == self.source.pk


@dataclass(frozen=True)
class Found:
    """What the digest turned out to be at the source, and the images in it."""

    whole: Resolved
    images: tuple[Image, ...]

    @property
    def digests(self) -> list[str]:
        """What is signed and attested: the digest itself and each image in it."""
        return list(dict.fromkeys((self.whole.digest, *(image.digest for image in self.images))))


def carry(run: Run) -> Mapping[str, Any]:
    """The job: from the verdict to the tag. Safe to run twice, and after a crash at any step."""
    promotion = Promotion.objects.select_related(*queries.RELATED).get(pk=run.args["promotion"])
    if promotion.status != PromotionStatus.RUNNING:
        return {"status": promotion.status}
    destination = images_services.ensure_repository(
        parse(promotion.destination_name), application=promotion.source.application
    )
    try:
        key = _key(promotion)
        _check_asker(promotion, destination)
        with pusher_of(promotion.source.registry) as reading, pusher_of(destination.registry) as writing:
            _carry(Way(promotion, run, reading, writing, destination, key))
    except Refused as refused:
        _refuse(promotion, refused)
    except Ended:
        undo_later(promotion)
    promotion.refresh_from_db(fields=["status"])
    return {"status": promotion.status}


def _carry(way: Way) -> None:
    _begin(way, Step.VERDICT)
    found = _find(way)
    judged = _judge(way, found)
    _begin(way, Step.APPROVALS)
    _check_approvals(way.promotion)
    _begin(way, Step.COPY)
    copied = _copy(way, found)
    _begin(way, Step.SIGN)
    sign_image(way.writing, way.destination, found.whole.digest, way.key)
    _begin(way, Step.ATTEST)
    _attest(way, found, judged)
    _begin(way, Step.READ_BACK)
    seen = _read_back(way, found, copied)
    # The verdict may have changed on the way, and people theirs.
    _judge(way, found)
    _check_approvals(way.promotion)
    _begin(way, Step.TAG)
    moved = _move_tags(way, found)
    _begin(way, Step.RECORD)
    _record(way, found, seen, moved)


# --- the steps ---


def _begin(way: Way, step: Step) -> None:
    """Note the step, unless somebody ended the promotion meanwhile: its own row decides, in one statement.

    A step that is done again keeps the instant of the first time: what is stated is dated by it, and so is stated once.
    """
    steps = {**way.promotion.steps, step.value: way.promotion.steps.get(step.value, timezone.now().isoformat())}
    running = Promotion.objects.filter(pk=way.promotion.pk, status=PromotionStatus.RUNNING)
    if not running.update(steps=steps):
        raise Ended
    way.promotion.steps = steps
    way.run.progress(step.value)


def _find(way: Way) -> Found:
    """The manifests at the source, byte for byte, and the images among them; all of them have to be known here."""
    promotion = way.promotion
    _check_tag(way)
    whole = way.reading.resolve(way.source.path, promotion.digest)
    wanted = _images_in(whole)
    known = {image.digest: image for image in Image.objects.filter(digest__in=wanted)}
    if missing := [digest for digest in wanted if digest not in known]:
        raise Refused(
            f"Nobody has scanned {', '.join(missing[:5])}{' and others' if len(missing) > 5 else ''}, which "
            f"{promotion.digest} contains: unscanned is not clean. Scan it: secguard scan "
            f"{way.source.name}@{promotion.digest}"
        )
    return Found(whole, tuple(known[digest] for digest in wanted))


def _images_in(whole: Resolved) -> list[str]:
    document = whole.parse()
    if not isinstance(document, ImageIndex):
        return [whole.digest]
    found = [child.digest for child in document.manifests if not child.is_attestation]
    if not found:
        raise Refused(f"The index {whole.digest} names no image; there is nothing to promote.")
    return list(dict.fromkeys(found))


def _check_tag(way: Way) -> None:
    """Whoever asked for a tag meant what it points to: where it has moved since, they are told."""
    reference = parse(way.promotion.asked_reference)
    if reference.digest or way.promotion.requested_by_id is None:
        return
    name = reference.tag or "latest"
    try:
        now = way.reading.peek(way.source.path, name)
    except NotFound:
        raise Refused(f"The tag {name} is no longer in {way.source.name}.") from None
    if is_digest(now) and now != way.promotion.digest:
        raise Refused(
            f"The tag {name} of {way.source.name} points to {now} now; asked for was what it pointed to when it was "
            f"scanned, {way.promotion.digest}. Scan it again (secguard scan {way.source.name}:{name}), then ask again; "
            "or ask for the digest itself."
        )


def _judge(way: Way, found: Found) -> Judged:
    promotion = way.promotion
    if called_back := recalled(found.digests):
        raise Refused(f"{promotion.digest} was called back: {next(iter(called_back.values())).reason}")
    judged = judge(found.images, Gate(promotion.environment.gate))
    if judged.is_blocked and not _was_moved(way):
        raise Refused(why_blocked(judged), judged)
    Promotion.objects.filter(pk=promotion.pk).update(evaluation_ids=judged.evaluation_ids)
    return judged


def _was_moved(way: Way) -> bool:
    """Whether the run before this one had come to the tags, and moved them: the answer then was yes, and is told so.

    A verdict that turns after that is no matter of the promotion: admission asks for it itself.
    """
    promotion = way.promotion
    if Step.TAG not in promotion.steps or not promotion.tags:
        return False
    try:
        return all(way.writing.peek(way.destination.path, tag) == promotion.digest for tag in promotion.tags)
    except NotFound:
        return False


def _check_asker(promotion: Promotion, destination: Repository) -> None:
    """Whoever asked may still ask, and the destination is still theirs to write."""
    asker = promotion.requested_by
    try:
        if asker is not None:
            if not asker.is_active:
                raise NotAllowed(f"The account {asker} was deactivated since.")
            require(asker, Permission.PROMOTION_REQUEST, team_id=team_of(promotion.source))
        require_place(asker, promotion.source, destination)
    except NotAllowed as refused:
        raise Refused(f"{asker or 'The rule'} may not promote this any more. {refused.detail}") from None


def _check_approvals(promotion: Promotion) -> None:
    if why := queries.why_not_yet(promotion.source, promotion.digest, promotion.environment, timezone.now()):
        raise Refused(why)
    if promotion.approval_id is None:
        return
    outcome = queries.approvals_of([promotion])[promotion.approval_id]
    if outcome.standing is not Quorum.APPROVED:
        missing = ", ".join(f"{count} {role}" for role, count in sorted(outcome.missing.items())) or "somebody"
        raise Refused(
            f"The approvals that {promotion.environment.name} wants do not stand any more ({missing} missing): "
            f"{'; '.join(outcome.reasons) or 'a role was taken away'}. Ask for it again."
        )


def _copy(way: Way, found: Found) -> Sequence[str]:
    """The digests that are at the destination then, what refers to the image among them."""
    if way.is_in_place:
        return []
    source, destination = way.source, way.destination

    def progress(done: int, total: int) -> None:
        way.run.progress(Step.COPY.value, done, total)

    copied = copying.copy(
        copying.Place(lambda: pusher_of(source.registry), source.path),
        copying.Place(lambda: pusher_of(destination.registry), destination.path),
        found.whole.digest,
        progress=progress,
    )
    # What an attempt that was broken off brought is not counted again.
    Promotion.objects.filter(pk=way.promotion.pk).update(copied_bytes=F("copied_bytes") + copied.bytes)
    return copied.digests


def _attest(way: Way, found: Found, judged: Judged) -> None:
    at = datetime.fromisoformat(way.promotion.steps[Step.ATTEST.value])
    said: dict[str, list[Statement]] = {
        verdict.image.digest: statements_of(verdict, way.destination, at) for verdict in judged.verdicts
    }
    if found.whole.digest not in said:
        summary = statements_of(judged.worst, way.destination, at)[0]
        said[found.whole.digest] = [_of_index(way, found, summary)]
    for digest, several in said.items():
        subject = Subject(digest, way.destination.name)
        promotion = statements.promotion(subject, _promoted(way, digest, judged, at))
        attest(way.writing, way.destination, digest, [*several, promotion], way.key)


def _of_index(way: Way, found: Found, summary: Statement) -> Statement:
    """The verdict on an index is the worst of its platforms': whoever runs the index's tag asks for that digest."""
    subject = Subject(found.whole.digest, way.destination.name)
    resource = {"resourceUri": f"{way.destination.name}@{found.whole.digest}"}
    return replace(summary, subjects=(subject,), predicate={**summary.predicate, **resource})


def _promoted(way: Way, digest: str, judged: Judged, at: datetime) -> Promoted:
    promotion = way.promotion
    approval = queries.approvals_of([promotion]).get(promotion.approval_id or 0)
    votes = queries.voters(promotion, approval.counted) if approval else []
    return Promoted(
        environment=promotion.environment.name,
        source=way.source.name,
        destination=way.destination.name,
        digest=digest,
        promoted_at=at,
        asked_by=promotion.requested_by.username if promotion.requested_by else "rule",
        approved_by=votes,
        promotion=f"{settings.PUBLIC_URL.rstrip('/')}/promotions/{promotion.pk}/",
        verdict=judged.worst.verdict,
    )


def _read_back(way: Way, found: Found, copied: Sequence[str]) -> dict[str, list[Seen]]:
    """Everything as the destination answers it: the bytes, and by our key the signature and what was attested."""
    copying.verify(way.writing, way.destination.path, copied, lambda: way.run.progress(Step.READ_BACK.value))
    public, now = ecdsa.load_public(way.key.public_pem).fingerprint, timezone.now()
    seen = {digest: look(way.writing, way.destination, digest, now) for digest in found.digests}
    for digest, several in seen.items():
        ours = [s.seen.predicate_type for s in several if s.party and s.party.key.fingerprint == public]
        if PROMOTION not in ours or not {"", COSIGN_SIGNATURE} & set(ours):
            raise Conflict(
                f"{way.destination.name} does not show the signature and the promotion of {digest} that were just "
                "written: the registry lost or changed them. Nothing was moved.",
                code="not-read-back",
            )
    return seen


def _move_tags(way: Way, found: Found) -> list[str]:
    """Let the tags point to the digest, unless a later promotion has moved them on already."""
    promotion = way.promotion
    later = Promotion.objects.filter(
        pk__gt=promotion.pk, destination_name=promotion.destination_name, status=PromotionStatus.PROMOTED
    )
    taken = {tag for tags in later.values_list("tags", flat=True) for tag in tags}
    moved = [tag for tag in promotion.tags if tag not in taken]
    for tag in moved:
        way.writing.push_manifest(way.destination.path, found.whole.raw, found.whole.media_type, tag)
    return moved


@transaction.atomic
def _record(way: Way, found: Found, seen: Mapping[str, Sequence[Seen]], moved: Sequence[str]) -> None:
    promotion, now = way.promotion, timezone.now()
    # All images before any repository, as everybody does who locks several.
    wanted = [image.pk for image in found.images]
    list(Image.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk").values_list("pk"))
    for image in found.images:
        images_services.lock(image, way.destination)
    running = Promotion.objects.filter(pk=promotion.pk, status__in=sources(PromotionEvent.FINISH))
    if not running.update(status=PromotionStatus.PROMOTED, finished_at=now, destination=way.destination, why=""):
        raise Ended  # called back in this instant
    for image in found.images:
        images_services.place(image, way.destination, "", at=now, by=promotion.requested_by)
    _point(way, found, moved, now)
    note_attestations(found.digests, way.destination, PROMOTION, promotion.environment.name, way.key, now)
    for digest, several in seen.items():
        keep(way.destination, digest, several, now)
    note(Action.PROMOTION_FINISH, promotion, None, fingerprint=way.key.fingerprint, moved=list(moved))
    policies.forget(sorted(image.pk for image in found.images))
    promotion.refresh_from_db(fields=["status", "finished_at", "why", "destination"])
    tell_ended(promotion, now=now)


def _point(way: Way, found: Found, moved: Sequence[str], now: datetime) -> None:
    index = None
    if found.whole.digest not in {image.digest for image in found.images}:
        index, _ = Index.objects.get_or_create(
            digest=found.whole.digest, defaults={"media_type": found.whole.media_type[:100]}
        )
    for tag in moved:
        images_services.point(way.destination, tag, found.images[0], at=now, by=way.promotion.requested_by)
        Tag.objects.filter(repository=way.destination, name=tag).update(index=index)
    if index is not None:
        for image in found.images:
            if not IndexImage.objects.filter(index=index, image=image).exists():
                IndexImage.objects.create(index=index, image=image, platform=_platform(image))


def _platform(image: Image) -> str:
    parts = (image.os_name and "linux", image.architecture, image.variant)
    return "/".join(part for part in parts if part)[:100] or "unknown"


# --- other ends ---


def _key(promotion: Promotion) -> SigningKey:
    name = promotion.environment.key_name
    found = SigningKey.objects.filter(name=name, status=KeyStatus.ACTIVE).first()
    if found is None:
        raise Conflict(
            f"No key {name!r} signs any more, and {promotion.environment.name} wants what comes there signed with it. "
            "Make it, or name another one in the environment; then try this again.",
            code="no-such-key",
        )
    return found


@transaction.atomic
def _refuse(promotion: Promotion, refused: Refused) -> None:
    now = timezone.now()
    running = Promotion.objects.filter(pk=promotion.pk, status=PromotionStatus.RUNNING)
    told = (
        {"reasons": refused.judged.reasons, "evaluation_ids": refused.judged.evaluation_ids} if refused.judged else {}
    )
    if running.update(status=PromotionStatus.REFUSED, why=refused.why, finished_at=now, **told):
        promotion.refresh_from_db(fields=["status", "why", "reasons", "finished_at"])
        note(Action.PROMOTION_END, promotion, None, status=promotion.status, why=refused.why)
        tell_ended(promotion, now=now)
    undo_later(promotion)


@transaction.atomic
def carry_failed(args: Mapping[str, Any], code: str, words: str) -> None:
    """The job was given up: the promotion failed, and may be tried again."""
    promotion = Promotion.objects.select_related(*queries.RELATED).filter(pk=args["promotion"]).first()
    if promotion is None:
        return
    now = timezone.now()
    running = Promotion.objects.filter(pk=promotion.pk, status__in=sources(PromotionEvent.FAIL))
    if running.update(status=PromotionStatus.FAILED, why=words, finished_at=now):
        promotion.refresh_from_db(fields=["status", "why", "finished_at"])
        note(Action.PROMOTION_END, promotion, None, status=promotion.status, why=words)
        tell_ended(promotion, now=now)


def undo_later(promotion: Promotion) -> None:
    """What was signed for a promotion that did not come about is taken away again."""
    if Step.SIGN in Promotion.objects.values_list("steps", flat=True).get(pk=promotion.pk):
        jobs.enqueue(UNDO, {"promotion": promotion.pk}, key=str(promotion.pk), after=UNDO_AFTER)


def undo(run: Run) -> Mapping[str, Any]:
    """The job: take our signatures from a destination that the promotion did not reach, unless another one did."""
    promotion = Promotion.objects.select_related("environment").get(pk=run.args["promotion"])
    place = Repository.objects.select_related("registry").filter(name=promotion.destination_name).first()
    if place is None or promotion.status in (PromotionStatus.RUNNING, PromotionStatus.PROMOTED):
        return {}
    digests = [promotion.digest, *(image.digest for image in queries.images_of(promotion.digest))]
    stands = Attestation.objects.filter(digest__in=digests, repository=place, withdrawn_at__isnull=True)
    kept = set(stands.values_list("digest", flat=True))
    try:
        removed, left = withdraw_signatures(place, [d for d in dict.fromkeys(digests) if d not in kept])
    except NotFound:
        return {"removed": 0, "left": 0}
    except SecGuardError:
        log.warning("signatures of an ended promotion stay", promotion=promotion.pk, exc_info=True)
        raise
    return {"removed": removed, "left": left}
