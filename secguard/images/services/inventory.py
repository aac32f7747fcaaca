"""What images are built of: layers, and the components that are installed in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from secguard import bulk
from secguard.images.ecosystems import Build
from secguard.images.manifest import Descriptor
from secguard.images.models import (
    Component,
    ComponentBuild,
    Image,
    ImageComponent,
    ImageLayer,
    Layer,
)
from secguard.images.purl import coordinates
from secguard.images.queries import find_base


@dataclass(frozen=True, slots=True)
class ImageBuild:
    """How an image was built, as its manifest and configuration say."""

    media_type: str
    variant: str
    built_at: datetime | None
    labels: dict[str, str]
    layers: Sequence[tuple[Descriptor, str, str]]
    """(as registries keep it, diff id, instruction), lowest first."""


@transaction.atomic
def note_build(image: Image, build: ImageBuild) -> None:
    """Write down an image's layers and what its configuration says of it; a digest says the same for ever."""
    image.media_type = build.media_type[:100]
    image.variant = build.variant[:50]
    image.built_at = build.built_at
    image.labels = {k[:200]: v[:1000] for k, v in sorted(build.labels.items())[:200]}
    image.size_bytes = sum(d.size for d, _, _ in build.layers)
    image.save(update_fields=["media_type", "variant", "built_at", "labels", "size_bytes"])
    rows = {d.digest: (d.digest, diff_id, d.media_type[:100], d.size) for d, diff_id, _ in build.layers}
    bulk.insert_missing(Layer, ("digest", "diff_id", "media_type", "size_bytes"), [rows[k] for k in sorted(rows)])
    ids = dict(Layer.objects.filter(digest__in=bulk.among(sorted(rows))).values_list("digest", "pk"))
    placed = [(image.pk, i, ids[d.digest], made[:1000]) for i, (d, _, made) in enumerate(build.layers)]
    bulk.insert_missing(ImageLayer, ("image_id", "position", "layer_id", "created_by"), placed)
    base = find_base([diff_id for _, diff_id, _ in build.layers], other_than=image)
    if base != image.base_image:
        image.base_image = base
        image.save(update_fields=["base_image"])


def ensure_components(purls: Iterable[str]) -> dict[str, int]:
    """Row ids of components by canonical purl; unknown ones are made. Call inside a transaction."""
    wanted = sorted(set(purls))
    found = _component_ids(wanted)
    new = [p for p in wanted if p not in found]
    if new:
        bulk.insert_missing(Component, ("purl", "package", "type", "name", "version"), map(_component, new))
        found.update(_component_ids(new))
    return found


def _component_ids(purls: Sequence[str]) -> dict[str, int]:
    return dict(Component.objects.filter(purl__in=bulk.among(purls)).values_list("purl", "id"))


def _component(purl: str) -> tuple[str, ...]:
    c = coordinates(purl)
    return purl, c.package[:500], c.type[:30], c.name[:300], c.version[:300]


def ensure_builds(wanted: Iterable[tuple[int, Build]]) -> dict[tuple[int, Build], int]:
    """Row ids of builds by (component, what advisories call it); unknown ones are made. Call inside a transaction."""
    keys = sorted(set(wanted))
    found = _build_ids(keys)
    new = [(component, *build) for component, build in keys if (component, build) not in found]
    if new:
        bulk.insert_missing(ComponentBuild, ("component_id", *Build._fields, "matched_to"), [(*r, 0) for r in new])
        found = _build_ids(keys)
    return found


def _build_ids(keys: Sequence[tuple[int, Build]]) -> dict[tuple[int, Build], int]:
    rows = ComponentBuild.objects.filter(component__in=bulk.among(sorted({component for component, _ in keys})))
    return {(c, Build(*words)): pk for pk, c, *words in rows.values_list("pk", "component_id", *Build._fields)}


class Installed(NamedTuple):
    """A component in an image, as an inventory lists it."""

    component_id: int
    purl: str
    layer: str
    path: str
    licenses: list[str]
    build_id: int | None = None
    owner: str = ""


def replace_inventory(image: Image, rows: Iterable[Installed]) -> int:
    """Let the image's inventory be ``rows`` (one a component); writes the difference, returns how many changed.

    Call inside a transaction that holds the image's lock.
    """
    wanted = {r.component_id: r for r in rows}
    standing: dict[int, tuple[int, Installed]] = {}
    stands = ImageComponent.objects.filter(image=image)
    for pk, *columns in stands.values_list("id", *Installed._fields).iterator():
        row = Installed(*columns)
        standing[row.component_id] = (pk, row)
    new = [(image.pk, *r) for c, r in wanted.items() if c not in standing]
    gone = [pk for c, (pk, _) in standing.items() if c not in wanted]
    changed = [(standing[c][0], *r[1:]) for c, r in wanted.items() if c in standing and standing[c][1] != r]
    bulk.insert(ImageComponent, ("image_id", *Installed._fields), new)
    bulk.update(ImageComponent, Installed._fields[1:], changed)
    if gone:
        stands.filter(pk__in=bulk.among(gone)).delete()
    return len(new) + len(gone) + len(changed)
