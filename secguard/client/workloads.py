"""``secguard workloads sync``: tell the server what runs in a cluster, from its list of pods."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secguard.client.rest import CouldNotTell, Deadline, Server

LISTS = ("initContainers", "containers", "ephemeralContainers")
STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def sync(server: Server, source: str, deadline: Deadline, *, cluster: str, namespace: str) -> dict[str, Any]:
    """Sends the pods in file ``source`` (``-``: the standard input); returns what changed."""
    query = {"cluster": cluster} | ({"namespace": namespace} if namespace else {})
    return server.send("POST", "/api/v1/workloads/sync/", deadline, params=query, json=slim(_load(source)))


def _load(source: str) -> Any:
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return json.loads(raw)
    except OSError as error:
        raise CouldNotTell(f"{source} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CouldNotTell(
            f"{source} is no JSON ({error}); expected what kubectl get pods -A -o json prints."
        ) from error


def slim(body: Any) -> Any:
    """The list with nothing in its pods but what the server reads: no environment, no annotation leaves here."""
    if not isinstance(body, Mapping) or not isinstance(body.get("items"), list):
        raise CouldNotTell("The file holds no list of pods; expected what kubectl get pods -A -o json prints.")
    return {"kind": body.get("kind"), "items": [_slim(pod) for pod in body["items"]]}


def _slim(pod: Any) -> Any:
    if not isinstance(pod, Mapping):
        return pod
    meta, spec, status = (_object(pod, name) for name in ("metadata", "spec", "status"))
    kept_spec = {name: _only(spec[name], ("name", "image")) for name in LISTS if name in spec}
    if isinstance(volumes := spec.get("volumes"), list):
        kept_spec["volumes"] = [v for v in volumes if isinstance(v, Mapping) and "image" in v]
    return {
        "kind": pod.get("kind", "Pod"),
        "metadata": {n: meta[n] for n in ("name", "namespace", "labels", "ownerReferences") if n in meta},
        "spec": kept_spec,
        "status": {"phase": status.get("phase")}
        | {name: _only(status[name], ("imageID",)) for name in STATUSES if name in status},
    }


def _object(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = pod.get(name)
    return found if isinstance(found, Mapping) else {}


def _only(entries: Any, names: tuple[str, ...]) -> Any:
    if not isinstance(entries, list):
        return entries
    return [{n: e[n] for n in names if n in e} if isinstance(e, Mapping) else e for e in entries]
