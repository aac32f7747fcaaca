"""``secguard identities``: the pipelines that need no secret."""

from __future__ import annotations

import json
from typing import Any

from secguard.client.keys import read
from secguard.client.rest import CouldNotTell, Deadline, Server

PATH = "/api/v1/ci-identities/"
KINDS = ("github", "gitlab", "kubernetes", "other")
ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}


def claims_of(pairs: list[str]) -> dict[str, str]:
    """``NAME=PATTERN`` as a mapping; ``CouldNotTell`` for anything else."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, pattern = pair.partition("=")
        if not sign or not name.strip() or name.strip() in found:
            raise CouldNotTell(
                f"{pair!r} is no claim; expected NAME=PATTERN, each name once, like ref=refs/heads/main."
            )
        found[name.strip()] = pattern.strip()
    return found


def create(server: Server, deadline: Deadline, document: dict[str, Any], keys_file: str) -> dict[str, Any]:
    issuer = document["issuer"] or ISSUERS.get(str(document["kind"]), "")
    if not issuer:
        raise CouldNotTell(f"Who issues the tokens? Of {document['kind']} there is no issuer for all: --issuer URL.")
    body = {**document, "issuer": issuer, "audience": document["audience"] or server.url}
    if keys_file:
        try:
            body["jwks"] = json.loads(read(keys_file))
        except ValueError as error:
            raise CouldNotTell(f"{keys_file} is no JSON: {error}.") from None
    return server.post(PATH, deadline, {name: value for name, value in body.items() if value not in (None, "")})


def withdraw(server: Server, deadline: Deadline, identity: str) -> dict[str, Any]:
    """By id or by name."""
    if not identity.isdigit():
        rows = [row for row in server.pages(PATH, deadline, most=100, name=identity) if row.get("status") == "trusted"]
        if not rows:
            raise CouldNotTell(f"No CI identity {identity!r} is trusted; `secguard identities list` shows them.")
        identity = str(rows[0]["id"])
    return server.post(f"{PATH}{identity}/withdraw/", deadline)
