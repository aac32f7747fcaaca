"""What the pages of repositories read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Count, IntegerField, OuterRef, Prefetch, QuerySet, Subquery
from django.db.models.functions import Coalesce

from secguard.accounts.models import User
from secguard.errors import NotFound
from secguard.images.models import ImageRepository, IndexImage, Repository, Tag, TagMove
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict

TAGS, VERSIONS = 12, 40


def repository_rows(user: User, gate: Gate = Gate.PROMOTE) -> QuerySet[Repository]:
    """Repositories with their newest image, the verdict on it (``verdict_word``), how many images they hold
    (``images``) and what workers look for by themselves (``watch``)."""
    stored = Verdict.objects.filter(image=OuterRef("newest_image"), stage=gate).values("verdict")[:1]
    held = ImageRepository.objects.filter(repository=OuterRef("pk")).order_by().values("repository")
    counted = held.annotate(n=Count("pk")).values("n")
    rows = Repository.objects.visible_to(user).annotate(
        verdict_word=Subquery(stored), images=Coalesce(Subquery(counted, output_field=IntegerField()), 0)
    )
    return rows.select_related("application__team", "newest_image", "registry", "watch")


def find_repository(user: User, pk: int) -> Repository:
    """Raises ``NotFound`` for one that ``user`` may not see."""
    found = repository_rows(user).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no repository {pk} that you may see.", code="no-repository")
    return found


def places_in(repository: Repository, gate: Gate = Gate.PROMOTE) -> QuerySet[ImageRepository]:
    """The repository's images as they arrived, with the verdict on each (``verdict_word``)."""
    stored = Verdict.objects.filter(image=OuterRef("image_id"), stage=gate).values("verdict")[:1]
    rows = ImageRepository.objects.filter(repository=repository).annotate(verdict_word=Subquery(stored))
    return rows.select_related("image")


def tags_on(repository: Repository, image_ids: Iterable[int]) -> dict[int, list[str]]:
    """{image: the tags of the repository that point to it now, by themselves or by an index, the latest first}. Two
    queries."""
    found: dict[int, list[str]] = defaultdict(list)
    ids = list(image_ids)
    rows = Tag.objects.filter(repository=repository, image__in=ids).order_by("-moved_at", "name")
    platforms = IndexImage.objects.filter(image__in=ids, index__tags__repository=repository)
    named = platforms.order_by("-index__tags__moved_at", "index__tags__name")
    for image_id, name in (*rows.values_list("image_id", "name"), *named.values_list("image_id", "index__tags__name")):
        if name not in found[image_id]:
            found[image_id].append(name)
    return found


def latest_tags(repository: Repository) -> list[Tag]:
    """The tags that moved last, each with its image and, of an index, its platforms (``index.members``)."""
    members = IndexImage.objects.select_related("image").order_by("platform")
    rows = Tag.objects.filter(repository=repository).select_related("image", "index")
    return list(
        rows.prefetch_related(Prefetch("index__members", queryset=members)).order_by("-moved_at", "name")[:TAGS]
    )


def moves_of(repository: Repository) -> QuerySet[TagMove]:
    """What its tags pointed to, and since when."""
    return TagMove.objects.filter(repository=repository).select_related("image", "by")


def growth(repository: Repository) -> Sequence[Any]:
    """(image_id, digest, bytes) of the latest versions for the newest's platform, as registries keep them, the oldest
    first; what a report alone told of has no size."""
    newest = repository.newest_image
    if newest is None:
        return []
    rows = ImageRepository.objects.filter(
        repository=repository,
        image__size_bytes__isnull=False,
        image__architecture=newest.architecture,
        image__variant=newest.variant,
    )
    latest = rows.order_by("-first_seen_at", "-id").values_list(
        "image_id", "image__digest", "image__size_bytes", named=True
    )
    return list(latest[:VERSIONS])[::-1]
