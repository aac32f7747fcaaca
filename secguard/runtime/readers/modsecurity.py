"""ModSecurity's audit log as JSON: of version 3 (nginx), of version 2.9 (Apache), and of Coraza.

SecAuditLogFormat JSON. A transaction is one request; each rule that matched in it is an event. Rules that only add up
the score of the others (CRS 949, 959, 980) are left out where there is another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from secguard.findings.severity import Severity
from secguard.images.jsonlines import MAX_TEXT, Members
from secguard.runtime.event import (
    Connection,
    Event,
    Kind,
    Outcome,
    Request,
    fingerprint,
    from_syslog_word,
    mitre_of,
)
from secguard.runtime.readers import Passed
from secguard.runtime.readers._values import tags

_TOOL: Final = "modsecurity"
_MOST: Final = 50
_SUMS: Final = ("949", "959", "980")
_NO_MATCH: Final = Passed("transactions in which no rule of the firewall matched")
_QUOTED = re.compile(r"\[(\w{1,20}) \"((?:[^\"\\]|\\.){0,2000})\"\]")
_BLOCKED: Final = "Access denied"
_TIMES: Final = ("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S.%f %z", "%a %b %d %H:%M:%S %Y", "%Y/%m/%d %H:%M:%S")


class _Match(NamedTuple):
    """One rule that matched."""

    rule_id: str
    message: str
    severity: str = ""
    data: str | None = None
    tags: tuple[str, ...] = ()
    blocked: bool = False


def claims(document: dict[str, Any]) -> bool:
    return "transaction" in document and (
        isinstance(document["transaction"], dict) or "audit_data" in document or "messages" in document
    )


def read(members: Members) -> list[Event] | Passed:
    """The rules that matched in one transaction."""
    transaction = members.node("transaction")
    matches = [*_of_version_2(members), *_of_version_3(transaction), *_of_coraza(members)]
    speaking = [one for one in matches if not one.rule_id.startswith(_SUMS)] or matches
    if not speaking:
        return _NO_MATCH
    if len(speaking) > _MOST:
        members.note("messages", f"has {len(speaking):,} entries; {_MOST} are read")
    blocked = _is_blocked(members, transaction) or any(one.blocked for one in matches)
    whole = fingerprint(_TOOL, members.members)
    common = {
        "observed": _observed(members, transaction),
        "host": _host(members, transaction),
        "connection": _connection(transaction),
        "request": _request(members, transaction),
        "source_id": transaction.text("unique_id", "transaction_id", "id"),
        "outcome": Outcome.BLOCKED if blocked else Outcome.DETECTED,
        "unread": tuple(members.unread),
    }
    return [
        Event(
            kind=Kind.NETWORK,
            tool=_TOOL,
            rule=(one.message or f"rule {one.rule_id}")[:512],
            rule_id=one.rule_id or None,
            fingerprint=fingerprint(_TOOL, whole, str(i)),
            severity=from_syslog_word(one.severity) if one.severity else Severity.UNKNOWN,
            severity_word=one.severity[:32],
            message=one.data[:MAX_TEXT] if one.data else None,
            mitre=mitre_of(one.tags),
            tags=tags(one.tags),
            **common,  # type: ignore[arg-type]
        )
        for i, one in enumerate(speaking[:_MOST])
    ]


def _of_version_3(transaction: Members) -> Iterator[_Match]:
    for message in transaction.nodes("messages", most=4 * _MOST):
        details = message.node("details")
        yield _Match(
            details.text("ruleId") or "",
            message.text("message") or "",
            details.text("severity") or "",
            details.text("data", "match", most=MAX_TEXT),
            details.texts("tags"),
        )


def _of_coraza(members: Members) -> Iterator[_Match]:
    for message in members.nodes("messages", most=4 * _MOST):
        data = message.node("data" if "data" in message else "details")
        yield _Match(
            data.text("id", "ruleId") or "",
            data.text("msg") or message.text("message") or "",
            data.text("severity") or "",
            data.text("data", most=MAX_TEXT),
            data.texts("tags"),
        )


def _of_version_2(members: Members) -> Iterator[_Match]:
    """The lines of the error log: ``Warning. … [id "932160"] [msg "…"] [severity "CRITICAL"] [tag "…"]``."""
    for text in members.node("audit_data").texts("messages", most=4 * _MOST, each=MAX_TEXT):
        quoted = _QUOTED.findall(text)
        said = dict(reversed(quoted))
        yield _Match(
            said.get("id", "")[:64],
            said.get("msg") or text[:200],
            said.get("severity", ""),
            said.get("data"),
            tuple(value for name, value in quoted if name == "tag"),
            text.startswith(_BLOCKED),
        )


def _is_blocked(members: Members, transaction: Members) -> bool:
    action = members.node("audit_data").node("action")
    return action.members.get("intercepted") is True or transaction.members.get("is_interrupted") is True


def _observed(members: Members, transaction: Members) -> datetime | None:
    if at := transaction.instant("unix_timestamp"):
        # Coraza writes nanoseconds, older ones seconds.
        return at
    text = transaction.text("time_stamp", "time", "timestamp", most=64)
    for form in _TIMES if text else ():
        try:
            at = datetime.strptime(text or "", form)  # noqa: DTZ007 - the zone is looked at next
        except ValueError:
            continue
        if at.tzinfo is None:
            members.note("transaction.time_stamp", "names no time zone; it is taken as UTC")
            at = at.replace(tzinfo=UTC)
        try:
            return at.astimezone(UTC) if 1970 < at.year < 2200 else None
        except (OverflowError, ValueError):
            return None
    if text:
        members.note("transaction.time_stamp", f"is {text[:40]!r}, which is no time of ModSecurity")
    return None


def _host(members: Members, transaction: Members) -> str | None:
    headers = _request_of(members, transaction).node("headers")
    host = headers.text("Host", "host") or next(iter(headers.texts("host")), None)
    return transaction.node("request").text("hostname") or host or members.text("host")


def _request_of(members: Members, transaction: Members) -> Members:
    return transaction.node("request") if "request" in transaction else members.node("request")


def _request(members: Members, transaction: Members) -> Request:
    request = _request_of(members, transaction)
    response = transaction.node("response") if "response" in transaction else members.node("response")
    verb, path = request.text("method"), request.text("uri", most=MAX_TEXT)
    if verb is None and (line := request.text("request_line", most=MAX_TEXT)):
        verb, _, rest = line.partition(" ")
        path = rest.rpartition(" HTTP/")[0] or rest
    agents = request.node("headers")
    code = response.whole("http_code", most=999)
    agent = next((a for name in ("User-Agent", "user-agent") if (a := next(iter(agents.texts(name)), None))), None)
    return Request(
        verb=verb[:32] if verb else None,
        resource=path,
        code=response.whole("status", most=999) if code is None else code,
        user_agent=agent,
    )


def _connection(transaction: Members) -> Connection:
    port = transaction.port("client_port")
    own = transaction.port("host_port")
    return Connection(
        source_ip=transaction.address("client_ip", "remote_address"),
        source_port=transaction.port("remote_port") if port is None else port,
        destination_ip=transaction.address("host_ip", "local_address"),
        destination_port=transaction.port("local_port") if own is None else own,
        protocol="tcp",
    )
