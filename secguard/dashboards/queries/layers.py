"""What each layer of an image brought, and the platforms of an index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db.models import Case, Count, F, OuterRef, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from secguard.accounts.models import User
from secguard.findings.models import OPEN, Finding
from secguard.images.models import Image, ImageComponent, ImageLayer, Index, IndexImage, Repository, Tag

NAME = 80
"""As much of a layer's digest as findings and inventories keep."""


def with_layer(findings: QuerySet[Finding]) -> QuerySet[Finding]:
    """``came_with``: the layer that a finding names, else the one that brought its component; else empty."""
    place = ImageComponent.objects.filter(image=OuterRef("image_id"), component=OuterRef("component_id"))
    brought = Coalesce(Subquery(place.values("layer")[:1]), Value(""))
    return findings.annotate(came_with=Case(When(layer__gt="", then=F("layer")), default=brought))


class LayerRow(NamedTuple):
    """A layer of an image, with what it brought."""

    position: int
    digest: str
    diff_id: str
    size_bytes: int
    created_by: str
    components: int
    open_findings: int
    is_base: bool

    @property
    def name(self) -> str:
        """How lists are asked for what is in it."""
        return self.diff_id or self.digest

    @property
    def names(self) -> set[str]:
        return names_of(self.digest, self.diff_id)


def names_of(*digests: str) -> set[str]:
    """How findings and inventories may call a layer: by its digest or its diff id."""
    return {digest[:NAME] for digest in digests if digest}


def layers_of(image: Image) -> list[LayerRow]:
    """An image's layers, lowest first, and what is known to have come with each: four queries at most."""
    rows = list(image.layers.select_related("layer").order_by("position"))
    if not rows:
        return []
    components = Counter(dict(image.components.order_by().values_list("layer").annotate(n=Count("pk"))))
    standing: Any = with_layer(Finding.objects.filter(image=image, status=OPEN)).order_by()
    findings = Counter(dict(standing.values_list("came_with").annotate(n=Count("pk"))))
    base = ImageLayer.objects.filter(image=image.base_image_id).count() if image.base_image_id else 0
    return [_row(row, components, findings, is_base=row.position < base) for row in rows]


def _row(row: ImageLayer, components: Mapping[str, int], findings: Mapping[str, int], *, is_base: bool) -> LayerRow:
    layer, names = row.layer, names_of(row.layer.digest, row.layer.diff_id)
    return LayerRow(
        row.position,
        layer.digest,
        layer.diff_id,
        layer.size_bytes,
        row.created_by,
        sum(components[name] for name in names),
        sum(findings[name] for name in names),
        is_base,
    )


def same_layer(image: Image, name: str) -> set[str]:
    """Every name of the image's layer that ``name`` means; of an unknown one the name itself."""
    pairs = image.layers.values_list("layer__digest", "layer__diff_id")
    found = [names for pair in pairs if name[:NAME] in (names := names_of(*pair))]
    return set().union(*found) or {name[:NAME]}


def positions_of(layers: Iterable[LayerRow]) -> dict[str, LayerRow]:
    """{every name of a layer: the layer}."""
    return {name: layer for layer in layers for name in layer.names}


def base_names(image: Image) -> set[str]:
    """The names of the layers that the image has from its base."""
    if image.base_image_id is None:
        return set()
    rows = ImageLayer.objects.filter(image=image.base_image_id)
    return names_of(*(name for pair in rows.values_list("layer__digest", "layer__diff_id") for name in pair))


@dataclass(frozen=True, slots=True)
class Platforms:
    """An index, as one person may see it: what its tags are called, and one image a platform."""

    index: Index
    tags: list[Tag]
    members: list[IndexImage]


def platforms_of(image: Image, user: User) -> list[Platforms]:
    """The indexes that name the image, newest first, with the images of each that ``user`` may see: three queries."""
    indexes = list(Index.objects.filter(members__image=image).distinct().order_by("-first_seen_at", "-pk")[:5])
    mine = Image.objects.visible_to(user)
    rows = IndexImage.objects.filter(index__in=indexes, image__in=mine).select_related("image").order_by("platform")
    members = list(rows)
    places = Repository.objects.visible_to(user)
    visible = Tag.objects.filter(index__in=indexes, repository__in=places).select_related("repository")
    tags = list(visible.order_by("repository__name", "name")[:50])
    return [
        Platforms(
            index,
            [t for t in tags if t.index_id == index.pk],
            [m for m in members if m.index_id == index.pk],
        )
        for index in indexes
    ]
