"""``secguard network``: generated policies as files for ``kubectl apply``, and what a file would do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell, Deadline, Server

POLICIES: Final = "/api/v1/network/policies/"
FORMS: Final = ("kubernetes", "cilium")
MAX_BYTES: Final = 8 * 1024 * 1024
MOST: Final = 10_000


def listed(server: Server, deadline: Deadline, *, most: int, state: str, cluster: str) -> list[dict[str, Any]]:
    """Policies that were asked for, newest first."""
    rows = server.pages(POLICIES, deadline, most=MOST if state or cluster else most)
    fits = (r for r in rows if (not state or r["state"] == state) and (not cluster or r["cluster"] == cluster))
    return list(fits)[:most]


def exported(server: Server, deadline: Deadline, *, number: str, cluster: str) -> str:
    """One policy's YAML, or that of every approved one of a cluster."""
    if number:
        return server.file(f"{POLICIES}{number}/yaml/", deadline).text
    rows = listed(server, deadline, most=MOST, state="approved", cluster=cluster)
    newest: dict[tuple[str, ...], Any] = {}
    for row in rows:
        newest.setdefault((row["namespace"], row["name"], row["form"]), row["document"])
    if not newest:
        raise CouldNotTell(f"No policy of {cluster} is approved, so there is nothing to write.")
    return _as_yaml(newest.values())


def from_rules(server: Server, deadline: Deadline, *, application: str, form: str, cluster: str) -> str:
    """What the rules in force say of one application, as YAML; what has no words goes to the standard error."""
    path = f"/api/v1/applications/{quote(application, safe='')}/network-policies/"
    found = server.get(path, deadline, form=form)["clusters"]
    wanted = [one for one in found if not cluster or one["cluster"] == cluster]
    if len({one["cluster"] for one in wanted}) != 1:
        names = ", ".join(sorted(line(str(one["cluster"]), 100) for one in found))
        raise CouldNotTell(f"Its workloads run in: {names}. Name one of them with --cluster.")
    for out in wanted[0]["left_out"]:
        print(f"secguard: {line(out['subject'], 400)}: {line(out['why'], 600)}", file=sys.stderr)  # noqa: T201
    return str(wanted[0]["yaml"])


def simulated(server: Server, source: str, deadline: Deadline, *, cluster: str) -> dict[str, Any]:
    """What the policies in a file (YAML of one or more documents, or JSON) would do to what was recorded."""
    body = {"items": load(source)}
    return server.send("POST", "/api/v1/network/simulate/", deadline, params={"cluster": cluster}, json=body)


def load(source: str) -> list[Any]:
    """The documents of a file; a ``List`` stands for its items."""
    try:
        with sys.stdin.buffer if source == "-" else Path(source).open("rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise CouldNotTell(f"{source} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_BYTES:
        raise CouldNotTell(f"{source} has more than {MAX_BYTES:,} bytes, which is what is taken.")
    try:
        found = [one for one in yaml.safe_load_all(raw) if one is not None]
        json.dumps(found)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, RecursionError) as error:
        raise CouldNotTell(f"{source} is no YAML of policies: {line(str(error), 300)}.") from error
    items: list[Any] = []
    for one in found:
        items += one["items"] if isinstance(one, dict) and isinstance(one.get("items"), list) else [one]
    if not items:
        raise CouldNotTell(f"{source} holds no policy.")
    return items


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _as_yaml(documents: Any) -> str:
    return str(yaml.dump_all(list(documents), Dumper=_Plain, sort_keys=False, explicit_start=True))
