"""``secguard audit`` as an auditor runs it: what holds, and what is said of every way of forging."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secguard import audit_commands, cli
from secguard.audit import checkpoint, services
from secguard.audit.models import AuditCheckpoint, AuditEntry
from secguard.client.rest import NoSuchThing
from secguard.signing.models import SigningKey
from secguard.signing.services import notary, rotate_key
from tests.audit.test_checkpoint import OTHERS, OURS
from tests.audit.test_checkpoints import made, rewrite_from
from tests.audit.test_services import write
from tests.fixtures_people import Person, without_triggers

pytestmark = pytest.mark.django_db

URL = "/api/v1/audit/"
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str]:
        code = cli.main(["audit", *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return command


@pytest.fixture
def served(administrator: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's calls are answered by the API itself."""

    class Answers:
        def get(self, path: str, _deadline: Any, **query: Any) -> dict[str, Any]:
            answer = administrator.api.get(path, {name: value for name, value in query.items() if value is not None})
            if answer.status_code == 404:
                raise NoSuchThing("no such thing")
            assert answer.status_code == 200, answer.content
            return dict(answer.json())

        def file(self, path: str, _deadline: Any) -> Any:
            return administrator.api.get(path)

    monkeypatch.setattr(audit_commands, "connect", Answers)


@pytest.fixture
def kept(tmp_path: Path) -> AuditCheckpoint:
    """What an auditor keeps: an export, a checkpoint of it, and the keys."""
    newest = made()
    (tmp_path / "audit.ndjson").write_text("".join(services.export()))
    (tmp_path / "kept.note").write_text(newest.note)
    (tmp_path / "keys.pem").write_text("".join(key.public_pem for key in notary.public_keys()))
    return newest


CHECK = ("audit.ndjson", "--checkpoint", "kept.note", "--key", "keys.pem")


def test_an_export_is_verified_against_a_kept_checkpoint(run: Run, kept: AuditCheckpoint) -> None:
    code, said = run("verify", *CHECK)
    assert code == 0
    assert f"Intact: {AuditEntry.objects.count()} entries" in said
    assert f"the first {kept.size} are those of the checkpoint" in said
    assert run("verify", "--file", "audit.ndjson")[0] == 0


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (
            lambda lines: [lines[0], lines[1].replace('"subject":"Payments"', '"subject":"Wages"'), *lines[2:]],
            "entry 2 ",
        ),
        (lambda lines: [*lines[:2], *lines[3:]], "entry 3 is missing"),
        (lambda lines: lines[:3], "entry 4 is missing: the log ends at 3"),
        (lambda lines: lines[1:], "entry 1 is missing"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "entry 1 is missing"),
    ],
)
def test_a_forged_export_fails_with_the_place(
    run: Run, kept: AuditCheckpoint, forge: Callable[[list[str]], list[str]], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "audit.ndjson"
    file.write_text("".join(forge(file.read_text().splitlines(keepends=True))))
    code, said = run("verify", *CHECK)
    assert (code, words in said) == (1, True), said


def test_a_log_written_anew_is_sound_in_itself_and_fails_against_the_checkpoint(
    run: Run, kept: AuditCheckpoint, tmp_path: Path
) -> None:
    with without_triggers():
        rewrite_from(3)
    (tmp_path / "audit.ndjson").write_text("".join(services.export()))
    assert run("verify", "audit.ndjson")[0] == 0
    code, said = run("verify", *CHECK)
    assert (code, "forked" in said) == (1, True), said


def test_a_checkpoint_of_another_key_or_changed_is_told_apart(run: Run, kept: AuditCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "keys.pem").write_text(OTHERS.pem)
    code, said = run("verify", *CHECK)
    assert (code, "not signed by the log: none of the given keys" in said) == (1, True), said
    (tmp_path / "keys.pem").write_text("".join(key.public_pem for key in notary.public_keys()))
    (tmp_path / "kept.note").write_text(kept.note.replace(f"\n{kept.size}\n", f"\n{kept.size - 1}\n"))
    code, said = run("verify", *CHECK)
    assert (code, "the checkpoint was changed" in said) == (1, True), said


def test_what_cannot_be_told_is_neither(run: Run, kept: AuditCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "no.note").write_text("hello")
    (tmp_path / "binary").write_bytes(b"\xff")
    for words in (
        ("verify", "audit.ndjson", "--checkpoint", "kept.note"),
        ("verify", "audit.ndjson", "--checkpoint", "no.note", "--key", "keys.pem"),
        ("verify", "audit.ndjson", "--checkpoint", "kept.note", "--key", "kept.note"),
        ("verify", "audit.ndjson", "--checkpoint", "nowhere", "--key", "keys.pem"),
        ("verify", "audit.ndjson", "--head", "7"),
        ("verify", "kept.note"),
        ("verify", "--checkpoint", "kept.note", "--key", "keys.pem"),
        ("verify-proof", "binary", "--key", "keys.pem"),
        ("verify-proof", "no.note", "--key", "keys.pem"),
        ("verify-proof", "audit.ndjson", "--key", "keys.pem"),
        ("prove",),
        ("prove", "1", "--from", "3"),
    ):
        code, said = run(*words)
        assert (code, said.startswith("secguard: ")) == (2, True), (words, said)


@pytest.mark.usefixtures("served")
def test_one_entry_is_proven_far_from_the_server(run: Run, kept: AuditCheckpoint, tmp_path: Path) -> None:
    made()
    assert run("prove", "3", "--size", str(kept.size), "-o", "p.json") == (0, "")
    assert run("keys", "-o", "keys.pem") == (0, "")
    code, said = run("verify-proof", "p.json", "--key", "keys.pem", "--checkpoint", "kept.note")
    assert (code, "Proven: entry 3" in said) == (0, True), said
    document = json.loads((tmp_path / "p.json").read_text())
    document["entry"]["actor"] = "mallory"
    (tmp_path / "p.json").write_text(json.dumps(document))
    code, said = run("verify-proof", "p.json", "--key", "keys.pem")
    assert (code, "FAILED: entry 3 was altered" in said) == (1, True), said
    run("prove", "3", "-o", "p.json")
    code, said = run("verify-proof", "p.json", "--key", "keys.pem", "--checkpoint", "kept.note")
    assert (code, f"--size {kept.size}" in said) == (2, True), said


@pytest.mark.usefixtures("served")
def test_a_continuation_is_proven_and_a_fork_is_not(run: Run, kept: AuditCheckpoint, tmp_path: Path) -> None:
    made()
    run("prove", "--from", str(kept.size), "-o", "c.json")
    code, said = run("verify-proof", "c.json", "--key", "keys.pem", "--checkpoint", "kept.note")
    assert (code, "changed nothing in it" in said) == (0, True), said
    document = json.loads((tmp_path / "c.json").read_text())
    document["path"][0] = document["path"][-1] if len(document["path"]) > 1 else "A" * 43 + "="
    (tmp_path / "c.json").write_text(json.dumps(document))
    code, said = run("verify-proof", "c.json", "--key", "keys.pem")
    assert (code, "the log was forked" in said) == (1, True), said


@pytest.mark.usefixtures("served")
def test_a_witness_keeps_what_continues_and_tells_of_what_does_not(
    run: Run, kept: AuditCheckpoint, tmp_path: Path
) -> None:
    daily = ("witness", "w.note", "--key", "keys.pem")
    assert run(*daily)[0] == 0
    write(3)
    rotate_key(SigningKey.objects.get().pk, actor=None)
    newer = made(0)
    code, said = run(*daily)
    assert (code, "none of the given keys" in said) == (1, True), said
    run("keys", "-o", "keys.pem")
    code, said = run(*daily)
    assert (code, "are as they were" in said) == (0, True), said
    assert (tmp_path / "w.note").read_text() == newer.note
    forked = checkpoint.Checkpoint(checkpoint.parse(newer.note).checkpoint.origin, newer.size, b"f" * 32)
    (tmp_path / "keys.pem").write_text(OURS.pem)
    (tmp_path / "w.note").write_text(checkpoint.signed(forked, OURS.key, OURS.sign))
    AuditCheckpoint.objects.create(
        size=newer.size,
        root="",
        fingerprint="",
        note=checkpoint.signed(checkpoint.Checkpoint(forked.origin, newer.size, b"e" * 32), OURS.key, OURS.sign),
        made_at=newer.made_at,
    )
    before = (tmp_path / "w.note").read_text()
    code, said = run(*daily)
    assert (code, "the log was forked" in said) == (1, True), said
    assert (tmp_path / "w.note").read_text() == before
    assert (tmp_path / "w.note.fork").exists()


def test_offline_commands_start_without_the_server_s_parts(kept: AuditCheckpoint, tmp_path: Path) -> None:
    program = (
        "import sys\nfor name in ('django', 'psycopg', 'celery'):\n    sys.modules[name] = None\n"
        "from secguard import cli\nsys.exit(cli.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "audit", "verify", *CHECK],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "Intact" in done.stdout) == (0, True), done.stderr
