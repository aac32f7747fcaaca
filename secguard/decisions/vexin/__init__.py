"""VEX documents of others, and scanners' lists of what to ignore: raw bytes in, one form out. Pure.

``read`` takes what it is given by its content; a file's name is never trusted.
"""

from __future__ import annotations

import codecs

from secguard.decisions.vexin import csaf, cyclonedx, ignores, openvex
from secguard.decisions.vexin.document import MAX_BYTES, READ, Document, Product, Statement, Status, unfit
from secguard.errors import TooLarge
from secguard.images.strictjson import Node, loads, refused

__all__ = ["IGNORE_FORMATS", "MAX_BYTES", "Document", "Product", "Statement", "Status", "read"]

IGNORE_FORMATS = frozenset({"trivy-ignore", "grype-ignore"})
"""Formats without an author: whoever brings such a file speaks for themselves."""
_WHAT = "The VEX document"
_FOREIGN = {
    b"\x1f\x8b": "compressed (gzip)",
    b"(\xb5/\xfd": "compressed (zstd)",
    b"BZh": "compressed (bzip2)",
    b"\xfd7zXZ": "compressed (xz)",
    b"PK\x03\x04": "a ZIP archive",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""By how they begin. Nothing is unpacked here: a small file may hold what no memory does."""


def read(raw: bytes) -> Document:
    """What a document says. Raises ``Invalid`` or ``TooLarge``: what was found, and what is expected.

    Codes: "vex-unknown-format", "vex-version", "vex-category", "vex-draft", "vex-withdrawn", "vex-empty",
    "vex-contradiction", "bad-document", "document-too-large", "document-too-deep".
    """
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"{_WHAT} has {len(raw):,} bytes; at most {MAX_BYTES:,} are read.", code="document-too-large")
    # A mark of the byte order is no part of the document (RFC 8259, section 8.1: a reader may pass over it).
    raw = raw.removeprefix(codecs.BOM_UTF8)
    head = raw.lstrip()[:1]
    if head in (b"{", b"["):
        return _read_json(raw)
    if foreign := next((kind for start, kind in _FOREIGN.items() if raw.startswith(start)), ""):
        raise unfit(_WHAT, f"it is {foreign}; post the document itself, as UTF-8 text", "vex-unknown-format")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unfit(_WHAT, f"it is neither JSON nor text (byte {error.start})", "vex-unknown-format") from None
    if "\0" in text:
        raise refused(_WHAT, "it holds a NUL character")
    if ignores.is_yaml(text):
        return ignores.read_yaml(text, _WHAT)
    return ignores.read_lines(text, _WHAT)


def _read_json(raw: bytes) -> Document:
    value = loads(raw, what=_WHAT, max_bytes=MAX_BYTES)
    if isinstance(value, dict):
        root = Node(value, _WHAT, "$")
        for is_one, reader in (
            (openvex.is_openvex, openvex.read),
            (cyclonedx.is_cyclonedx, cyclonedx.read),
            (csaf.is_csaf, csaf.read),
        ):
            if is_one(value):
                return reader(root)
    raise unfit(_WHAT, f"it is none of what is read. {READ}", "vex-unknown-format")
