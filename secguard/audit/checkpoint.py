"""Signed checkpoints of the audit log: how many entries it had, and the root of the tree over them.

Pure. The text is C2SP's: a checkpoint (c2sp.org/tlog-checkpoint) is a signed note (c2sp.org/signed-note) whose text is
the log's origin, its size and its root, a line each:

    secguard.example/audit/5b1f0c9a
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — secguard.example/audit/5b1f0c9a Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeO…

Signatures are ECDSA on P-256 with SHA-256 (the note's type 0x02), since the keys of an installation are of that kind,
may be in a PKCS #11 device, and ``openssl`` checks them alone. The root is as trustworthy as the key's holder is: two
checkpoints that do not fit each other, signed by one key, prove that a log was forked.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secguard.audit import chain, tree
from secguard.audit.chain import Entry, Fault
from secguard.audit.tree import BrokenProof

ECDSA = b"\x02"
EVERY = timedelta(hours=1)
EVERY_ENTRIES = 1_000
MAX_NOTE_CHARACTERS = 65_536
MAX_SIGNATURES = 64
MAX_SIZE = 2**63 - 1
MAX_PATH = 64
MAX_KEY_CHARACTERS = 1_000_000
_BEGIN, _END = "-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"


class BrokenNote(ValueError):
    """A text that is no checkpoint, or no key; the message says what was found and what was expected."""


class Unsigned(BrokenNote):
    """A checkpoint that none of the given keys signed, or whose signature is another's."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``size`` entries, and the tree's ``root`` over them, of the log that ``origin`` names."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint with its signature lines: (key name, four bytes of the key's id, signature)."""

    checkpoint: Checkpoint
    signatures: tuple[tuple[str, bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Key:
    """A public key that checkpoints are signed with. ``der`` is its SubjectPublicKeyInfo."""

    der: bytes
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @property
    def id(self) -> bytes:
        """Four bytes that tell it from others on a signature line (signed-note, type 0x02)."""
        return hashlib.sha256(self.der).digest()[:4]

    @property
    def fingerprint(self) -> str:
        """As the pages and ``secguard keys list`` show it."""
        return f"sha256:{hashlib.sha256(self.der).hexdigest()}"

    def named(self, name: str) -> str:
        """The verifier key that other tools for signed notes take: name, id and key, with ``+`` between them."""
        return f"{name}+{self.id.hex()}+{base64.b64encode(ECDSA + self.der).decode()}"

    def verifies(self, signature: bytes, text: bytes) -> bool:
        try:
            self._key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def is_due(last: tuple[int, datetime] | None, size: int, now: datetime) -> bool:
    """Whether it is time for a checkpoint of ``size`` entries after the ``last`` one (its size, its instant): something
    was written, and the last one is an hour or 1,000 entries old."""
    if last is None:
        return size > 0
    before, at = last
    return size > before and (size - before >= EVERY_ENTRIES or now - at >= EVERY)


# --- keys ---


def read_keys(text: str) -> list[Key]:
    """The keys of a file: PEM public keys, verifier keys (``name+id+key``), or both; ``BrokenNote`` of neither."""
    if len(text) > MAX_KEY_CHARACTERS:
        raise BrokenNote(f"more than {MAX_KEY_CHARACTERS:,} characters; expected a few public keys")
    keys: list[Key] = []
    rest = text
    while _BEGIN in rest:
        start = rest.index(_BEGIN)
        end = rest.find(_END, start)
        if end < 0:
            raise BrokenNote(f"a public key without its {_END} line")
        keys.append(_loaded(serialization.load_pem_public_key, rest[start : end + len(_END)].encode() + b"\n"))
        rest = rest[:start] + rest[end + len(_END) :]
    keys += [_of_verifier(line.strip()) for line in rest.splitlines() if line.count("+") >= 2]
    if not keys:
        raise BrokenNote(f"no public key; expected PEM ({_BEGIN}) or a verifier key (name+id+key)")
    return keys


def _of_verifier(line: str) -> Key:
    raw = _decoded(line.split("+", 2)[2], "a verifier key")
    if raw[:1] != ECDSA:
        raise BrokenNote(f"a verifier key of type {raw[:1].hex() or 'none'}; expected 02, ECDSA with SHA-256")
    return _loaded(serialization.load_der_public_key, raw[1:])


def _loaded(load: Callable[[bytes], Any], raw: bytes) -> Key:
    try:
        found = load(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise BrokenNote("a public key that cannot be read; expected one of ECDSA on P-256") from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
        raise BrokenNote("a public key of another kind; expected ECDSA on P-256")
    der = found.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(der, found)


# --- notes ---


def signed(checkpoint: Checkpoint, key: Key, sign: Callable[[bytes], bytes]) -> str:
    """The note: ``checkpoint`` with one signature, a DER one that ``sign`` makes, checked against ``key`` first."""
    signature = sign(checkpoint.text.encode())
    if not key.verifies(signature, checkpoint.text.encode()):
        raise Unsigned("the signature that was just made does not verify by its own public key")
    line = base64.b64encode(key.id + signature).decode()
    return f"{checkpoint.text}\n— {checkpoint.origin} {line}\n"


def parse(note: str) -> Note:
    """A checkpoint with its signatures, none of them checked; ``BrokenNote`` where the text is none."""
    if len(note) > MAX_NOTE_CHARACTERS:
        raise BrokenNote(f"the checkpoint has {len(note):,} characters; at most {MAX_NOTE_CHARACTERS:,} are read")
    text, blank, signatures = note.rpartition("\n\n")
    if not blank or not signatures.endswith("\n"):
        raise BrokenNote("the checkpoint has no blank line with signatures after it; was its end cut off?")
    if any(ord(character) < 32 and character != "\n" for character in note):
        raise BrokenNote("the checkpoint has control characters in it (such as \\r); keep the file as it was given out")
    lines = signatures[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise BrokenNote(f"the checkpoint has {len(lines)} signatures; at most {MAX_SIGNATURES} are read")
    return Note(_checkpoint(text), tuple(_signature(line) for line in lines))


def _checkpoint(text: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 3:
        raise BrokenNote(f"the checkpoint has {len(lines)} lines before its signatures; expected origin, size, root")
    origin, size, root = lines
    if not origin or not (size.isascii() and size.isdigit()) or str(int(size[:20])) != size or int(size) > MAX_SIZE:
        raise BrokenNote(f"{size[:40]!r} is no size of a log; expected a number of entries")
    raw = _decoded(root, "the root")
    if len(raw) != tree.HASH:
        raise BrokenNote(f"the root has {len(raw)} bytes; expected {tree.HASH}")
    return Checkpoint(origin, int(size), raw)


def _signature(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—" or not name or not encoded:
        raise BrokenNote(f"{line[:60]!r} is no signature; expected an em dash, the key's name and base64")
    raw = _decoded(encoded, "a signature")
    return name, raw[:4], raw[4:]


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BrokenNote(f"{what} is no base64: {text[:40]!r}") from None


def verified(note: str, keys: Sequence[Key]) -> tuple[Checkpoint, Key]:
    """The checkpoint of ``note`` and which of ``keys`` signed it.

    Raises ``BrokenNote``, and ``Unsigned`` where none of them did. Signatures by other keys play no part.
    """
    found = parse(note)
    known = {key.id: key for key in keys}
    tried = ""
    for name, identity, signature in found.signatures:
        key = known.get(identity)
        if key is None:
            tried = tried or f"it is signed by the key {identity.hex()} of {name!r}"
        elif not key.verifies(signature, found.checkpoint.text.encode()):
            raise Unsigned(f"the signature of the key {key.fingerprint} does not fit: the checkpoint was changed")
        else:
            return found.checkpoint, key
    given = ", ".join(key.id.hex() for key in keys) or "none"
    raise Unsigned(f"none of the given keys signed it: {tried}; the keys given are {given}")


# --- proofs, as the API gives them out and an auditor keeps them ---


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That one entry is in the log of a checkpoint: ``path`` leads from the entry to the checkpoint's root."""

    entry: Entry
    index: int
    path: tuple[bytes, ...]
    note: str

    def document(self) -> dict[str, Any]:
        """As JSON: ``entry`` as in a line of an export, hashes in base64."""
        return {
            "entry": chain.document(self.entry),
            "leaf_index": self.index,
            "path": encoded(self.path),
            "checkpoint": self.note,
        }


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """That the log of the newer checkpoint continues that of the older one, and changed nothing in it."""

    old: str
    new: str
    path: tuple[bytes, ...]

    def document(self) -> dict[str, Any]:
        return {"from": self.old, "to": self.new, "path": encoded(self.path)}


def encoded(path: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(step).decode() for step in path]


def read_inclusion(found: Mapping[str, Any]) -> InclusionProof:
    """An inclusion proof of its JSON; ``BrokenNote`` or ``BrokenLine`` where it is none."""
    note, index = found.get("checkpoint"), found.get("leaf_index")
    if not isinstance(note, str) or not isinstance(index, int) or isinstance(index, bool):
        raise BrokenNote("expected a proof: an object with entry, leaf_index, path and checkpoint")
    return InclusionProof(chain.read_entry(found.get("entry")), index, _path(found.get("path")), note)


def read_consistency(found: Mapping[str, Any]) -> ConsistencyProof:
    """A consistency proof of its JSON; ``BrokenNote`` where it is none."""
    old, new = found.get("from"), found.get("to")
    if not isinstance(old, str) or not isinstance(new, str):
        raise BrokenNote("expected a proof of consistency: an object with from, to and path")
    return ConsistencyProof(old, new, _path(found.get("path")))


def _path(found: object) -> tuple[bytes, ...]:
    if not isinstance(found, list) or len(found) > MAX_PATH or not all(isinstance(step, str) for step in found):
        raise BrokenNote(f"the path is no list of at most {MAX_PATH} hashes")
    path = tuple(_decoded(step, "a hash of the path") for step in found)
    if any(len(step) != tree.HASH for step in path):
        raise BrokenNote(f"the path has a hash that is not {tree.HASH} bytes long")
    return path


def entry_fault(proof: InclusionProof, checkpoint: Checkpoint) -> Fault | None:
    """What is wrong with the entry of a proof against a checkpoint that was ``verified``; None where it is included."""
    entry = proof.entry
    number = entry.sequence
    if chain.digest_of(entry) != entry.digest:
        return Fault(number, "altered", f"entry {number} was altered: its content does not give its digest")
    if proof.index != number - 1:
        return Fault(
            number, "altered", f"entry {number} is leaf {number - 1} of the log; the proof is of {proof.index}"
        )
    if number > checkpoint.size:
        words = f"entry {number} is not in the checkpoint, which has {checkpoint.size} entries: take a newer one"
        return Fault(number, "unlisted", words)
    try:
        root = tree.root_from_inclusion(tree.leaf_of(entry.digest), proof.index, checkpoint.size, proof.path)
    except BrokenProof as error:
        return Fault(number, "unproven", f"entry {number}: {error}")
    if root != checkpoint.root:
        words = f"entry {number} is not the one in the log of the checkpoint: its path leads to another root"
        return Fault(number, "unproven", words)
    return None


def log_fault(peaks: tree.Peaks, checkpoints: Sequence[Checkpoint]) -> Fault | None:
    """What is wrong with a log that was read from its first entry on, against checkpoints of it; None where it is the
    one. ``peaks`` kept the roots at their sizes (``Peaks(keep=...)``).

    Where an older checkpoint fits and a newer one does not, what was rewritten lies between them, and the words say so.
    """
    agreed = 0
    for checkpoint in sorted(checkpoints, key=lambda one: one.size):
        if checkpoint.size > peaks.count:
            gone, size = peaks.count + 1, checkpoint.size
            words = f"entry {gone} is missing: the log ends at {peaks.count} and a checkpoint has {size} entries"
            return Fault(gone, "truncated", words)
        if peaks.kept[checkpoint.size] != checkpoint.root:
            words = (
                f"one of the entries {agreed + 1} to {checkpoint.size} is not the one that the checkpoint of "
                f"{checkpoint.size} entries was made of: the log was written anew, or the checkpoint is another log's"
            )
            return Fault(agreed + 1, "forked", words)
        agreed = checkpoint.size
    return None
