"""``secguard workloads sync``: tell the server what runs in a cluster, from its list of pods."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secguard.client.rest import CouldNotTell, Deadline, Server

LISTS = ("initContainers", "containers", "ephemeralContainers")
MOUNTS = ("volumeMounts", "volumeDevices")
SOURCES = (
    "claimName", "path", "medium", "name", "secretName", "reference", "server", "driver", "volumeID", "diskName",
    "shareName", "datasetName", "pdName", "endpoints", "targetPortal", "iqn", "pdID", "registry", "volume", "pool",
    "image", "volumeName", "volumePath", "readOnly",
)  # fmt: skip
"""Of a volume's source: names and paths that the server reads."""
CONTEXT = (
    "runAsNonRoot", "runAsUser", "readOnlyRootFilesystem", "allowPrivilegeEscalation", "privileged", "capabilities",
    "seccompProfile",
)  # fmt: skip
"""Of a security context: what the server reads."""
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
    kept_spec = {name: _containers(spec[name]) for name in LISTS if name in spec}
    if "securityContext" in spec:
        kept_spec["securityContext"] = _context(spec["securityContext"])
    if isinstance(volumes := spec.get("volumes"), list):
        kept_spec["volumes"] = [_volume(v) for v in volumes]
    return {
        "kind": pod.get("kind", "Pod"),
        "metadata": {n: meta[n] for n in ("name", "namespace", "uid", "labels", "ownerReferences") if n in meta},
        "spec": kept_spec,
        "status": {name: status[name] for name in ("phase", "podIP") if name in status}
        | {name: _only(status[name], ("name", "imageID", "containerID")) for name in STATUSES if name in status},
    }


def _containers(entries: Any) -> Any:
    """Names and images, what each is kept from, and which volumes it mounts: not where, nor what else stands in it."""
    kept = _only(entries, ("name", "image", "securityContext", *MOUNTS))
    return [_mounted(c) if isinstance(c, Mapping) else c for c in kept] if isinstance(kept, list) else kept


def _mounted(container: Mapping[str, Any]) -> dict[str, Any]:
    mounts = {name: _only(container[name], ("name", "readOnly")) for name in MOUNTS if name in container}
    if "securityContext" in container:
        mounts["securityContext"] = _context(container["securityContext"])
    return {**container, **mounts}


def _context(context: Any) -> Any:
    return _only([context], CONTEXT)[0]


def _volume(volume: Any) -> Any:
    """A volume's name, and of its source what names it; no attributes, no options, and no address with a password."""
    if not isinstance(volume, Mapping):
        return volume
    return {
        kind: source if kind == "name" or not isinstance(source, Mapping) else _only([source], SOURCES)[0]
        for kind, source in volume.items()
    }


def _object(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = pod.get(name)
    return found if isinstance(found, Mapping) else {}


def _only(entries: Any, names: tuple[str, ...]) -> Any:
    if not isinstance(entries, list):
        return entries
    return [{n: e[n] for n in names if n in e} if isinstance(e, Mapping) else e for e in entries]
