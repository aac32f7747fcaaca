"""Adding to what lies under one of cosign's tags: read, change, write is what the format leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from secguard.errors import Conflict, NotFound
from secguard.images import cosigntags
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import OCI_MANIFEST, Descriptor

_ATTEMPTS = 5
Layers = tuple[Descriptor, ...]


def join(
    client: PushingClient, path: str, tag: str, layers: Sequence[Descriptor], whole: Resolved | None = None
) -> str:
    """Put layers under a tag, behind those that are there; returns the digest that the tag then has.

    ``whole`` is a manifest of exactly these layers, which is written as it is where no others are there. Raises
    ``Invalid`` where the tag holds something else or too much, ``Conflict`` where others change it all the time.
    """
    return rewrite(client, path, tag, lambda there: cosigntags.joined(there, layers), whole) or ""


def rewrite(
    client: PushingClient, path: str, tag: str, change: Callable[[Layers], Layers], whole: Resolved | None = None
) -> str | None:
    """Put under a tag what ``change`` makes of its layers; nothing is written where it changes nothing.

    Another writer in between is met by doing it again. Returns the tag's digest, ``None`` where there is no such tag.
    """
    for _ in range(_ATTEMPTS):
        found = _tagged(client, path, tag)
        known = cosigntags.read(found.raw, found.media_type).layers if found else ()
        layers = change(known)
        if layers == known:
            return found.digest if found else None
        with suppress(Conflict):
            return _write(client, path, tag, layers, whole)
    raise Conflict(f"The tag {tag} in {client.access.host} is changed by somebody else all the time.", code="tag-race")


def _write(client: PushingClient, path: str, tag: str, layers: Layers, whole: Resolved | None) -> str:
    if whole is not None and cosigntags.read(whole.raw, whole.media_type).layers == layers:
        return client.push_manifest(path, whole.raw, whole.media_type, tag).digest
    config = client.push_bytes(path, cosigntags.config_of(layers), cosigntags.CONFIG_TYPE)
    return client.push_manifest(path, cosigntags.manifest_of(config, layers), OCI_MANIFEST, tag).digest


def _tagged(client: PushingClient, path: str, tag: str) -> Resolved | None:
    try:
        return client.resolve(path, tag)
    except NotFound:
        return None
