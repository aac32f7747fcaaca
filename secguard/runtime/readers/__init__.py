"""Readers: what a sensor sends in, a :class:`Delivery` of :class:`~secguard.runtime.event.Event` out. Pure.

One reader is one module here with ``claims(document) -> bool``, from the content alone, and ``read(members)``: the
events, or ``Passed`` for a document of its format that is no event. It raises ``Invalid`` for its format, broken.
Adding a reader is adding a module; no two may claim one document (a test holds that for every real one).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec

from secguard.errors import Invalid, TooLarge
from secguard.images import jsonlines, strictjson
from secguard.images.jsonlines import Entry, Members
from secguard.runtime import masking
from secguard.runtime.event import Event
from secguard.runtime.readers._others import refusal

MAX_EVENTS: Final = 20_000
MAX_REFUSALS: Final = 100
"""So many are told one by one; all are counted."""
WHAT: Final = "The events"
ONE: Final = "The event"


class Passed(NamedTuple):
    """A document that is whole, and no event: a record of traffic, a transaction in which nothing was found."""

    reason: str


class Refusal(NamedTuple):
    """One document that was not taken."""

    where: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request told."""

    events: tuple[Event, ...]
    formats: tuple[str, ...] = ()
    passed: tuple[tuple[str, int], ...] = ()
    """What was read and is no event, by reason."""
    refused: tuple[Refusal, ...] = ()
    """The first ``MAX_REFUSALS`` of them."""
    refused_count: int = 0


@cache
def readers() -> tuple[ModuleType, ...]:
    """Every reader module, by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return tuple(importlib.import_module(f"{__name__}.{n}") for n in names)


def formats() -> tuple[str, ...]:
    return tuple(m.__name__.rpartition(".")[2] for m in readers())


def read(raw: bytes) -> Delivery:
    """The events of one request (unpacked by the caller), of whatever known formats.

    A broken document is refused by itself. Raises ``Invalid`` (``TooLarge`` past a bound) where the whole cannot be
    read, or where not one document of it was taken: with the place and the words of the first.
    """
    events: list[Event] = []
    found: dict[str, None] = {}
    passed: Counter[str] = Counter()
    refused: list[Refusal] = []
    count = 0
    first: Invalid | None = None
    entries = _entries(raw)  # held to the bounds before anything is looked for in it
    look = masking.look_at(raw)
    for entry in entries:
        try:
            name, told = _read_one(entry, look)
        except Invalid as error:
            count += 1
            first = first or error
            if len(refused) < MAX_REFUSALS:
                refused.append(Refusal(_place(entry, error), error.code, error.detail))
            continue
        found[name] = None
        if isinstance(told, Passed):
            passed[told.reason if told.reason in passed or len(passed) < MAX_REFUSALS else "others"] += 1
        else:
            events += told
            _require_few(events)
    if first is not None and not events and not passed:
        raise type(first)(first.detail, code=first.code, where=refused[0].where)
    return Delivery(tuple(events), tuple(found), tuple(passed.items()), tuple(refused), count)


def _require_few(events: list[Event]) -> None:
    if len(events) > MAX_EVENTS:
        raise TooLarge(
            f"The body tells of more than {MAX_EVENTS:,} events; at most that many are read at once.",
            code="too-many",
            where="$",
        )


def _read_one(entry: Entry, look: masking.Look) -> tuple[str, list[Event] | Passed]:
    document, notes = _loaded(entry.raw, look)
    module = _reader_of(document)
    if module is None:
        raise refusal(document, formats())
    members = Members(document, unread=notes)
    told: list[Event] | Passed = module.read(members)
    return module.__name__.rpartition(".")[2], told


def _loaded(raw: bytes, look: masking.Look) -> tuple[Any, list[str]]:
    """The document, masked, and what had to be left out to read it."""
    notes: list[str] = []
    try:
        document = jsonlines.load(raw, what=ONE)
    except TooLarge as error:
        shallow = _without_objects(raw) if error.code == "document-too-deep" else None
        if shallow is None:
            raise
        document = jsonlines.load(shallow, what=ONE)
        notes.append("requestObject and responseObject are nested too deep, and were left out")
    return masking.masked(document, masking.look_at(raw, look)), notes


_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _without_objects(raw: bytes) -> bytes | None:
    """An event of the API server without what was sent and answered: a definition may lie deeper than is read."""
    try:
        members = _MEMBERS.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not {"auditID", "requestObject", "responseObject"} & members.keys() or "auditID" not in members:
        return None
    return msgspec.json.encode({n: v for n, v in members.items() if n not in ("requestObject", "responseObject")})


def _reader_of(document: Any) -> ModuleType | None:
    if not isinstance(document, dict):
        raise Invalid(f"The event is {strictjson.named(document)}; expected an object.", code="wrong-shape", where="$")
    return next((module for module in readers() if module.claims(document)), None)


class _List(msgspec.Struct):
    kind: str = ""
    items: list[msgspec.Raw] = []


_LIST: Final = msgspec.json.Decoder(_List)


def _entries(raw: bytes) -> list[Entry]:
    """The single documents; the API server's lists are taken apart, so that each event of one stands for itself."""
    found = jsonlines.entries(raw, what=WHAT, most=MAX_EVENTS)
    if b'"EventList"' not in raw:
        return found
    apart: list[Entry] = []
    for entry in found:
        if jsonlines.is_dense(entry.raw):
            raise TooLarge(f"{WHAT}: a list is too long to be read at once; send fewer of them.", code="too-many")
        try:
            listed = _LIST.decode(entry.raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            apart.append(entry)
            continue
        if listed.kind == "EventList":
            apart += [Entry(f"{entry.where}.items[{i}]", bytes(one)) for i, one in enumerate(listed.items)]
        else:
            apart.append(entry)
    if len(apart) > MAX_EVENTS:
        raise TooLarge(f"{WHAT}: {len(apart):,} of them; at most {MAX_EVENTS:,} are read at once.", code="too-many")
    return apart


def _place(entry: Entry, error: Invalid) -> str:
    inner = error.where.removeprefix("$")
    joint = "" if not inner or inner.startswith((".", "[")) else " "
    return f"{entry.where}{joint}{inner}"
