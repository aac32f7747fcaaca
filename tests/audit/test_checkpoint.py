"""Checkpoints and proofs as an auditor holds them: what holds, and what each way of forging says."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from secguard.audit import checkpoint, tree
from secguard.audit.checkpoint import BrokenNote, Checkpoint, InclusionProof, Key, Unsigned
from tests.audit.test_chain import log
from tests.audit.test_tree import grown_in, proven

NOW = datetime(2026, 3, 1, tzinfo=UTC)

# A public log's checkpoint of 2024 and its key, which another program made (sigstore/rekor).
REKOR_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2G2Y+2tabdTV5BcGiBIx0a9fAFwr
kBbmLSGtks4L3qX6yYY0zufBnhC8Ur/iy55GhWP/9A/bY2LhC30M9+RYtw==
-----END PUBLIC KEY-----
"""
REKOR_NOTE = """rekor.sigstore.dev - 2605736670972794746
75408393
Fnnj13Uu1jdksPc4HZLapKX329dVlD5+MGNsiqBq1XM=

— rekor.sigstore.dev wNI9ajBFAiBTyiBM9WtyOTgohje6QZ5rFGJUdMq7Wk3A6oThE98SUgIhAMvxDwa7FyqRqg\
+YV3rdPPrfS23w19iK+piMSGVOmP5w
"""


class Pair:
    """A key of the tests' own."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        self.pem = self.private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
        self.key: Key = checkpoint.read_keys(self.pem)[0]

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, ec.ECDSA(hashes.SHA256()))


OURS, OTHERS = Pair(), Pair()
MADE = Checkpoint("secguard.example/audit/1", 3, b"r" * 32)
NOTE = checkpoint.signed(MADE, OURS.key, OURS.sign)


def test_another_program_s_checkpoint_verifies() -> None:
    keys = checkpoint.read_keys(REKOR_KEY)
    found, key = checkpoint.verified(REKOR_NOTE, keys)
    assert (found.origin, found.size) == ("rekor.sigstore.dev - 2605736670972794746", 75_408_393)
    assert key.id.hex() == "c0d23d6a"
    with pytest.raises(Unsigned, match="was changed"):
        checkpoint.verified(REKOR_NOTE.replace("75408393", "75408394"), keys)


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    text, signature = NOTE.split("\n\n")
    root = base64.b64encode(b"r" * 32).decode()
    assert text.splitlines() == ["secguard.example/audit/1", "3", root]
    assert signature.startswith("— secguard.example/audit/1 ")
    assert checkpoint.verified(NOTE, [OTHERS.key, OURS.key]) == (MADE, OURS.key)


def test_a_signature_by_an_unknown_key_plays_no_part() -> None:
    theirs = checkpoint.signed(MADE, OTHERS.key, OTHERS.sign).rpartition("\n\n")[2]
    assert checkpoint.verified(NOTE + theirs, [OURS.key])[0] == MADE
    with pytest.raises(Unsigned, match=f"none of the given keys signed it.*{OTHERS.key.id.hex()}"):
        checkpoint.verified(NOTE, [OTHERS.key])
    with pytest.raises(Unsigned, match="none"):
        checkpoint.verified(NOTE, [])


def test_a_signature_that_does_not_verify_is_never_given_out() -> None:
    with pytest.raises(Unsigned, match="just made"):
        checkpoint.signed(MADE, OURS.key, OTHERS.sign)


@pytest.mark.parametrize("signature", [b"", b"0" * 70, bytes.fromhex("3006020100020100")])
def test_a_degenerate_signature_is_none(signature: bytes) -> None:
    line = base64.b64encode(OURS.key.id + signature).decode()
    with pytest.raises(Unsigned):
        checkpoint.verified(f"{MADE.text}\n— {MADE.origin} {line}\n", [OURS.key])


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("", "no blank line"),
        (NOTE.removesuffix("\n"), "cut off"),
        (NOTE.replace("\n", "\r\n"), "no blank line|control characters"),
        (NOTE.replace("\n3\n", "\n03\n"), "no size"),
        (NOTE.replace("\n3\n", "\n-3\n"), "no size"),
        (NOTE.replace("\n3\n", f"\n{2**63}\n"), "no size"),
        (NOTE.replace("\n3\n", f"\n{'9' * 5000}\n"), "no size"),
        (NOTE.replace("\n3\n", "\n٣\n"), "no size"),
        (NOTE.replace("\n3\n", "\n3\nextension\n"), "has 4 lines|blank|root"),
        (NOTE.replace("\n3\ncnJy", "\n3\n!nJy"), "no base64"),
        (NOTE.replace("cnJycnJy", "", 1), "bytes"),
        (NOTE.replace("— ", "- "), "no signature"),
        ("x" * 70_000, "characters"),
        (NOTE + "— a AAAA\n" * 80, "signatures"),
        (NOTE.replace("\n3\n", "\n3\t\n"), "control characters"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_what_was_found(note: str, words: str) -> None:
    with pytest.raises(BrokenNote, match=words):
        checkpoint.verified(note, [OURS.key])


@given(st.text(max_size=300))
def test_any_text_is_refused_in_words(text: str) -> None:
    for note in (text, f"{text}\n\n— a b\n", f"a\n1\n{text}\n\n— a AAAA\n"):
        with pytest.raises(BrokenNote):
            checkpoint.verified(note, [OURS.key])


def test_keys_are_read_as_pem_and_as_verifier_keys() -> None:
    verifier = OURS.key.named("secguard.example/audit/1")
    name, identity, encoded = verifier.split("+", 2)
    assert (name, identity) == ("secguard.example/audit/1", OURS.key.id.hex())
    assert base64.b64decode(encoded)[0] == 2
    text = f"# active\n{OTHERS.pem}\n{verifier}\n"
    assert {key.fingerprint for key in checkpoint.read_keys(text)} == {OURS.key.fingerprint, OTHERS.key.fingerprint}


def test_what_is_no_key_is_refused() -> None:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    other = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    curve = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    with pytest.raises(BrokenNote, match="no public key"):
        checkpoint.read_keys("")
    for pem in (other, curve):
        with pytest.raises(BrokenNote, match="another kind"):
            checkpoint.read_keys(pem)
    with pytest.raises(BrokenNote, match="cannot be read"):
        checkpoint.read_keys(OURS.pem.replace("MFkw", "AAAA"))
    with pytest.raises(BrokenNote, match="without its"):
        checkpoint.read_keys(OURS.pem[:60])
    with pytest.raises(BrokenNote, match="type 01"):
        checkpoint.read_keys(f"a+00000000+{base64.b64encode(bytes([1]) + b'k' * 32).decode()}")


@pytest.mark.parametrize(
    ("last", "size", "due"),
    [
        (None, 0, False),
        (None, 1, True),
        ((5, timedelta(days=9)), 5, False),
        ((5, timedelta(minutes=59)), 6, False),
        ((5, timedelta(hours=1)), 6, True),
        ((5, timedelta(0)), 1_004, False),
        ((5, timedelta(0)), 1_005, True),
    ],
)
def test_when_a_checkpoint_is_due(last: tuple[int, timedelta] | None, size: int, due: bool) -> None:
    before = None if last is None else (last[0], NOW - last[1])
    assert checkpoint.is_due(before, size, NOW) is due


ENTRIES = log(7)
LEAVES = [tree.leaf_of(entry.digest) for entry in ENTRIES]
TILES = grown_in([], LEAVES)
LOG = Checkpoint("secguard.example/audit/1", 7, tree.root_of(LEAVES))
LOG_NOTE = checkpoint.signed(LOG, OURS.key, OURS.sign)


def proof_of(index: int) -> InclusionProof:
    path = tuple(proven(TILES, tree.inclusion(index, 7)))
    return InclusionProof(ENTRIES[index], index, path, LOG_NOTE)


@pytest.mark.parametrize("index", range(7))
def test_a_proof_comes_back_from_json_and_holds(index: int) -> None:
    proof = checkpoint.read_inclusion(proof_of(index).document())
    assert proof == proof_of(index)
    assert checkpoint.entry_fault(proof, LOG) is None


def test_what_is_wrong_with_a_proof_is_said_with_its_place() -> None:
    proof = proof_of(3)
    forged = replace(ENTRIES[3], actor="mallory")
    cases = [
        (replace(proof, entry=forged), "altered", "content does not give its digest"),
        (replace(proof, entry=ENTRIES[4]), "altered", "entry 5 is leaf 4"),
        (replace(proof, path=proof.path[:-1]), "unproven", "too few"),
        (replace(proof, path=(*proof.path[:-1], b"x" * 32)), "unproven", "another root"),
        (replace(proof_of(4), entry=replace(ENTRIES[4], sequence=9)), "altered", "digest"),
    ]
    for broken, kind, words in cases:
        fault = checkpoint.entry_fault(broken, LOG)
        assert fault is not None
        assert (fault.kind, words in fault.message) == (kind, True), fault
    fault = checkpoint.entry_fault(proof_of(6), replace(LOG, size=6))
    assert fault is not None
    assert (fault.sequence, fault.kind) == (7, "unlisted")


def test_an_entry_rewritten_with_a_fitting_digest_is_not_in_the_checkpoint() -> None:
    forged = replace(ENTRIES[3], actor="mallory")
    forged = replace(forged, digest=checkpoint.chain.digest_of(forged))
    fault = checkpoint.entry_fault(replace(proof_of(3), entry=forged), LOG)
    assert fault is not None
    assert (fault.sequence, fault.kind) == (4, "unproven")


@pytest.mark.parametrize(
    "change",
    [
        {"path": "AAAA"},
        {"path": ["AAAA"]},
        {"path": ["!"]},
        {"path": [1]},
        {"path": ["A" * 44] * 65},
        {"leaf_index": "3"},
        {"leaf_index": True},
        {"checkpoint": None},
        {"entry": None},
        {"entry": {}},
    ],
)
def test_what_is_no_proof_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|path|hash|entry"):
        checkpoint.read_inclusion(proof_of(3).document() | change)
    with pytest.raises(BrokenNote):
        checkpoint.read_consistency({"from": 1, "to": NOTE, "path": []})


def test_a_log_written_anew_is_held_against_checkpoints_and_says_from_where() -> None:
    peaks = tree.Peaks([3, 7])
    for leaf in [*LEAVES[:4], tree.leaf_hash(b"another"), *LEAVES[5:]]:
        peaks.add(leaf)
    older = replace(LOG, size=3, root=tree.root_of(LEAVES[:3]))
    assert checkpoint.log_fault(peaks, [older]) is None
    fault = checkpoint.log_fault(peaks, [LOG, older])
    assert fault is not None
    assert (fault.sequence, fault.kind) == (4, "forked")
    assert "entries 4 to 7" in fault.message


def test_a_log_cut_off_is_held_against_checkpoints() -> None:
    peaks = tree.Peaks([7])
    for leaf in LEAVES[:5]:
        peaks.add(leaf)
    fault = checkpoint.log_fault(peaks, [LOG])
    assert fault is not None
    assert (fault.sequence, fault.kind) == (6, "truncated")
