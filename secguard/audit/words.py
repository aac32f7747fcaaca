"""What a search of the audit log means: which words an entry has, and what of them finds it.

Pure, and the one place that says it: PostgreSQL and SQLite are given the tokens made here and compare them byte by
byte, with no dictionary or parser of their own, so that both find the same.

A text is cut into words at white space, brackets, quotes, commas and semicolons. A word is found by its beginning, and
by that of each of its parts: ``reg.example/shop/web:1.2`` by ``reg.ex``, ``shop/web``, ``web:1.2`` and ``web``, but not
by ``eb``; ``CVE-2026-1234`` by ``cve-2026`` and ``2026-1234``; ``sha256:9f0c…`` by ``sha256:9f`` and ``9f0c``. Upper
and lower case, and the forms that Unicode calls compatible, are one. All words that are asked for must be there.

The log is indexed in epochs of 65,536 entries, each token with its epoch before it. One part of a database's index then
holds one epoch: it is written to at one place, whatever the size of the log, and read epoch by epoch, newest first.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

EPOCH = 65_536
MAX_LENGTH = 160
"""Characters of a word that are compared: a digest of SHA-512 with its name fits."""
MAX_WORDS = 400
"""Tokens of one entry's text. Details are 64 KB at most, and are the last to be read."""
MAX_QUERY = 200
"""Characters of a search."""

_WORD = re.compile(r"[^\s,;\"'`()\[\]{}<>|\\\x00-\x1f\x7f]+")
_PART = re.compile(r"(?<![^\W_])(?=[^\W_])")
"""Where a part begins: at a letter or digit before which there is none."""
_EDGE = re.compile(r"^[\W_]+|[\W_]+$")


class Kind(StrEnum):
    """What a token is of. None is a hexadecimal digit, so that an epoch ends where the kind begins."""

    WORD = "w"
    SUBJECT = "s"  # a word of the subject
    ACTOR = "u"
    ACTION = "v"
    TYPE = "o"
    ID = "i"
    TEAM = "t"


@dataclass(frozen=True, slots=True)
class Token:
    """One thing that an entry may have. ``is_prefix``: in a question, whatever begins so."""

    text: str
    is_prefix: bool = False


Wanted = tuple[tuple[Token, ...], ...]
"""A question: of each group, an entry must have one token at least."""


def epoch_of(sequence: int) -> int:
    return (sequence - 1) // EPOCH


def span_of(epoch: int) -> tuple[int, int]:
    """The first and the last sequence number of an epoch."""
    return epoch * EPOCH + 1, (epoch + 1) * EPOCH


def tagged(epoch: int, token: str) -> str:
    """The token as it is stored of an entry of this epoch."""
    return f"{epoch:x}{token}"


def normal(text: str) -> str:
    """Text as it is compared."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words_in(text: str) -> Iterator[str]:
    """The words of a text, in its order."""
    for found in _WORD.findall(normal(text)):
        if word := _EDGE.sub("", found):
            yield word


@lru_cache(maxsize=20_000)
def forms_of(text: str) -> tuple[str, ...]:
    """All that a text is found by the beginning of: its words, and each of them from each of its parts on."""
    found: dict[str, None] = {}
    for word in words_in(text):
        for part in _PART.finditer(word):
            form = word[part.start() : part.start() + MAX_LENGTH]
            # A single character at a word's end (the 6 of "python:3.6") finds nothing worth having.
            if len(form) > 1 or part.start() == 0:
                found[form] = None
    return tuple(found)


def terms_of(query: str) -> tuple[str, ...]:
    """What a search asks for: its words, less those that another one begins with."""
    words = sorted({word[:MAX_LENGTH] for word in words_in(query[:MAX_QUERY])})
    return tuple(word for word, after in zip(words, [*words[1:], ""], strict=False) if not after.startswith(word))


def exact(kind: Kind, value: object) -> str:
    """A column's value as a token: of any text and length, found as a whole only. Two values may (hardly) share one."""
    return kind + hashlib.blake2b(str(value).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def wanted_words(query: str, kind: Kind = Kind.WORD) -> Wanted:
    """The question of a search; of one without any word, a question that no entry answers."""
    return tuple((Token(kind + term, is_prefix=True),) for term in terms_of(query)) or ((),)


def wanted_column(kind: Kind, values: Iterable[object]) -> Wanted:
    """The question for entries with one of ``values`` in a column."""
    return (tuple(Token(exact(kind, value)) for value in sorted(set(values), key=str)),)


@dataclass(frozen=True, slots=True)
class Text:
    """An entry, as far as it is searched."""

    actor: str
    token: str
    action: str
    subject_type: str
    subject_id: str
    subject: str
    team_id: int | None
    details: Mapping[str, Any]
    request_id: str


def tokens_of(entry: Text) -> list[str]:
    """All tokens of an entry, without its epoch: sorted, each once. None holds white space."""
    subject = _forms([entry.subject])
    said = (entry.actor, entry.action, entry.subject_type, entry.subject_id, entry.token, entry.request_id)
    found = {Kind.WORD + form for form in _forms((entry.subject, *said, *_values(entry.details)))}
    found.update(Kind.SUBJECT + form for form in subject)
    found.update(_columns(entry.actor, entry.action, entry.subject_type, entry.team_id))
    found.add(exact(Kind.ID, entry.subject_id))
    return sorted(found)


@lru_cache(maxsize=20_000)
def _columns(actor: str, action: str, subject_type: str, team_id: int | None) -> frozenset[str]:
    columns = {Kind.ACTOR: actor, Kind.ACTION: action, Kind.TYPE: subject_type, Kind.TEAM: team_id}
    return frozenset(exact(kind, value) for kind, value in columns.items() if value is not None)


def _forms(texts: Iterable[str]) -> dict[str, None]:
    found: dict[str, None] = {}
    for text in texts:
        for form in forms_of(text):
            found[form] = None
        if len(found) >= MAX_WORDS:
            return dict.fromkeys(list(found)[:MAX_WORDS])
    return found


def _values(details: Any) -> Iterator[str]:
    """What details say, without the names it stands under: those are the same for all entries of an action."""
    if isinstance(details, str):
        yield details
    elif isinstance(details, Mapping):
        for value in details.values():
            yield from _values(value)
    elif isinstance(details, Sequence):
        for value in details:
            yield from _values(value)
    elif isinstance(details, int) and not isinstance(details, bool):
        yield str(details)


def answers(tokens: Sequence[str], wanted: Wanted) -> bool:
    """Whether an entry with ``tokens`` (sorted) is one that is asked for: what every database must agree with."""
    return all(any(_has(tokens, token) for token in group) for group in wanted)


def _has(tokens: Sequence[str], token: Token) -> bool:
    at = bisect_left(tokens, token.text)
    if at == len(tokens):
        return False
    return tokens[at].startswith(token.text) if token.is_prefix else tokens[at] == token.text


def as_tsquery(wanted: Wanted, epoch: int) -> str:
    """The question to one epoch as PostgreSQL's ``tsquery``."""
    groups = ([f"'{_doubled(tagged(epoch, t.text))}'" + ":*" * t.is_prefix for t in group] for group in wanted)
    return " & ".join(f"({' | '.join(group)})" for group in groups)


def _doubled(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "''")


def as_match(wanted: Wanted, epoch: int) -> str:
    """The question to one epoch as a query of SQLite's FTS5."""
    groups = ([f'"{tagged(epoch, t.text)}"' + " *" * t.is_prefix for t in group] for group in wanted)
    return " AND ".join(f"({' OR '.join(group)})" for group in groups)
