"""Register images, where they lie, whose they are, and what their tags point to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import NotFound
from secguard.images.models import (
    Image,
    ImageRepository,
    Registry,
    Repository,
    Tag,
    TagMove,
)
from secguard.images.reference import Reference

REPOSITORY_FOLLOWERS: list[Callable[[Repository, datetime], None]] = []
"""Called inside the transaction, the repository's row locked, after it was given to another application; upper apps add
themselves: who owns an image decides who sees it, its deadlines, its decisions and its verdicts."""


@transaction.atomic
def assign_repository(repository_id: int, application: Application | None, *, actor: User | None) -> Repository:
    """Give a repository, and with it the images in it, to ``application``; ``None``: to nobody.

    Needs application:edit where it was and where it goes; where nobody owned it or will own it, in the whole
    organisation. Raises ``NotAllowed``, and ``NotFound`` for a repository or application that ``actor`` may not see.
    """
    seen = Repository.objects.visible_to(actor) if actor else Repository.objects.all()
    repository = _locked_with_images(repository_id) if seen.filter(pk=repository_id).exists() else None
    if repository is None:
        raise NotFound(f"There is no repository {repository_id} that you may see.")
    before = repository.application
    if before == application:
        return repository
    for owner in (before, application):
        require(actor, Permission.APPLICATION_EDIT, team_id=owner.team_id if owner else None)
    repository.application = application
    repository.save(update_fields=["application"])
    for follow in REPOSITORY_FOLLOWERS:
        follow(repository, timezone.now())
    _record_assignment(repository, before, actor)
    return repository


def _locked_with_images(repository_id: int) -> Repository | None:
    """In the order of ``lock``: images first."""
    images = Image.objects.filter(pk__in=ImageRepository.objects.filter(repository=repository_id).values("image_id"))
    list(images.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    return Repository.objects.select_for_update(no_key=True).filter(pk=repository_id).first()


def _record_assignment(repository: Repository, before: Application | None, actor: User | None) -> None:
    after = repository.application
    record(
        Action.REPOSITORY_ASSIGN,
        actor=actor,
        subject_type="repository",
        subject_id=repository.pk,
        subject=repository.name,
        team_id=after.team_id if after else before.team_id if before else None,
        details={"before": before.slug if before else None, "after": after.slug if after else None},
    )


def ensure_repository(reference: Reference, *, application: Application | None) -> Repository:
    """The repository of ``reference``; made, and given to ``application``, where it is not known yet.

    A known repository keeps its application: a report never moves a lineage from one team to another.
    """
    found = Repository.objects.filter(name=reference.repository).first()
    if found is None:
        registry, _ = Registry.objects.get_or_create(host=reference.host)
        found, _ = Repository.objects.get_or_create(
            registry=registry, path=reference.path, defaults={"name": reference.repository, "application": application}
        )
    return found


@transaction.atomic
def ensure_image(digest: str, *, config_digest: str = "", is_asserted: bool = True, at: datetime) -> Image:
    """The image of ``digest``, made where it is new.

    An image first met by its config digest alone (built, not pushed yet) is the same image when a later report names
    both: its row takes the manifest digest then.
    """
    found = Image.objects.filter(digest=digest).first()
    if found is not None:
        return _with_config(found, config_digest)
    provisional = (
        Image.objects.select_for_update().filter(digest=config_digest, is_digest_asserted=False).first()
        if is_asserted and config_digest
        else None
    )
    if provisional is not None:
        provisional.digest, provisional.is_digest_asserted = digest, True
        provisional.save(update_fields=["digest", "is_digest_asserted"])
        return provisional
    image, _ = Image.objects.get_or_create(
        digest=digest,
        defaults={"is_digest_asserted": is_asserted, "config_digest": config_digest, "first_seen_at": at},
    )
    return image


def _with_config(image: Image, config_digest: str) -> Image:
    if config_digest and not image.config_digest:
        image.config_digest = config_digest
        image.save(update_fields=["config_digest"])
    return image


def lock(image: Image, repository: Repository | None) -> Image:
    """Lock the image's row and those of its repositories (and ``repository``), in one order for everybody.

    Whoever changes what an image has, or judges it, holds this lock from before it reads until it commits. Rows that
    only point to these (a foreign key's check) are not kept waiting.
    """
    locked = Image.objects.select_for_update(no_key=True).get(pk=image.pk)
    wanted = set(locked.places.values_list("repository_id", flat=True)) | ({repository.pk} if repository else set())
    list(Repository.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk"))
    if repository is not None:
        repository.refresh_from_db()
    return locked


def place(image: Image, repository: Repository, tag: str, *, at: datetime, by: User | None) -> bool:
    """Record that ``image`` lies in ``repository``, under ``tag`` where one is named; the newest arrival leads.

    Returns whether it was not known to lie there.
    """
    _, is_new = ImageRepository.objects.get_or_create(
        image=image, repository=repository, defaults={"first_seen_at": at}
    )
    if is_new or repository.newest_image_id is None:
        newest = ImageRepository.objects.filter(repository=repository).order_by("-first_seen_at", "-id")[0]
        repository.newest_image_id = newest.image_id
        repository.save(update_fields=["newest_image"])
    if tag:
        point(repository, tag, image, at=at, by=by)
    return is_new


def point(repository: Repository, tag: str, image: Image, *, at: datetime, by: User | None) -> None:
    """Let ``tag`` point to ``image``; where it pointed before stays in the history."""
    row, is_new = Tag.objects.get_or_create(repository=repository, name=tag, defaults={"image": image, "moved_at": at})
    if not is_new and row.image_id != image.pk:
        row.image, row.moved_at = image, at
        row.save(update_fields=["image", "moved_at"])
        is_new = True
    if is_new:
        TagMove.objects.create(repository=repository, name=tag, image=image, at=at, by=by)
