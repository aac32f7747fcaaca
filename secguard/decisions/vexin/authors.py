"""Whose documents count: a pattern over the author that a document names. Pure.

A CSAF publisher is known by its namespace, a URI; anybody else by the author's text. Both are what the document
says of itself and prove nothing: trust lets a document ask, and people who are not the one who posted it decide.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from secguard.decisions.vexin.document import Document
from secguard.errors import Invalid

MAX_LENGTH: Final = 300
MAX_WILDCARDS: Final = 3


def identity(document: Document) -> str:
    """What a pattern is held against; empty where the document names nobody."""
    return document.namespace or document.author


def check(pattern: str) -> str:
    """The pattern without space around it. Raises ``Invalid`` for one that names nobody, or could name anybody."""
    text = pattern.strip()
    if not text or len(text) > MAX_LENGTH:
        raise _refused(pattern, f"it has {len(text)} characters; expected 1 to {MAX_LENGTH}")
    if not is_plain(text):
        raise _refused(pattern, "it has characters that nobody can see, or another spelling of the same letters")
    if text.count("*") > MAX_WILDCARDS or len(text.replace("*", "").strip()) < 3:
        raise _refused(pattern, f"it has more than {MAX_WILDCARDS} stars, or too little beside them to name anybody")
    return text


def matches(pattern: str, author: str) -> bool:
    """Whether the author is one that the pattern means, letter by letter; ``*`` stands for any text.

    A name with characters that nobody can see is nobody's: it would look like somebody else's.
    """
    return is_plain(author) and _compiled(pattern).fullmatch(author) is not None


def is_plain(text: str) -> bool:
    """In composed form (Unicode NFC), without control, format or other invisible characters."""
    return unicodedata.is_normalized("NFC", text) and not any(
        unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") for c in text
    )


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def _refused(pattern: str, why: str) -> Invalid:
    return Invalid(
        f"{pattern[:80]!r} names no author: {why}. Expected an author as documents write it, such as "
        "'Example Security <psirt@example.org>', or a publisher's namespace, such as 'https://example.org'.",
        code="bad-pattern",
        where="pattern",
    )
