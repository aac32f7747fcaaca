"""StackRox's alerts, as its generic webhook sends them: ``{"alert": {…}}``.

StackRox: proto/storage/alert.proto, central/notifiers/generic. An alert grows: with each process or violation the whole
is sent again. So each of them is an event of its own, with a fingerprint of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from secguard.errors import Invalid
from secguard.findings.severity import from_word
from secguard.images.jsonlines import MAX_TEXT, Members
from secguard.images.strictjson import named
from secguard.runtime.event import (
    Connection,
    Event,
    Kind,
    Outcome,
    Process,
    digest_in,
    fingerprint,
    mitre_of,
)
from secguard.runtime.readers._values import protocol, tags

_TOOL: Final = "stackrox"
_MOST: Final = 100
_L4: Final = "L4_PROTOCOL_"


def claims(document: dict[str, Any]) -> bool:
    # Suricata's alerts have an object of that name too.
    return "alert" in document and "event_type" not in document


def read(members: Members) -> list[Event]:
    """The processes and violations of one alert; the alert itself where it names none.

    Raises ``Invalid`` where it has no policy with a name.
    """
    alert = members.node("alert")
    policy = alert.node("policy")
    if not isinstance(policy.members.get("name"), str) or not policy.members["name"]:
        raise Invalid(
            f"StackRox's alert has no policy with a name: 'policy' is {named(alert.members.get('policy'))}.",
            code="bad-event",
            where="$.alert.policy.name",
        )
    return list(_events(alert, policy))


def _events(alert: Members, policy: Members) -> Iterator[Event]:
    told = False
    violation = alert.node("processViolation")
    for process in violation.nodes("processes", most=_MOST):
        told = True
        signal = process.node("signal")
        yield _event(
            alert,
            policy,
            process.members,
            kind=Kind.PROCESS,
            observed=signal.instant("time"),
            message=violation.text("message", most=MAX_TEXT),
            process=Process(
                exe=signal.text("execFilePath", "name", most=MAX_TEXT),
                args=_args(signal),
                parent=next(_parents(signal), None),
                user=signal.text("uid"),
                pid=signal.whole("pid"),
            ),
            pod=process.text("podId"),
            pod_uid=process.text("podUid"),
            container=process.text("containerName"),
            container_id=signal.text("containerId"),
            source_id=process.text("id"),
        )
    for one in alert.nodes("violations", most=_MOST):
        told = True
        flow = one.node("networkFlowInfo")
        yield _event(
            alert,
            policy,
            one.members,
            kind=_kind(one),
            observed=one.instant("time"),
            message=one.text("message", most=MAX_TEXT),
            connection=_connection(flow) if flow.members else None,
        )
    if not told:
        yield _event(alert, policy, {}, kind=Kind.OTHER)


def _event(alert: Members, policy: Members, part: dict[str, Any], **given: Any) -> Event:
    vectors = list(policy.nodes("mitreAttackVectors"))
    words = [word for v in vectors for word in (v.text("tactic"), *v.texts("techniques")) if word]
    deployment, resource = alert.node("deployment"), alert.node("resource")
    image = _image(alert, deployment, given.get("container"))
    identity = {"alert": alert.members.get("id"), "policy": policy.members.get("name"), "part": part}
    if not part:
        identity["alert"] = alert.members
    made = {
        "observed": alert.instant("time", "firstOccurred"),
        "message": policy.text("description", most=MAX_TEXT),
        "source_id": alert.text("id"),
    } | {name: value for name, value in given.items() if value is not None}
    return Event(
        tool=_TOOL,
        rule=policy.text("name") or "",
        rule_id=policy.text("id"),
        fingerprint=fingerprint(_TOOL, identity),
        severity=from_word((policy.text("severity") or "").removesuffix("_SEVERITY")),
        severity_word=policy.text("severity") or "",
        outcome=_outcome(alert),
        cluster=alert.text("clusterName") or deployment.text("clusterName") or resource.text("clusterName"),
        namespace=alert.text("namespace") or deployment.text("namespace") or resource.text("namespace"),
        workload=deployment.text("name"),
        image=image.node("name").text("fullName"),
        digest=digest_in(image.text("id"), image.node("name").text("fullName")),
        mitre=mitre_of(words),
        tags=tags((*policy.texts("categories"), alert.text("lifecycleStage") or "", alert.text("state") or "")),
        unread=tuple(alert.unread),
        **made,
    )


def _image(alert: Members, deployment: Members, container: str | None) -> Members:
    """The image of the container that is named; that of a deployment with one container; that of an image's alert."""
    containers = list(deployment.nodes("containers", most=50))
    found = [one for one in containers if container and one.text("name") == container] or containers
    return found[0].node("image") if len(found) == 1 else alert.node("image")


def _outcome(alert: Members) -> Outcome:
    action = alert.node("enforcement").text("action")
    return Outcome.DETECTED if action in (None, "UNSET_ENFORCEMENT") else Outcome.BLOCKED


def _args(signal: Members) -> str | None:
    name, args = signal.text("name"), signal.text("args", most=MAX_TEXT)
    return " ".join(word for word in (name, args) if word) or None


def _parents(signal: Members) -> Iterator[str]:
    for one in signal.nodes("lineageInfo", most=20):
        if path := one.text("parentExecFilePath", most=MAX_TEXT):
            yield path


def _kind(violation: Members) -> Kind:
    kind = violation.text("type")
    if kind in ("NETWORK_FLOW", "NETWORK_POLICY") or "networkFlowInfo" in violation:
        return Kind.NETWORK
    if kind == "K8S_EVENT":
        return Kind.API_AUDIT
    return Kind.FILE if kind == "FILE_ACCESS" else Kind.OTHER


def _connection(flow: Members) -> Connection:
    end = flow.node("destination")
    return Connection(
        destination_name=end.text("name"),
        destination_port=end.port("port") or None,
        protocol=protocol(None, (flow.text("protocol") or "").removeprefix(_L4)),
    )
