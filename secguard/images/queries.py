"""Find images as people name them."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet

from secguard.accounts.models import User
from secguard.errors import NotFound
from secguard.images.models import Image, ImageRepository, Repository, Tag
from secguard.images.reference import is_digest, try_parse


def find_image(user: User, name: str) -> Image:
    """The image that ``name`` means: a digest, a reference with a digest, or what a tag points to now.

    ``NotFound`` where there is none that ``user`` may see.
    """
    image = named(Image.objects.visible_to(user), user, name).first()
    if image is None:
        raise NotFound(
            f"There is no image {name[:300]}. Name it by digest (sha256:…) or as registry/repository:tag; an image is "
            "known here once a report about it was posted.",
            code="no-image",
        )
    return image


def named(images: QuerySet[Image], user: User, name: str) -> QuerySet[Image]:
    """Of ``images`` the one that ``name`` means; none where it means nothing."""
    if is_digest(name):
        return images.filter(digest=name)
    reference = try_parse(name)
    if reference is None:
        return images.none()
    if reference.digest:
        return images.filter(digest=reference.digest)
    pointed = Tag.objects.filter(
        repository__in=Repository.objects.visible_to(user).filter(name=reference.repository),
        name=reference.tag or "latest",
    )
    return images.filter(pk__in=pointed.values("image_id"))


def with_places(images: QuerySet[Image], user: User) -> QuerySet[Image]:
    """Each image with the repositories and tags that ``user`` may see (``seen_places``, ``seen_tags``): two queries."""
    visible = Repository.objects.visible_to(user)
    places = (
        ImageRepository.objects.filter(repository__in=visible)
        .select_related("repository__application__team")
        .order_by("repository__name")
    )
    tags = Tag.objects.filter(repository__in=visible).select_related("repository").order_by("-moved_at", "name")
    return images.prefetch_related(
        Prefetch("places", queryset=places, to_attr="seen_places"),
        Prefetch("tags", queryset=tags, to_attr="seen_tags"),
    )


def search(images: QuerySet[Image], user: User, text: str) -> QuerySet[Image]:
    """Images by a part of a repository's name, a tag, or the beginning of a digest."""
    visible = Repository.objects.visible_to(user)
    here = ImageRepository.objects.filter(image=OuterRef("pk"), repository__in=visible)
    tagged = Tag.objects.filter(image=OuterRef("pk"), repository__in=visible, name__icontains=text)
    reference = try_parse(text)
    exact = named(images, user, text) if reference and (reference.tag or reference.digest) else None
    found = Q(digest__startswith=text) | Q(digest__startswith=f"sha256:{text}")
    found |= Exists(here.filter(repository__name__icontains=text)) | Exists(tagged)
    if exact is not None:
        found |= Q(pk__in=exact.values("pk"))
    return images.filter(found)


def previous_in_lineage(image: Image, user: User) -> Image | None:
    """The image before this one in a repository of its own, as ``user`` may see it."""
    place = (
        image.places.filter(repository__in=Repository.objects.visible_to(user))
        .order_by("-first_seen_at", "-id")
        .first()
    )
    if place is None:
        return None
    older = ImageRepository.objects.filter(repository_id=place.repository_id).filter(
        Q(first_seen_at__lt=place.first_seen_at) | Q(first_seen_at=place.first_seen_at, pk__lt=place.pk)
    )
    before = older.order_by("-first_seen_at", "-id").select_related("image").first()
    return before.image if before else None
