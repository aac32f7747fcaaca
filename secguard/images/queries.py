"""Find images as people name them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from importlib import metadata

from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet

from secguard import bulk
from secguard.accounts.models import User
from secguard.errors import NotFound
from secguard.images.base import base_of
from secguard.images.bill import Bill, BillComponent, BillLayer
from secguard.images.models import Image, ImageComponent, ImageLayer, ImageRepository, IndexImage, Repository, Tag
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
    """Each image with the repositories and tags that ``user`` may see (``seen_places``, ``shown_tags``), in a fixed
    number of queries: a tag of an index names each of its platforms."""
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
        Prefetch("indexes", queryset=IndexImage.objects.select_related("index"), to_attr="seen_indexes"),
        Prefetch("seen_indexes__index__tags", queryset=tags, to_attr="naming_tags"),
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


def bill_of(image: Image, user: User) -> Bill:
    """What is in the image, as ``user`` may see it; ``NotFound`` where nobody has listed that yet."""
    return _bill(image, Repository.objects.visible_to(user))


def bill_in(image: Image, repository: Repository) -> Bill:
    """What is in the image, as the image of this repository alone: for a document that stays beside it."""
    return _bill(image, Repository.objects.filter(pk=repository.pk))


def _bill(image: Image, repositories: QuerySet[Repository]) -> Bill:
    components = [
        BillComponent(
            c.component.purl, c.purl, c.component.name, c.component.version, c.licenses, c.layer, c.path, c.owner
        )
        for c in ImageComponent.objects.filter(image=image).select_related("component").order_by("component__purl")
    ]
    if not components:
        raise NotFound(
            f"Nobody has listed yet what is in {image.digest}. Scan it, or post a bill of materials or a report that "
            "lists all packages (trivy --list-all-pkgs).",
            code="no-inventory",
        )
    place = image.places.filter(repository__in=repositories).select_related("repository")
    named = place.order_by("repository__name").first()
    tags = Tag.objects.filter(image=image, repository=named.repository_id if named else None)
    tag = tags.order_by("-moved_at", "name").values_list("name", flat=True).first()
    layers = ImageLayer.objects.filter(image=image).select_related("layer").order_by("position")
    return Bill(
        digest=image.digest,
        at=image.last_scanned_at or image.first_seen_at,
        name=named.repository.name if named else "",
        tag=tag or "",
        os_name=image.os_name,
        os_version=image.os_version,
        architecture=image.architecture,
        layers=[BillLayer(row.layer.diff_id or row.layer.digest, row.created_by) for row in layers],
        components=components,
        tool_version=metadata.version("secguard"),
    )


_MOST_BASES = 1000


def find_base(chain: Sequence[str], *, other_than: Image | None = None) -> Image | None:
    """The image known here that one with the diff ids ``chain`` (lowest first) was built on; of several with the same
    layers the one known first. Two queries; a chain without a known base costs one."""
    ends = Q(pk__in=[])
    for position, diff_id in enumerate(chain[:-1]):
        ends |= Q(position=position, layer__diff_id=diff_id)
    above = ImageLayer.objects.filter(image=OuterRef("image"), position=OuterRef("position") + 1)
    tops = ImageLayer.objects.filter(ends, ~Exists(above)).exclude(image=other_than).exclude(layer__diff_id="")
    candidates = list(tops.order_by("-position", "image_id").values_list("image_id", flat=True)[:_MOST_BASES])
    if not candidates:
        return None
    known: dict[int, list[str]] = {pk: [] for pk in candidates}
    rows = ImageLayer.objects.filter(image__in=candidates).order_by("image_id", "position")
    for image_id, diff_id in rows.values_list("image_id", F("layer__diff_id")):
        known[image_id].append(diff_id)
    found = base_of(chain, known)
    return Image.objects.filter(pk=found).first() if found is not None else None


def layer_names(image: Image) -> set[str]:
    """Digests and diff ids of the image's layers."""
    rows = ImageLayer.objects.filter(image=image).values_list("layer__digest", "layer__diff_id")
    return {name for row in rows for name in row if name}


def newest_images(application_ids: Sequence[int]) -> dict[int, set[int]]:
    """{application: the newest image of each of its repositories}; none for one that has no image. One query."""
    rows = Repository.objects.filter(application__in=bulk.among(application_ids), newest_image__isnull=False)
    found: dict[int, set[int]] = defaultdict(set)
    for application, image in rows.order_by().values_list("application_id", "newest_image_id"):
        if application is not None and image is not None:  # the filter says so
            found[application].add(image)
    return dict(found)


def newest_of_kind(base: Image, user: User) -> Image | None:
    """The newest image that came after ``base`` into a repository that holds it, of the same platform and looked at, as
    ``user`` may see it; ``base`` where there is none."""
    before = ImageRepository.objects.filter(
        image=base, repository=OuterRef("repository"), first_seen_at__lt=OuterRef("first_seen_at")
    )
    places = ImageRepository.objects.filter(
        Exists(before),
        repository__in=Repository.objects.visible_to(user),
        image__architecture=base.architecture,
        image__variant=base.variant,
        image__last_scanned_at__isnull=False,
    )
    newest = places.exclude(image=base).order_by("-first_seen_at", "-id").select_related("image").first()
    return newest.image if newest else base
