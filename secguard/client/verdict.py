"""The verdict document (DESIGN section 5), read into plain values for printing. Pure.

The server's document is kept as it is (``document``); what is read from it is what a developer needs to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any
from urllib.parse import quote


class Exit(IntEnum):
    """The command's exit codes (DESIGN section 5)."""

    PASSED = 0
    BLOCKED = 1
    COULD_NOT_TELL = 2


@dataclass(frozen=True)
class Finding:
    id: str
    title: str
    severity: str = "unknown"
    component: str = ""
    location: str = ""
    fix: str = ""
    url: str = ""


@dataclass(frozen=True)
class Upgrade:
    package: str
    current: str
    fixed: str
    fixes: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"upgrade {self.package}"
        text += f" from {self.current}" if self.current else ""
        text += f" to {self.fixed}"
        return f"{text} (fixes {_some(self.fixes)})" if self.fixes else text


@dataclass(frozen=True)
class Reason:
    rule: str
    effect: str
    message: str
    findings: tuple[Finding, ...] = ()
    upgrades: tuple[Upgrade, ...] = ()
    advice: str = ""
    risks: tuple[str, ...] = ()
    exception_url: str = ""


@dataclass(frozen=True)
class Verdict:
    image: str
    stage: str
    verdict: str
    reasons: tuple[Reason, ...]
    counts: Mapping[str, Any]
    policy: str
    valid_until: str
    evaluated_at: str
    decisions: int
    server: str
    document: Mapping[str, Any] = field(repr=False, default_factory=dict)

    @property
    def exit(self) -> Exit:
        """0 for pass and warn, 1 for block; anything else a server may say is no answer."""
        if self.verdict in {"pass", "warn"}:
            return Exit.PASSED
        return Exit.BLOCKED if self.verdict == "block" else Exit.COULD_NOT_TELL

    @property
    def blocking(self) -> tuple[Reason, ...]:
        return tuple(reason for reason in self.reasons if reason.effect == "block")


def read(document: Mapping[str, Any], server: str, details: Mapping[str, Mapping[str, Any]] | None = None) -> Verdict:
    """Reads a verdict document; ``details`` are finding documents by id, for a server that names findings by id."""
    policy = document.get("policy") or {}
    named = policy if isinstance(policy, Mapping) else {"name": policy}
    return Verdict(
        image=_image(document.get("image")),
        stage=str(document.get("stage", "")),
        verdict=str(document.get("verdict", "")),
        reasons=tuple(_reason(r, server, details or {}) for r in document.get("reasons") or []),
        counts=document.get("counts") or {},
        policy=f"{named.get('name', '?')} version {named.get('version', '?')}",
        valid_until=str(document.get("valid_until") or ""),
        evaluated_at=str(document.get("evaluated_at") or ""),
        decisions=len(document.get("decisions") or []),
        server=server,
        document=document,
    )


def finding_ids(document: Mapping[str, Any]) -> set[str]:
    """The findings that a verdict document names by id alone."""
    return {
        str(item)
        for reason in document.get("reasons") or []
        for item in reason.get("findings") or []
        if not isinstance(item, Mapping)
    }


def _image(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("reference") or value.get("digest") or "")
    return str(value or "")


def _reason(raw: Mapping[str, Any], server: str, details: Mapping[str, Mapping[str, Any]]) -> Reason:
    remedy = raw.get("remedy") or {}
    exception = remedy.get("exception") or {}
    risks = tuple(str(risk) for risk in exception.get("risks") or [])
    link = str(exception.get("url") or "")
    if not link and risks:
        link = f"{server}/decisions/request/?" + "&".join(f"risk={quote(risk)}" for risk in risks[:50])
    return Reason(
        rule=str(raw.get("rule", "")),
        effect=str(raw.get("effect", "")),
        message=str(raw.get("message", "")),
        findings=tuple(_finding(item, details) for item in raw.get("findings") or []),
        upgrades=tuple(_upgrade(item, details) for item in remedy.get("upgrades") or []),
        advice=str(remedy.get("text") or ""),
        risks=risks,
        exception_url=f"{server}{link}" if link.startswith("/") else link,
    )


def _finding(item: Any, details: Mapping[str, Mapping[str, Any]]) -> Finding:
    raw = item if isinstance(item, Mapping) else details.get(str(item), {"id": item})
    identity = str(raw.get("id", ""))
    name = _name(raw.get("vulnerability")) or str(raw.get("title") or raw.get("rule") or raw.get("check") or "")
    return Finding(
        id=identity,
        title=name or f"finding {identity}",
        severity=_name(raw.get("severity")) or "unknown",
        component=_name(raw.get("component")) or str(raw.get("purl") or raw.get("package") or ""),
        location=str(raw.get("location") or raw.get("path") or raw.get("target") or ""),
        fix=_fix(raw),
        url=str(raw.get("url") or raw.get("html_url") or ""),
    )


def _fix(raw: Mapping[str, Any]) -> str:
    fix = raw.get("fix_version") or raw.get("fixed_in") or raw.get("fix_versions") or raw.get("fix") or ""
    return ", ".join(map(str, fix)) if isinstance(fix, list) else _name(fix)


def _upgrade(item: Mapping[str, Any], details: Mapping[str, Mapping[str, Any]]) -> Upgrade:
    fixes = (
        _finding(fixed, details).title if str(fixed) in details else str(fixed) for fixed in item.get("fixes") or []
    )
    return Upgrade(
        package=_name(item.get("package")),
        current=str(item.get("from") or ""),
        fixed=str(item.get("to") or "a fixed version"),
        fixes=tuple(dict.fromkeys(fixes)),
    )


def _name(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name") or value.get("purl") or value.get("id") or "")
    return "" if value is None else str(value)


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
