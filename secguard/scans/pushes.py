"""What registries' webhooks tell of pushes: one neutral form, whoever sends it. Pure.

distribution (docs "Notifications"), Harbor (docs "Configure Webhook Notifications"), CloudEvents 1.0 (structured,
batched and binary), Docker Hub, Quay, GitHub packages, Azure and Alibaba registries. A body is recognised by what is in
it. Whatever is no push of an image (pulls, deletions, layers, quotas) is counted and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from secguard.errors import Invalid
from secguard.images.manifest import INDEXES, MANIFESTS
from secguard.images.reference import is_digest, try_parse

MAX_EVENTS = 1000
_PUSHES = frozenset({"push", "PUSH_ARTIFACT", "published", "create", "created", "updated", "quay", "chart_push"})
_HARBOR_EVENTS = frozenset({"harbor.artifact.pushed"})


class Push(Struct, frozen=True):
    """An image was pushed. ``digest`` or ``tag`` may be empty, never both."""

    path: str
    """The repository without its registry."""
    tag: str = ""
    digest: str = ""
    host: str = ""
    """The registry as the message names it; empty where it does not."""


class Delivery(Struct, frozen=True):
    """What one request of a webhook told."""

    pushes: tuple[Push, ...]
    ignored: int = 0
    """Events that are no push of an image."""


def read(raw: bytes, headers: Mapping[str, str]) -> Delivery:
    """The pushes that a request tells of, each once.

    Raises ``Invalid`` where the body is no JSON, of none of the known forms, or has more than ``MAX_EVENTS`` events.
    """
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as e:
        raise Invalid(f"The webhook's body is not JSON: {e}.", code="bad-webhook", where="body") from e
    binary = {k.lower(): v for k, v in headers.items() if k.lower().startswith("ce-")}
    events = list(_events(body, binary.get("ce-type", "")))
    if len(events) > MAX_EVENTS:
        raise Invalid(f"The webhook tells of {len(events):,} events; {MAX_EVENTS:,} are read.", code="bad-webhook")
    found: dict[Push, None] = {}
    ignored = 0
    for event in events:
        pushes = list(_pushes(event))
        ignored += not pushes
        found |= dict.fromkeys(pushes)
    return Delivery(tuple(found), ignored)


def _events(body: Any, type_: str) -> Iterator[Mapping[str, Any]]:
    """The single events, each as a mapping of its own form."""
    if isinstance(body, list) and body and all(_is_cloud_event(e) for e in body):
        for event in body:
            yield from _events(event, "")
    elif not isinstance(body, dict):
        raise _unknown()
    elif _is_cloud_event(body):
        yield {"type": str(body["type"]), "event_data": body.get("data")}
    elif type_:
        yield {"type": type_, "event_data": body}
    elif isinstance(body.get("events"), list):
        yield from (e for e in body["events"] if isinstance(e, dict))
    elif _is_known(body):
        yield body
    else:
        raise _unknown()


def _is_cloud_event(body: Any) -> bool:
    return isinstance(body, dict) and isinstance(body.get("specversion"), str) and isinstance(body.get("type"), str)


def _is_known(body: Mapping[str, Any]) -> bool:
    return any(
        (
            "event_data" in body and "type" in body,
            isinstance(body.get("target"), dict) and "action" in body,
            "push_data" in body and isinstance(body.get("repository"), dict),
            "docker_url" in body or "updated_tags" in body,
            isinstance(body.get("package") or body.get("registry_package"), dict) and "action" in body,
        )
    )


def _unknown() -> Invalid:
    return Invalid(
        "The webhook's body is of no form that is known here: distribution's notifications, Harbor's default and "
        "CloudEvents formats, Docker Hub, Quay, GitHub packages, Azure and Alibaba registries.",
        code="bad-webhook",
        where="body",
    )


def _pushes(event: Mapping[str, Any]) -> Iterator[Push]:
    if "event_data" in event:
        yield from _harbor(event)
    elif isinstance(event.get("target"), dict):
        yield from _distribution(event, event["target"])
    elif "push_data" in event:
        repository, data = _map(event.get("repository")), _map(event.get("push_data"))
        name = _text(repository.get("repo_name")) or _text(repository.get("repo_full_name"))
        yield from _push(name, _text(data.get("tag")), _text(data.get("digest")))
    elif "docker_url" in event or "updated_tags" in event:
        yield from _quay(event)
    else:
        yield from _github(event)


def _harbor(event: Mapping[str, Any]) -> Iterator[Push]:
    """``event_data`` with its resources; the same in CloudEvents of type ``harbor.artifact.pushed``."""
    if _text(event.get("type")) not in _PUSHES | _HARBOR_EVENTS:
        return
    data = _map(event.get("event_data"))
    repository = _text(_map(data.get("repository")).get("repo_full_name"))
    resources = data.get("resources")
    for resource in resources if isinstance(resources, list) else ():
        told = _map(resource)
        reference = try_parse(_text(told.get("resource_url")))
        host = reference.host if reference and "/" in _text(told.get("resource_url")) else ""
        tag, digest = _text(told.get("tag")), _text(told.get("digest"))
        yield from _push(repository or (reference.path if reference else ""), tag, digest, host)


def _distribution(event: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Push]:
    kind = _text(target.get("mediaType"))
    # Layers and configurations are pushed too, before the manifest that names them.
    if event.get("action") != "push" or kind not in MANIFESTS | INDEXES:
        return
    host = _text(_map(event.get("request")).get("host"))
    yield from _push(_text(target.get("repository")), _text(target.get("tag")), _text(target.get("digest")), host)


def _quay(event: Mapping[str, Any]) -> Iterator[Push]:
    host, _, _ = _text(event.get("docker_url")).partition("/")
    tags = event.get("updated_tags")
    for tag in tags if isinstance(tags, list) else ():
        yield from _push(_text(event.get("repository")), _text(tag), "", host)


def _github(event: Mapping[str, Any]) -> Iterator[Push]:
    """GitHub's ``package`` and ``registry_package`` events."""
    package = _map(event.get("package") or event.get("registry_package"))
    kind = _text(package.get("package_type") or package.get("ecosystem")).lower()
    if _text(event.get("action")) not in _PUSHES or kind != "container":
        return
    version = _map(package.get("package_version"))
    tag = _map(_map(version.get("container_metadata")).get("tag"))
    owner = _text(_map(package.get("owner")).get("login")) or _text(package.get("namespace"))
    name = _text(package.get("name"))
    digest = _text(tag.get("digest")) or _text(version.get("version")) or _text(version.get("name"))
    yield from _push(
        f"{owner}/{name}" if owner and "/" not in name else name, _text(tag.get("name")), digest, "ghcr.io"
    )


def _push(path: str, tag: str, digest: str, host: str = "") -> Iterator[Push]:
    """The push, where it names an image as references do."""
    digest = digest if is_digest(digest) else ""
    tag = "" if is_digest(tag) else tag
    path = path.lower()
    reference = try_parse(f"registry.invalid/{path}" + (f":{tag}" if tag else ""))
    if (tag or digest) and reference is not None and (reference.path, reference.tag) == (path, tag):
        yield Push(path, tag, digest, host.lower())


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 1000 else ""
