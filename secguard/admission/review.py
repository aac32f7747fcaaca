"""What clusters ask before anything starts: AdmissionReview, ImageReview and Gatekeeper's external data. Pure.

Requests: kubernetes/api ``admission/v1`` and ``imagepolicy/v1alpha1``, and Gatekeeper's ``externaldata/v1beta1``. What
is not one of them is refused with the place of the fault and what was expected there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from secguard.errors import Invalid
from secguard.images import strictjson
from secguard.workloads.podspec import Ask, ImageUse, Paths, asks_of, images_of, is_known, owner_of
from secguard.workloads.volumes import Mount, mounts_of

ADMISSION: Final = "admission.k8s.io/v1"
IMAGE_POLICY: Final = "imagepolicy.k8s.io/v1alpha1"
EXTERNAL_DATA: Final = "externaldata.gatekeeper.sh/v1beta1"
EXTERNAL_DATA_VERSIONS: Final = (EXTERNAL_DATA, "externaldata.gatekeeper.sh/v1alpha1")
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT")
MAX_KEYS: Final = 1000
MAX_TEXT: Final = 4096
MAX_NAME: Final = 253
"""Names in Kubernetes are DNS subdomains or shorter (RFC 1123)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a request is about: what an auditor, and the answer's words, call it by."""

    uid: str = ""
    operation: str = "CREATE"
    kind: str = ""
    namespace: str = ""
    name: str = ""
    user: str = ""
    dry_run: bool = False
    owner: tuple[str, str] = ("", "")
    """(kind, name) of the workload; the owner's for a pod that a controller made."""

    @property
    def is_pod(self) -> bool:
        """True where a container starts: every other object only leads to pods, which are asked about themselves."""
        return self.kind == "Pod"


@dataclass(frozen=True, slots=True)
class Review:
    """A question read: the images in it, what the pods ask for and, of a pod, the volumes that it mounts.

    ``standing`` images and asks were in the object before this change: an update that leaves them alone starts nothing
    new, and stopping it would also stop what takes the object away.
    """

    subject: Subject
    images: tuple[ImageUse, ...] = ()
    asks: tuple[Ask, ...] = ()
    standing: frozenset[str] = frozenset()
    standing_asks: frozenset[Ask] = frozenset()
    is_known_kind: bool = True
    mounts: tuple[Mount, ...] = ()


def _load(raw: bytes, max_bytes: int, what: str) -> dict[str, Any]:
    body = strictjson.loads(raw, what=what, max_bytes=max_bytes)
    if not isinstance(body, dict):
        raise strictjson.refused(what, f"there is {_type(body)}; expected an object")
    return body


def read_admission(raw: bytes, paths: Paths, *, max_bytes: int) -> Review:
    """An AdmissionReview. Raises ``Invalid`` (``TooLarge``) for anything else."""
    body = _load(raw, max_bytes, "The AdmissionReview")
    _expect(body, ADMISSION, "AdmissionReview")
    request = _member(body, "request")
    uid = _required(request, "uid", "request")
    operation = _required(request, "operation", "request")
    if operation not in OPERATIONS:
        raise _bad("request.operation", f"{operation[:40]!r}", f"one of {', '.join(OPERATIONS)}")
    kind = _member(request, "kind", "request")
    group, name = _optional(kind, "group", "request.kind"), _required(kind, "kind", "request.kind")
    obj = request.get("object")
    subject = Subject(
        uid=uid,
        operation=operation,
        kind=name,
        namespace=_optional(request, "namespace", "request"),
        name=_name_of(request, obj),
        user=_optional(_optional_member(request, "userInfo", "request"), "username", "request.userInfo")[:200],
        dry_run=_flag(request, "dryRun"),
    )
    if operation in ("DELETE", "CONNECT") or _optional(request, "subResource", "request") not in (
        "",
        "ephemeralcontainers",
    ):
        return Review(subject)
    if not isinstance(obj, dict):
        raise _bad("request.object", _type(obj), "the object that is created or updated")
    _same_kind(obj, name)
    return _reviewed(subject, obj, request.get("oldObject"), group, paths)


def _reviewed(subject: Subject, obj: dict[str, Any], old: Any, group: str, paths: Paths) -> Review:
    kind = subject.kind
    # Metadata must be there to know whose pod it is; what kind of object has none is no Kubernetes object.
    owner = owner_of(obj) if subject.is_pod else (kind, subject.name)
    before = old if subject.operation == "UPDATE" and isinstance(old, dict) else None
    return Review(
        subject=_replaced(subject, owner),
        images=images_of(obj, group, kind, paths),
        asks=asks_of(obj, group, kind, paths),
        standing=frozenset(use.image for use in images_of(before, group, kind, paths)) if before else frozenset(),
        standing_asks=frozenset(asks_of(before, group, kind, paths)) if before else frozenset(),
        is_known_kind=is_known(group, kind, paths),
        mounts=mounts_of(obj, group, kind, paths) if subject.is_pod else (),
    )


def _replaced(subject: Subject, owner: tuple[str, str]) -> Subject:
    return Subject(
        subject.uid,
        subject.operation,
        subject.kind,
        subject.namespace,
        subject.name or owner[1],
        subject.user,
        subject.dry_run,
        owner,
    )


def _same_kind(obj: Mapping[str, Any], kind: str) -> None:
    """The API server decodes the object by its kind; where the two differ, one of them would hide images from us."""
    found = obj.get("kind")
    if found is not None and found != kind:
        raise _bad("request.object.kind", repr(found)[:80], f"{kind!r}, as request.kind says")


def _name_of(request: Mapping[str, Any], obj: Any) -> str:
    name = _optional(request, "name", "request")
    if not name and isinstance(obj, dict) and isinstance(meta := obj.get("metadata"), dict):
        for field in ("name", "generateName"):
            if isinstance(found := meta.get(field), str) and found:
                return found[:MAX_NAME]
    return name


def read_image_review(raw: bytes, *, max_bytes: int) -> Review:
    """An ImageReview of the API server's ImagePolicyWebhook: it tells neither who asks nor for which pod."""
    body = _load(raw, max_bytes, "The ImageReview")
    _expect(body, IMAGE_POLICY, "ImageReview")
    spec = _member(body, "spec")
    containers = spec.get("containers", [])
    if not isinstance(containers, list) or len(containers) > MAX_KEYS:
        raise _bad("spec.containers", _type(containers), f"a list of at most {MAX_KEYS} containers")
    uses = []
    for index, container in enumerate(containers):
        where = f"spec.containers[{index}]"
        if not isinstance(container, dict):
            raise _bad(where, _type(container), "an object with an image")
        if image := _optional(container, "image", where):
            uses.append(ImageUse(f"/spec/containers/{index}/image", image, "container"))
    subject = Subject(kind="Pod", namespace=_optional(spec, "namespace", "spec"))
    return Review(subject, tuple(uses))


def read_provider_request(raw: bytes, *, max_bytes: int) -> tuple[str, ...]:
    """The keys (image references) that Gatekeeper asks about."""
    body = _load(raw, max_bytes, "The ProviderRequest")
    if body.get("apiVersion") not in EXTERNAL_DATA_VERSIONS or body.get("kind") != "ProviderRequest":
        _expect(body, EXTERNAL_DATA, "ProviderRequest")
    keys = _member(body, "request").get("keys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS or not all(isinstance(k, str) for k in keys):
        raise _bad("request.keys", _type(keys), f"a list of at most {MAX_KEYS} image references")
    return tuple(dict.fromkeys(keys))


# --- reading what others wrote ---


def _expect(body: Mapping[str, Any], version: str, kind: str) -> None:
    found = f"{str(body.get('apiVersion'))[:80]} {str(body.get('kind'))[:80]}"
    if found != f"{version} {kind}":
        raise _bad("apiVersion, kind", found, f"{version} {kind}")


def _member(body: Mapping[str, Any], name: str, inside: str = "") -> Mapping[str, Any]:
    found = body.get(name)
    if not isinstance(found, dict):
        raise _bad(f"{inside}.{name}".lstrip("."), _type(found), "an object")
    return found


def _optional_member(body: Mapping[str, Any], name: str, inside: str) -> Mapping[str, Any]:
    return {} if body.get(name) is None else _member(body, name, inside)


def _optional(body: Mapping[str, Any], name: str, inside: str) -> str:
    found = body.get(name)
    if found is None:
        return ""
    if not isinstance(found, str) or len(found) > MAX_TEXT:
        raise _bad(f"{inside}.{name}", _type(found), "a short text")
    return found


def _required(body: Mapping[str, Any], name: str, inside: str) -> str:
    found = _optional(body, name, inside)
    if not found:
        raise _bad(f"{inside}.{name}", "nothing", "a text")
    return found


def _flag(request: Mapping[str, Any], name: str) -> bool:
    found = request.get(name)
    if found is not None and not isinstance(found, bool):
        raise _bad(f"request.{name}", _type(found), "true or false")
    return found is True


def _type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def _bad(where: str, found: str, expected: str) -> Invalid:
    return Invalid(f"At {where} there is {found}; expected {expected}.", code="bad-review", where=where)
