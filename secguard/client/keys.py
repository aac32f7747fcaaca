"""``secguard keys``: the keys that sign, and whose signatures count besides."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from secguard.client.rest import CouldNotTell, Deadline, Server

MAX_BYTES = 16_384
KEYS, TRUSTED = "/api/v1/signing-keys/", "/api/v1/trusted-keys/"


def create(server: Server, deadline: Deadline, name: str, origin: dict[str, Any]) -> dict[str, Any]:
    return server.post(KEYS, deadline, {"name": name} | origin)


def rotate(server: Server, deadline: Deadline, name: str, overlap: int, origin: dict[str, Any]) -> dict[str, Any]:
    body = {"overlap_days": overlap} | origin
    return server.post(f"{KEYS}{find(server, deadline, name)['id']}/rotate/", deadline, body)


def end(server: Server, deadline: Deadline, verb: str, name: str, reason: str) -> dict[str, Any]:
    """``verb``: retire or revoke."""
    return server.post(f"{KEYS}{find(server, deadline, name)['id']}/{verb}/", deadline, {"reason": reason})


def find(server: Server, deadline: Deadline, name: str) -> dict[str, Any]:
    """The key with that id, or the one of that name that signs now."""
    if name.isdigit():
        return server.get(f"{KEYS}{name}/", deadline)
    rows = server.pages(KEYS, deadline, most=1, name=name, status="active")
    if not rows:
        raise CouldNotTell(f"No key {name!r} signs. `secguard keys list` shows them all; an ended one is named by id.")
    return rows[0]


def trust(
    server: Server, deadline: Deadline, name: str, key: str, repositories: str, until: str | None
) -> dict[str, Any]:
    body = {"name": name, "public_key": read(key), "repositories": repositories}
    return server.post(TRUSTED, deadline, body | ({"valid_until": until} if until else {}))


def distrust(server: Server, deadline: Deadline, identity: str, reason: str) -> dict[str, Any]:
    if not identity.isdigit():
        raise CouldNotTell(f"{identity!r} is no trust's id; `secguard keys list --trusted` shows them.")
    return server.post(f"{TRUSTED}{identity}/withdraw/", deadline, {"reason": reason})


def read(source: str) -> str:
    """The text of a key's file, ``-`` for the standard input."""
    try:
        raw = sys.stdin.buffer.read(MAX_BYTES + 1) if source == "-" else Path(source).read_bytes()
        text = raw.decode()
    except OSError as error:
        raise CouldNotTell(f"{source} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise CouldNotTell(f"{source} is no PEM text.") from None
    if len(raw) > MAX_BYTES:
        raise CouldNotTell(f"{source} has more than {MAX_BYTES:,} bytes: it is no key.")
    return text
