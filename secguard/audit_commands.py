"""``secguard audit``: for an auditor, who checks the log far from its server. Nothing here needs the database, and what
verifies needs no server either.

Exit codes: 0 it holds, 1 it does not (and where), 2 it could not be told.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from secguard.audit import chain, checkpoint, tree
from secguard.audit.chain import Entry, Fault
from secguard.audit.checkpoint import BrokenNote, Checkpoint, Key, Unsigned
from secguard.audit.tree import BrokenProof
from secguard.client import audit as calls
from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell, Deadline, NoSuchThing, connect
from secguard.client.verdict import Exit

MAX_FILE: Final = 4 * 1024 * 1024
KEPT_KEY: Final = "Give --key: the file of the log's public keys that you keep (`secguard audit keys --output FILE`)."


class Failed(Exception):
    """It does not hold (exit code 1); the message says what, and where."""


# --- from the server ---


def keys(args: argparse.Namespace) -> int:
    """The log's public keys, as PEM: kept by an auditor, in a place that the log's operators do not write to."""
    rows = calls.keys(connect(), Deadline(args.wait))
    text = "".join(f"# {row['status']} since {row['since']}: {row['fingerprint']}\n{row['public_pem']}" for row in rows)
    if not text:
        raise CouldNotTell("No key has signed a checkpoint yet. `secguard audit checkpoint --new` makes the first one.")
    return _write(text, args.output)


def take_checkpoint(args: argparse.Namespace) -> int:
    """The newest checkpoint, or a new one; its signature is checked where ``--key`` is given."""
    server, deadline = connect(), Deadline(args.wait)
    found = calls.fresh(server, deadline) if args.new else calls.latest(server, deadline)
    note = str(found["note"])
    if args.key:
        _checked(note, _keys(args.key), "the server's checkpoint")
    return _write(note, args.output)


def prove(args: argparse.Namespace) -> int:
    """The proof of one entry, or that one checkpoint continues another, as JSON for ``verify_proof``."""
    if (args.sequence is None) == (args.older is None):
        raise CouldNotTell(
            "Name one entry (`secguard audit prove 48211`), or the older of two checkpoints with --from."
        )
    server, deadline = connect(), Deadline(args.wait)
    if args.sequence is None:
        found = calls.consistency(server, deadline, args.older, args.size)
    else:
        found = calls.inclusion(server, deadline, args.sequence, args.size)
    return _write(json.dumps(found, indent=2, ensure_ascii=False) + "\n", args.output)


def witness(args: argparse.Namespace) -> int:
    """Hold the server's newest checkpoint against the one that FILE keeps, and keep the newer: for a daily job."""
    server, deadline, known = connect(), Deadline(args.wait), _keys(_required(args.key))
    note = str(calls.latest(server, deadline)["note"])
    new = _checked(note, known, "the server's checkpoint")
    if not args.file.exists():
        _replace(args.file, note)
        return _say(f"Kept: {new.size} entries of {new.origin}. From now on every checkpoint must continue this one.")
    kept_note = _read(args.file)
    kept = _checked(kept_note, known, str(args.file))
    try:
        _require_continued(kept, new, lambda: calls.consistency(server, deadline, kept.size, new.size))
    except Failed:
        _replace(args.file.with_name(args.file.name + ".fork"), note)
        raise
    _replace(args.file, note)
    return _say(
        f"Continued: {kept.size} entries are as they were, {new.size - kept.size} were added. Kept: {new.size}."
    )


def _require_continued(kept: Checkpoint, new: Checkpoint, ask: Any) -> None:
    _require_same_log(kept, new)
    if new.size < kept.size:
        raise Failed(f"the server's newest checkpoint has {new.size} entries, and the one you keep {kept.size}")
    try:
        proof = checkpoint.read_consistency(ask())
    except NoSuchThing:
        words = f"the server does not know a checkpoint of {kept.size} entries, and you keep one that its key signed"
        raise Failed(words) from None
    _require_consistent(kept, new, proof.path)


# --- without a server ---


def verify(args: argparse.Namespace) -> int:
    """An export against its chain, heads and checkpoints that were kept; without a file, the live log on its server."""
    file = args.export or args.file
    if file is None:
        if args.checkpoint:
            raise CouldNotTell("--checkpoint holds an export against it: name the export's file.")
        from secguard import server_commands  # noqa: PLC0415 - the server's side

        return server_commands.audit_verify(args)
    kept = [_checked(_read(path), _keys(_required(args.key)), str(path)) for path in args.checkpoint]
    found = verify_export(file, _heads(args.head), kept)
    if found.fault:
        raise Failed(f"NOT intact at entry {found.fault.sequence} ({found.fault.kind}): {found.fault.message}")
    words = f"Intact: {found.entries} entries"
    if found.first is not None and found.first > 1:
        words += f", from entry {found.first} on; what came before is taken on trust"
    for one in kept:
        words += f".\nAs signed: the first {one.size} are those of the checkpoint of {one.origin}"
    return _say(f"{words}. Keep this head elsewhere, for --head later: {found.head}")


def verify_export(path: Path, heads: Sequence[chain.Head] = (), kept: Sequence[Checkpoint] = ()) -> chain.Verification:
    """Hold an NDJSON export against its chain, heads and verified checkpoints. ``CouldNotTell`` if it is no export.

    An export carries no head of its own: give one, or a checkpoint, or a cut-off end stays unseen.
    """
    peaks = tree.Peaks(one.size for one in kept)
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            entries = _watched(chain.read_lines(lines), peaks)
            found = chain.verify(entries, heads=heads, is_whole=bool(kept))
    except (chain.BrokenLine, UnicodeDecodeError) as error:
        raise CouldNotTell(f"{path.name} is no audit export: {error}") from error
    except OSError as error:
        raise CouldNotTell(f"{path} cannot be read: {error.strerror}") from error
    fault = found.fault or checkpoint.log_fault(peaks, kept)
    return chain.Verification(found.entries, found.first, found.head, fault)


def _watched(entries: Iterator[Entry], peaks: tree.Peaks) -> Iterator[Entry]:
    for entry in entries:
        yield entry
        # After the chain has looked at it: what it refuses is no leaf.
        peaks.add(tree.leaf_of(entry.digest))


def _heads(texts: Sequence[str]) -> list[chain.Head]:
    try:
        return [chain.Head.parse(text) for text in texts]
    except ValueError as error:
        raise CouldNotTell(f"--head: {error}") from error


def verify_proof(args: argparse.Namespace) -> int:
    """A proof against the log's keys, and against a checkpoint that was kept."""
    known = _keys(_required(args.key))
    kept = [_checked(_read(path), known, str(path)) for path in args.checkpoint]
    found = _json(args.proof)
    try:
        if "entry" in found:
            return _verify_inclusion(checkpoint.read_inclusion(found), known, kept)
        return _verify_consistency(checkpoint.read_consistency(found), known, kept)
    except (BrokenNote, chain.BrokenLine) as error:
        raise CouldNotTell(f"{args.proof.name} is no proof: {error}") from error


def _verify_inclusion(proof: checkpoint.InclusionProof, known: Sequence[Key], kept: Sequence[Checkpoint]) -> int:
    made = _checked(proof.note, known, "the proof's checkpoint")
    for one in kept:
        _require_equal(one, made)
    fault: Fault | None = checkpoint.entry_fault(proof, made)
    if fault:
        raise Failed(f"{fault.message} ({fault.kind})")
    entry = proof.entry
    return _say(
        f"Proven: entry {entry.sequence} is in the log of {made.origin} as signed at {made.size} entries.\n"
        f"{chain.instant(entry.at)} {line(entry.actor, 150)} {line(entry.action, 64)} {line(entry.subject, 300)}"
    )


def _verify_consistency(proof: checkpoint.ConsistencyProof, known: Sequence[Key], kept: Sequence[Checkpoint]) -> int:
    old, new = (
        _checked(note, known, f"the {age} checkpoint") for note, age in ((proof.old, "older"), (proof.new, "newer"))
    )
    _require_same_log(old, new)
    _require_consistent(old, new, proof.path)
    for one in kept:
        _require_equal(one, old if one.size == old.size else new)
    return _say(
        f"Proven: the log of {new.origin} at {new.size} entries continues that of {old.size} and changed nothing in it."
    )


def _require_same_log(old: Checkpoint, new: Checkpoint) -> None:
    if old.origin != new.origin:
        raise Failed(f"the checkpoints are of two logs: {line(old.origin, 200)} and {line(new.origin, 200)}")


def _require_consistent(old: Checkpoint, new: Checkpoint, path: Sequence[bytes]) -> None:
    try:
        tree.check_consistency(old.size, new.size, old.root, new.root, path)
    except BrokenProof as error:
        words = (
            f"the log was forked: its checkpoint of {new.size} entries does not continue that of {old.size}: {error}"
        )
        raise Failed(words) from error


def _require_equal(kept: Checkpoint, found: Checkpoint) -> None:
    if kept == found:
        return
    if (kept.origin, kept.size) == (found.origin, found.size):
        raise Failed(f"the log was forked: two checkpoints of {kept.size} entries, both signed, have different roots")
    raise CouldNotTell(
        f"The proof is for a checkpoint of {found.size} entries and you keep one of {kept.size}: ask for the proof in "
        f"that one (`secguard audit prove SEQUENCE --size {kept.size}`), or for `--from {kept.size}`."
    )


# --- files ---


def _checked(note: str, known: Sequence[Key], what: str) -> Checkpoint:
    """The checkpoint of a note that one of ``known`` signed."""
    try:
        return checkpoint.verified(note, known)[0]
    except Unsigned as error:
        raise Failed(f"{what} is not signed by the log: {error}") from error
    except BrokenNote as error:
        raise CouldNotTell(f"{what} is no checkpoint: {error}") from error


def _required(key: Path | None) -> Path:
    if key is None:
        raise CouldNotTell(KEPT_KEY)
    return key


def _keys(path: Path) -> list[Key]:
    try:
        return checkpoint.read_keys(_read(path))
    except BrokenNote as error:
        raise CouldNotTell(f"{path}: {error}") from error


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(_read(path), object_pairs_hook=chain.object_once)
    except (ValueError, RecursionError) as error:
        raise CouldNotTell(f"{path} is no proof: no JSON object: {error}") from error
    if not isinstance(found, dict):
        raise CouldNotTell(f"{path} is no proof: expected a JSON object")
    return found


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE:
            raise CouldNotTell(f"{path} has more than {MAX_FILE:,} bytes; that is no checkpoint, key or proof.")
        return path.read_bytes().decode()
    except OSError as error:
        raise CouldNotTell(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CouldNotTell(f"{path} is no text: {error.reason} at byte {error.start}") from error


def _write(text: str, output: Path | None) -> int:
    if output is None:
        sys.stdout.write(text)
    else:
        _replace(output, text)
    return Exit.PASSED


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: what was kept is not lost to a full disk."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.write_bytes(text.encode())
        os.replace(beside, path)
    except OSError as error:
        raise CouldNotTell(f"{path} cannot be written: {error.strerror}") from error


def _say(words: str) -> int:
    sys.stdout.write(words + "\n")
    return Exit.PASSED


def saying_failures(run: Any) -> Any:
    """The command ``run``, whose ``Failed`` is told on the standard output and is exit code 1."""

    def command(args: argparse.Namespace) -> int:
        try:
            return int(run(args))
        except Failed as error:
            words = str(error)
            sys.stdout.write((words if words.startswith("NOT ") else f"FAILED: {words}") + "\n")
            return Exit.BLOCKED

    return command
