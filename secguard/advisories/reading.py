"""A document of any kind that is read here, told by its content: its entries one by one, bounded. Pure.

OSV (one JSON object, JSON Lines, a JSON array, YAML), Alpine's and Wolfi's secdb, Debian's tracker, KEV, EPSS.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any, NamedTuple

import ijson
import msgspec
import yaml

from secguard import packagenames
from secguard.advisories import debiantracker, epss, kev, osv, secdb, versions
from secguard.advisories.entry import Entry, Malformed
from secguard.advisories.feeds import FeedKind
from secguard.advisories.naming import is_cve

MAX_ENTRY = 8 * 2**20
"""Bytes of one OSV entry: the largest published ones have about 3 MB."""
MAX_DOCUMENT = 24 * 2**20
"""Bytes of a document that is read whole (KEV, secdb, an array's object); Debian's tracker is streamed."""
MAX_YAML = 2**20
_HEAD = 2**16


class Fault(NamedTuple):
    """An entry that was left out."""

    place: str
    reason: str


class Statement(NamedTuple):
    """An entry, whose words it is, and what tells it from another version of it."""

    source: str
    """``osv``, ``alpine-secdb``, ``debian-tracker``; ``osv:DHI`` for who uses ids of others' making."""
    entry: Entry
    content_hash: str
    """Of what is kept of the entry: the same again says the same, however it is packed or its members are ordered."""


class Scores(NamedTuple):
    """Part of an EPSS list."""

    rows: tuple[epss.Score, ...]
    at: datetime | None


Item = Statement | Scores | kev.Catalogue | Fault


_encoder = msgspec.json.Encoder()


def statement(source: FeedKind, entry: Entry) -> Statement:
    """Raises ``Malformed`` where a text in the entry is none that a database takes."""
    try:
        encoded = _encoder.encode(entry)
    except UnicodeEncodeError as fault:
        raise Malformed("holds half a character (a lone surrogate)") from fault
    if b"\\u0000" in encoded:
        raise Malformed("holds a NUL character")
    return Statement(_source(source, entry), entry, hashlib.blake2b(encoded, digest_size=16).hexdigest())


def _source(kind: FeedKind, entry: Entry) -> str:
    """Two databases that use one id (a CVE's) make two statements."""
    if kind is not FeedKind.OSV or not entry.affected:
        return kind
    ecosystem = entry.affected[0].ecosystem
    if is_cve(entry.id) or not versions.order_of(ecosystem):
        return f"{kind}:{packagenames.base(ecosystem)}"[:30]
    return kind


def items(stream: IO[bytes], name: str) -> Iterator[Item]:
    """What is in one document; ``name`` is for faults, and its ending tells YAML and JSON Lines.

    Never raises for what is in the document: what cannot be read is a ``Fault``.
    """
    try:
        yield from _items(stream, name)
    except Malformed as fault:
        yield Fault(name, str(fault))
    except (UnicodeDecodeError, csv.Error, ijson.JSONError, RecursionError, ValueError) as fault:
        yield Fault(name, f"cannot be read to its end: {str(fault)[:200]}")


def _items(stream: IO[bytes], name: str) -> Iterator[Item]:
    if name.endswith((".yaml", ".yml")):
        yield from _whole(_yaml(_bounded(stream, MAX_YAML)), name)
        return
    head = stream.read(_HEAD)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith((b"#model_version", b"cve,epss")):
        yield from _scores(_lines(head, stream))
    elif start.startswith(b"cveID,"):
        yield kev.read_csv(_lines(head, stream))
    elif start.startswith(b"["):
        yield from _array(_joined(head, stream), name)
    elif start.startswith(b"{") and len(head) < _HEAD and b"\n{" not in start and not name.endswith(_LINES):
        yield from _object(start, name)
    elif start.startswith(b"{"):
        yield from _objects(head, stream, name)
    elif start:
        raise Malformed(f"begins with {start[:20]!r}: neither JSON nor YAML, nor a CSV of KEV or EPSS")


def _joined(head: bytes, rest: IO[bytes]) -> IO[bytes]:
    return io.BufferedReader(_Joined(head, rest), 2**16)


class _Joined(io.RawIOBase):
    """What was read already, and then the rest."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        super().__init__()
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        part = part or self._rest.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def _lines(head: bytes, rest: IO[bytes]) -> Iterator[str]:
    return io.TextIOWrapper(_joined(head, rest), encoding="utf-8-sig", newline="")


def _bounded(stream: IO[bytes], most: int, begun: bytes = b"") -> bytes:
    raw = begun + stream.read(most + 1 - len(begun))
    if len(raw) > most:
        raise Malformed(f"has more than {most:,} bytes, which is what a document of its kind may have")
    return raw


def _objects(head: bytes, rest: IO[bytes], name: str) -> Iterator[Item]:
    """JSON Lines where the first line is an object by itself, else one object."""
    joined = _joined(head, rest)
    first = joined.readline(MAX_ENTRY + 1)
    if (len(first) <= MAX_ENTRY and name.endswith(_LINES)) or _is_object(first):
        yield from _json_lines(itertools.chain([first], _bounded_lines(joined)), name)
        return
    raw = first + joined.read(MAX_DOCUMENT + 1 - len(first))
    if len(raw) > MAX_DOCUMENT:
        yield from _debian(_joined(raw, joined), name)
        return
    yield from _object(raw, name)


_LINES = (".jsonl", ".ndjson")


def _object(raw: bytes, name: str) -> Iterator[Item]:
    if b'"affected"' in raw and not _is_collection(raw):
        yield statement(FeedKind.OSV, osv.read(raw))
        return
    yield from _whole(_decoded(raw), name)


def _is_object(line: bytes) -> bool:
    """Whether a line holds one object whole, without decoding what is in it."""
    if not line.rstrip().endswith(b"}"):
        return False
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_collection(raw: bytes) -> bool:
    return b'"catalogVersion"' in raw or b'"releases"' in raw or b'"secfixes"' in raw


def _bounded_lines(stream: IO[bytes]) -> Iterator[bytes]:
    while line := stream.readline(MAX_ENTRY + 1):
        yield line
        while len(line) > MAX_ENTRY and not line.endswith(b"\n"):
            line = stream.readline(MAX_ENTRY)


def _json_lines(lines: Iterator[bytes], name: str) -> Iterator[Item]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield from _line(line, f"{name} line {number}")
        except Malformed as fault:
            yield Fault(f"{name} line {number}", str(fault))


def _line(line: bytes, place: str) -> Iterator[Item]:
    if len(line) > MAX_ENTRY:
        raise Malformed(f"has more than {MAX_ENTRY:,} bytes; one entry may have as many")
    if b'"id"' in line and not _is_collection(line):
        yield statement(FeedKind.OSV, osv.read(line))
    else:
        yield from _whole(_decoded(line), place)


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise Malformed(str(fault)) from fault


def _array(stream: IO[bytes], name: str) -> Iterator[Item]:
    for number, document in enumerate(ijson.items(stream, "item", use_float=True), start=1):
        try:
            yield statement(FeedKind.OSV, osv.convert(document))
        except Malformed as fault:
            yield Fault(f"{name} entry {number}", str(fault))


def _debian(stream: IO[bytes], name: str) -> Iterator[Item]:
    for package, value in ijson.kvitems(stream, "", use_float=True):
        if not debiantracker.is_package(value):
            raise Malformed(f"has more than {MAX_DOCUMENT:,} bytes and is not Debian's tracker; split it")
        yield from _said(FeedKind.DEBIAN, debiantracker.read(package, value), name)


def _whole(document: Any, name: str) -> Iterator[Item]:
    """One decoded document of whatever kind."""
    if not isinstance(document, Mapping):
        raise Malformed(f"holds a {type(document).__name__}; expected an object")
    if kev.is_catalogue(document):
        yield kev.read(document)
    elif epss.is_answer(document):
        yield from _scored(epss.answer_rows(document), epss.answer_date(document))
    elif secdb.is_secdb(document):
        yield from _said(FeedKind.ALPINE, secdb.read(document), name)
    elif "id" in document:
        yield statement(FeedKind.OSV, osv.convert(document))
    elif debiantracker.is_package(next(iter(document.values()), None)):
        for package, value in document.items():
            yield from _said(FeedKind.DEBIAN, debiantracker.read(package, value), name)
    else:
        keys = ", ".join(sorted(map(str, document))[:5])
        raise Malformed(f"is no OSV entry (it has no id), and no feed that is read here; it has: {keys[:200]}")


def _said(source: FeedKind, read: Iterator[Entry | str], name: str) -> Iterator[Item]:
    for entry in read:
        try:
            yield Fault(name, entry) if isinstance(entry, str) else statement(source, entry)
        except Malformed as fault:
            yield Fault(name, str(fault))


def _scores(lines: Iterator[str]) -> Iterator[Item]:
    first = next(lines, "")
    yield from _scored(epss.rows(itertools.chain([first], lines)), epss.dated(first))


_PART = 5000


def _scored(rows: Iterator[epss.Score | str], at: datetime | None) -> Iterator[Item]:
    while part := list(itertools.islice(rows, _PART)):
        for row in part:
            if isinstance(row, str):
                yield Fault("EPSS", row)
        yield Scores(tuple(r for r in part if not isinstance(r, str)), at)


class _Values(yaml.CBaseLoader):
    """Every scalar a text, as advisories mean them: versions and dates are none of YAML's numbers."""


def _yaml(raw: bytes) -> Any:
    """A document without anchors' copies: those expand without bound."""
    try:
        node = yaml.compose(raw.decode("utf-8-sig"), Loader=_Values)
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise Malformed(f"is no YAML: {str(fault)[:200]}") from fault
    return _value(node, set()) if node is not None else None


def _value(node: yaml.Node, seen: set[int]) -> Any:
    if id(node) in seen:
        raise Malformed("refers to a part of itself (an alias); write that part out")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return {str(_value(k, seen)): _value(v, seen) for k, v in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(v, seen) for v in node.value]
    return node.value
