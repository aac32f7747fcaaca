"""Events of the Kubernetes API server: audit.k8s.io/v1 and v1beta1, single or in an EventList.

Kubernetes: staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go. What was sent and answered is not kept: it may
be a Secret. Of a pod its images are.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from secguard.errors import Invalid
from secguard.images.jsonlines import MAX_TEXT, Members
from secguard.runtime.event import Event, Kind, Outcome, Process, Request, digest_in, fingerprint
from secguard.runtime.masking import mask
from secguard.runtime.readers._values import scalars

_GROUP: Final = "audit.k8s.io/"
_VERSIONS: Final = ("audit.k8s.io/v1", "audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1")
_TOOL: Final = "kubernetes-audit"
_IN_A_POD: Final = frozenset(("exec", "attach", "portforward", "ephemeralcontainers"))


def claims(document: dict[str, Any]) -> bool:
    version = document.get("apiVersion")
    if isinstance(version, str) and version.startswith(_GROUP):
        return True
    # Sinks on the way drop what is the same in each. The core group's own events have no verb.
    return "verb" in document and (
        "auditID" in document or (document.get("kind") == "Event" and "objectRef" in document)
    )


def read(members: Members) -> list[Event]:
    """One request's event. Raises ``Invalid`` for a version that is not known, or an event without a verb."""
    _require_known(members)
    target, user = members.node("objectRef"), members.node("user")
    verb, resource = members.text("verb") or "", _resource(target)
    code = members.node("responseStatus").whole("code", most=999)
    uri = members.text("requestURI", most=MAX_TEXT)
    sub = target.text("subresource")
    query = _query(uri) | _options(members) if sub in _IN_A_POD else {}
    image = _image(members, target)
    return [
        Event(
            kind=Kind.API_AUDIT,
            tool=_TOOL,
            rule=f"{verb} {resource or _path(uri) or 'a path'}"[:256],
            fingerprint=fingerprint(_TOOL, _identity(members)),
            # When it was received is when it was done; when it was answered may be hours later (a watch, an exec).
            observed=members.instant("requestReceivedTimestamp", "stageTimestamp", "timestamp"),
            # The command of an exec stands in the address in pieces, which are masked once they are together.
            message=_path(uri) or None if sub in _IN_A_POD else uri,
            outcome=_outcome(members, code),
            cluster=members.text("cluster", "clusterName"),
            namespace=target.text("namespace"),
            pod=target.text("name") if target.text("resource") == "pods" else None,
            container=query.get("container"),
            image=image,
            digest=digest_in(image),
            process=Process(args=query["command"], user=user.text("username")) if "command" in query else None,
            request=Request(
                verb=verb,
                resource=resource,
                name=target.text("name"),
                code=code,
                user=user.text("username"),
                on_behalf_of=members.node("impersonatedUser").text("username"),
                user_agent=members.text("userAgent"),
                source_ips=members.texts("sourceIPs", most=16, each=64),
            ),
            tags=tuple(word for word in (members.text("stage"), members.text("level")) if word),
            source_id=members.text("auditID"),
            fields=scalars(members, "annotations", members.node("annotations").members),
            unread=tuple(members.unread),
        )
    ]


def _require_known(members: Members) -> None:
    version = members.members.get("apiVersion")
    kind = members.members.get("kind", "Event")
    if isinstance(version, str) and version.startswith(_GROUP) and version not in _VERSIONS:
        raise Invalid(
            f"The event is of {version[:60]!r}; {', '.join(_VERSIONS)} are read.",
            code="unknown-version",
            where="$.apiVersion",
        )
    if kind != "Event":
        raise Invalid(
            f"The document is of kind {str(kind)[:60]!r} of audit.k8s.io; expected Event or EventList.",
            code="bad-event",
            where="$.kind",
        )
    if not isinstance(members.members.get("verb"), str) or not members.members["verb"]:
        raise Invalid("The API server's event has no 'verb'.", code="bad-event", where="$.verb")


def _identity(members: Members) -> dict[str, Any]:
    """What tells one event from another; its objects do not, and a guess at a Secret must not be tried on them."""
    return {name: v for name, v in members.members.items() if name not in ("requestObject", "responseObject")}


def _resource(target: Members) -> str | None:
    """``apps/deployments/scale`` as roles name it; the core group has no name."""
    resource = target.text("resource")
    if resource is None:
        return None
    return "/".join(part for part in (target.text("apiGroup"), resource, target.text("subresource")) if part)


def _outcome(members: Members, code: int | None) -> Outcome:
    decision = members.node("annotations").text("authorization.k8s.io/decision")
    if decision == "forbid" or code in (401, 403):
        return Outcome.BLOCKED
    return Outcome.ALLOWED if decision == "allow" or code is not None else Outcome.DETECTED


def _path(uri: str | None) -> str:
    return (uri or "").partition("?")[0]


def _query(uri: str | None) -> dict[str, str]:
    """The command and the container of an exec, which stand in the address."""
    try:
        given = parse_qs(urlsplit(uri or "").query, max_num_fields=200)
    except ValueError:
        return {}
    found = {"command": " ".join(given.get("command", ())), "container": " ".join(given.get("container", ()))}
    return {name: mask(value[:MAX_TEXT]) for name, value in found.items() if value}


def _options(members: Members) -> dict[str, str]:
    """The same where the options were written down with the request (PodExecOptions)."""
    command = members.node("requestObject").texts("command") if "requestObject" in members else ()
    return {"command": mask(" ".join(command)[:MAX_TEXT])} if command else {}


def _image(members: Members, target: Members) -> str | None:
    """The image of a pod of one container, where the pod was written down with the request."""
    if target.text("resource") != "pods" or "requestObject" not in members:
        return None
    spec = members.node("requestObject").node("spec")
    images = {image for one in spec.nodes("containers", most=20) if (image := one.text("image"))}
    return images.pop() if len(images) == 1 else None
