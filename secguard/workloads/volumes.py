"""Which volumes a pod mounts, and what stands behind each. Pure.

Kinds and the names of their sources: Kubernetes API reference, "Volume". Names and paths are read, nothing else: no
attributes, no options, no references to credentials. What is of another type than Kubernetes defines is left out here;
``images_of`` refuses the object on its way in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from secguard.workloads.podspec import CONTAINERS, DATA, Paths, pod_specs

MAX_MOUNTS: Final = 100
"""Volumes that are kept of one workload; those that hold data come first."""
MAX_NAME: Final = 63
"""Volumes' names are DNS labels (RFC 1123)."""
MAX_SOURCE: Final = 500
NODE: Final = "hostPath"
UNSPECIFIED: Final = "emptyDir"
"""A volume that names no source is an empty folder (API reference, "VolumeSource")."""

_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "persistentVolumeClaim": ("claimName",),
    "hostPath": ("path",),
    "emptyDir": ("medium",),
    "configMap": ("name",),
    "secret": ("secretName",),
    "image": ("reference",),
    "nfs": ("server", "path"),
    "csi": ("driver",),
    "awsElasticBlockStore": ("volumeID",),
    "azureDisk": ("diskName",),
    "azureFile": ("shareName",),
    "cephfs": ("path",),
    "cinder": ("volumeID",),
    "flexVolume": ("driver",),
    "flocker": ("datasetName",),
    "gcePersistentDisk": ("pdName",),
    "glusterfs": ("endpoints", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "quobyte": ("registry", "volume"),
    "rbd": ("pool", "image"),
    "scaleIO": ("volumeName",),
    "storageos": ("volumeName",),
    "vsphereVolume": ("volumePath",),
}
"""What names the thing behind each kind; kinds that are not here have no name of their own."""
_NEVER_WRITTEN: Final = frozenset({"configMap", "secret", "projected", "downwardAPI", "image"})
_WORDS: Final[Mapping[str, str]] = {
    "persistentVolumeClaim": "claim on a persistent volume",
    "ephemeral": "volume made with the pod",
    "hostPath": "folder of the node",
    "emptyDir": "empty folder, gone with the pod",
    "configMap": "config map",
    "secret": "secret",
    "projected": "secrets and config maps in one folder",
    "downwardAPI": "the pod's own facts",
    "image": "image",
    "nfs": "NFS share",
    "csi": "volume of a CSI driver",
    "iscsi": "iSCSI disk",
    "rbd": "Ceph block device",
    "cephfs": "Ceph file system",
}
_GIVEN_BY_KUBERNETES = re.compile(r"(kube-api-access)-[a-z0-9]{5}")
"""The token's volume, under a name of each pod's own (kubernetes/kubernetes, admission plug-in ServiceAccount)."""


@dataclass(frozen=True, slots=True, order=True)
class Mount:
    """One volume as a workload's pods have it. ``source`` is the claim's, folder's or share's name, where it has one.

    ``read_only``: nothing in the pod may write to it.
    """

    name: str
    kind: str
    source: str = ""
    read_only: bool = False

    @property
    def holds_data(self) -> bool:
        return self.kind in DATA


def words_of(kind: str) -> str:
    """A kind as people say it."""
    return _WORDS.get(kind, kind)


def mounts_of(obj: Any, group: str, kind: str, paths: Paths) -> tuple[Mount, ...]:
    """The volumes of every pod spec in ``obj``, each once."""
    return merged(mount for spec in pod_specs(obj, group, kind, paths) for mount in _of_spec(spec))


def merged(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Each volume once: writable where one of its pods may write. At most ``MAX_MOUNTS``, what holds data first."""
    found: dict[tuple[str, str, str], Mount] = {}
    for mount in mounts:
        key = (mount.name, mount.kind, mount.source)
        had = found.get(key, mount)
        found[key] = replace(mount, read_only=mount.read_only and had.read_only)
    return tuple(sorted(found.values(), key=lambda m: (not m.holds_data, m.kind != NODE, m))[:MAX_MOUNTS])


def _of_spec(spec: Mapping[str, Any]) -> Iterator[Mount]:
    volumes = _objects(spec.get("volumes"))
    written = _written(spec) if volumes else set()
    for volume in volumes:
        name = volume.get("name")
        kind, source = _source(volume)
        if isinstance(name, str) and name:
            may_write = kind not in _NEVER_WRITTEN and source.get("readOnly") is not True and name in written
            shown = _GIVEN_BY_KUBERNETES.sub(r"\1", _clean(name))
            yield Mount(shown[:MAX_NAME], kind, _place(kind, source), not may_write)


def _source(volume: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """(kind, its source): the one member beside the name."""
    for kind, source in volume.items():
        if kind != "name" and isinstance(source, Mapping):
            return _clean(kind)[:63], source
    return UNSPECIFIED, {}


def _place(kind: str, source: Mapping[str, Any]) -> str:
    parts = [source.get(field) for field in _PLACES.get(kind, ())]
    return _clean(":".join(part for part in parts if isinstance(part, str) and part))[:MAX_SOURCE]


def _written(spec: Mapping[str, Any]) -> set[str]:
    """Names of the volumes that a container may write to: as a folder, or as a device."""
    found: set[str] = set()
    for container in (c for field in CONTAINERS for c in _objects(spec.get(field))):
        mounts = [m for m in _objects(container.get("volumeMounts")) if m.get("readOnly") is not True]
        found |= {str(m.get("name")) for m in (*mounts, *_objects(container.get("volumeDevices")))}
    return found


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _clean(text: str) -> str:
    """Nothing that no name in Kubernetes has, and a database may refuse: control characters, halves of characters."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
