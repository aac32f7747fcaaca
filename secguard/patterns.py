"""Patterns of repositories: which a trusted key, an environment or a token is for: ``registry.example/shop/*``.

``*`` stands for any characters within one part of the path, ``**`` for any number of parts.
"""

from __future__ import annotations

import re
from functools import lru_cache

from secguard.errors import Invalid

MAX_LENGTH = 300
MAX_WILDCARDS = 4
"""More of them would make looking at one long name slow."""
_CHARACTERS = re.compile(r"[a-z0-9._:/*\[\]-]+")


def check(pattern: str) -> str:
    """The pattern, without space around it. Raises ``Invalid`` where it could match no repository's name."""
    text = pattern.strip()
    if not text or len(text) > MAX_LENGTH or not _CHARACTERS.fullmatch(text) or ("/" not in text and text != "**"):
        raise _refused(pattern, "it is no host and path")
    if len(re.findall(r"\*+", text)) > MAX_WILDCARDS or "***" in text:
        raise _refused(pattern, f"it has more than {MAX_WILDCARDS} wildcards, or three stars in a row")
    return text


def matches(pattern: str, repository: str) -> bool:
    """Whether ``repository`` (host/path) is one that the pattern means."""
    return _compiled(pattern).fullmatch(repository) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", pattern)
    return re.compile("".join({"**": ".*", "*": "[^/]*"}.get(part) or re.escape(part) for part in parts))


def _refused(pattern: str, why: str) -> Invalid:
    return Invalid(
        f"{pattern[:80]!r} is no pattern of repositories: {why}. Expected registry.example/shop/api, "
        "registry.example/shop/* (one part) or registry.example/** (everything below).",
        code="bad-pattern",
        where="repositories",
    )
