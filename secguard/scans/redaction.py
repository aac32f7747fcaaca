"""A report without the texts of the secrets that it found (DESIGN rule 2: the secret itself is never stored). Pure.

Scanners quote what they find. Those quotations are replaced in the bytes, before a report is kept; every other byte
stays, and what a reader makes of the report stays the same. The patterns match JSON's own tokens: a quote inside a
JSON string is escaped, so that a key in a text is never mistaken for a key.
"""

from __future__ import annotations

import re

from secguard.scans.report import ScanReport

REMOVED = "[removed by SecGuard]"

_TEXT = rb'"(?:[^"\\]|\\.)*+"'
_HIDDEN = b'"' + REMOVED.encode() + b'"'


def _values_of(*names: str) -> re.Pattern[bytes]:
    """The texts under these keys."""
    return re.compile(rb'("(?:' + "|".join(names).encode() + rb')"\s*+:\s*+)(' + _TEXT + rb")", re.S)


_QUOTES = {
    # Secret and Match of version 8, line and offender of version 7.
    "gitleaks": _values_of("Secret", "Match", "line", "offender"),
    # Trivy masks what it matched, but not a second secret that its rules do not know in the lines around.
    "trivy": _values_of("Match", "match", "Content", "Highlighted"),
    # SARIF 2.1.0 sections 3.3 (artifactContent, in snippets and contents) and 3.11 (message).
    "sarif": _values_of("text", "markdown", "binary", "rendered"),
}
_MASKED = b"**"
_SEVERITY = re.compile(rb"(?:\A\"|\\n)(Severity: ?\w+)")


def redacted(raw: bytes, report: ScanReport) -> bytes:
    """``raw``, of which ``report`` was read, without the quotations of its secrets.

    A report that found none is given back as it is. Trivy's masked match stays: it tells two secrets of a line apart
    (``identity.secret_fingerprint``). Of a SARIF message its severity stays, which counts.
    """
    quotes = _QUOTES.get(report.format) if report.secrets else None
    if quotes is None:
        return raw
    if report.format == "sarif":
        return _sarif(raw, report, quotes)
    return quotes.sub(_without_match, raw)


def _without_match(found: re.Match[bytes]) -> bytes:
    is_masked = found[1].lower().startswith(b'"match"') and _MASKED in found[2]
    return found[0] if is_masked else found[1] + _HIDDEN


_FLAT = rb'(?:[^{}"]|' + _TEXT + rb")*+"
_OBJECT = rb"\{(?:[^{}\"]|" + _TEXT + rb"|\{" + _FLAT + rb"\})*+\}"
_ARRAY = rb'\[(?:[^\[\]"]|' + _TEXT + rb")*+\]"
_SNIPPET = re.compile(rb'("(?:snippet|contents)"\s*+:\s*+)' + _OBJECT)
_MESSAGE = re.compile(rb'("message"\s*+:\s*+)(' + _OBJECT + rb")")
_ARGUMENTS = re.compile(rb'("arguments"\s*+:\s*+)' + _ARRAY)
_MATCH_LINE = re.compile(rb'((?:\\n|")Match: ?)(?:[^"\\]|\\[^n])*+')


def _sarif(raw: bytes, report: ScanReport, quotes: re.Pattern[bytes]) -> bytes:
    raw = _SNIPPET.sub(rb"\g<1>{}", raw)
    if report.vulnerabilities or report.checks:
        # Only Trivy's messages speak of secrets beside flaws, and each has the quotation in a line of its own.
        return _MATCH_LINE.sub(lambda m: m[1] + REMOVED.encode(), raw)
    # Every result is a secret: no message says anything else that counts.
    return _MESSAGE.sub(lambda m: m[1] + quotes.sub(_only_severity, _ARGUMENTS.sub(rb"\g<1>[]", m[2])), raw)


def _only_severity(found: re.Match[bytes]) -> bytes:
    said = _SEVERITY.search(found[2])
    return found[1] + (b'"' + said[1] + b'"' if said else _HIDDEN)
