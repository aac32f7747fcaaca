"""The hash chain of the audit log: what an entry's digest covers, and how a run of entries is held against it.

Pure, and needs nothing but Python: whoever holds an export can verify it far from the server.

An entry's digest is SHA-256 over one canonical JSON object of all its other columns and its predecessor's digest:
keys sorted by code point, no white space, UTF-8, no escapes but those JSON demands, integers only (RFC 8785 without its
floating-point rules, which is why ``storable`` turns every other number into text before it is stored).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

VERSION = 1
"""Part of what is hashed: a later form of the chain can never be mistaken for this one."""

START = "0" * 64
"""The digest before the first entry."""

MAX_DETAILS_BYTES = 65_536
MAX_LINE_CHARACTERS = 1_000_000


class BrokenLine(ValueError):
    """A line of an export that is no entry; the message says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log, as it is stored and as it is exported."""

    sequence: int
    at: datetime
    actor: str
    actor_id: int | None
    token: str
    action: str
    subject_type: str
    subject_id: str
    subject: str
    team_id: int | None
    details: Mapping[str, Any]
    request_id: str
    previous_digest: str
    digest: str = ""


COLUMNS = tuple(field.name for field in fields(Entry))


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ended at some moment: enough, kept elsewhere, to see later that its tail was cut off."""

    sequence: int
    digest: str

    def __str__(self) -> str:
        return f"{self.sequence}:{self.digest}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read ``SEQUENCE:DIGEST``, as ``secguard audit verify`` prints it; ``ValueError`` with words if it is not."""
        sequence, _, digest = text.strip().partition(":")
        if not (sequence.isascii() and sequence.isdigit() and is_digest(digest)):
            raise ValueError(f"{text!r} is no head: expected SEQUENCE:DIGEST, a number and 64 hexadecimal digits")
        return cls(int(sequence), digest)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first place where the log is not what was written."""

    sequence: int
    kind: str  # altered | missing | reordered | truncated | unlisted
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """``first`` and ``head`` bound what was read; with a ``fault``, what stands before it is as it was written."""

    entries: int
    first: int | None
    head: Head
    fault: Fault | None = None

    @property
    def intact(self) -> bool:
        return self.fault is None


def storable(value: Any) -> Any:
    """Give back ``value`` as JSON that every database returns unchanged.

    Text keeps no NUL and no lone surrogate (PostgreSQL stores neither); instants become UTC text; a number that is not
    an integer becomes text, since jsonb and a float do not agree on all of them; sets are sorted.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return storable(value.value)
    if isinstance(value, int):
        return int(value) if abs(value) < 2**53 else str(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        return {text(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((storable(inner) for inner in value), key=str)
    if isinstance(value, (list, tuple)):
        return [storable(inner) for inner in value]
    if isinstance(value, datetime):
        return instant(value)
    return value.isoformat() if isinstance(value, date) else text(str(value))


def text(value: str, limit: int | None = None) -> str:
    """Text that every database can hold, cut (visibly) at ``limit`` characters."""
    clean = value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    return clean if limit is None or len(clean) <= limit else clean[: limit - 1] + "…"


def instant(at: datetime) -> str:
    """UTC with six decimals: the one spelling of an instant in the chain. Refuses a naive one (``ValueError``)."""
    if at.tzinfo is None:
        raise ValueError("an audit entry's time needs a time zone")
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def document(entry: Entry) -> dict[str, Any]:
    """The entry as JSON: what the export holds, and, without ``digest``, what the digest covers."""
    columns: dict[str, Any] = {name: getattr(entry, name) for name in COLUMNS}
    return columns | {"at": instant(entry.at)}


def canonical(value: Any) -> bytes:
    """The one spelling of a JSON value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "surrogatepass"
    )


def digest_of(entry: Entry) -> str:
    """The digest that belongs to this entry after the predecessor it names; its own ``digest`` plays no part."""
    covered = document(entry) | {"version": VERSION}
    del covered["digest"]
    return hashlib.sha256(canonical(covered)).hexdigest()


def is_digest(value: str) -> bool:
    return len(value) == 64 and set(value) <= set("0123456789abcdef")


def verify(entries: Iterable[Entry], *, heads: Iterable[Head] = (), is_whole: bool = False) -> Verification:
    """Hold entries, in the order of the log, against the chain; stop at the first fault.

    The run may start anywhere (an export of a range): its first entry's predecessor is then taken on trust, and
    ``first`` says so. One that ``is_whole`` starts at entry 1, or its beginning was cut off. ``heads`` are what is
    known from elsewhere of where the log ended at some moments: the chain alone cannot show that its newest entries
    were cut off, or that all of it was written anew.
    """
    known = {head.sequence: head.digest for head in heads if head.sequence}
    previous: Entry | None = None
    count, first = 0, None
    for entry in entries:
        fault = _start_fault(entry, previous, is_whole) or _fault(previous, entry) or _head_fault(entry, known)
        if fault is not None:
            return Verification(count, first, _head_of(previous), fault)
        first = entry.sequence if first is None else first
        previous, count = entry, count + 1
    reached = _head_of(previous)
    return Verification(count, first, reached, _end_fault(reached, first, known))


def _start_fault(entry: Entry, previous: Entry | None, is_whole: bool) -> Fault | None:
    if not is_whole or previous is not None or entry.sequence <= 1:
        return None
    return Fault(1, "missing", f"entry 1 is missing: the log begins with entry {entry.sequence}")


def _fault(previous: Entry | None, entry: Entry) -> Fault | None:
    """What is wrong with ``entry`` after ``previous`` (None: the run starts here)."""
    number = entry.sequence
    if previous is not None and number <= previous.sequence:
        return Fault(number, "reordered", f"entry {number} stands after entry {previous.sequence}")
    if previous is not None and number > previous.sequence + 1:
        gone = previous.sequence + 1
        return Fault(gone, "missing", f"entry {gone} is missing: entry {previous.sequence} is followed by {number}")
    try:
        sound = digest_of(entry) == entry.digest
    except (ValueError, TypeError) as error:
        return Fault(number, "altered", f"entry {number} was altered: {error}")
    if not sound:
        return Fault(number, "altered", f"entry {number} was altered: its content does not give its digest")
    return _link_fault(previous, entry)


def _link_fault(previous: Entry | None, entry: Entry) -> Fault | None:
    """``entry`` agrees with itself; does it name the predecessor that stands there?"""
    if previous is None:
        if entry.sequence < 1 or (entry.sequence == 1 and entry.previous_digest != START):
            return Fault(entry.sequence, "altered", f"entry {entry.sequence} is no beginning of the log")
        return None
    if entry.previous_digest != previous.digest:
        # The entry is sound in itself and remembers another predecessor: it is the predecessor that was rewritten.
        message = f"entry {previous.sequence} was altered: entry {entry.sequence} remembers it with another digest"
        return Fault(previous.sequence, "altered", message)
    return None


def _head_fault(entry: Entry, known: Mapping[int, str]) -> Fault | None:
    if known.get(entry.sequence, entry.digest) == entry.digest:
        return None
    message = f"entry {entry.sequence} was altered: a head kept elsewhere names another digest for it"
    return Fault(entry.sequence, "altered", message)


def _end_fault(reached: Head, first: int | None, known: Mapping[int, str]) -> Fault | None:
    """What the known heads say of entries that were not read at all."""
    if max(known, default=0) > reached.sequence:
        gone = reached.sequence + 1
        message = f"entry {gone} is missing: the log ends at {reached.sequence} and had reached {max(known)}"
        return Fault(gone, "truncated", message)
    before = [sequence for sequence in known if first is not None and sequence < first]
    if not before:
        return None
    message = f"entry {max(before)}, a known head, lies before the first entry read, {first}: nothing ties them"
    return Fault(max(before), "missing", message)


def held_against(found: Verification, own: Head) -> Verification:
    """``found`` of a whole log that is sound in itself, against the log's ``own`` head as read after it: entries that
    stand past the head were never written by the log's one writer."""
    if found.fault is not None or found.head.sequence <= own.sequence:
        return found
    past = own.sequence + 1
    message = f"entry {past} stands past the log's own head, {own.sequence}: it was put there, or the head was set back"
    return Verification(found.entries, found.first, found.head, Fault(past, "unlisted", message))


def _head_of(entry: Entry | None) -> Head:
    return Head(0, START) if entry is None else Head(entry.sequence, entry.digest)


def line(entry: Entry) -> str:
    """One line of an NDJSON export, without its line end."""
    return canonical(document(entry)).decode("utf-8", "surrogatepass")


def read_lines(lines: Iterable[str]) -> Iterator[Entry]:
    """Entries of an NDJSON export, one at a time; ``BrokenLine`` names the line that is none."""
    for number, raw in enumerate(lines, start=1):
        if raw.strip():
            yield _parsed(number, raw)


def _parsed(number: int, raw: str) -> Entry:
    if len(raw) > MAX_LINE_CHARACTERS:
        raise BrokenLine(f"line {number}: longer than {MAX_LINE_CHARACTERS} characters; no entry is")
    try:
        found = json.loads(raw, object_pairs_hook=object_once)
    except (ValueError, RecursionError) as error:
        raise BrokenLine(f"line {number}: no JSON object: {error}") from error
    return read_entry(found, f"line {number}")


def read_entry(found: object, place: str = "the entry") -> Entry:
    """An entry of its JSON; ``BrokenLine`` where it is none, with the ``place`` where it stood."""
    if not isinstance(found, dict) or set(found) != set(COLUMNS):
        raise BrokenLine(f"{place}: expected an object with exactly {', '.join(COLUMNS)}")
    for name, kinds in _KINDS.items():
        if not isinstance(found[name], kinds) or isinstance(found[name], bool):
            raise BrokenLine(f"{place}: {name} is a {type(found[name]).__name__}")
    try:
        at = datetime.strptime(found["at"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise BrokenLine(f"{place}: at: {error}") from error
    return Entry(**found | {"at": at})


_KINDS: dict[str, tuple[type, ...]] = dict.fromkeys(COLUMNS, (str,)) | {
    "sequence": (int,),
    "actor_id": (int, type(None)),
    "team_id": (int, type(None)),
    "details": (dict,),
}


def object_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses a key given twice: two readers of such a line could see two different entries."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found
