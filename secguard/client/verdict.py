"""The verdict document (DESIGN section 5), read into plain values for printing. Pure.

The server's document is kept as it is (``document``); what is read from it is what a developer needs to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any
from urllib.parse import urlencode


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


@dataclass(frozen=True)
class Upgrade:
    package: str
    current: str
    fixed: str
    fixes: tuple[str, ...] = ()
    is_complete: bool = True

    def __str__(self) -> str:
        text = f"upgrade {self.package}"
        text += f" from {self.current}" if self.current else ""
        text += f" to {self.fixed}"
        text += f" (fixes {_some(self.fixes)})" if self.fixes else ""
        return text if self.is_complete else f"{text}; no single version is known to fix all of them"


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
    data_updated_at: str
    """How old the vulnerability data is; empty where the server does not know."""
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


def read(
    document: Mapping[str, Any],
    server: str,
    details: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    called: str = "",
) -> Verdict:
    """Reads a verdict document; ``details`` are finding documents by id, for a server that names findings by id.

    ``called``: how the image was named by whoever asked; without it, as the server names it.
    """
    policy = document.get("policy") or {}
    named = policy if isinstance(policy, Mapping) else {"name": policy}
    about = [("image", str(document["image"]))] if document.get("image") else []
    return Verdict(
        image=called or str(document.get("reference") or document.get("image") or ""),
        stage=str(document.get("stage", "")),
        verdict=str(document.get("verdict", "")),
        reasons=tuple(_reason(r, server, details or {}, about) for r in document.get("reasons") or []),
        counts=document.get("counts") or {},
        policy=f"{named.get('name', '?')} version {named.get('version', '?')}",
        valid_until=str(document.get("valid_until") or ""),
        evaluated_at=str(document.get("evaluated_at") or ""),
        data_updated_at=str(document.get("data_updated_at") or ""),
        decisions=len(document.get("decisions") or []),
        server=server,
        document=document,
    )


def reasons_of(document: Mapping[str, Any], server: str) -> tuple[Reason, ...]:
    """The reasons of a document that has them as a verdict does: a promotion that was refused."""
    about = [("image", str(document["digest"]))] if document.get("digest") else []
    return tuple(_reason(r, server, {}, about) for r in document.get("reasons") or [])


def finding_ids(document: Mapping[str, Any]) -> set[str]:
    """The findings that a verdict document names by id alone."""
    return {
        str(item)
        for reason in document.get("reasons") or []
        for item in reason.get("findings") or []
        if not isinstance(item, Mapping)
    }


def _reason(
    raw: Mapping[str, Any], server: str, details: Mapping[str, Mapping[str, Any]], about: list[tuple[str, str]]
) -> Reason:
    remedy = raw.get("remedy") or {}
    exception = remedy.get("exception") or {}
    risks = tuple(str(risk) for risk in exception.get("risks") or [])
    link = str(exception.get("url") or "")
    if not link and risks:
        link = (
            f"{server}/decisions/new/?{urlencode([*(('risk', risk) for risk in risks[:50]), *about], errors='replace')}"
        )
    return Reason(
        rule=str(raw.get("rule", "")),
        effect=str(raw.get("effect", "")),
        message=str(raw.get("message", "")),
        findings=tuple(_finding(item, details) for item in raw.get("findings") or []),
        upgrades=tuple(_upgrade(item) for item in remedy.get("upgrades") or []),
        advice=str(remedy.get("text") or ""),
        risks=risks,
        exception_url=f"{server}{link}" if link.startswith("/") else link,
    )


def _finding(item: Any, details: Mapping[str, Mapping[str, Any]]) -> Finding:
    raw = item if isinstance(item, Mapping) else details.get(str(item), {"id": item})
    identity = str(raw.get("id", ""))
    return Finding(
        id=identity,
        title=_text(raw, "name", "title") or f"finding {identity}",
        severity=_text(raw, "severity") or "unknown",
        component=_text(raw, "purl", "package"),
        location=_text(raw, "path"),
        fix=", ".join(str(version) for version in raw.get("fixed_versions") or []),
    )


def _upgrade(item: Mapping[str, Any]) -> Upgrade:
    return Upgrade(
        package=_text(item, "name", "package"),
        current=_text(item, "from"),
        fixed=_text(item, "to") or "a fixed version",
        fixes=tuple(str(name) for name in item.get("fixes") or []),
        is_complete=bool(item.get("is_complete", True)),
    )


def _text(raw: Mapping[str, Any], *names: str) -> str:
    """The first of the named members that says something."""
    return next((str(raw[name]) for name in names if raw.get(name)), "")


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
