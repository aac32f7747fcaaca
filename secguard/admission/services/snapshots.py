"""Snapshots that clusters' agents answer from while the server is away: made, signed and kept for a little while."""

from __future__ import annotations

import fcntl
import gzip
import os
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

from django.conf import settings
from django.utils import timezone

from secguard.admission.models import ClusterGate
from secguard.admission.services.holding import Holding
from secguard.admission.snapshot import PAYLOAD_TYPE, Head, Writer, holder_of
from secguard.errors import Conflict, NotFound, Unavailable
from secguard.images.models import Registry
from secguard.signing import dsse
from secguard.signing import services as signing
from secguard.signing.models import SigningKey

KEPT_SECONDS = 20.0
"""How long one snapshot is given to all who ask for it; ten times as long as it took, where that is more."""
PATIENCE_SECONDS = 60.0
_LEVEL = 3
_PIECE = 3 << 15
"""Base64 turns three bytes into four letters: pieces of threes join without a seam."""
_HOW = (
    "Make one (secguard keys create snapshots), and give agents its public part: secguard keys public snapshots > "
    "snapshots.pem."
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A signed snapshot: the DSSE envelope, packed with gzip, in a file that is replaced as a whole."""

    path: Path
    tag: str
    """Changes with the file (RFC 9110, section 8.8.3)."""


def snapshot(gate: ClusterGate, key_name: str = "") -> Kept:
    """The cluster's snapshot, at most ``KEPT_SECONDS`` old, signed by the key line ``key_name``.

    Raises ``Conflict`` where no key is named and there is not exactly one that signs, ``NotFound`` where none of that
    name does, and ``Unavailable`` while another process takes too long to make the same one.
    """
    key = signing_key(key_name)
    folder = settings.DATA_DIR / "snapshots"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    whose = f"{key.fingerprint.partition(':')[2][:16]}-{holder_of(gate.token_hash or '')[:16]}"
    path = folder / f"{gate.pk}-{whose}.json.gz"
    with _alone(path.with_suffix(".lock")) as lock:
        if not (path.exists() and time.time() < _until(lock)):
            began = time.monotonic()
            _write(path, envelope(gate, key))
            _note(lock, time.time() + max(KEPT_SECONDS, 10 * (time.monotonic() - began)))
        about = path.stat()
        return Kept(path, f'"{about.st_mtime_ns:x}-{about.st_size:x}"')


def envelope(gate: ClusterGate, key: SigningKey) -> dsse.Envelope:
    """Everything that answers this cluster at this instant, signed."""
    now = timezone.now()
    preferred = Registry.objects.filter(is_preferred=True).order_by("host").values_list("host", flat=True)
    head = Head(
        gate.pk,
        gate.cluster.name,
        holder_of(gate.token_hash or ""),
        now,
        settings.PUBLIC_URL,
        gate.rules,
        gate.paths,
        tuple(preferred),
    )
    payload = bytes(Holding(gate, now, Writer(head)).hold())
    return dsse.signed(PAYLOAD_TYPE, payload, partial(signing.sign, key), key.fingerprint)


def signing_key(name: str = "") -> SigningKey:
    """The key that signs snapshots: of the line ``name``, else of SECGUARD_SNAPSHOT_KEY, else the only one there is."""
    name = name or settings.SNAPSHOT_KEY
    active = SigningKey.objects.signing_images().order_by("name")
    if name:
        found = active.filter(name=name).first()
        if found is None:
            raise NotFound(f"No key {name[:80]!r} signs here. {_HOW}", code="no-signing-key", where="key")
        return found
    several = list(active[:10])
    if not several:
        raise Conflict(
            f"There is no key that signs, and an unsigned snapshot is worth nothing. {_HOW}", code="no-signing-key"
        )
    if len(several) > 1:
        names = ", ".join(key.name for key in several)
        raise Conflict(
            f"Several keys sign ({names}): name one with ?key=, or set SECGUARD_SNAPSHOT_KEY on the server.",
            code="which-key",
            where="key",
        )
    return several[0]


def chunks(kept: Kept, *, packed: bool) -> Iterator[bytes]:
    """The file's bytes as they lie there, or unpacked."""
    with kept.path.open("rb") if packed else gzip.open(kept.path, "rb") as file:
        while chunk := file.read(1 << 16):
            yield chunk


def _write(path: Path, made: dsse.Envelope) -> None:
    """As ``Envelope.encode`` has it, piece by piece: the payload is megabytes."""
    head, tail = replace(made, payload=b"").encode().split(b'"payload":""', 1)
    draft = path.with_suffix(".draft")
    private = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(private, "wb") as raw, gzip.GzipFile("", "wb", _LEVEL, raw) as file:
        file.write(head + b'"payload":"')
        for start in range(0, len(made.payload), _PIECE):
            file.write(b64encode(made.payload[start : start + _PIECE]))
        file.write(b'"' + tail)
    draft.replace(path)


@contextmanager
def _alone(path: Path) -> Iterator[IO[str]]:
    """One process or thread of this host at a time; the others wait, and then find what it made."""
    ends = time.monotonic() + PATIENCE_SECONDS
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > ends:
                    raise Unavailable("The snapshot is being made; ask again.", code="snapshot-in-making") from None
                time.sleep(0.05)
        yield file


def _until(lock: IO[str]) -> float:
    text = lock.read(40)
    return float(text) if text.replace(".", "", 1).isdigit() else 0.0


def _note(lock: IO[str], until: float) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(f"{until:.3f}")
    lock.flush()
