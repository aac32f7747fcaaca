"""Carrying a promotion out: a job of steps, each of which may be done again (DESIGN rule 9).

Everything is written at the destination by digest; the tags are moved last, after all of it was read back and after the
verdict was asked for once more. A crash at any step goes on from what the destination has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.quorum import Standing as Quorum
from secguard.audit.actions import Action
from secguard.errors import Conflict, NotAllowed
from secguard.images import services as images_services
from secguard.images.adapters.source import Resolved
from secguard.images.adapters.transfers import told
from secguard.images.manifest import ImageIndex
from secguard.images.models import Image, Index, IndexImage, Repository, Tag
from secguard.images.reference import parse
from secguard.images.services import pusher_of
from secguard.jobs.registry import Run
from secguard.policies import services as policies
from secguard.policies.facts import Gate
from secguard.promotion import queries
from secguard.promotion.lifecycle import PromotionEvent, PromotionStatus, Step, sources
from secguard.promotion.models import Promotion
from secguard.promotion.queries import Judged, judge, why_blocked
from secguard.promotion.services.copying import copied, writer_of
from secguard.promotion.services.recording import note, require_place, team_of
from secguard.promotion.services.stating import Said, attest, read_back, send, sign
from secguard.promotion.services.tagging import check_source_tag, is_shown, move_tags
from secguard.promotion.services.telling import tell_ended
from secguard.promotion.services.undoing import undo_later, wait_for_taking_away
from secguard.promotion.services.way import Ended, Found, Refused, Way, begin
from secguard.signing.keylife import KeyStatus
from secguard.signing.models import SigningKey
from secguard.signing.services import keep, note_attestations, recalled
from secguard.signing.statements import PROMOTION
from secguard.signing.verification import Judged as Seen


def carry(run: Run) -> Mapping[str, Any]:
    """The job: from the verdict to the tag. Safe to run twice, and after a crash at any step."""
    promotion = Promotion.objects.select_related(*queries.OF_ONE).get(pk=run.args["promotion"])
    if promotion.status != PromotionStatus.RUNNING:
        return {"status": promotion.status}
    destination = images_services.ensure_repository(
        parse(promotion.destination_name), application=promotion.source.application
    )
    try:
        key, registries = _key(promotion), (promotion.source.registry, destination.registry)
        with pusher_of(registries[0]) as reading, writer_of(registries[1], run) as writing:
            _carry(Way(promotion, run, reading, writing, destination, key))
    except Refused as refused:
        _refuse(promotion, refused)
    except Ended:
        undo_later(promotion)
    promotion.refresh_from_db(fields=["status"])
    return {"status": promotion.status}


def _carry(way: Way) -> None:
    is_to_be_ended = is_shown(way)
    begin(way, Step.VERDICT)
    found = _find(way)
    copied, said = ([found.whole.digest], {}) if is_to_be_ended else _prepare(way, found)
    begin(way, Step.READ_BACK)
    seen = read_back(way, found, copied, said)
    if not is_to_be_ended:  # all of it may have changed on the way
        check_source_tag(way)
        _judge(way, found)
        _check_people(way)
    moved = move_tags(way, found)
    begin(way, Step.RECORD)
    _record(way, found, seen, moved)


def _prepare(way: Way, found: Found) -> tuple[Sequence[str], Said]:
    """From the verdict to what is stated at the destination: the digests there, and what was signed of them."""
    check_source_tag(way)
    judged = _judge(way, found)
    begin(way, Step.APPROVALS)
    _check_people(way)
    begin(way, Step.SIGN)
    wait_for_taking_away(way, found)
    # Before the copy, as the registry writes each of these small files out: beside layers they would wait for those.
    signed = sign(way, found, judged)
    send(way, signed)
    begin(way, Step.COPY)
    there = copied(way, found)
    begin(way, Step.ATTEST)
    return there, attest(way, signed)


# --- the steps ---


def _find(way: Way) -> Found:
    """The manifests at the source, byte for byte, and the images among them; all of them have to be known here."""
    promotion = way.promotion
    with told("source", way.reading, way.source.path):
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


def _judge(way: Way, found: Found) -> Judged:
    promotion = way.promotion
    if called_back := recalled(found.digests):
        raise Refused(f"{promotion.digest} was called back: {next(iter(called_back.values())).reason}")
    judged = judge(found.images, Gate(promotion.environment.gate))
    if judged.is_blocked:
        raise Refused(why_blocked(judged), judged)
    running = Promotion.objects.filter(pk=promotion.pk, status=PromotionStatus.RUNNING)
    running.update(evaluation_ids=judged.evaluation_ids)
    return judged


def _check_people(way: Way) -> None:
    _check_asker(way.promotion, way.destination)
    _check_approvals(way.promotion)


def _check_asker(promotion: Promotion, destination: Repository) -> None:
    """Whoever asked may still ask, and the destination is still theirs to write."""
    asker = User.objects.filter(pk=promotion.requested_by_id or 0).first()  # as they are now
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


@transaction.atomic
def _record(way: Way, found: Found, seen: Mapping[str, Sequence[Seen]], moved: Sequence[str]) -> None:
    promotion, now = way.promotion, timezone.now()
    # All images before any repository, as everybody does who locks several.
    wanted = [image.pk for image in found.images]
    list(Image.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk").values_list("pk"))
    for image in sorted(found.images, key=lambda image: image.pk):
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
