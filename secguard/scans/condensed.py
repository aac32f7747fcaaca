"""A report condensed to what taking it in needs: as text, a tenth of what the tool wrote. Pure.

Whoever accepts a report has read all of it; a worker that took the tool's own words again would read all of it once
more. What is packed here is only a short cut: without it, or where another version packed it, the report is read again.
"""

from __future__ import annotations

import hashlib
import zlib
from functools import cached_property

import msgspec
from msgspec import Struct

from secguard.advisories.naming import Named
from secguard.findings.changes import Said
from secguard.findings.identity import FindingKind
from secguard.scans.report import ReportedCheck, ReportedComponent, ReportedMalware, ReportedSecret, Subject

VERSION = 2
"""Of the packed form: to be raised with every change of the structures below, or of what they hold."""
MAX_PACKED = 16 * 2**20
"""Bytes; a larger one is not kept, and the report is read again."""


class Claim(Struct, frozen=True, gc=False, array_like=True):
    """What the scanner says of one vulnerability at one package version."""

    flaw: int
    """Its place among ``Body.flaws``."""
    said: Said
    purl: str
    """Canonical."""
    name: str = ""
    """Of the package, with ``version``: told only where the purl knows no more than these."""
    version: str = ""
    path: str = ""
    layer: str = ""


class Body(Struct, frozen=True, array_like=True):
    flaws: list[Named]
    claims: list[Claim]
    secrets: list[ReportedSecret]
    malware: list[ReportedMalware]
    checks: list[ReportedCheck]
    components: list[ReportedComponent]


class Head(Struct, frozen=True, kw_only=True):
    """What is said about the report as a whole."""

    subject: Subject
    covers: frozenset[FindingKind]
    inventory: bool
    complete: bool
    warnings: tuple[str, ...]
    finding_count: int
    component_count: int
    is_plain: bool
    """Nothing in it depends on what is known elsewhere, so that saying it again changes nothing: no flaw has a second
    name, a probability or known exploitation, and no package is told by its name and version alone."""


_ENCODER = msgspec.msgpack.Encoder(order="deterministic")
_VERSIONED = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])
_HEAD = msgspec.msgpack.Decoder(Head)
_BODY = msgspec.msgpack.Decoder(Body)


class Condensed:
    """A condensed report; its body is decoded when it is asked for."""

    def __init__(self, head: Head, encoded: bytes | memoryview) -> None:
        self.head = head
        self._encoded = encoded

    @classmethod
    def of(cls, head: Head, body: Body) -> Condensed:
        return cls(head, _ENCODER.encode(body))

    @cached_property
    def body(self) -> Body:
        return _BODY.decode(self._encoded)

    @cached_property
    def fingerprint(self) -> str:
        """Of all that it says of the image's findings and components: equal for a rescan that finds the same."""
        whole = hashlib.sha256(_ENCODER.encode((self.head.covers, self.head.inventory, self.head.complete)))
        whole.update(self._encoded)
        return whole.hexdigest()

    def pack(self) -> bytes | None:
        """Bytes for ``unpack``; ``None`` where they would be too many, or save nothing: an empty list is read by the
        word of its sender, and others may send the same bytes."""
        if not (self.head.finding_count or self.head.component_count):
            return None
        head = _ENCODER.encode((VERSION, self.head))
        deflate = zlib.compressobj(1)
        # In two parts, and never both in one more copy.
        packed = deflate.compress(len(head).to_bytes(4, "big") + head) + deflate.compress(self._encoded)
        packed += deflate.flush()
        return packed if len(packed) <= MAX_PACKED else None


def unpack(packed: bytes) -> Condensed | None:
    """What ``pack`` packed; ``None`` for what another version of the product packed, or something else."""
    try:
        raw = memoryview(zlib.decompress(packed))
        end = 4 + int.from_bytes(raw[:4], "big")
        version, head = _VERSIONED.decode(raw[4:end])
        return Condensed(_HEAD.decode(head), raw[end:]) if version == VERSION else None
    except (zlib.error, msgspec.MsgspecError):
        return None
