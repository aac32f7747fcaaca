"""Where images stand in Kubernetes objects, and what a pod asks of its node. Pure.

Paths to the PodSpec: Kubernetes API reference, "Workload Resources"; Argo Rollouts, OpenKruise, OpenShift and Knative
as their own API references say. Other kinds are read by paths that somebody configured.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from secguard.errors import Invalid

Paths = Mapping[str, Sequence[str]]
"""``group/Kind`` (``Kind`` alone in the core group) to paths of pod specs or image references."""

_TEMPLATE: Final = ("spec.template.spec",)
KNOWN: Final[Paths] = {
    "Pod": ("spec",),
    "PodTemplate": ("template.spec",),
    "ReplicationController": _TEMPLATE,
    "apps/Deployment": _TEMPLATE,
    "apps/ReplicaSet": _TEMPLATE,
    "apps/StatefulSet": _TEMPLATE,
    "apps/DaemonSet": _TEMPLATE,
    "extensions/Deployment": _TEMPLATE,
    "extensions/ReplicaSet": _TEMPLATE,
    "extensions/DaemonSet": _TEMPLATE,
    "batch/Job": _TEMPLATE,
    "batch/CronJob": ("spec.jobTemplate.spec.template.spec",),
    "argoproj.io/Rollout": _TEMPLATE,
    "apps.kruise.io/CloneSet": _TEMPLATE,
    "apps.kruise.io/StatefulSet": _TEMPLATE,
    "apps.kruise.io/DaemonSet": _TEMPLATE,
    "apps.kruise.io/BroadcastJob": _TEMPLATE,
    "apps.kruise.io/AdvancedCronJob": (
        "spec.template.jobTemplate.spec.template.spec",
        "spec.template.broadcastJobTemplate.spec.template.spec",
    ),
    "apps.openshift.io/DeploymentConfig": _TEMPLATE,
    "serving.knative.dev/Service": _TEMPLATE,
    "serving.knative.dev/Configuration": _TEMPLATE,
    "serving.knative.dev/Revision": ("spec",),
}
CONTAINERS: Final = {"initContainers": "init", "containers": "container", "ephemeralContainers": "ephemeral"}
_LIMITS: Final = frozenset({"cpu", "memory"})
_NONE: Final[Mapping[str, Any]] = {}
MAX_IMAGES: Final = 1000
MAX_PATHS: Final = 100
_PATH = re.compile(r"[A-Za-z0-9_-]+(\[\])?(\.[A-Za-z0-9_-]+(\[\])?)*")
_KIND = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Z][A-Za-z0-9]{0,62}")


class ImageUse(NamedTuple):
    """One image reference where it stands; ``pointer`` is its RFC 6901 pointer in the object."""

    pointer: str
    image: str
    place: str
    """``init``, ``container``, ``ephemeral``, ``volume``; ``field``: a configured path to the reference itself."""
    name: str = ""
    """The container's or volume's name."""


@dataclass(frozen=True, slots=True, order=True)
class Ask:
    """Something that a pod asks for beyond running: ``kind`` is one of ``ASKS``."""

    kind: str
    name: str = ""
    """The container or volume; empty for the whole pod."""
    detail: str = ""


ASKS: Final = {
    "privileged": "runs privileged: as good as root on the node",
    "host-pid": "shares the node's processes (hostPID)",
    "host-ipc": "shares the node's IPC (hostIPC)",
    "host-network": "shares the node's network (hostNetwork)",
    "capability": "adds a capability",
    "container-socket": "mounts the container runtime's socket: as good as root on the node",
    "host-path": "mounts a folder of the node",
    "data-volume": "mounts a volume that holds data",
    "root": "may run as root (neither runAsNonRoot nor a runAsUser above 0)",
    "no-limits": "has no limit of CPU or memory",
}
"""What is looked for, and how it is told."""
HARMLESS: Final = frozenset({"NET_BIND_SERVICE"})
"""The one capability that the Pod Security Standards let everybody add ("Restricted")."""
SOCKETS: Final = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
    "/run/cri-dockerd.sock",
    "/run/k3s/containerd/containerd.sock",
)
DATA: Final = (
    "persistentVolumeClaim", "ephemeral", "nfs", "iscsi", "csi", "awsElasticBlockStore", "azureDisk", "azureFile",
    "cephfs", "cinder", "fc", "flexVolume", "flocker", "gcePersistentDisk", "glusterfs", "photonPersistentDisk",
    "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
)  # fmt: skip


def kind_name(group: str, kind: str) -> str:
    return f"{group}/{kind}" if group else kind


def group_of(api_version: str) -> str:
    """``apps`` of ``apps/v1``; empty for the core group."""
    return api_version.rpartition("/")[0]


def check_paths(paths: Any) -> dict[str, list[str]]:
    """Configured paths as they are kept; raises ``Invalid`` with the place of the fault.

    ``[]`` behind a name goes through a list: ``spec.metrics[].provider.job.spec.template.spec``. A path ends at a pod
    spec or at an image reference.
    """
    if not isinstance(paths, Mapping) or len(paths) > MAX_PATHS:
        raise Invalid(
            f"Expected an object of at most {MAX_PATHS} kinds, each with a list of paths, for example "
            '{"argoproj.io/AnalysisRun": ["spec.metrics[].provider.job.spec.template.spec"]}.',
            where="paths",
        )
    checked = {}
    for kind, several in paths.items():
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise Invalid(f"{str(kind)[:80]!r} is no kind; expected group/Kind or Kind.", where="paths")
        if not isinstance(several, list) or not several or len(several) > MAX_PATHS:
            raise Invalid(f"Expected a list of paths for {kind}.", where=f"paths.{kind}")
        for path in several:
            if not isinstance(path, str) or len(path) > 300 or not _PATH.fullmatch(path):
                raise Invalid(
                    f"{str(path)[:80]!r} is no path; expected names joined by dots, [] behind a list: spec.jobs[].spec",
                    where=f"paths.{kind}",
                )
        checked[kind] = list(several)
    return checked


class _Found(NamedTuple):
    """Made for every field that is looked at: a tuple takes a third of the time of a frozen dataclass."""

    at: tuple[str | int, ...]
    value: Any


def is_known(group: str, kind: str, paths: Paths) -> bool:
    name = kind_name(group, kind)
    return name in KNOWN or name in paths


def images_of(obj: Any, group: str, kind: str, paths: Paths) -> tuple[ImageUse, ...]:
    """Every image reference in ``obj``, in the order in which it stands; none for a kind that nobody knows.

    Raises ``Invalid``, with the place, where something on the way is of another type than Kubernetes defines.
    """
    uses: list[ImageUse] = []
    for found in _specs(obj, group, kind, paths):
        uses += _uses(found)
        if len(uses) > MAX_IMAGES:
            raise Invalid(f"The {kind} names more than {MAX_IMAGES} images.", code="too-many-images", where="object")
    return tuple(uses)


def asks_of(obj: Any, group: str, kind: str, paths: Paths) -> tuple[Ask, ...]:
    """What ``obj``'s pods ask for, each once, sorted."""
    found: set[Ask] = set()
    for spec in _specs(obj, group, kind, paths):
        if isinstance(spec.value, dict):
            found.update(_asks(spec))
    return tuple(sorted(found))


def pod_specs(obj: Any, group: str, kind: str, paths: Paths) -> Iterator[Mapping[str, Any]]:
    """Every pod spec in ``obj``."""
    for found in _specs(obj, group, kind, paths):
        if isinstance(found.value, dict):
            yield found.value


def _specs(obj: Any, group: str, kind: str, paths: Paths) -> Iterator[_Found]:
    name = kind_name(group, kind)
    for path in dict.fromkeys((*KNOWN.get(name, ()), *paths.get(name, ()))):
        yield from _walk(_Found((), obj), path.split("."))


def _walk(found: _Found, parts: list[str]) -> Iterator[_Found]:
    if found.value is None:
        return
    if not parts:
        yield found
        return
    first, rest = parts[0], parts[1:]
    name = first.removesuffix("[]")
    inner = _Found((*found.at, name), _object(found).get(name))
    if first.endswith("[]"):
        for item in _items(inner):
            yield from _walk(item, rest)
    else:
        yield from _walk(inner, rest)


def _uses(found: _Found) -> Iterator[ImageUse]:
    if isinstance(found.value, str):
        if found.value:
            yield ImageUse(pointer(found.at), found.value, "field")
        return
    spec = _object(found)
    for field, place in CONTAINERS.items():
        start = pointer((*found.at, field)) if spec.get(field) else ""
        for index, container in _containers(found, field):
            image = container.get("image")
            if type(image) is not str:
                image = _text(_Found((*found.at, field, index, "image"), image))
            if image:
                yield ImageUse(f"{start}/{index}/image", image, place, _name(container))
    for item in _items(_Found((*found.at, "volumes"), spec.get("volumes"))):
        source = _Found((*item.at, "image"), _object(item).get("image"))
        if source.value is not None:
            at = (*source.at, "reference")
            if image := _text(_Found(at, _object(source).get("reference"))):
                yield ImageUse(pointer(at), image, "volume", _name(item.value))


def _asks(found: _Found) -> Iterator[Ask]:
    spec = _object(found)
    for field, kind in (("hostPID", "host-pid"), ("hostIPC", "host-ipc"), ("hostNetwork", "host-network")):
        if spec.get(field) is True:
            yield Ask(kind)
    pod = _inner(found, "securityContext")
    for field in CONTAINERS:
        for index, container in _containers(found, field):
            yield from _container_asks((*found.at, field, index), container, pod)
    for item in _items(_Found((*found.at, "volumes"), spec.get("volumes"))):
        yield from _volume_asks(item)


def _container_asks(at: tuple[str | int, ...], container: Mapping[str, Any], pod: Mapping[str, Any]) -> list[Ask]:
    asks: list[Ask] = []
    own = _NONE
    if container.get("securityContext") is not None:
        own = _inner(_Found(at, container), "securityContext")
        asks += _privileges(_Found((*at, "securityContext"), own), _name(container))
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        user = own.get("runAsUser", pod.get("runAsUser"))
        if not (isinstance(user, int) and user > 0):
            asks.append(Ask("root", _name(container)))
    # Kubernetes lets no ephemeral container have limits of its own.
    if at[-2] != "ephemeralContainers" and not _limits(at, container).keys() >= _LIMITS:
        asks.append(Ask("no-limits", _name(container)))
    return asks


def _privileges(context: _Found, name: str) -> Iterator[Ask]:
    if context.value.get("privileged") is True:
        yield Ask("privileged", name)
    capabilities = _Found((*context.at, "capabilities"), _inner(context, "capabilities"))
    for added in _items(_Found((*capabilities.at, "add"), capabilities.value.get("add"))):
        word = _text(added).upper().removeprefix("CAP_")
        if word not in HARMLESS:
            yield Ask("capability", name, word[:40])


def _limits(at: tuple[str | int, ...], container: Mapping[str, Any]) -> Mapping[str, Any]:
    resources = container.get("resources")
    if resources is None:
        return _NONE
    if type(resources) is dict and type(limits := resources.get("limits")) is dict:
        return limits
    return _inner(_Found((*at, "resources"), _inner(_Found(at, container), "resources")), "limits")


def _volume_asks(item: _Found) -> Iterator[Ask]:
    volume = _object(item)
    name = _name(volume)
    if volume.get("hostPath") is not None:
        at = (*item.at, "hostPath")
        path = _text(_Found((*at, "path"), _object(_Found(at, volume["hostPath"])).get("path")))
        yield Ask("container-socket" if _reaches_socket(path) else "host-path", name, path[:200])
    for source in DATA:
        if volume.get(source) is not None:
            yield Ask("data-volume", name, source)


def _reaches_socket(path: str) -> bool:
    """True for a runtime's socket, and for every folder above it."""
    plain = posixpath.normpath("/" + path.lstrip("/"))
    plain = plain.removeprefix("/var") if plain == "/var/run" or plain.startswith("/var/run/") else plain
    if plain in ("/", "/var"):
        return True
    return any(s == plain or s.startswith(f"{plain}/") for s in SOCKETS)


# --- whose pod it is ---


def owner_of(pod: Any) -> tuple[str, str]:
    """(kind, name) of the workload that a pod belongs to, as its owner references and labels tell.

    A ReplicaSet's own owner is not told with the pod: its name without the hash is its Deployment's (or, by Argo's
    label, Rollout's), a Job's without the clock's number its CronJob's.
    """
    meta = _inner(_Found((), pod), "metadata")
    found = _Found(("metadata",), meta)
    labels = _inner(found, "labels")
    for item in _items(_Found(("metadata", "ownerReferences"), meta.get("ownerReferences"))):
        owner = _object(item)
        if owner.get("controller") is True and owner.get("kind") != "Node":
            return _workload(str(owner.get("kind"))[:50], str(owner.get("name"))[:253], labels)
    return "Pod", (_name(meta) or str(meta.get("generateName") or "").rstrip("-"))[:253]


def _workload(kind: str, name: str, labels: Mapping[str, Any]) -> tuple[str, str]:
    if kind == "ReplicaSet":
        for label, above in (("rollouts-pod-template-hash", "Rollout"), ("pod-template-hash", "Deployment")):
            if (mark := labels.get(label)) and name.endswith(f"-{mark}"):
                return above, name.removesuffix(f"-{mark}")
    if kind == "Job" and (cron := re.fullmatch(r"(.+)-\d{8,10}", name)):
        return "CronJob", cron[1]
    return kind, name


# --- reading what others wrote ---


def pointer(at: Sequence[str | int]) -> str:
    """The RFC 6901 pointer of a place."""
    text = "/".join(map(str, at))
    if "~" in text or text.count("/") >= len(at) > 0:
        text = "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in at)
    return f"/{text}" if at else ""


def _object(found: _Found) -> Mapping[str, Any]:
    if not isinstance(found.value, dict):
        raise _wrong(found, "an object")
    return found.value


def _inner(found: _Found, name: str) -> Mapping[str, Any]:
    """The object under ``name``; an empty one where there is none."""
    value = _object(found).get(name)
    return {} if value is None else _object(_Found((*found.at, name), value))


def _items(found: _Found) -> list[_Found]:
    if found.value is None:
        return []
    if not isinstance(found.value, list):
        raise _wrong(found, "a list")
    return [_Found((*found.at, index), item) for index, item in enumerate(found.value)]


def _containers(found: _Found, field: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The pod spec's containers under ``field``, each with its index."""
    containers = found.value.get(field)
    if containers is None:
        return
    if type(containers) is not list:
        raise _wrong(_Found((*found.at, field), containers), "a list")
    for index, container in enumerate(containers):
        if type(container) is not dict:
            raise _wrong(_Found((*found.at, field, index), container), "an object")
        yield index, container


def _text(found: _Found) -> str:
    if found.value is None:
        return ""
    if not isinstance(found.value, str):
        raise _wrong(found, "text")
    return found.value


def _name(value: Mapping[str, Any]) -> str:
    name = value.get("name")
    return name[:253] if isinstance(name, str) else ""


def _wrong(found: _Found, expected: str) -> Invalid:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    what = names.get(type(found.value), "a number")
    place = pointer(found.at) or "/"
    return Invalid(
        f"At {place} there is {what}; Kubernetes has {expected} there.", code="bad-object", where=f"object{place}"
    )
