"""What a CI identity asks of a token's claims: patterns that are always held against the whole value.

``*`` stands for any characters within one part of a value (parts end at ``/`` and ``:``), ``**`` for any number of
parts. ``repo:acme/shop:ref:refs/heads/*``. There are no other wildcards and no regular expressions: a pattern that
looks like one is refused, so that nobody takes it for something that it is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from secguard.errors import Invalid

MAX_CLAIMS = 20
MAX_NAME = 100
MAX_PATTERN = 300
MAX_VALUE = 500
"""A longer value fits no pattern: with ``MAX_WILDCARDS`` it also bounds what looking at one may take."""
MAX_WILDCARDS = 3
_FOREIGN = re.compile(r"[\^$\\|()\[\]{}?\x00-\x1f\x7f]")
_STARS = re.compile(r"\*+")


class Kind(StrEnum):
    """Whose tokens they are: what must be asked of them depends on it."""

    GITHUB = "github"
    GITLAB = "gitlab"
    KUBERNETES = "kubernetes"
    OTHER = "other"


KIND_OF_ISSUER: Final = {"https://token.actions.githubusercontent.com": Kind.GITHUB, "https://gitlab.com": Kind.GITLAB}
"""Issuers that give tokens to everybody in the world: no choice of a kind makes them ask for less."""

REQUIRED: Final[dict[Kind, tuple[tuple[str, ...], ...]]] = {
    Kind.GITHUB: (("repository", "repository_id"), ("ref",)),
    Kind.GITLAB: (("project_path", "project_id"), ("ref", "ref_protected")),
    Kind.KUBERNETES: (("sub",),),
    Kind.OTHER: (("sub",),),
}
"""For each kind the claims that must be asked for: of each group at least one."""

IDENTIFYING: Final = frozenset(
    {"sub", "repository", "repository_owner", "project_path", "namespace_path", "job_workflow_ref", "workflow_ref"}
)
"""Claims that say who somebody is: their first part must be written out, or strangers choose a name that fits."""

NUMBERS: Final = frozenset({"repository_id", "repository_owner_id", "project_id", "namespace_id", "enterprise_id"})
"""Ids that outlive a name: a renamed repository keeps its own, and whoever takes the name later has another. Half a
number is nobody's."""

OWN_FIELDS: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class Trust:
    """What is asked of a token: who issued it, for whom, and what its claims say."""

    kind: Kind
    issuer: str
    audience: str
    claims: Mapping[str, str]


def check(trust: Trust) -> Trust:
    """The trust without space around its words. Raises ``Invalid`` where it would trust more than anybody means."""
    issuer, audience = trust.issuer.strip(), trust.audience.strip()
    _check_issuer(issuer)
    if not 1 <= len(audience) <= MAX_PATTERN or "*" in audience or not audience.isprintable():
        raise Invalid(
            "The audience must be said, exactly and without a wildcard: what the pipeline asks its token for, such as "
            "https://secguard.example.org. Without it a token made for another service would count here.",
            code="bad-audience",
            where="audience",
        )
    kind = KIND_OF_ISSUER.get(issuer, trust.kind)
    return Trust(kind, issuer, audience, _check_claims(kind, trust.claims))


def _check_issuer(issuer: str) -> None:
    try:
        parts = urlsplit(issuer)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    is_here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    is_plain = parts.username is None and not parts.query and not parts.fragment and len(issuer) <= MAX_PATTERN
    allowed = ("https", "http") if is_here else ("https",)
    if parts.scheme not in allowed or not parts.hostname or not is_plain or not issuer.isprintable() or " " in issuer:
        raise Invalid(
            f"{issuer[:80]!r} is no issuer. Expected the https address that stands in the tokens as `iss`, such as "
            "https://token.actions.githubusercontent.com or https://gitlab.example.org.",
            code="bad-issuer",
            where="issuer",
        )


def _check_claims(kind: Kind, claims: Mapping[str, str]) -> dict[str, str]:
    if not claims or len(claims) > MAX_CLAIMS:
        raise _refused(f"a CI identity asks for 1 to {MAX_CLAIMS} claims, not {len(claims)}")
    checked = {_check_name(name): check_pattern(name.strip(), pattern) for name, pattern in claims.items()}
    for group in REQUIRED[kind]:
        if not any(name in checked for name in group):
            raise _refused(f"of {kind.value} tokens the claim {' or '.join(map(repr, group))} must be asked for")
    if kind is Kind.KUBERNETES and not _names_namespace(checked["sub"]):
        raise _refused(
            f"the claim 'sub' is {checked['sub']!r}; expected {_SERVICE_ACCOUNT}NAMESPACE:NAME with the namespace "
            "written out"
        )
    return checked


def _names_namespace(pattern: str) -> bool:
    namespace, colon, account = pattern.removeprefix(_SERVICE_ACCOUNT).partition(":")
    return pattern.startswith(_SERVICE_ACCOUNT) and "*" not in namespace and bool(namespace and colon and account)


def _check_name(name: str) -> str:
    text = name.strip()
    if not 1 <= len(text) <= MAX_NAME or not text.isprintable():
        raise _refused(f"{name[:40]!r} is no claim's name")
    if text in OWN_FIELDS:
        raise _refused(f"{text!r} is always looked at and cannot be asked for as a claim")
    return text


def check_pattern(claim: str, pattern: str) -> str:
    """The pattern, without space around it. Raises ``Invalid`` where it is open at its beginning, or no pattern."""
    text = pattern.strip() if isinstance(pattern, str) else ""
    if not 1 <= len(text) <= MAX_PATTERN:
        raise _refused(f"the claim {claim!r} needs a pattern of 1 to {MAX_PATTERN} characters")
    foreign = _FOREIGN.search(text)
    if foreign or ".*" in text:
        found = foreign[0] if foreign else ".*"
        raise _refused(
            f"the pattern {text[:80]!r} of {claim!r} holds {found!r}: it is no regular expression, and needs no "
            "anchors, for it is always held against the whole value. Write * for any characters within one part and "
            "** for any parts"
        )
    stars = _STARS.findall(text)
    if len(stars) > MAX_WILDCARDS or any(len(star) > 2 for star in stars):
        raise _refused(f"the pattern {text[:80]!r} of {claim!r} has more than {MAX_WILDCARDS} wildcards")
    if not text.strip("*/:"):
        raise _refused(f"the pattern {text!r} of {claim!r} fits everything; leave the claim out, or say what it is")
    _check_beginning(claim, text)
    return text


def _check_beginning(claim: str, text: str) -> None:
    start = text.partition("*")[0]
    if text == start:
        return
    if claim in NUMBERS:
        raise _refused(f"the pattern {text[:80]!r} of {claim!r} is no id: it is written out as a whole")
    if not start:
        raise _refused(f"the pattern {text[:80]!r} of {claim!r} begins with a wildcard: it would be open to anybody")
    if claim in IDENTIFYING and start[-1] not in "/:" and "/" not in start:
        raise _refused(
            f"the pattern {text[:80]!r} of {claim!r} leaves its first part open: {start}-of-somebody-else would fit. "
            "Write the owner out, as in acme/*"
        )


def value_of(claims: Mapping[str, Any], name: str) -> list[str]:
    """The values of a claim as text: one, or several of a list; none where there is no such claim.

    ``a.b`` and ``a/b`` also find ``b`` inside of ``a``, which may hold a dot itself: ``kubernetes.io.namespace``. A
    claim of the whole name goes first, then what lies inside of the one with the longest name; nothing else is tried.
    """
    found = claims.get(name)
    if found is None:
        outer = max((key for key in claims if _leads_to(key, name)), key=len, default=None)
        nested = claims[outer] if outer is not None else None
        return value_of(nested, name[len(outer) + 1 :]) if outer is not None and isinstance(nested, Mapping) else []
    values = found if isinstance(found, list) else [found]
    return [text for value in values[:100] if (text := _text(value)) is not None]


def _leads_to(key: Any, name: str) -> bool:
    return isinstance(key, str) and bool(key) and name.startswith((f"{key}.", f"{key}/"))


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 2**63 else None
    return value if isinstance(value, str) else None


def misfit(trust: Trust, claims: Mapping[str, Any]) -> str:
    """The name of the first claim that is not as asked; empty where all are. ``aud`` and ``iss`` are claims as well."""
    if claims.get("iss") != trust.issuer:
        return "iss"
    if trust.audience not in value_of(claims, "aud"):
        return "aud"
    for name, pattern in trust.claims.items():
        if not any(fits(pattern, value) for value in value_of(claims, name)):
            return name
    return ""


def fits(pattern: str, value: str) -> bool:
    """Whether the whole of ``value`` is what the pattern means."""
    return len(value) <= MAX_VALUE and _compiled(pattern).fullmatch(value) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", pattern)
    # No line break in any wildcard: a value with one is nobody's name.
    return re.compile("".join({"**": r"[^\r\n]*", "*": r"[^/:\r\n]*"}.get(part) or re.escape(part) for part in parts))


def _refused(why: str) -> Invalid:
    return Invalid(f"{why[0].upper()}{why[1:]}.", code="bad-claims", where="claims")
