"""A bill of materials of one image, whatever format it is written in. Pure.

The documents are made of what is stored and of nothing else: asked for again while nothing changed, they are the same
byte for byte, their own ids included.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

_DISTRIBUTIONS = frozenset({"alpm", "apk", "deb", "rpm"})
_NAMESPACE = uuid.UUID("6f4a3a86-4f2c-5d0e-9d0c-5c5a0a2f7b11")


class BillLayer(Struct, frozen=True):
    digest: str
    created_by: str = ""


class BillComponent(Struct, frozen=True):
    """One package version. ``key``, the canonical purl, tells it from all others; ``purl`` is as reported."""

    key: str
    purl: str
    name: str
    version: str
    licenses: Sequence[str] = ()
    layer: str = ""
    path: str = ""
    owner: str = ""
    """Purl of the distribution's package that it came with."""

    @property
    def group(self) -> str:
        """What people write before the name: npm's scope, Maven's group; of a distribution's package nothing."""
        type_, _, rest = self.key.partition("@")[0].removeprefix("pkg:").partition("/")
        return unquote(rest.rpartition("/")[0]) if type_ not in _DISTRIBUTIONS else ""


class Bill(Struct, frozen=True, kw_only=True):
    digest: str
    at: datetime
    """When the image was last looked at."""
    name: str = ""
    """The repository that it lies in, as the asking person knows it."""
    tag: str = ""
    os_name: str = ""
    os_version: str = ""
    architecture: str = ""
    layers: Sequence[BillLayer] = ()
    components: Sequence[BillComponent] = ()
    tool_version: str = ""

    @property
    def title(self) -> str:
        """What people call the image."""
        return self.name or self.digest

    @property
    def purl(self) -> str:
        """PURL-TYPES, "oci": the last part of the name, the digest as version, the rest as qualifiers."""
        name = (self.name.rpartition("/")[2] or "image").lower()
        qualifiers = {"arch": self.architecture, "repository_url": self.name.lower(), "tag": self.tag}
        said = "&".join(f"{key}={quote(value, safe='/:.')}" for key, value in qualifiers.items() if value)
        return f"pkg:oci/{quote(name)}@{quote(self.digest, safe='')}" + (f"?{said}" if said else "")

    @property
    def moment(self) -> str:
        """``at`` in UTC, to the second, as both formats want it."""
        return self.at.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def id(self) -> uuid.UUID:
        """Of a document with this content."""
        return uuid.uuid5(_NAMESPACE, msgspec.json.encode(self).hex())
