"""Changing what lies under one of cosign's tags: read, change, write is what the format leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from secguard.errors import Conflict, Invalid, NotFound
from secguard.images import cosigntags
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import OCI_MANIFEST, Descriptor

_ATTEMPTS = 5
Layers = tuple[Descriptor, ...]


def join(
    client: PushingClient, path: str, tag: str, layers: Sequence[Descriptor], whole: Resolved | None = None
) -> None:
    """Put layers under a tag, behind those that are there.

    ``whole`` is a manifest of exactly these layers, which is written as it is where no others are there. Raises
    ``Invalid`` where the tag holds something else or too much, ``Conflict`` where others change it all the time.
    """
    rewrite(client, path, tag, lambda there: cosigntags.joined(there, layers), whole)


def rewrite(
    client: PushingClient, path: str, tag: str, change: Callable[[Layers], Layers], whole: Resolved | None = None
) -> None:
    """Put under a tag what ``change`` makes of its layers; nothing is written where it changes nothing.

    Where no layer is left the manifest is deleted, or an empty one written where the registry deletes none. Another
    writer in between is met by doing it again.
    """
    for attempt in range(_ATTEMPTS):
        found = _tagged(client, path, tag)
        known = cosigntags.all_of(found.raw, found.media_type) if found else ()
        layers = change(known)
        if layers == known:
            return
        if found and not layers and not attempt and client.delete_manifest(path, found.digest):
            continue  # to see that it is gone
        with suppress(Conflict):
            _write(client, path, tag, layers, whole)
            return
    raise Conflict(f"The tag {tag} in {client.access.host} is changed by somebody else all the time.", code="tag-race")


def _write(client: PushingClient, path: str, tag: str, layers: Layers, whole: Resolved | None) -> None:
    if whole is not None and cosigntags.all_of(whole.raw, whole.media_type) == layers:
        client.push_manifest(path, whole.raw, whole.media_type, tag)
        return
    try:
        _write_anew(client, path, tag, layers)
    except Invalid:
        # Registries refuse a manifest of blobs that they lost: from then on nobody could change the tag.
        there = tuple(layer for layer in layers if client.has_blob(path, layer))
        if len(there) == len(layers):
            raise
        _write_anew(client, path, tag, there)


def _write_anew(client: PushingClient, path: str, tag: str, layers: Layers) -> None:
    config = client.push_bytes(path, cosigntags.config_of(layers), cosigntags.CONFIG_TYPE)
    client.push_manifest(path, cosigntags.manifest_of(config, layers), OCI_MANIFEST, tag)


def _tagged(client: PushingClient, path: str, tag: str) -> Resolved | None:
    try:
        return client.resolve(path, tag)
    except NotFound:
        return None
