"""``secguard audit``: what of the log's proofs is asked of the server. Checking them needs no server at all."""

from __future__ import annotations

from typing import Any

from secguard.client.rest import CouldNotTell, Deadline, Server

AUDIT, CHECKPOINTS = "/api/v1/audit/", "/api/v1/audit/checkpoints/"


def keys(server: Server, deadline: Deadline) -> list[dict[str, Any]]:
    """The keys that checkpoints are or were signed with."""
    return list(server.file(f"{AUDIT}keys/", deadline).json())


def latest(server: Server, deadline: Deadline) -> dict[str, Any]:
    return server.get(f"{CHECKPOINTS}latest/", deadline)


def fresh(server: Server, deadline: Deadline) -> dict[str, Any]:
    """A checkpoint of all that the log holds now: asked for, and waited for."""
    wanted = int(server.get(f"{AUDIT}head/", deadline)["sequence"])
    server.post(CHECKPOINTS, deadline)
    for _ in deadline.pauses():
        rows = server.get(CHECKPOINTS, deadline, limit=1)["results"]
        if rows and rows[0]["size"] >= wanted:
            return dict(rows[0])
    raise CouldNotTell(
        "The checkpoint was asked for and is not there yet. Is a worker up? A longer --wait waits longer."
    )


def inclusion(server: Server, deadline: Deadline, sequence: int, size: int | None) -> dict[str, Any]:
    """The proof that the entry is in the checkpoint of ``size`` entries, or in the newest."""
    return server.get(f"{AUDIT}{sequence}/proof/", deadline, size=size)


def consistency(server: Server, deadline: Deadline, old: int, new: int | None) -> dict[str, Any]:
    """The proof that the checkpoint of ``new`` entries, or the newest, continues that of ``old``."""
    return server.get(f"{AUDIT}consistency/", deadline, to=new, **{"from": old})
