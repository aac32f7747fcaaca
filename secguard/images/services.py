"""Register images, where they lie and what their tags point to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from packageurl import PackageURL

from secguard.accounts.models import Application, User
from secguard.images.models import (
    Component,
    Image,
    ImageComponent,
    ImageRepository,
    Registry,
    Repository,
    Tag,
    TagMove,
)
from secguard.images.reference import Reference

CHUNK = 5000
BATCH = 2000


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

    Whoever changes what an image has, or judges it, holds this lock from before it reads until it commits.
    """
    locked = Image.objects.select_for_update().get(pk=image.pk)
    wanted = set(locked.places.values_list("repository_id", flat=True)) | ({repository.pk} if repository else set())
    list(Repository.objects.select_for_update().filter(pk__in=wanted).order_by("pk"))
    if repository is not None:
        repository.refresh_from_db()
    return locked


def place(image: Image, repository: Repository, tag: str, *, at: datetime, by: User | None) -> None:
    """Record that ``image`` lies in ``repository``, under ``tag`` where one is named; the newest arrival leads."""
    _, is_new = ImageRepository.objects.get_or_create(
        image=image, repository=repository, defaults={"first_seen_at": at}
    )
    if is_new or repository.newest_image_id is None:
        newest = ImageRepository.objects.filter(repository=repository).order_by("-first_seen_at", "-id")[0]
        repository.newest_image_id = newest.image_id
        repository.save(update_fields=["newest_image"])
    if tag:
        point(repository, tag, image, at=at, by=by)


def point(repository: Repository, tag: str, image: Image, *, at: datetime, by: User | None) -> None:
    """Let ``tag`` point to ``image``; where it pointed before stays in the history."""
    row, is_new = Tag.objects.get_or_create(repository=repository, name=tag, defaults={"image": image, "moved_at": at})
    if not is_new and row.image_id != image.pk:
        row.image, row.moved_at = image, at
        row.save(update_fields=["image", "moved_at"])
        is_new = True
    if is_new:
        TagMove.objects.create(repository=repository, name=tag, image=image, at=at, by=by)


def ensure_components(purls: Iterable[str]) -> dict[str, int]:
    """Row ids of components by canonical purl; unknown ones are made."""
    wanted = sorted(set(purls))
    found = _component_ids(wanted)
    new = [p for p in wanted if p not in found]
    if new:
        Component.objects.bulk_create([_component(p) for p in new], batch_size=BATCH, ignore_conflicts=True)
        found.update(_component_ids(new))
    return found


def _component_ids(purls: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(purls), CHUNK):
        found.update(Component.objects.filter(purl__in=purls[start : start + CHUNK]).values_list("purl", "id"))
    return found


def _component(purl: str) -> Component:
    p = PackageURL.from_string(purl)
    package = PackageURL(p.type, p.namespace, p.name).to_string()
    return Component(
        purl=purl, package=package[:500], type=p.type[:30], name=p.name[:300], version=(p.version or "")[:300]
    )


def replace_inventory(image: Image, rows: Iterable[ImageComponent]) -> int:
    """Let the image's inventory be ``rows`` (one a component); writes the difference, returns how many changed."""
    wanted = {r.component_id: r for r in rows}
    standing = {c.component_id: c for c in ImageComponent.objects.filter(image=image)}
    new = [r for c, r in wanted.items() if c not in standing]
    gone = [r.pk for c, r in standing.items() if c not in wanted]
    changed = [_moved(standing[c], r) for c, r in wanted.items() if c in standing and _differs(standing[c], r)]
    ImageComponent.objects.bulk_create(new, batch_size=BATCH)
    ImageComponent.objects.bulk_update(changed, _PLACE, batch_size=500)
    for start in range(0, len(gone), CHUNK):
        ImageComponent.objects.filter(pk__in=gone[start : start + CHUNK]).delete()
    return len(new) + len(gone) + len(changed)


_PLACE = ["purl", "layer", "path", "licenses"]


def _differs(a: ImageComponent, b: ImageComponent) -> bool:
    return any(getattr(a, f) != getattr(b, f) for f in _PLACE)


def _moved(row: ImageComponent, to: ImageComponent) -> ImageComponent:
    for f in _PLACE:
        setattr(row, f, getattr(to, f))
    return row
