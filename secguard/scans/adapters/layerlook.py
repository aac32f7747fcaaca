"""One walk over one layer: its files, and the secrets and malware in them. Nothing is written, all of it is bounded."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import BinaryIO

from msgspec import Struct

from secguard.findings.severity import from_word
from secguard.images.adapters.layertar import Entry, Kind, LayerReader, Limits
from secguard.scans.adapters.clamd import Clamd
from secguard.scans.adapters.rules import RuleSet
from secguard.scans.evidence import HEAD_BYTES, may_tell
from secguard.scans.inspection.files import LayerFile
from secguard.scans.inspection.secrets import secrets_in
from secguard.scans.release import RELEASE_FILES
from secguard.scans.report import ReportedMalware, ReportedSecret

MOST_LOOKED_AT = 64 * 2**20
"""Bytes of one file that rules look at, and so of memory; what stands behind is not looked at, and that is said."""
MOST_FINDINGS = 1000
MOST_WARNINGS = 20
KEPT_TEXTS = frozenset((*RELEASE_FILES, "etc/passwd", "etc/shadow"))
MOST_TEXT = 2**18
REPORT_EVERY = 0.2

Progress = Callable[[int], None]
"""Called now and then with the unpacked bytes seen so far; what it raises ends the walk."""

_KINDS = {Kind.FILE: "file", Kind.DIRECTORY: "directory", Kind.SYMLINK: "link", Kind.HARDLINK: "hard-link"}


class LayerLook(Struct, frozen=True, array_like=True):
    """What one layer holds, as if there were no other. Kept by diff id and the analyser's version."""

    files: list[LayerFile]
    secrets: list[ReportedSecret]
    malware: list[ReportedMalware]
    texts: dict[str, str]
    """Of ``KEPT_TEXTS``, those that are in the layer."""
    unpacked_bytes: int
    may_hold_packages: bool
    """False only where no file in it could tell of a package (``evidence``)."""
    warnings: list[str]


class LayerWalk:
    """Walks one layer. ``engine`` is ClamAV's daemon, where there is one; ``key`` makes fingerprints of secrets."""

    def __init__(
        self, rules: RuleSet, *, key: bytes, engine: Clamd | None = None, progress: Progress = lambda _: None
    ) -> None:
        self._rules, self._key, self._engine, self._progress = rules, key, engine, progress
        self._files: list[LayerFile] = []
        self._secrets: list[ReportedSecret] = []
        self._malware: list[ReportedMalware] = []
        self._texts: dict[str, str] = {}
        self._warnings: list[str] = []
        self._may_hold_packages = False

    def look(self, layer: BinaryIO, diff_id: str, limits: Limits | None = None) -> LayerLook:
        """All of the layer. Raises ``Invalid`` and ``TooLarge`` for what is broken or past a bound."""
        reader = LayerReader(layer, diff_id=diff_id, limits=limits)
        told_at = 0.0
        for entry in reader:
            self._take(entry, diff_id)
            if (now := time.monotonic()) - told_at > REPORT_EVERY:
                told_at = now
                self._progress(reader.unpacked_bytes)
        return LayerLook(
            self._files,
            self._secrets,
            self._malware,
            self._texts,
            reader.unpacked_bytes,
            self._may_hold_packages,
            self._warnings,
        )

    def _take(self, entry: Entry, diff_id: str) -> None:
        if not entry.path:
            return
        kind = _KINDS.get(entry.kind, "other")
        self._files.append(LayerFile(entry.path, kind, entry.mode, entry.size, entry.uid, entry.link))
        if entry.escapes:
            self._warn(f"/{entry.path[:200]} or what it links to leads out of the image; it was not followed")
        if entry.kind is not Kind.FILE or entry.is_whiteout:
            return
        content = entry.read(MOST_LOOKED_AT)
        if entry.size > MOST_LOOKED_AT:
            self._warn(f"/{entry.path[:200]} has {entry.size:,} bytes; the first {MOST_LOOKED_AT:,} were looked at")
        if not self._may_hold_packages and may_tell(entry.path, content[:HEAD_BYTES]):
            self._may_hold_packages = True
        if entry.path in KEPT_TEXTS:
            self._texts[entry.path] = content[:MOST_TEXT].decode("utf-8", "replace")
        if content:
            self._inspect(entry, content, diff_id)

    def _inspect(self, entry: Entry, content: bytes, diff_id: str) -> None:
        found = self._rules.look(content, entry.path.rpartition("/")[2])
        if found.is_partial:
            self._warn(f"/{entry.path[:200]} took the rules too long; it was looked at in part")
        if found.secrets and len(self._secrets) < MOST_FINDINGS:
            self._secrets += secrets_in(content, entry.path, found.secrets, key=self._key, layer=diff_id)
        signatures = [(h.rule, h.title, h.severity) for h in found.malware]
        if self._engine is not None and (name := self._engine.signature_in(content)):
            signatures.append((name, f"ClamAV: {name}", "critical"))
        if signatures and len(self._malware) < MOST_FINDINGS:
            sha256 = _sha256(entry, content)
            for rule, title, severity in signatures:
                self._malware.append(
                    ReportedMalware(
                        signature=rule[:200],
                        sha256=sha256,
                        path=f"/{entry.path}"[:1000],
                        severity=from_word(severity),
                        title=title,
                        layer=diff_id,
                    )
                )

    def _warn(self, words: str) -> None:
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(words)


def _sha256(entry: Entry, content: bytes) -> str:
    """Of the whole file, also where only its beginning was looked at."""
    digest = hashlib.sha256(content)
    for block in entry.chunks() if entry.size > len(content) else ():
        digest.update(block)
    return digest.hexdigest()
