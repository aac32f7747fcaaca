"""gitleaks' JSON: version 8 (``RuleID``, ``File``, ``StartLine``) and 7 (``rule``, ``file``, ``lineNumber``).

``Secret``, ``Match``, ``line`` and ``offender`` hold the secret and are never decoded.
"""

from __future__ import annotations

from msgspec import Raw, Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind, secret_fingerprint
from secguard.findings.severity import Severity
from secguard.scans.document import Document, decode
from secguard.scans.readers._checks import clean_path
from secguard.scans.report import ReportedSecret, ScanReport, Subject

_EIGHT = frozenset({"RuleID", "File", "StartLine", "Secret"})
_SEVEN = frozenset({"rule", "file", "offender", "commit"})

EMPTY_COVERS = frozenset({FindingKind.SECRET})


class _Eight(Struct):
    rule: str = field(name="RuleID")
    path: str | None = field(name="File", default=None)
    line: int | None = field(name="StartLine", default=None)
    title: str | None = field(name="Description", default=None)
    fingerprint: str | None = field(name="Fingerprint", default=None)


class _Seven(Struct):
    rule: str
    path: str | None = field(name="file", default=None)
    line: int | None = field(name="lineNumber", default=None)

    title = None
    fingerprint = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of secrets, or ``None`` where the document is not gitleaks'.

    An empty array says nothing of who wrote it and is not claimed. A secret found in several commits is one finding.
    gitleaks does not rate; a secret is rated high. Raises ``Invalid`` with the JSON path of a broken finding.
    """
    raw, where = document.raw if document.items is not None else (document.keys or {}).get("findings"), "$"
    keys = _first_keys(raw, where)
    if raw is None or not (keys >= _EIGHT or keys >= _SEVEN):
        return None
    found: list[_Eight | _Seven] = decode(raw, list[_Eight] if keys >= _EIGHT else list[_Seven], where)
    secrets = {s.fingerprint: s for s in map(_secret, reversed(found))}
    return ScanReport(
        format="gitleaks",
        format_version="8" if keys >= _EIGHT else "7",
        scanner="gitleaks",
        subject=Subject(kind="repository"),
        covers=EMPTY_COVERS,
        secrets=list(reversed(secrets.values())),
    )


def _first_keys(raw: Raw | bytes | None, where: str) -> set[str]:
    try:
        items: list[Raw] = decode(raw or b"[]", list[Raw], where)
        return set(decode(items[0], dict[str, Raw], where)) if items else set()
    except Invalid:
        return set()


def _secret(finding: _Eight | _Seven) -> ReportedSecret:
    path = clean_path(finding.path or "")
    line = finding.line or 0
    return ReportedSecret(
        rule=finding.rule,
        path=path,
        fingerprint=secret_fingerprint(finding.rule, path, finding.fingerprint or str(line)),
        line=line,
        severity=Severity.HIGH,
        title=finding.title or finding.rule,
    )
