"""Readers: what a source of flows sends in, a :class:`Delivery` of flows and markers of loss out. Pure.

One reader is one module here with ``claims(document) -> bool``, from the content alone, and ``read(entry)``: what one
document tells. It raises ``Invalid`` for its format, broken. Adding a reader is adding a module; no two may claim one
document (a test holds that for every real one). A reader of lines that are no JSON has ``claims_text`` and
``read_text`` beside them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final, NamedTuple

from secguard.errors import Invalid, TooLarge
from secguard.images import jsonlines, strictjson
from secguard.network.flow import Flow, Lost
from secguard.network.readers._others import refusal

MAX_FLOWS: Final = 50_000
MAX_BYTES: Final = 32 * 2**20
MAX_DOCUMENT: Final = 8 * 2**20
"""Of one document that is made into objects as a whole: every one but Hubble's."""
MAX_REFUSALS: Final = 100
"""So many are told one by one; all are counted."""
WHAT: Final = "The flows"
ONE: Final = "The flow"


class Passed(NamedTuple):
    """What is whole, and no flow."""

    reason: str


Told = Flow | Lost | Passed | Invalid
"""What a reader makes of one entry of a document; an ``Invalid`` among others refuses that entry alone."""


class Refusal(NamedTuple):
    """One document, or one entry of it, that was not taken."""

    where: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request told."""

    flows: tuple[Flow, ...]
    lost: tuple[Lost, ...] = ()
    formats: tuple[str, ...] = ()
    passed: tuple[tuple[str, int], ...] = ()
    """What was read and is no flow, by reason."""
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


class _Gathering:
    """What has been told so far; stops at the bound."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.lost: list[Lost] = []
        self.formats: dict[str, None] = {}
        self.passed: Counter[str] = Counter()
        self.refused: list[Refusal] = []
        self.refused_count = 0
        self.first: Invalid | None = None

    def take(self, told: Iterable[Told], where: str) -> None:
        for one in told:
            if type(one) is Flow:
                self.flows.append(one)
                if len(self.flows) > MAX_FLOWS:
                    raise too_many()
            elif type(one) is Lost:
                self.lost.append(one)
            elif isinstance(one, Invalid):
                self.refuse(one, where)
            elif isinstance(one, Passed):
                known = one.reason in self.passed or len(self.passed) < MAX_REFUSALS
                self.passed[one.reason if known else "others"] += 1

    def refuse(self, error: Invalid, where: str) -> None:
        self.refused_count += 1
        self.first = self.first or error
        if len(self.refused) < MAX_REFUSALS:
            inner = error.where.removeprefix("$")
            joint = "" if not inner or inner.startswith((".", "[")) or not where else " "
            self.refused.append(Refusal(f"{where}{joint}{inner}", error.code, error.detail))

    def delivery(self) -> Delivery:
        if self.first is not None and not self.flows and not self.lost and not self.passed:
            raise type(self.first)(self.first.detail, code=self.first.code, where=self.refused[0].where)
        return Delivery(
            tuple(self.flows),
            tuple(self.lost),
            tuple(self.formats),
            tuple(self.passed.items()),
            tuple(self.refused),
            self.refused_count,
        )


def too_many() -> TooLarge:
    return TooLarge(
        f"The body tells of more than {MAX_FLOWS:,} flows; at most that many are read at once. Send smaller batches.",
        code="too-many",
        where="$",
    )


def read(raw: bytes) -> Delivery:
    """The flows of one request (unpacked by the caller), of whatever known formats.

    A broken document is refused by itself. Raises ``Invalid`` (``TooLarge`` past a bound) where the whole cannot be
    read, or where not one document of it was taken: with the place and the words of the first.
    """
    gathering = _Gathering()
    if raw.lstrip()[:1] not in (b"{", b"["):
        _read_text(raw, gathering)
        return gathering.delivery()
    for entry in jsonlines.entries(raw, what=WHAT, most=MAX_FLOWS, max_bytes=MAX_BYTES):
        try:
            # Typed: what is not kept of a flow is not made into objects, and most that is sent is Hubble's.
            told = _hubble().read_raw(entry.raw)
            if told is None:
                module, told = _read_one(entry.raw)
                gathering.formats[module.__name__.rpartition(".")[2]] = None
            else:
                gathering.formats["hubble"] = None
            gathering.take(told, entry.where)
        except Invalid as error:
            if error.code == "too-many":
                raise
            gathering.refuse(error, entry.where)
    return gathering.delivery()


@cache
def _hubble() -> ModuleType:
    return importlib.import_module(f"{__name__}.hubble")


def _read_one(raw: bytes) -> tuple[ModuleType, Iterable[Told]]:
    document: Any = strictjson.loads(jsonlines.mended(raw), what=ONE, max_bytes=MAX_DOCUMENT)
    if not isinstance(document, dict):
        raise Invalid(f"The flow is {strictjson.named(document)}; expected an object.", code="wrong-shape", where="$")
    for module in readers():
        if module is not _hubble() and module.claims(document):
            return module, module.read(document)
    raise refusal(document, formats())


def _read_text(raw: bytes, gathering: _Gathering) -> None:
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"{WHAT} have {len(raw):,} bytes; at most {MAX_BYTES:,} are read at once.", code="too-large")
    text = jsonlines.mended(raw).decode("utf-8", "replace")
    for module in readers():
        if hasattr(module, "claims_text") and module.claims_text(text):
            gathering.formats[module.__name__.rpartition(".")[2]] = None
            for where, told in module.read_text(text):
                gathering.take((told,), where)
            return
    jsonlines.entries(raw, what=WHAT)  # neither lines of a flow log nor JSON: says what it is
    raise Invalid(f"{WHAT} are of no form that is known.", code="unknown-format", where="byte 0")
