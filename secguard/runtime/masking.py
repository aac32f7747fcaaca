"""Secrets and personal data out of what sensors tell, before anything of it is kept (DESIGN rule 2). Pure.

A process' arguments, a URL or a request's headers may hold passwords and tokens, and names of people. Each is replaced
by ``[masked]``; of an e-mail address its domain stays. What is masked stays the same when it is masked again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

MARK: Final = "[masked]"
MAX_ROUNDS: Final = 12
"""One secret masked may lay bare another; a text that does so this often is masked as a whole."""

_NAMES = (
    r"(?:password|passwd|passphrase|\bpass|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?key"
    r"|encryption[_-]?key|account[_-]?key|credentials?|signature|session[_-]?id)(?:[_-]?(?:key|id|value))?"
)
_VALUE = r"(?:\"(?:[^\"\\]|\\.)*+\"|'[^']*+'|[^\s\"'&;,|]++)"


class _Rule(NamedTuple):
    hints: tuple[str, ...]
    """In lower case, ``~`` for a space; where none of them stands in the text, the pattern matches nothing."""
    pattern: re.Pattern[str]
    by: str | Callable[[re.Match[str]], str]


def _rule(hints: str, pattern: str, by: str | Callable[[re.Match[str]], str]) -> _Rule:
    return _Rule(tuple(hint.replace("~", " ") for hint in hints.split()), re.compile(pattern, re.IGNORECASE), by)


_HEADS = r"(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump|mysqlimport)"
_UNITS = r"(?:service|socket|slice|timer|mount|target|scope|path|device|sha256|sha512)\b"
_RULES: Final = (
    _rule("-----begin", r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}KEY-----|\Z)", MARK),
    _rule("cookie", r"((?:set-)?cookie[\"']?\s{0,3}[:=]\s{0,3}[\"']?)[^\r\n\"']++", rf"\g<1>{MARK}"),
    _rule(
        "authorization: authorization= authorization~ authorization\" authorization' authorization\\",
        r"((?:proxy-)?authorization\\?[\"']? {0,3}[:=]\s{0,3}\\?[\"']?)"
        r"(?:(?:basic|bearer|token|digest|negotiate|apikey)\s{1,3})?[^\s\"',;]++",
        rf"\g<1>{MARK}",
    ),
    _rule("bearer", r"\b(bearer\s{1,3})[A-Za-z0-9._~+/=-]{8,}+", rf"\g<1>{MARK}"),
    # A digest stands behind an @ too, and is none of this.
    _rule("://", r"(://)[^\s/\"'<>]+@(?!sha\d)", rf"\g<1>{MARK}@"),
    _rule(
        "pass pwd secret token key cred signature session",
        rf"({_NAMES}[\"']?\s{{0,3}}[=:]\s{{0,3}}){_VALUE}",
        rf"\g<1>{MARK}",
    ),
    _rule(
        "pass pwd secret token key cred signature session",
        rf"((?<!\S)--?(?:[\w-]{{0,40}}[-_])?{_NAMES}\s{{1,3}})(?!-)(?:\"[^\"]*+\"|'[^']*+'|\S++)",
        rf"\g<1>{MARK}",
    ),
    _rule("-u", r"((?<!\S)(?:-u|--user|--proxy-user)[\s=]{0,3}[^\s:=]{1,128}:)(?!\d+(?:\s|\Z))\S++", rf"\g<1>{MARK}"),
    _rule("mysql mariadb", rf"(\b{_HEADS}\b[^|;&\n]{{0,200}}?\s-p)(?![\s-])\S++", rf"\g<1>{MARK}"),
    _rule("sshpass", r"(\bsshpass\s{1,3}-p\s{0,3})\S++", rf"\g<1>{MARK}"),
    _rule("redis-cli", r"(\bredis-cli\b[^|;&\n]{0,200}?\s(?:-a|--pass)\s{1,3})\S++", rf"\g<1>{MARK}"),
    _rule("login~", r"(\blogin [^|;&\n]{0,200}?(?<=\s)-p\s{0,3})(?![\s-])\S++", rf"\g<1>{MARK}"),
    _rule("akia asia", r"(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])", MARK),
    _rule("eyj", r"\beyJ[\w-]{8,}+\.[\w-]{4,}+(?:\.[\w-]*+)?", MARK),
    _rule("ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", r"\b(?:gh[pousr]_|github_pat_)\w{16,}+", MARK),
    _rule("glpat- gldt- glrt-", r"\b(?:glpat|gldt|glrt)-[\w-]{16,}+", MARK),
    _rule("xox", r"\bxox[abeoprs]-[\w-]{8,}+", MARK),
    _rule("sk_ rk_ sk-", r"\b(?:[sr]k_(?:live|test)_\w{8,}+|sk-[\w-]{20,}+)", MARK),
    _rule("aiza", r"\bAIza[\w-]{30,}+", MARK),
    _rule("npm_ pypi- dckr_pat_ hvs. hvb. s3cr", r"\b(?:npm_|pypi-|dckr_pat_|hv[sb]\.)[\w-]{16,}+", MARK),
    _rule(
        "@",
        rf"(?<![\w.+%-])[\w.+%-]{{1,64}}+@((?:[A-Za-z0-9-]{{1,63}}\.)+(?!{_UNITS})[A-Za-z]{{2,24}}\b)",
        r"[e-mail]@\g<1>",
    ),
)
_SECRET_NAME = re.compile(
    r"(?:^|[._\-\[/])(?:x-)?(?:(?:\w{1,40}[_-])?(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key"
    r"|secret[_-]?key|private[_-]?key)|(?:proxy-)?authorization|(?:set-)?cookie)\]?$",
    re.IGNORECASE,
)


def mask(text: str) -> str:
    """The text without its secrets; the same text where there is none."""
    return _mask(text, _RULES)


def _mask(text: str, rules: tuple[_Rule, ...]) -> str:
    lower = text.lower()
    rules = tuple([rule for rule in rules if _hints_at(rule, lower)])
    for _ in range(MAX_ROUNDS if rules else 0):
        before = text
        for rule in rules:
            text = rule.pattern.sub(rule.by, text)
        if text == before:
            return text
    return MARK if rules else text


def _hints_at(rule: _Rule, lower: str) -> bool:
    for hint in rule.hints:  # noqa: SIM110 - any() takes three times as long, and this is asked of every text
        if hint in lower:
            return True
    return False


class Look(NamedTuple):
    """What is worth looking for in a text."""

    rules: tuple[_Rule, ...]
    names: tuple[str, ...]


_SECRET_NAMES: Final = ("pass", "pwd", "secret", "token", "key", 'authorization"', "cookie")
EVERYTHING: Final = Look(_RULES, _SECRET_NAMES)


def look_at(raw: bytes, among: Look = EVERYTHING) -> Look:
    """What of ``among`` the texts of this JSON can hold: told once for a body, it spares most of the work for each."""
    if b"\\u" in raw or b"\\/" in raw:  # a letter, or the slash of a URL, may be written as an escape
        return among
    lower = raw.lower().decode("utf-8", "replace")
    rules = tuple([rule for rule in among.rules if _hints_at(rule, lower)])
    return Look(rules, tuple([name for name in among.names if name in lower]))


def masked(value: Any, look: Look = EVERYTHING) -> Any:
    """A JSON value without secrets: in its texts, and whole where its name says that it is one."""
    return _masked(value, look.rules) if look.rules or look.names else value


def _masked(value: Any, rules: tuple[_Rule, ...]) -> Any:
    if type(value) is str:
        return _mask(value, rules) if rules else value
    if type(value) is dict:
        return {name: _member(name, inner, value, rules) for name, inner in value.items()}
    if type(value) is list:
        return [_masked(inner, rules) for inner in value]
    return value


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True for a name as ``DB_PASSWORD``, ``token``, ``x-api-key``, ``ka.uri.param[token]``."""
    return _SECRET_NAME.search(name[-100:]) is not None


def _member(name: str, value: Any, siblings: dict[str, Any], rules: tuple[_Rule, ...]) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        # An environment variable in a pod: {"name": "DB_PASSWORD", "value": "…"}
        spoken = siblings.get("name") if name == "value" else name
        if isinstance(spoken, str) and is_secret_name(spoken):
            return MARK if value != "" else value
    return _masked(value, rules)
