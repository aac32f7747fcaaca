"""What a rule's matches in a file mean: which secret, where, how grave, and told apart by a keyed fingerprint. Pure.

A secret's text never leaves this module: what is kept is an HMAC of it under a key of the instance, so that a copied
database tells neither the secret nor, by trying likely ones, whether it is a certain one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from secguard.findings.severity import Severity, from_word
from secguard.scans.report import ReportedSecret

MOST_IN_A_FILE = 20
"""Of one rule: a file with more (a list of hashes) is one story."""


class Match(Struct, frozen=True):
    """Where one pattern of a rule matched, in bytes."""

    pattern: str
    start: int
    end: int


class Hit(Struct, frozen=True):
    """A rule that matched a file."""

    rule: str
    title: str
    severity: str
    matches: Sequence[Match]
    reason: str = ""


def secrets_in(content: bytes, path: str, hits: Iterable[Hit], *, key: bytes, layer: str = "") -> list[ReportedSecret]:
    """The secrets that ``hits`` show in the file, each with its line (from 1). ``path`` has no leading slash."""
    found = {}
    for hit in hits:
        for match in _occurrences(hit)[:MOST_IN_A_FILE]:
            text = content[match.start : match.end]
            fingerprint = fingerprint_of(hit.rule, text, key)
            found[hit.rule, fingerprint] = ReportedSecret(
                rule=hit.rule,
                path=f"/{path}",
                fingerprint=fingerprint,
                line=content.count(b"\n", 0, match.start + _leading_lines(text)) + 1,
                severity=severity_at(path, from_word(hit.severity)),
                title=hit.title,
                layer=layer,
            )
    return list(found.values())


def fingerprint_of(rule: str, text: bytes, key: bytes) -> str:
    """Tells two secrets of one rule in one file apart; the same secret gives the same one in every file."""
    return hmac.new(key, rule.encode() + b"\0" + text.strip(), hashlib.sha256).hexdigest()[:32]


def _occurrences(hit: Hit) -> list[Match]:
    excluded = [m for m in hit.matches if m.pattern.startswith("$not_")]
    return [
        m
        for m in sorted(hit.matches, key=lambda m: m.start)
        if m.pattern.startswith("$secret") and not any(x.start < m.end and m.start < x.end for x in excluded)
    ]


def _leading_lines(text: bytes) -> int:
    """How much of a match stands before the secret's own line: patterns may begin at the end of the line before."""
    return len(text) - len(text.lstrip(b"\r\n"))


_NOT_IN_USE = re.compile(
    r"^usr/(?:local/)?share/(?:doc|man|info|gtk-doc|perl)/"
    r"|^usr/(?:local/)?lib(?:64)?/python[\d.]+/(?:test|idlelib)/"
    r"|(?:^|/)(?:site-packages|dist-packages|node_modules|gems|vendor)/(?:[^/]+/){1,8}"
    r"(?:tests?|__tests__|testing|testdata|test-data|fixtures|spec|examples?|docs?)/"
    r"|(?:^|/)go/(?:pkg/mod|src)/.*/testdata/"
    r"|^etc/ssl/private/ssl-cert-snakeoil\.key$"
)


def severity_at(path: str, severity: Severity) -> Severity:
    """``severity`` by where the secret stands: what packages ship as documentation and test data opens nothing."""
    return Severity.NEGLIGIBLE if _NOT_IN_USE.search(path) else severity


# --- the image's own configuration ---

_NAMED_SECRET = re.compile(
    r"(?:^|_)(?:PASSWORD|PASSWD|PWD|PASSPHRASE|SECRET|SECRETS?_KEY|API_?KEY|ACCESS_?KEY|AUTH_?TOKEN|ACCESS_?TOKEN|TOKEN|"
    r"PRIVATE_?KEY|CREDENTIALS?)(?:$|_(?!FILE|PATH|NAME|ID|URL|URI|TTL|EXPIR|LENGTH|MIN|MAX|ENABLED))",
    re.I,
)
_NO_SECRET = re.compile(
    r"|true|false|yes|no|on|off|none|null|nil|undefined|\d{1,5}|\$\{?.*|<.*>|\{\{.*|%\(.*|/.*|\./.*|https?://[^@]*|file:.*"
    r"|change[_ -]?(?:me|it)|replace[_ -]?me|your[_ -].*|example.*|placeholder|dummy|xxx+|\*+|to[_-]?be[_-].*"
    r"|sha256:.*",
    re.I | re.S,
)
_PATHS = frozenset({"PWD", "OLDPWD"})


def environment_secrets(variables: Iterable[str], *, key: bytes) -> Iterator[ReportedSecret]:
    """Secrets in the environment that the image sets (``NAME=value``): everybody who can pull it reads them."""
    for variable in variables:
        name, _, value = variable.partition("=")
        if name in _PATHS or not _NAMED_SECRET.search(name) or _NO_SECRET.fullmatch(value.strip()):
            continue
        yield ReportedSecret(
            rule="image-environment",
            path=f"ENV {name}"[:1000],
            fingerprint=fingerprint_of("image-environment", value.encode("utf-8", "replace"), key),
            severity=Severity.HIGH,
            title=f"A secret in the image's environment: {name}"[:500],
        )


def build_arguments(history: Iterable[str], *, key: bytes) -> Iterator[ReportedSecret]:
    """Secrets given as build arguments: builders write their values into the history (``|1 NAME=value /bin/sh -c``)."""
    seen = set()
    for step in history:
        written = re.match(r"^(?:RUN )?\|\d+ (?P<arguments>(?:\w+=.*? )+?)/bin/", step, re.S)
        for name, value in re.findall(r"(\w+)=(\S*)", written["arguments"]) if written else ():
            if name not in seen and _NAMED_SECRET.search(name) and not _NO_SECRET.fullmatch(value):
                seen.add(name)
                yield ReportedSecret(
                    rule="image-build-argument",
                    path=f"ARG {name}"[:1000],
                    fingerprint=fingerprint_of("image-build-argument", value.encode("utf-8", "replace"), key),
                    severity=Severity.HIGH,
                    title=f"A secret in the image's build history: {name}"[:500],
                )


def texts_of_configuration(variables: Sequence[str], history: Sequence[str], labels: Mapping[str, str]) -> str:
    """The configuration as one text that the rules for files can read too."""
    lines = [*variables, *history, *(f"{name}={value}" for name, value in sorted(labels.items()))]
    return "\n".join(lines)
